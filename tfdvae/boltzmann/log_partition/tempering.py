"""Parallel tempering: log Z from ladders of replicas, by Bennett's acceptance ratio."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.diagnostics import (
    integrated_autocorrelation_time,
    neighbour_ratios,
    round_trips,
    swap_acceptance,
)
from tfdvae.boltzmann.gibbs import GibbsState
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate
from tfdvae.boltzmann.log_partition.path import base_biases, base_log_partition
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine, finite_parameters
from tfdvae.boltzmann.replica_exchange import (
    TemperedPath,
    TemperingState,
    samples_at,
    tempering_start,
    tempering_sweeps,
)

_BURN_IN_SHARES = (1 / 32, 1 / 32, 1 / 16, 1 / 8, 1 / 4)  # after each the ladder is adapted
_EVEN_SHARE = 0.02  # of the ladder, spread evenly, so that no stretch without refusals is left out
_NUM_SNAPSHOTS = 64  # of the samples at beta = 1
_MIN_PAIRS = 4  # of sweeps between them
_MAX_STORED = 2**25  # log ratios kept: 128 MB
_BLOCK_TIMES = 5  # length of a block, in autocorrelation times
_MIN_ACCEPTANCE = 0.05
_MIN_EFFECTIVE_SAMPLES = 50
_MIN_OVERLAP = 5  # samples


def parallel_tempering(
    rbm: RestrictedBoltzmannMachine,
    *,
    num_ladders: int = 16,
    num_temperatures: int = 16,
    num_sweeps: int,
    num_burn_in: int | None = None,
    seed,
    base="zero",
    target_acceptance: float = 0.5,
    max_temperatures: int = 128,
) -> LogPartitionEstimate:
    """log Z by parallel tempering (Hukushima and Nemoto, 1996) from a base model to the machine.

    Independent ladders of replicas run along p_k ~ exp(-(1 - beta_k) E_base - beta_k E), see
    `tfdvae.boltzmann.replica_exchange`. During the burn-in the inverse temperatures are moved until all
    neighbours exchange equally often, and their number grows while the acceptance is below its target. Then
    they are fixed, and log Z_{k+1} - log Z_k comes from the samples of both neighbours (Bennett, 1976), with
    the right side summed out.

    The standard error takes the samples' correlation in time and between temperatures into account: the
    linearized estimate is averaged over blocks of five autocorrelation times, or over whole ladders where
    that is longer, and over time with the autocorrelation time; the larger error of the two is returned. It
    does not see modes that no replica has found. Those are missed where the base model and the path to the
    machine stay on one side of a discontinuous transition, and then nothing in the run tells; another base
    may.

    Args:
      rbm: the machine.
      num_ladders: independent ladders, at least 1. With one, the standard error rests on its blocks alone.
      num_temperatures: inverse temperatures to begin with, both ends included, at least 2.
      num_sweeps: sweeps that count; an odd number is rounded up.
      num_burn_in: sweeps before them; the default is half of `num_sweeps`, at least 64.
      seed: the seed.
      base: the base model, as in `annealed_importance_sampling`: `"zero"` (the default), `"centered"`, `None`
        for the machine's own biases, or biases `(left [left], right [right])`.
      target_acceptance: exchanges accepted, for every pair of neighbours, in (0, 1).
      max_temperatures: what the number of inverse temperatures may grow to.

    Returns:
      The estimate, in nats; `lower` and `upper` are `None`. The diagnostics hold `inverse_temperatures`
      and `log_partitions` (float64, `[temperatures]`), `swap_acceptance` (`[temperatures - 1]`),
      `round_trips` (int64, `[num_ladders]`), `autocorrelation_time` of the estimate in sweeps (2 is the
      smallest one, for a pair meets in every second sweep) with `effective_sample_size`, `num_ladders`,
      `num_sweeps`, `num_burn_in`; `samples`, a `GibbsState` of `[snapshots * num_ladders, units]` samples of
      the machine from up to 64 times, ladders varying fastest; `warnings`, a tuple of messages with advice,
      and `trustworthy`, whether there are none.

    Raises:
      ValueError: if a number is out of range, a weight is not finite, or `base` does not fit.
    """
    num_ladders = positive_integer("num_ladders", num_ladders)
    num_sweeps = _even(positive_integer("num_sweeps", num_sweeps))
    num_burn_in = positive_integer(
        "num_burn_in", max(64, num_sweeps // 2) if num_burn_in is None else num_burn_in
    )
    _check_ladder(num_temperatures, target_acceptance, max_temperatures)
    parameters = finite_parameters(rbm)
    base = base_biases(base, parameters)
    seed_start, seed_burn_in, seed_run = random.split(seed, 3, salt="parallel_tempering")

    path = TemperedPath(parameters, *base, tf.linspace(0.0, 1.0, num_temperatures))
    state = tempering_start(path, num_ladders, seed=seed_start)
    path, state = _burn_in(path, state, num_burn_in, target_acceptance, max_temperatures, seed=seed_burn_in)
    run = _run(path, state, num_sweeps, seed=seed_run)

    acceptance = swap_acceptance(run.log_ratios)
    trips = round_trips(run.ends, len(acceptance) + 1)
    steps, influence = _bennett(run.log_ratios)
    log_partitions = base_log_partition(base) + np.concatenate([[0.0], np.cumsum(steps)])
    error, time = _standard_error(influence)
    effective_samples = influence.size / time
    betas = path.inverse_temperatures.numpy().astype(np.float64)
    warnings = _warnings(betas, acceptance, trips, effective_samples, max_temperatures)
    return LogPartitionEstimate(
        value=float(log_partitions[-1]),
        standard_error=error,
        lower=None,
        upper=None,
        diagnostics={
            "method": "parallel_tempering",
            "num_ladders": num_ladders,
            "num_sweeps": num_sweeps,
            "num_burn_in": num_burn_in,
            "inverse_temperatures": betas,
            "log_partitions": log_partitions,
            "swap_acceptance": acceptance,
            "round_trips": trips,
            "autocorrelation_time": 2 * run.stride * time,
            "effective_sample_size": effective_samples,
            "samples": run.samples,
            "warnings": warnings,
            "trustworthy": not warnings,
        },
    )


def _check_ladder(num_temperatures, target_acceptance, max_temperatures):
    for name, value in (("num_temperatures", num_temperatures), ("max_temperatures", max_temperatures)):
        positive_integer(name, value)
    if not 2 <= num_temperatures <= max_temperatures:
        raise ValueError(
            "`num_temperatures` must lie between 2 and `max_temperatures`. Received: "
            f"num_temperatures={num_temperatures}, max_temperatures={max_temperatures}"
        )
    if not 0 < target_acceptance < 1:
        raise ValueError(
            f"`target_acceptance` must lie in (0, 1). Received: target_acceptance={target_acceptance}"
        )


def _burn_in(path, state, num_sweeps, target_acceptance, max_temperatures, *, seed):
    """Moves the inverse temperatures between ever longer runs, then lets the ladders settle."""
    *seeds, seed_last = random.split(seed, len(_BURN_IN_SHARES) + 1)
    for share, round_seed in zip(_BURN_IN_SHARES, seeds, strict=True):
        state, trace = tempering_sweeps(path, state, _even(round(share * num_sweeps)), seed=round_seed)
        old = path.inverse_temperatures.numpy().astype(np.float64)
        new = _even_ladder(old, swap_acceptance(trace.log_ratios), target_acceptance, max_temperatures)
        path = path._replace(inverse_temperatures=tf.constant(new, tf.float32))
        state = _moved(state, old, new)
    remaining = num_sweeps * (1 - sum(_BURN_IN_SHARES))
    state, _ = tempering_sweeps(path, state, _even(round(remaining)), seed=seed_last)
    return path, state


def _even_ladder(betas, acceptance, target_acceptance, max_temperatures):
    """Inverse temperatures at which all pairs of neighbours refuse equally many exchanges.

    The sum of the refusals along a fine ladder is a property of the path and not of the ladder (Syed et al.,
    2022): the new temperatures cut it into equal parts, as many as the target asks for and never fewer than
    before.
    """
    refusals = 1 - acceptance
    total = np.sum(refusals)
    wanted = math.ceil(total / (1 - target_acceptance))
    num_steps = min(max(wanted, len(betas) - 1), max_temperatures - 1)
    position = np.cumsum([0.0, *(refusals + (_EVEN_SHARE * total + 1e-3) * np.diff(betas))])
    betas = np.interp(np.arange(num_steps + 1) / num_steps * position[-1], position, betas)
    betas[0], betas[-1] = 0.0, 1.0
    return betas


def _moved(state, old, new):
    """Every new temperature begins with a copy of the replica at the nearest old one."""
    nearest = np.argmin(np.abs(new[:, np.newaxis] - old), axis=1)
    replicas = np.argsort(state.slot.numpy(), axis=1)[:, nearest]
    left = tf.gather(state.left, replicas, axis=1, batch_dims=1)
    return TemperingState(left, tf.broadcast_to(tf.range(len(new)), left.shape[:2]))


class _Run(NamedTuple):
    log_ratios: np.ndarray  # float32 `[stored sweeps, ladders, temperatures]`, two of every 2 * stride sweeps
    ends: np.ndarray  # int32 `[sweeps, ladders, 2]`
    samples: GibbsState
    stride: int


def _run(path, state, num_sweeps, *, seed):
    stride = -(-num_sweeps * state.slot.shape.num_elements() // _MAX_STORED)
    length = 2 * stride * max(_MIN_PAIRS, -(-num_sweeps // (2 * stride * _NUM_SNAPSHOTS)))
    log_ratios, ends, samples = [], [], []
    for i, start in enumerate(range(0, num_sweeps, length)):
        seed_sweeps, seed_right = random.split(random.fold_in(seed, i))
        state, trace = tempering_sweeps(path, state, min(length, num_sweeps - start), seed=seed_sweeps)
        stored = np.arange(trace.log_ratios.shape[0]) // 2 % stride == 0
        log_ratios.append(trace.log_ratios.numpy()[stored])
        ends.append(trace.ends.numpy())
        samples.append(samples_at(path, state, seed=seed_right))
    samples = GibbsState(*(tf.concat(side, 0) for side in zip(*samples, strict=True)))
    return _Run(np.concatenate(log_ratios), np.concatenate(ends), samples, stride)


def _bennett(log_ratios):
    """log Z_{k+1} - log Z_k of all neighbours, `[K]`, and the error of their sum to first order.

    The error is the mean of the second array, `[stored sweeps // 2, ladders]`, whose own mean is 0: the
    estimating equation at every time, over its slope.
    """
    steps, influence = [], 0.0
    for k in range(log_ratios.shape[-1] - 1):
        up, down = neighbour_ratios(log_ratios, k)
        step = _bennett_root(up, down)
        forth, back = _sigmoid(up - step), _sigmoid(down + step)
        slope = np.mean(forth * (1 - forth) + back * (1 - back))
        # Without samples that both neighbours share, they say nothing of their ratio.
        overlaps = slope * up.size > _MIN_OVERLAP
        influence = influence + ((forth - back) / slope if overlaps else np.full(up.shape, np.inf))
        steps.append(step)
    return np.array(steps), influence


def _bennett_root(up, down, tolerance=1e-10):
    """Root of mean sigmoid(up - d) - mean sigmoid(down + d), which decreases in d (Bennett, 1976, eq. 12)."""
    low, high = min(np.min(up), -np.max(down)), max(np.max(up), -np.min(down))
    d = (low + high) / 2
    while True:
        forth, back = _sigmoid(up - d), _sigmoid(down + d)
        excess = np.mean(forth) - np.mean(back)
        if excess == 0:  # the root, or the middle of a gap without any samples
            return float(d)
        low, high = (d, high) if excess > 0 else (low, d)
        slope = np.mean(forth * (1 - forth)) + np.mean(back * (1 - back))
        newton = d + excess / slope if slope > 0 else math.inf
        # Newton's step where it stays in the bracket, and bisection elsewhere.
        new = newton if low < newton < high else (low + high) / 2
        if abs(new - d) <= tolerance * (1 + abs(d)):
            return float(new)
        d = new


def _standard_error(influence):
    """The standard error of the mean of `influence [time, ladders]`, and its autocorrelation time."""
    num_times, num_ladders = influence.shape
    if not np.all(np.isfinite(influence)):
        return math.inf, float(influence.size)
    if np.ptp(influence) == 0 or num_times < 4:  # independent units; or too short to tell
        return (0.0 if np.ptp(influence) == 0 else math.inf), 1.0
    time = integrated_autocorrelation_time(influence)
    by_time = np.std(influence) * math.sqrt(time / influence.size)
    length = min(max(1, math.ceil(_BLOCK_TIMES * time)), num_times)
    num_blocks = num_times // length
    blocks = influence[: num_blocks * length].reshape(num_blocks, length, num_ladders).mean(axis=1)
    by_blocks = np.std(blocks, ddof=1) / math.sqrt(blocks.size) if blocks.size > 1 else math.inf
    return float(max(by_time, by_blocks)), time


def _warnings(betas, acceptance, trips, effective_samples, max_temperatures):
    warnings = []
    worst = int(np.argmin(acceptance))
    if acceptance[worst] < _MIN_ACCEPTANCE:
        warnings.append(
            f"Exchanges stop between beta = {betas[worst]:.4f} and {betas[worst + 1]:.4f}: "
            f"{acceptance[worst]:.1e} of them are accepted. Raise `max_temperatures` (now "
            f"{max_temperatures}) or `num_burn_in`, or try another `base`."
        )
    if np.sum(trips) < len(trips):
        warnings.append(
            f"The replicas of {len(trips)} ladders made {np.sum(trips)} round trips between the base model "
            "and the machine, less than one a ladder. Raise `num_sweeps` and `num_burn_in`, or try another "
            "`base`."
        )
    if effective_samples < _MIN_EFFECTIVE_SAMPLES:
        warnings.append(
            f"The samples are worth {effective_samples:.0f} independent ones: too few to trust the "
            "standard error. Raise `num_sweeps` and `num_burn_in`."
        )
    return tuple(warnings)


def _sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)  # does not overflow


def _even(number):
    return max(2, number + number % 2)
