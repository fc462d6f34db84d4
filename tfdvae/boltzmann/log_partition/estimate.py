"""The result of every estimator of log Z, and the mean of importance weights behind most of them."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

STANDARD_ERRORS = 3  # more than these between two estimates are a contradiction
UPPER_KINDS = ("exact", "stochastic upper bound", "approximation from chains")


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
        `bracket` with samples of chains it is an approximation and no bound: see `upper_kind`.
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

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the estimate is not to be trusted, though it is no failure."""
        return tuple(self.diagnostics.get("warnings", ()))

    @property
    def trustworthy(self) -> bool:
        """Whether the method found nothing against the value and its error."""
        return self.failure is None and not self.warnings and self.diagnostics.get("trustworthy", True)

    @property
    def effective_sample_size(self) -> float | None:
        """How many independent samples the value is worth, or `None` where the method does not say."""
        return self.diagnostics.get("effective_sample_size")

    @property
    def upper_kind(self) -> str | None:
        """What `upper` is, one of `UPPER_KINDS`, or `None` where the method does not say."""
        is_exact = self.standard_error == 0 and self.upper == self.value
        return UPPER_KINDS[0] if is_exact else self.diagnostics.get("upper_kind")

    def summary(self) -> dict[str, Any]:
        """Figures and words for a report, as JSON takes them: no arrays, `None` for what is not finite."""
        values = {name: getattr(self, name) for name in _SUMMARY}
        words = {k: v for k, v in self.diagnostics.items() if isinstance(v, str | bool | int | float | None)}
        values = {**words, **values, "warnings": list(self.warnings)}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


_SUMMARY = (
    "value",
    "standard_error",
    "lower",
    "upper",
    "upper_kind",
    "effective_sample_size",
    "trustworthy",
    "failure",
    "warnings",
)


class LogMean(NamedTuple):
    """log(mean(w)) of independent weights, its standard error, and how many equal weights say as much."""

    value: float
    standard_error: float
    effective_sample_size: float


# Where the upper tail of log weights begins, as a share of them, and the mean square distance of standard
# normal variates in that tail from its beginning.
_TAILS = ((0.5, 1.0), (0.75, 0.598))


def log_mean_exp(log_weights: np.ndarray) -> LogMean:
    """Summarizes weights given as float64 logarithms `[samples]`.

    The standard error is sd(w) / (mean(w) sqrt(samples)) (delta method), infinite for one sample, and the
    effective sample size sum(w)^2 / sum(w^2). Both flatter weights that differ by factors of more than e: the
    largest ones, which make the mean, are then missing from the sample, and the error cannot exceed 1
    whatever the weights do. There the figures of lognormal weights take over where they are worse: an error
    of sqrt((exp(s^2) - 1) / samples) and samples / exp(s^2) effective ones, where s^2 is the variance of the
    log weights, told from their upper tail: those far below, as of chains in a minor mode, do no harm.
    """
    num = len(log_weights)
    shift = np.max(log_weights)
    weights = np.exp(log_weights - shift)  # the largest is 1
    variance = (np.std(weights, ddof=1) / np.mean(weights)) ** 2 if num > 1 else math.inf
    effective = np.sum(weights) ** 2 / np.sum(weights**2)
    spread = _tail_variance(log_weights)
    if spread > 1:
        variance = max(variance, math.expm1(spread)) if spread < 700 else math.inf
        effective = max(1.0, min(effective, num * math.exp(-spread)))
    return LogMean(
        value=float(shift + np.log(np.mean(weights))),
        standard_error=float(np.sqrt(variance / num)),
        effective_sample_size=float(effective),
    )


def _tail_variance(log_weights):
    """The variance of normal variates with such upper tails, by the tail of two lengths that says less."""
    ordered = np.sort(log_weights)
    return min(
        np.mean((ordered[int(share * len(ordered)) :] - np.quantile(ordered, share)) ** 2) / distance
        for share, distance in _TAILS
    )


# --- two estimates, each with a value and a standard error ---


def agree(first, second, standard_errors: float = STANDARD_ERRORS) -> bool:
    """Whether two estimates lie within so many standard errors of their difference, 3 by default."""
    return abs(first.value - second.value) <= standard_errors * _error_of_difference(first, second)


def is_above(first, second) -> bool:
    """Whether the first one lies above the second by more than 3 standard errors of their difference."""
    return first.value - second.value > STANDARD_ERRORS * _error_of_difference(first, second)


def _error_of_difference(first, second):
    return math.hypot(first.standard_error, second.standard_error)


def figures(estimate) -> str:
    """The value and its standard error in words."""
    return f"{estimate.value:.3f} +- {estimate.standard_error:.3f}"


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
