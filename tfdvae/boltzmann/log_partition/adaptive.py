"""Annealed importance sampling that goes on until its weights suffice, or says that they do not."""

import math

import numpy as np

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.log_partition.coverage import Population, anneal_from, coverage
from tfdvae.boltzmann.log_partition.estimate import (
    STANDARD_ERRORS,
    LogPartitionEstimate,
    agree,
    figures,
    log_mean_exp,
)
from tfdvae.boltzmann.log_partition.path import base_biases
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine, finite_parameters

BASES = ("zero", "centered")
_GROWTH = 4  # of the number of temperatures, from one attempt to the next
_CERTAIN = 5  # standard errors apart, from which on a contradiction needs no second look


def adaptive_annealing(
    rbm: RestrictedBoltzmannMachine,
    *,
    num_chains: int = 256,
    num_temperatures: int = 500,
    max_temperatures: int | None = None,
    min_effective_samples: float = 30,
    confirm: bool = True,
    num_starts: int = 64,
    seed,
) -> LogPartitionEstimate:
    """log Z by annealed importance sampling from two bases, for as long as it takes.

    Half of the chains start from each of the bases "zero" and "centered". Where the two agree and both
    suffice, all chains together are the estimate; else the larger one is if they contradict one another (each
    is a stochastic lower bound), or the one with more effective samples. It suffices if its effective sample
    size (see `annealed_importance_sampling`) is `min_effective_samples`, or half of its chains where they are
    too few for that, and chains from other bases find nothing that it has missed: those of the other base,
    and others that are annealed from the modes of `mean_field` where the search has met a part of the
    distribution that the chains hardly visit. If it does not suffice, all is repeated with four times as many
    temperatures, up to `max_temperatures`. If it still does not, the estimate is a failure.

    Two bases that are 3 to 5 standard errors apart may be so by chance: of many estimates some are, and the
    errors are themselves estimates. They too anneal again (see `confirm`), and only what is still apart then,
    or is further apart, is said to contradict.

    Args:
      rbm: the machine.
      num_chains: chains of an attempt, at least 2; half as many again may start from modes.
      num_temperatures: of the first attempt.
      max_temperatures: of the last one; by default 16 times as many, so that the budget is 21 times the
        first attempt.
      min_effective_samples: what suffices.
      confirm: whether to go on, within the budget, until the other base suffices too and agrees. If it never
        does, the estimate is the better base's alone, with a warning.
      num_starts: of the search for modes (see `mean_field.find_modes`).
      seed: the seed.

    Returns:
      The estimate, in nats: `value` and `standard_error`, `lower` (the value, a stochastic lower bound),
      `upper = None`. After a failure `value` and `standard_error` are NaN, `failure` says what was found and
      what to do, and `lower` is the largest lower bound that is known. The diagnostics hold `failure`,
      `trustworthy` (nothing failed, and both bases suffice and agree), `warnings`, a tuple of messages,
      `agree` (whether the bases do), `contradict` (whether they are more than 5 standard errors apart),
      `effective_sample_size`, `num_chains` and `num_temperatures` of the last attempt, `base_values` and
      `base_effective_sample_sizes` of its bases, `mean_field_bound`, `num_modes`, `num_annealed_modes` and
      `missed` (see `coverage`).

    Raises:
      ValueError: if a number is not a positive integer, there are fewer than two chains, or a weight is not
        finite.
    """
    num_chains = positive_integer("num_chains", num_chains)
    num_temperatures = positive_integer("num_temperatures", num_temperatures)
    if num_chains < 2:
        raise ValueError(f"`num_chains` must be at least 2, one from each base. Received: {num_chains=}")
    if max_temperatures is None:
        max_temperatures = _GROWTH**2 * num_temperatures
    max_temperatures = max(num_temperatures, positive_integer("max_temperatures", max_temperatures))
    parameters = finite_parameters(rbm)
    seed = random.split(seed, 1, salt="adaptive_annealing")[0]
    while True:
        estimate = _attempt(
            parameters,
            num_chains,
            num_temperatures,
            min_effective_samples,
            num_starts,
            seed=random.fold_in(seed, num_temperatures),
        )
        unconfirmed = confirm and not (estimate.trustworthy or estimate.diagnostics["contradict"])
        if not (estimate.failure or unconfirmed) or num_temperatures == max_temperatures:
            return estimate
        num_temperatures = min(_GROWTH * num_temperatures, max_temperatures)


def _attempt(parameters, num_chains, num_temperatures, min_effective_samples, num_starts, *, seed):
    seed_bases, seed_modes = random.split(seed)
    betas = np.arange(num_temperatures + 1) / num_temperatures
    bases = [base_biases(name, parameters) for name in BASES]
    populations = anneal_from(parameters, bases, num_chains // 2, betas, seed=seed_bases)
    means = [log_mean_exp(p.log_weights) for p in populations]
    needed = min(min_effective_samples, num_chains // 2 / 2)
    suffice = [m.effective_sample_size >= needed for m in means]
    bases_agree = agree(*means)
    if bases_agree and all(suffice):
        first, others = Population(*(np.concatenate(v) for v in zip(*populations, strict=True))), []
    else:
        key = "effective_sample_size" if bases_agree else "value"
        best = int(np.argmax([getattr(m, key) for m in means]))
        first, others = populations[best], [populations[1 - best]]
    found = coverage(
        parameters,
        first,
        others,
        num_chains=num_chains // 2,
        betas=betas,
        num_starts=num_starts,
        seed=seed_modes,
    )
    mean = log_mean_exp(first.log_weights)
    failure = _failure(mean, found, needed, num_temperatures)
    warnings = ()
    if failure is None and not (bases_agree and all(suffice)):
        warnings = (_warning(means, bases_agree, num_temperatures),)
    lower = mean.value + found.missed
    return LogPartitionEstimate(
        value=mean.value if failure is None else math.nan,
        standard_error=math.hypot(mean.standard_error, found.missed) if failure is None else math.nan,
        lower=mean.value if failure is None else max(lower, found.bound),
        upper=None,
        diagnostics={
            "method": "adaptive_annealing",
            "failure": failure,
            "trustworthy": failure is None and not warnings,
            "warnings": warnings,
            "agree": bases_agree,
            "contradict": not agree(*means, _CERTAIN),
            "effective_sample_size": mean.effective_sample_size,
            "num_chains": num_chains,
            "num_temperatures": num_temperatures,
            "base_values": {b: m.value for b, m in zip(BASES, means, strict=True)},
            "base_effective_sample_sizes": {
                b: m.effective_sample_size for b, m in zip(BASES, means, strict=True)
            },
            "mean_field_bound": found.bound,
            "num_modes": found.num_modes,
            "num_annealed_modes": found.num_annealed,
            "missed": found.missed,
        },
    )


def _failure(mean, found, needed, num_temperatures):
    advice = f"Anneal with more than {num_temperatures} temperatures (`max_temperatures`)"
    if mean.effective_sample_size < needed:
        return (
            f"The chains are worth {mean.effective_sample_size:.1f} independent ones, fewer than {needed:g}: "
            f"their mean weight says little of log Z. {advice}"
        )
    missed = max(found.missed if found.is_significant else 0.0, found.bound - mean.value)
    if missed > STANDARD_ERRORS * mean.standard_error:
        return (
            f"The chains have missed a part of the distribution: they give {figures(mean)}, "
            f"and by what chains from other bases find log Z is {missed:.3f} nats "
            f"higher, at least. {advice}, or look at its modes by `parallel_tempering`"
        )
    return None


def _warning(means, bases_agree, num_temperatures):
    both = " and ".join(f"{figures(m)} from the base {b!r}" for b, m in zip(BASES, means, strict=True))
    few = "are too few effective samples to confirm one another"
    what = few if bases_agree else "contradict one another"
    return f"{both} {what}, with {num_temperatures} temperatures; the value is the better one's alone"
