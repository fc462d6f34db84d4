"""Annealing from the machine down to the base model: the upper side of a bracket of log Z."""

import math

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.gibbs import GibbsState
from tfdvae.boltzmann.log_partition.estimate import UPPER_KINDS, LogPartitionEstimate, log_mean_exp
from tfdvae.boltzmann.log_partition.exact import MAX_UNITS, exact_samples
from tfdvae.boltzmann.log_partition.path import base_biases, base_log_partition, checked_left_states, walk
from tfdvae.boltzmann.log_partition.temperatures import inverse_temperatures
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine, finite_parameters

_DEFAULT_CHAINS = 100


def reverse_annealing(
    rbm: RestrictedBoltzmannMachine,
    *,
    num_temperatures: int,
    seed,
    num_chains: int | None = None,
    samples: GibbsState | tf.Tensor | None = None,
    samples_are_exact: bool = False,
    base="zero",
    schedule="linear",
) -> LogPartitionEstimate:
    """log Z by annealed importance sampling run backwards (Burda, Grosse and Salakhutdinov, 2015).

    Chains start at samples of the machine and go down the path of `annealed_importance_sampling`, the weight
    of each step before its sweep. As each sweep is reversible, the states met are those of an annealing run
    read from its end: with w the forward weight of such a path, P_forward w = P_reverse Z / Z_base. Hence
    mean(1 / w) is an unbiased estimate of Z_base / Z. The value is above log Z in expectation, and more than
    c below it with a probability of at most exp(-c): a stochastic upper bound.

    **Only from exact samples.** With chains that have not forgotten their start the identity does not hold.
    In a ferromagnet below its critical temperature, chains that all sit in the minor mode measure its Z
    alone, below that of the machine by up to the log of the mode's share, with a small standard error and a
    large effective sample size. From samples of chains `upper` is therefore an approximation, and
    `diagnostics["upper_is_bound"]` is False.

    Args:
      rbm: the machine.
      num_temperatures: number of steps from the machine to the base model, at least 1.
      seed: the seed.
      num_chains: number of exact samples to draw where `samples` is `None`; by default 100. With `samples`,
        every sample starts one chain.
      samples: samples of the machine, a `GibbsState` or its `left [chains, left]`, in {0, 1}; the standard
        error takes them for independent. By default `exact_samples`, which needs a side of at most 25 units.
      samples_are_exact: whether the given samples are independent draws from the machine's distribution (by
        enumeration, or data simulated with the machine), and not from chains.
      base: the base model, as in `annealed_importance_sampling`.
      schedule: the inverse temperatures from 0 (base model) to 1, as in `annealed_importance_sampling`; they
        are passed in falling order.

    Returns:
      The estimate, in nats: `value = upper = log Z_base - log(mean(1 / w))`, `standard_error` =
      sd(1 / w) / (mean(1 / w) sqrt(chains)) or more (see `log_mean_exp`), `lower = None`. The diagnostics
      hold `num_chains`, `num_temperatures`, `upper_is_bound`, `upper_kind`, `effective_sample_size` of 1 / w,
      `log_weights` = log(w) (float64, `[chains]`, with log Z_base), `log_weights_variance`,
      `inverse_temperatures` and, in the order of the walk from beta = 1 down, `log_weights_means` and
      `log_weights_variances` (see `annealed_importance_sampling`).

    Raises:
      ValueError: if there are no samples and no side is small enough to be enumerated, the samples are not
        binary or do not fit, both `samples` and another `num_chains` are given, a number is not a positive
        integer, a weight is not finite, or `base` or `schedule` does not fit.
    """
    num_temperatures = positive_integer("num_temperatures", num_temperatures)
    parameters = finite_parameters(rbm)
    base = base_biases(base, parameters)
    betas = inverse_temperatures(schedule, num_temperatures, parameters, base, seed=seed)
    seed_start, seed_path = random.split(seed, salt="reverse_annealing")

    upper_is_bound = samples is None or bool(samples_are_exact)
    left = _drawn(rbm, num_chains, seed_start) if samples is None else _given(rbm, samples, num_chains)
    down = walk(parameters, base, left, betas[::-1], seed=seed_path)
    log_weights = base_log_partition(base) - down.log_weights.numpy()
    mean = log_mean_exp(-log_weights)
    return LogPartitionEstimate(
        value=-mean.value,
        standard_error=mean.standard_error,
        lower=None,
        upper=-mean.value,
        diagnostics={
            "method": "reverse_annealing",
            "num_chains": len(log_weights),
            "num_temperatures": num_temperatures,
            "upper_is_bound": upper_is_bound,
            "upper_kind": UPPER_KINDS[1 if upper_is_bound else 2],
            "effective_sample_size": mean.effective_sample_size,
            "log_weights": log_weights,
            "log_weights_variance": float(np.var(log_weights, ddof=1)) if len(log_weights) > 1 else math.nan,
            "inverse_temperatures": betas,
            "log_weights_means": -down.means.numpy(),
            "log_weights_variances": down.variances.numpy(),
        },
    )


def _drawn(rbm, num_chains, seed):
    if min(rbm.left_units, rbm.right_units) > MAX_UNITS:
        raise ValueError(
            "Reverse annealing needs samples of the machine. They can be drawn by enumeration only where a "
            f"side has at most {MAX_UNITS} units; pass `samples=`. Received a machine of {rbm.left_units} + "
            f"{rbm.right_units} units and samples=None"
        )
    num_chains = _DEFAULT_CHAINS if num_chains is None else positive_integer("num_chains", num_chains)
    return exact_samples(rbm, num_chains, seed=seed).left


def _given(rbm, samples, num_chains):
    left = checked_left_states("samples", samples, rbm)
    if num_chains is not None and num_chains != left.shape[0]:
        raise ValueError(
            f"Every sample starts one chain. Received: num_chains={num_chains} and {left.shape[0]} samples; "
            "leave `num_chains` out"
        )
    return left
