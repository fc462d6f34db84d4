"""Pictures of an annealing path and of a tempering ladder, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_annealing_path(diagnostics: Mapping[str, Any]) -> Figure:
    """Where along an annealing path the log weights grow, and where their variance comes from.

    Args:
      diagnostics: those of an estimate by `log_partition.annealed_importance_sampling` or
        `log_partition.reverse_annealing`; of a `bracket`, its `diagnostics["forward"]` or `["reverse"]`.

    Returns:
      A figure with two plots against beta: the slope of the mean log weight, in nats, an estimate of
      d log Z / d beta; and the variance of the log weights that the walk has collected so far, from the left
      for a walk up, from the right for one down.

    Raises:
      ValueError: if the diagnostics are those of another method.
    """
    from matplotlib.figure import Figure

    method = _checked_method(diagnostics, ("annealed_importance_sampling", "reverse_annealing"))
    betas, down = diagnostics["inverse_temperatures"], method == "reverse_annealing"
    changes, variances = (
        np.diff(diagnostics["log_weights_means"], prepend=0),
        diagnostics["log_weights_variances"],
    )
    if down:
        changes, variances = changes[::-1], variances[::-1]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    slope, variance = figure.subplots(1, 2)
    slope.stairs(changes / np.diff(betas), betas, baseline=None)
    slope.set(xlabel="inverse temperature", ylabel="slope of the log weight (nats)")
    variance.plot(betas[:-1] if down else betas[1:], variances)
    variance.set(xlabel="inverse temperature", ylabel="variance of the log weight", ylim=(0, None))
    return figure


def plot_tempering_ladder(diagnostics: Mapping[str, Any]) -> Figure:
    """The ladder of a run of `log_partition.parallel_tempering`, from the diagnostics of its estimate.

    Returns:
      A figure with three plots: the inverse temperatures, how often each pair of neighbours exchanged,
      and the round trips of every ladder.

    Raises:
      ValueError: if the diagnostics are those of another method.
    """
    from matplotlib.figure import Figure

    _checked_method(diagnostics, ("parallel_tempering",))
    betas, trips = diagnostics["inverse_temperatures"], diagnostics["round_trips"]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    ladder, acceptance, ladders = figure.subplots(1, 3)
    ladder.plot(betas, marker=".")
    ladder.set(xlabel="temperature number", ylabel="inverse temperature")
    acceptance.stairs(diagnostics["swap_acceptance"], betas, baseline=None)
    acceptance.set(xlabel="inverse temperature", ylabel="acceptance of exchanges", ylim=(0, 1))
    ladders.bar(np.arange(len(trips)), trips)
    ladders.set(xlabel="ladder", ylabel="round trips")
    return figure


def _checked_method(diagnostics, methods):
    method = diagnostics.get("method") if isinstance(diagnostics, Mapping) else None
    if method not in methods:
        received = f"those of {method!r}" if method else f"a {type(diagnostics).__name__}"
        raise ValueError(
            f"`diagnostics` must be those of an estimate by {' or '.join(methods)}. Received: {received}"
        )
    return method
