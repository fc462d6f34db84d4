"""Pictures of an annealing path and of a tempering ladder, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_annealing_path(inverse_temperatures, increments) -> Figure:
    """Where along an annealing path the log weights grow, and where their variance comes from.

    Args:
      inverse_temperatures: `[steps + 1]`, increasing.
      increments: change of every chain's log weight at each step, `[steps, chains]`, in nats.

    Returns:
      A figure with two plots against beta: the slope of the mean log weight, an estimate of d log Z / d beta,
      and the variance of the log weights that the path has collected so far.

    Raises:
      ValueError: if the shapes do not agree.
    """
    from matplotlib.figure import Figure

    betas, increments = np.asarray(inverse_temperatures, np.float64), np.asarray(increments, np.float64)
    if increments.ndim != 2 or betas.shape != (len(increments) + 1,):
        raise ValueError(
            "The shapes must be inverse_temperatures [steps + 1], increments [steps, chains]. Received: "
            f"{betas.shape}, {increments.shape}"
        )
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    slopes, variance = figure.subplots(1, 2)
    slopes.stairs(np.mean(increments, axis=1) / np.diff(betas), betas, baseline=None)
    slopes.set(xlabel="inverse temperature", ylabel="slope of the log weight (nats)")
    variance.plot(betas[1:], np.var(np.cumsum(increments, axis=0), axis=1))
    variance.set(xlabel="inverse temperature", ylabel="variance of the log weight", ylim=(0, None))
    return figure


def plot_tempering_ladder(diagnostics: Mapping[str, Any]) -> Figure:
    """The ladder of a run of `log_partition.parallel_tempering`, from the diagnostics of its estimate.

    Returns:
      A figure with three plots: the inverse temperatures, how often each pair of neighbours exchanged,
      and the round trips of every ladder.
    """
    from matplotlib.figure import Figure

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
