"""log Z of a prior for a report: exact where that is possible, else bracketed and checked by others."""

import dataclasses
import math

import numpy as np

from tfdvae import random
from tfdvae.boltzmann import RestrictedBoltzmannMachine, log_partition
from tfdvae.boltzmann.log_partition import LogPartitionEstimate
from tfdvae.boltzmann.log_partition.coverage import Population, anneal_from, coverage
from tfdvae.boltzmann.log_partition.estimate import (
    STANDARD_ERRORS,
    agree,
    figures,
    is_above,
    log_mean_exp,
)
from tfdvae.boltzmann.log_partition.exact import is_quick
from tfdvae.boltzmann.log_partition.path import base_biases, checked_left_states
from tfdvae.boltzmann.rbm import finite_parameters

_PATIENT = 10.0  # seconds that an enumeration may take, as in `update_log_partition`
_BASE, _OTHER_BASE = "zero", "centered"
# Of the bracket's chains up: those that check it from another base, from modes, and from a training's chains.
_OTHER_SHARE, _MODES_SHARE, _CHAINS_SHARE = 1 / 8, 1 / 4, 1 / 4
_MIN_EFFECTIVE_SAMPLES = 10  # of a training's chains, to confirm anything
_NUM_STARTS = 64  # of the search for modes


def measure_log_partition(
    rbm: RestrictedBoltzmannMachine,
    *,
    seed,
    num_chains: int = 1024,
    num_temperatures: int = 10_000,
    num_ladders: int = 16,
    num_sweeps: int = 4_000,
    chains=None,
) -> LogPartitionEstimate:
    """log Z with a lower and an upper side, by the best method for the size of the machine.

    Where enumeration takes about ten seconds (a side of 20 units beside one of up to 1,280),
    `log_partition.exact`. Elsewhere `log_partition.parallel_tempering`,
    and then `log_partition.bracket` whose reverse direction starts from the tempered samples, and whose
    sides must agree with the tempering. All three walk one path, from the base "zero", and can agree and be
    wrong. So three others look for what they have missed, at less than half the cost of the bracket:

    - chains that anneal up from the base "centered", a stochastic lower bound;
    - chains that anneal up from the modes that a mean-field search finds and the bracket's chains hardly
      visit, compared part by part of the distribution (see `log_partition.coverage`);
    - the chains of a training, if given, that anneal down.

    Where one of them finds more than the bracket has, by more than 3 standard errors, the report is a
    failure that says which. Chains of a training that find less have stayed in a part of the distribution,
    and those that differ by a nat or more with fewer than 10 effective samples confirm nothing: warnings.
    The sides of the bracket are moved apart, where they are closer, to 3 standard errors below and above the
    value.

    Args:
      rbm: the machine.
      seed: the seed.
      num_chains: annealing chains from the base model up.
      num_temperatures: of the annealing, in both directions.
      num_ladders: of the tempering, at least 1.
      num_sweeps: of the tempering that count.
      chains: states of the chains that trained the machine, a `GibbsState` or its `left [states, left]`, in
        {0, 1}, or `None`; at most `num_chains` / 4 of them are used.

    Returns:
      The estimate, in nats; of a failure the value is NaN, `failure` says why, and `lower` is the largest
      lower bound found, if any. The diagnostics hold those of the bracket and `tempering_value`,
      `tempering_standard_error`, `tempering_round_trips`, `tempering_effective_sample_size`;
      `other_base_value`, `other_base_standard_error`; `modes_value`, `modes_standard_error` (the bracket's
      lower side with what the others find beside it), `num_modes`, `num_annealed_modes`,
      `mean_field_bound`; and with `chains`, `chains_value`, `chains_standard_error`,
      `chains_effective_sample_size`.

    Raises:
      ValueError: if a number is not a positive integer, a weight is not finite, or `chains` do not fit.
    """
    if chains is not None:
        chains = checked_left_states("chains", chains, rbm).numpy()[: max(1, int(num_chains * _CHAINS_SHARE))]
    if is_quick(rbm, _PATIENT):
        return log_partition.exact(rbm)
    seed_tempering, seed_bracket = random.split(seed, salt="measure_log_partition")
    tempering = log_partition.parallel_tempering(
        rbm, num_ladders=num_ladders, num_sweeps=num_sweeps, base=_BASE, seed=seed_tempering
    )
    samples = tempering.diagnostics["samples"]
    estimate = log_partition.bracket(
        rbm,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        samples=samples,
        tempering=tempering,
        base=_BASE,
        schedule="adaptive",
        seed=seed_bracket,
    )
    estimate.diagnostics.update(
        tempering_value=tempering.value,
        tempering_standard_error=tempering.standard_error,
        tempering_round_trips=int(np.sum(tempering.diagnostics["round_trips"])),
        tempering_effective_sample_size=tempering.effective_sample_size,
    )
    starts = samples.left.numpy()[-_NUM_STARTS:]
    if chains is not None:
        starts = np.concatenate([starts, chains[:_NUM_STARTS]])
    seed_found, seed_down = random.split(seed, salt="measure_log_partition_checks")
    estimate = _checked_by_others(rbm, estimate, starts, seed=seed_found)
    return estimate if chains is None else _checked_by_chains(rbm, estimate, chains, seed=seed_down)


def _checked_by_others(rbm, estimate, starts, *, seed):
    """The estimate with what other bases find, or a failure."""
    parameters, forward = finite_parameters(rbm), estimate.diagnostics["forward"]
    num_chains, num_temperatures = forward["num_chains"], forward["num_temperatures"]
    betas = np.arange(num_temperatures + 1) / num_temperatures
    seed_other, seed_modes = random.split(seed)
    bases = [base_biases(_OTHER_BASE, parameters)]
    others = anneal_from(parameters, bases, max(2, int(num_chains * _OTHER_SHARE)), betas, seed=seed_other)
    found = coverage(
        parameters,
        Population(forward["log_weights"], forward["left"]),
        others,
        num_chains=max(2, int(num_chains * _MODES_SHARE)),
        betas=betas,
        num_starts=_NUM_STARTS,
        seed=seed_modes,
        left=starts,
    )
    other = log_mean_exp(others[0].log_weights)
    whole = LogPartitionEstimate(
        estimate.diagnostics["forward_value"] + found.missed,
        math.hypot(estimate.diagnostics["forward_standard_error"], found.standard_error),
    )
    estimate.diagnostics.update(
        other_base_value=other.value,
        other_base_standard_error=other.standard_error,
        modes_value=whole.value,
        modes_standard_error=whole.standard_error,
        num_modes=found.num_modes,
        num_annealed_modes=found.num_annealed,
        mean_field_bound=found.bound,
    )
    if estimate.failure is not None:
        return dataclasses.replace(estimate, lower=max(whole.value, found.bound))
    if found.is_significant and is_above(whole, estimate):
        finder = f"with the parts that annealing from other bases finds, it is {figures(whole)}"
    elif found.bound - estimate.value > STANDARD_ERRORS * estimate.standard_error:
        finder = f"the mean-field bound at one of its modes is {found.bound:.3f}"
    else:
        # What may be noise belongs to the error, and the sides leave room for it.
        excess = max(0.0, whole.value - estimate.value)
        error = math.hypot(estimate.standard_error, min(found.missed, excess))
        room = STANDARD_ERRORS * error if math.isfinite(error) else 0.0
        return dataclasses.replace(
            estimate,
            standard_error=error,
            lower=min(estimate.lower, estimate.value - room),
            upper=max(estimate.upper, estimate.value + room),
        )
    return _failed(
        estimate,
        f"The bracket has missed a part of the distribution: it gives {figures(estimate)}, but {finder}. "
        "Use more temperatures and chains",
        lower=max(whole.value, found.bound),
    )


def _checked_by_chains(rbm, estimate, chains, *, seed):
    """The estimate with what the chains of a training find on their way down, or a failure."""
    down = log_partition.reverse_annealing(
        rbm,
        samples=chains,
        num_temperatures=estimate.diagnostics["num_temperatures"],
        base=_BASE,
        schedule=estimate.diagnostics["inverse_temperatures"],
        seed=seed,
    )
    estimate.diagnostics.update(
        chains_value=down.value,
        chains_standard_error=down.standard_error,
        chains_effective_sample_size=down.effective_sample_size,
    )
    if estimate.failure is not None:
        return estimate
    confirms = down.effective_sample_size >= _MIN_EFFECTIVE_SAMPLES or abs(down.value - estimate.value) < 1
    if agree(down, estimate) and confirms:
        return estimate
    both = f"annealing down from the training's chains gives {figures(down)}, the bracket {figures(estimate)}"
    if agree(down, estimate):
        warning = f"The training's chains, worth {down.effective_sample_size:.1f}, confirm nothing: {both}."
    elif down.value > estimate.value:
        return _failed(
            estimate,
            f"The training's chains are where the bracket's chains hardly arrive: {both}. Use more "
            "temperatures and chains, or train with chains that mix better (tempered ones)",
            lower=estimate.lower,
        )
    else:
        warning = f"The training's chains have stayed in a part of the distribution: {both}."
    estimate.diagnostics.update(warnings=(*estimate.warnings, warning), trustworthy=False)
    return estimate


def _failed(estimate, failure, lower):
    diagnostics = {**estimate.diagnostics, "failure": failure, "trustworthy": False}
    return LogPartitionEstimate(math.nan, math.nan, lower=lower, diagnostics=diagnostics)
