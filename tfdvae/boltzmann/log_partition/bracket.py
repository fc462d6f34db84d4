"""log Z between annealing up and annealing down, with checks of one against the other."""

import math

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.gibbs import GibbsState
from tfdvae.boltzmann.log_partition.annealing import annealed_importance_sampling
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate, figures, is_above
from tfdvae.boltzmann.log_partition.path import base_biases
from tfdvae.boltzmann.log_partition.reverse_annealing import reverse_annealing
from tfdvae.boltzmann.log_partition.temperatures import inverse_temperatures
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine, finite_parameters

_MIN_EFFECTIVE_SAMPLES = 50


def bracket(
    rbm: RestrictedBoltzmannMachine,
    *,
    num_chains: int,
    num_temperatures: int,
    seed,
    samples: GibbsState | tf.Tensor | None = None,
    samples_are_exact: bool = False,
    base="zero",
    schedule="linear",
    tempering: LogPartitionEstimate | None = None,
) -> LogPartitionEstimate:
    """log Z by annealing in both directions along one path (Grosse, Ghahramani and Adams, 2015).

    `annealed_importance_sampling` gives the lower side, `reverse_annealing` the upper one, and Bennett's
    acceptance ratio (Bennett, 1976; Shirts et al., 2003) joins the weights of both to the value, the
    maximum-likelihood estimate of log Z from them.

    The two sides check one another. With exact samples both are bounds in expectation, so that a wide bracket
    means that the path is too short, and nothing worse. With samples of chains, two sides that agree prove
    little: if the forward chains and the samples have all missed the same mode, the bracket is narrow and
    wrong. What helps is another `base` (with the machine's own biases every chain may start in one mode) and
    an estimate by `parallel_tempering`.

    **A contradiction is a failure.** If the lower side is above the upper one by more than 3 standard errors
    of their difference, or the estimate given as `tempering` lies as far outside of the bracket, then one of
    them missed a part of the distribution, and no value can be told from these numbers: `value` and
    `standard_error` are NaN, `lower` and `upper` are `None`, and `failure` says what was found and what to
    do.

    Args:
      rbm: the machine.
      num_chains: number of forward chains, and of reverse ones where `samples` is `None`; above 50 for a
        bracket to be called trustworthy.
      num_temperatures: number of steps between the base model and the machine.
      seed: the seed.
      samples: samples of the machine for the reverse direction; by default exact ones by enumeration. See
        `reverse_annealing`.
      samples_are_exact: whether given samples are exact.
      base: the base model, as in `annealed_importance_sampling`.
      schedule: the inverse temperatures, as in `annealed_importance_sampling`, the same in both directions.
      tempering: an estimate by another method to compare with, as from `parallel_tempering`.

    Returns:
      The estimate, in nats. `lower` and `upper` are the two sides; where noise has put them in the wrong
      order, or the value outside of them, they are moved apart as far as needed, which keeps them bounds.
      `standard_error` is that of `value`. The diagnostics hold

      - `lower_kind`: "stochastic lower bound"; `upper_kind`: "stochastic upper bound", or "approximation from
        chains" unless the samples are exact;
      - `trustworthy`: whether nothing failed and there are no warnings;
      - `warnings`: a tuple of messages: effective sample sizes of at most 50, warnings of the `tempering`;
      - `failure`: a message, or `None`;
      - `effective_sample_size`: the smaller of the two directions;
      - `forward_value`, `reverse_value`, `forward_standard_error`, `reverse_standard_error`,
        `forward_effective_sample_size`, `reverse_effective_sample_size`: those of the two directions;
      - `forward`, `reverse`: all their diagnostics;
      - `num_chains`, `num_reverse_chains`, `num_temperatures`, `inverse_temperatures`.

    Raises:
      ValueError: as the two estimators do, or if `tempering` is no estimate with a finite value.
    """
    num_temperatures = positive_integer("num_temperatures", num_temperatures)
    _check_tempering(tempering)
    parameters = finite_parameters(rbm)
    betas = inverse_temperatures(
        schedule, num_temperatures, parameters, base_biases(base, parameters), seed=seed
    )
    seed_forward, seed_reverse = random.split(seed, salt="bracket")
    path = {"num_temperatures": num_temperatures, "base": base, "schedule": betas}
    reverse = reverse_annealing(
        rbm,
        **path,
        num_chains=num_chains if samples is None else None,
        samples=samples,
        samples_are_exact=samples_are_exact,
        seed=seed_reverse,
    )
    forward = annealed_importance_sampling(rbm, **path, num_chains=num_chains, seed=seed_forward)

    failure = _contradiction(forward, reverse, tempering)
    warnings = _warnings(forward, reverse, tempering)
    diagnostics = {
        "method": "bracket",
        "failure": failure,
        "trustworthy": failure is None and not warnings,
        "warnings": warnings,
        "lower_kind": "stochastic lower bound",
        "upper_kind": reverse.upper_kind,
        "effective_sample_size": min(forward.effective_sample_size, reverse.effective_sample_size),
        **{
            f"{name}_{what}": figure
            for name, estimate in (("forward", forward), ("reverse", reverse))
            for what, figure in (
                ("value", estimate.value),
                ("standard_error", estimate.standard_error),
                ("effective_sample_size", estimate.effective_sample_size),
            )
        },
        "forward": forward.diagnostics,
        "reverse": reverse.diagnostics,
        "num_chains": forward.diagnostics["num_chains"],
        "num_reverse_chains": reverse.diagnostics["num_chains"],
        "num_temperatures": num_temperatures,
        "inverse_temperatures": betas,
    }
    if failure is not None:
        return LogPartitionEstimate(math.nan, math.nan, diagnostics=diagnostics)
    value, error = acceptance_ratio(forward.diagnostics["log_weights"], reverse.diagnostics["log_weights"])
    sides = (forward.value, value, reverse.value)
    return LogPartitionEstimate(value, error, lower=min(sides), upper=max(sides), diagnostics=diagnostics)


def acceptance_ratio(forward: np.ndarray, reverse: np.ndarray) -> tuple[float, float]:
    """Bennett's acceptance ratio, from the log weights of forward and of reverse paths.

    With c = log Z, a path of log weight x is a reverse one with log odds x - c + log(reverse paths / forward
    paths). Given which paths are which, the likelihood of c is that of a logistic regression with one
    unknown, whose score falls from one end to the other and is solved by bisection.

    Args:
      forward: log weights of forward paths, float64, with log Z_base.
      reverse: the same, of reverse paths.

    Returns:
      log Z and its standard error, from the Fisher information for given numbers of paths; it grows without
      limit as the two sets of weights cease to overlap.
    """
    shift = math.log(len(reverse) / len(forward))
    forward, reverse = forward + shift, reverse + shift
    everything = np.concatenate([forward, reverse])
    low, high = np.min(everything) - 50, np.max(everything) + 50  # beyond, the score keeps its sign
    while low < (middle := 0.5 * (low + high)) < high:
        too_low = _log_sum(_log_logistic(forward - middle)) > _log_sum(_log_logistic(middle - reverse))
        low, high = (middle, high) if too_low else (low, middle)
    # p (1 - p) summed; two samples of given sizes know less than a regression with free sizes says.
    log_information = _log_sum(_log_logistic(everything - middle) + _log_logistic(middle - everything))
    if log_information < -700:
        return float(middle), math.inf
    variance = math.exp(-log_information) - 1 / len(forward) - 1 / len(reverse)
    return float(middle), math.sqrt(max(0.0, variance))


# In logarithms: far apart, all the terms underflow.
_log_sum = np.logaddexp.reduce


def _log_logistic(x):
    return -np.logaddexp(0.0, -x)


def _check_tempering(tempering):
    if tempering is None:
        return
    if not isinstance(tempering, LogPartitionEstimate) or not math.isfinite(tempering.value):
        raise ValueError(
            "`tempering` must be a `LogPartitionEstimate` with a finite value. Received: "
            f"tempering={getattr(tempering, 'value', tempering)!r}"
        )


def _contradiction(forward, reverse, tempering):
    """What two estimates say that cannot both be right, with advice, or `None`."""
    if is_above(forward, reverse):
        return (
            f"The bracket is inverted: annealing gives {figures(forward)} from below, reverse annealing "
            f"{figures(reverse)} from above. The samples that reverse annealing started from cover only a "
            "part of the distribution, as chains that stay in one mode do: draw them by enumeration, "
            "from `parallel_tempering` or from longer chains. If they are exact, use more chains and "
            "temperatures"
        )
    if tempering is None:
        return None
    if is_above(tempering, reverse):
        side, bound, culprit = "above", reverse, "The samples, and the chains of the bracket,"
    elif is_above(forward, tempering):
        side, bound, culprit = "below", forward, "The replicas of the tempering"
    else:
        return None
    says = "".join(f" The tempering itself says: {w}" for w in tempering.warnings)
    return (
        f"`tempering` gives {figures(tempering)}, {side} the bracket, which ends at {figures(bound)}. "
        f"{culprit} have missed a part of the distribution: run each with more temperatures and for longer, "
        f"the bracket with another `base` and with samples from the tempering.{says}"
    )


def _warnings(forward, reverse, tempering):
    directions = (("up", forward), ("down", reverse))
    few = tuple(
        f"Chains that annealed {name} are worth {estimate.effective_sample_size:.0f} independent ones, no "
        f"more than {_MIN_EFFECTIVE_SAMPLES}. Use more temperatures or chains."
        for name, estimate in directions
        if not estimate.effective_sample_size > _MIN_EFFECTIVE_SAMPLES
    )
    return few + (() if tempering is None else tuple(f"Tempering: {w}" for w in tempering.warnings))
