"""The result of every estimator of log Z, and the mean of importance weights behind most of them."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class LogPartitionEstimate:
    """An estimate of log Z, in nats.

    A bound is exact (enumeration), or stochastic: it holds in expectation, and is violated by more than c
    with a probability of at most exp(-c). No standard error sees a mode that no chain has visited.

    Attributes:
      value: the estimate; NaN if the method found that it failed (see `failure`).
      standard_error: its standard error: 0 where the value is exact, infinite where one chain gives none,
        NaN after a failure.
      lower: a lower bound on log Z, or `None` where the method gives none.
      upper: an upper bound on log Z, or `None` where the method gives none. From `reverse_annealing` and
        `bracket` with samples of chains it is an approximation and no bound; the diagnostics say which.
      diagnostics: what the method says of itself. `"method"` is always there; what else there is stands in
        the method's docstring.
    """

    value: float
    standard_error: float
    lower: float | None = None
    upper: float | None = None
    diagnostics: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def failure(self) -> str | None:
        """What the method found to be wrong and what to do about it, or `None`."""
        return self.diagnostics.get("failure")


class LogMean(NamedTuple):
    """log(mean(w)) of independent weights, its standard error, and sum(w)^2 / sum(w^2)."""

    value: float
    standard_error: float
    effective_sample_size: float


def log_mean_exp(log_weights: np.ndarray) -> LogMean:
    """Summarizes weights given as float64 logarithms `[samples]`.

    The standard error is sd(w) / (mean(w) sqrt(samples)) (delta method), infinite for one sample.
    """
    shift = np.max(log_weights)
    weights = np.exp(log_weights - shift)  # the largest is 1
    error = math.inf
    if len(weights) > 1:
        error = np.std(weights, ddof=1) / (np.mean(weights) * math.sqrt(len(weights)))
    return LogMean(
        value=float(shift + np.log(np.mean(weights))),
        standard_error=float(error),
        effective_sample_size=float(np.sum(weights) ** 2 / np.sum(weights**2)),
    )


def checked_estimate(log_partition) -> LogPartitionEstimate:
    """Returns an estimate that a caller hands in as `log_partition`.

    Raises:
      ValueError: if it is no `LogPartitionEstimate`, or its value is not finite (a bracket that failed).
    """
    if not isinstance(log_partition, LogPartitionEstimate):
        raise ValueError(
            f"`log_partition` must be a `LogPartitionEstimate`. Received: {type(log_partition).__name__} "
            f"{log_partition!r}"
        )
    if not np.isfinite(log_partition.value):
        raise ValueError(
            f"`log_partition` has no finite value: {log_partition.failure}. Received: "
            f"value={log_partition.value}"
        )
    return log_partition
