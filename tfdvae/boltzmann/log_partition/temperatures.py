"""Inverse temperatures 0 = beta_0 < ... < beta_K = 1 of the annealing path.

- "linear": beta_k = k / K.
- "sigmoid": beta_k = (s(d (2 k / K - 1)) - s(-d)) / (s(d) - s(-d)), s the logistic function and d = 4: steps
  at both ends are 14 times shorter than in the middle.
- "adaptive": steps at each of which the conditional effective sample size (Zhou, Johansen and Aston, 2016)
  of the incremental weights v is the same fraction of the chains, with equal weights
  CESS = sum(v)^2 / sum(v^2). For short steps -log(CESS / chains) is the step's variance of log v, the square
  of a length along the path. A pilot population measures that length on a fine path, and the schedule
  cuts it into equal parts: the number of steps, and so the cost, stays what was asked for. The pilot takes
  two walks of 100 chains on at least 200 temperatures. It knows what its chains see: a mode that they
  miss is in no schedule.
"""

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import increasing_from_0_to_1
from tfdvae.boltzmann.gibbs import noise_seeds
from tfdvae.boltzmann.log_partition.path import BaseBiases, base_samples, call_for_any_length, walk_step
from tfdvae.boltzmann.rbm import RBMParameters

_SIGMOID_SLOPE = 4.0
_PILOT_CHAINS = 100
_PILOT_STEPS = 200  # at least
_EVEN_SHARE = 0.1  # of the length, spread evenly, so that noise of the pilot cannot starve a stretch


def inverse_temperatures(
    schedule, num_temperatures: int, parameters: RBMParameters, base: BaseBiases, *, seed
) -> np.ndarray:
    """The inverse temperatures of a schedule, float64, `[num_temperatures + 1]`, from 0 to 1.

    Args:
      schedule: `"linear"`, `"sigmoid"`, `"adaptive"`, or the array itself.
      num_temperatures: number of steps.
      parameters: the machine, for `"adaptive"`.
      base: the base model, for `"adaptive"`.
      seed: the caller's seed; the pilot of `"adaptive"` derives one of its own.

    Raises:
      ValueError: if the schedule is unknown, or an array of another length or not increasing from 0 to 1.
    """
    if not isinstance(schedule, str):
        return _checked(schedule, num_temperatures)
    steps = np.arange(num_temperatures + 1) / num_temperatures
    if schedule == "linear":
        return steps
    if schedule == "sigmoid":
        return _sigmoid(steps)
    if schedule == "adaptive":
        return _adaptive(num_temperatures, parameters, base, seed=random.split(seed, 1, salt="pilot")[0])
    raise ValueError(
        '`schedule` must be "linear", "sigmoid", "adaptive" or an array of inverse temperatures. Received: '
        f"{schedule!r}"
    )


def _checked(schedule, num_temperatures):
    betas = np.asarray(schedule, np.float64)
    if betas.shape != (num_temperatures + 1,):
        raise ValueError(
            f"`schedule` must hold num_temperatures + 1 = {num_temperatures + 1} inverse temperatures. "
            f"Received: shape {betas.shape}"
        )
    increasing_from_0_to_1("schedule", betas)
    return betas


def _sigmoid(steps):
    # The logistic function by tanh: s(d (2 t - 1)) - 1/2 is odd about t = 1/2, so that both ends are exact.
    return 0.5 + 0.5 * np.tanh(_SIGMOID_SLOPE * (steps - 0.5)) / np.tanh(_SIGMOID_SLOPE / 2)


def _adaptive(num_temperatures, parameters, base, *, seed):
    num_pilot = max(_PILOT_STEPS, num_temperatures)
    betas = np.arange(num_pilot + 1) / num_pilot
    # A step with hardly any overlap looks shorter than it is, for CESS >= 1. The second pilot runs on the
    # path that the first one has found, where such a stretch has more steps.
    first, second = random.split(seed)
    betas = _equal_parts(betas, _pilot_lengths(parameters, base, betas, seed=first), num_pilot)
    return _equal_parts(betas, _pilot_lengths(parameters, base, betas, seed=second), num_temperatures)


def _equal_parts(betas, lengths, num_parts):
    total = np.sum(lengths)
    if total > 1e-6:  # more than rounding
        share = (1 - _EVEN_SHARE) * lengths / total + _EVEN_SHARE * np.diff(betas)
    else:
        share = np.diff(betas)  # independent units: every path is as good
    position = np.concatenate([[0.0], np.cumsum(share)])
    cuts = np.interp(np.arange(num_parts + 1) / num_parts * position[-1], position, betas)
    cuts[0], cuts[-1] = 0.0, 1.0
    return cuts


def _pilot_lengths(parameters, base, betas, *, seed):
    """sqrt(-log(CESS / chains)) of each step, float64, `[steps]`."""
    seed_start, seed_path = random.split(seed, salt="pilot_lengths")
    left = base_samples(base, _PILOT_CHAINS, seed=seed_start)
    log_fractions = call_for_any_length(_log_cess_fractions, parameters, base, left, betas, seed=seed_path)
    return np.sqrt(np.maximum(0.0, -log_fractions.numpy()))


@tf.function
def _log_cess_fractions(parameters, base, left, betas, seed):
    num_steps = tf.size(betas) - 1
    seeds = noise_seeds(seed, num_steps, 2, dtype=betas.dtype)

    def body(k, left, fractions):
        left, change = walk_step(parameters, base, left, betas[k], betas[k + 1], seeds=seeds.of_step(k))
        change = tf.cast(change, tf.float64)
        log_cess = 2 * tf.reduce_logsumexp(change) - tf.reduce_logsumexp(2 * change)
        return k + 1, left, fractions.write(k, log_cess - np.log(left.shape[0]))

    fractions = tf.TensorArray(tf.float64, size=num_steps)
    return tf.while_loop(lambda k, *_: k < num_steps, body, (0, left, fractions))[2].stack()
