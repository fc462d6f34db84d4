"""RAISE: log p of given vectors without log Z, by annealing down from them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.log_partition.estimate import log_mean_exp
from tfdvae.boltzmann.log_partition.path import base_biases, base_log_partition, checked_left_states, walk
from tfdvae.boltzmann.log_partition.temperatures import inverse_temperatures
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine, finite_parameters

_MAX_CHAINS = 16_384  # that walk at a time


class LogProbEstimate(NamedTuple):
    """Estimates of log p of vectors, in nats, float64.

    Attributes:
      value: log(mean(w)), `[vectors]`.
      standard_error: sd(w) / (mean(w) sqrt(chains)), `[vectors]`; infinite with one chain.
      effective_sample_size: sum(w)^2 / sum(w^2), `[vectors]`, from 1 to the number of chains.
    """

    value: np.ndarray
    standard_error: np.ndarray
    effective_sample_size: np.ndarray


def raise_log_prob(
    rbm: RestrictedBoltzmannMachine,
    left,
    *,
    num_chains: int,
    num_temperatures: int,
    seed,
    base="zero",
    schedule="linear",
) -> LogProbEstimate:
    """log p(left) of given vectors by RAISE (Burda, Grosse and Salakhutdinov, 2015), right side summed out.

    The *annealing model* draws a vector from the base model and passes it through one Gibbs sweep at each
    inverse temperature beta_1, ..., beta_K = 1. Chains that start at `left` and walk that path backwards give
    importance weights

      w = f_K(left) / Z_base  prod_{k = K, ..., 1} f_{k-1}(left_k) / f_k(left_k)

    with left_K drawn by a sweep at beta = 1 from `left`, and f as in `annealed_importance_sampling`.

    **Of which model it is unbiased.** mean(w) is an unbiased estimate of the annealing model's p(left), not
    of the machine's, and needs no log Z: the value is below the annealing model's log p(left) in expectation,
    and above it by more than c with a probability of at most exp(-c). The annealing model tends to the
    machine as temperatures are added. It is normalized, so averaged over samples of the machine its log p is
    below the machine's; over other vectors, such as test data, it is usually below, but need not be, and for
    a single vector it can be far above, in a mode that annealing reaches too often. RAISE does not reveal
    modes that annealing misses: vectors in the modes that it finds are then overrated by as much as with
    annealed importance sampling, whose Z is too small; only the vectors of the missed modes, and the mean
    over the machine's samples, are underrated.

    Args:
      rbm: the machine.
      left: the vectors, `[vectors, left]`, in {0, 1}.
      num_chains: number of chains for every vector, at least 1.
      num_temperatures: number K of steps between the base model and the machine, at least 1.
      seed: the seed.
      base: the base model, as in `annealed_importance_sampling`.
      schedule: the inverse temperatures from 0 to 1, as in `annealed_importance_sampling`; they are passed in
        falling order.

    Returns:
      The estimates of the vectors. Chains of different vectors are independent; which random numbers a vector
      gets depends on its place and on how many there are.

    Raises:
      ValueError: if the vectors are not binary or do not fit, a number is not a positive integer, a weight is
        not finite, or `base` or `schedule` does not fit.
    """
    num_chains = positive_integer("num_chains", num_chains)
    num_temperatures = positive_integer("num_temperatures", num_temperatures)
    parameters = finite_parameters(rbm)
    left = checked_left_states("left", left, rbm)
    base = base_biases(base, parameters)
    betas = inverse_temperatures(schedule, num_temperatures, parameters, base, seed=seed)
    betas = np.append(1.0, betas[::-1])  # the first step stays at 1: a sweep that changes no weight
    seed = random.split(seed, 1, salt="raise")[0]

    vectors_at_a_time = max(1, _MAX_CHAINS // num_chains)
    log_weights = []
    for first in range(0, left.shape[0], vectors_at_a_time):
        chains = tf.repeat(left[first : first + vectors_at_a_time], num_chains, axis=0)
        falling = walk(parameters, base, chains, betas, seed=random.fold_in(seed, first)).log_weights
        log_weights.append(tf.reshape(falling, [-1, num_chains]).numpy())
    log_weights = np.concatenate(log_weights) - base_log_partition(base)
    log_weights -= rbm.free_energy(left).numpy().astype(np.float64)[:, np.newaxis]
    return LogProbEstimate(*np.transpose([log_mean_exp(row) for row in log_weights]))
