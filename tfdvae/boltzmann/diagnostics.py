"""Whether chains mix: autocorrelation, effective sample size, R-hat, exchanges of a ladder, health of chains.

Series are arrays `[time, chains]` of a scalar of the state, such as its energy. R-hat is that of
`tfp.mcmc.potential_scale_reduction` with split chains.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import random
from tfdvae._validation import finite, positive_integer
from tfdvae.boltzmann.gibbs import GibbsState, gibbs_sweep, split_seeds
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine, finite_parameters

SATURATED_LOGIT = 6.0  # a unit beyond it flips less than once in 400 sweeps
MAX_R_HAT = 1.2
MIN_FLIP_RATE = 1e-3


# Series


def effective_sample_size(series) -> float:
    """Number of independent draws whose mean is as exact as that of the whole `series [time, chains]`.

    Constant series give NaN: they say nothing of how fast the chains move.

    Raises:
      ValueError: if the shape is another one, there are fewer than 4 times, or a value is not finite.
    """
    return np.size(series) / integrated_autocorrelation_time(series)


def integrated_autocorrelation_time(series) -> float:
    """1 + 2 sum_t rho_t of `series [time, chains]`, in time steps: 1 for independent draws, NaN for constant
    ones.

    Deviations are from the mean of all chains, so that chains which stay apart count as correlated for as
    long as they were watched. The sum ends before the first negative rho_{2k} + rho_{2k+1} (Geyer, 1992):
    beyond, it is noise.

    Raises:
      ValueError: as `effective_sample_size`.
    """
    series = _checked_series(series)
    # Rounding alone has no autocorrelation.
    if np.std(series) <= 1e-12 * np.max(np.abs(series)):
        return math.nan
    num_times = len(series)
    spectrum = np.fft.rfft(series - np.mean(series), 2 * num_times, axis=0)  # padded: no wrapping around
    covariance = np.fft.irfft(np.mean(np.abs(spectrum) ** 2, axis=1))[:num_times]
    correlation = covariance / covariance[0]
    pairs = correlation[: num_times // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs < 0)
    time = 2 * np.sum(pairs[: negative[0] if len(negative) else None]) - 1
    # Chains that alternate may be worth more than independent draws, but not without limit.
    return float(max(time, 1 / math.log10(series.size)))


def potential_scale_reduction(series) -> float:
    """Split R-hat of `series [time, chains]` (Gelman et al., 2013): near 1 if all halves of all chains agree.

    Constant and equal chains give NaN.

    Raises:
      ValueError: as `effective_sample_size`.
    """
    series = _checked_series(series)
    if np.ptp(series) == 0:
        return math.nan
    # All chains constant, at different values: there is no variance within to divide by.
    if np.all(np.ptp(series, axis=0) == 0):
        return math.inf
    return math.sqrt(float(tfp.mcmc.potential_scale_reduction(series, split_chains=True)))


def _checked_series(series) -> np.ndarray:
    series = np.asarray(series, np.float64)
    if series.ndim != 2 or len(series) < 4 or series.shape[1] < 1:
        raise ValueError(f"`series` must be [time, chains] with at least 4 times. Received: {series.shape}")
    finite("series", series)
    return series


# Exchanges of a ladder


def swap_acceptance(log_ratios) -> np.ndarray:
    """Mean probability that the neighbours of each pair exchange, float64, `[K]`.

    The mean of min(1, exp(.)) itself, which varies less than the share of exchanges that happened.

    Args:
      log_ratios: as for `neighbour_ratios`.

    Raises:
      ValueError: as `neighbour_ratios`.
    """
    pairs = range(np.shape(log_ratios)[-1] - 1)
    totals = (np.add(*neighbour_ratios(log_ratios, k)) for k in pairs)
    return np.array([np.mean(np.exp(np.minimum(0.0, total))) for total in totals])


def neighbour_ratios(log_ratios, k: int) -> tuple[np.ndarray, np.ndarray]:
    """log p_{k+1} - log p_k of the replicas at beta_k, and log p_k - log p_{k+1} of those at beta_{k+1}.

    Args:
      log_ratios: `[sweeps, ladders, K + 1]`, of a `TemperingTrace` or of several of even lengths in turn.
      k: the lower temperature of the pair, which meets in every second sweep.

    Returns:
      Two arrays, float64, `[sweeps // 2, ladders]`.

    Raises:
      ValueError: if there are fewer than two sweeps, so that some pair never met.
    """
    log_ratios = np.asarray(log_ratios)
    if log_ratios.ndim != 3 or len(log_ratios) < 2:
        raise ValueError(
            "`log_ratios` must be [sweeps, ladders, temperatures] with at least 2 sweeps. Received: "
            f"shape {log_ratios.shape}"
        )
    met = log_ratios[k % 2 : len(log_ratios) // 2 * 2 : 2].astype(np.float64)
    return met[..., k], met[..., k + 1]


def round_trips(ends, num_replicas: int) -> np.ndarray:
    """How often the replicas of each ladder went from beta = 0 to beta = 1 and back, int64, `[ladders]`.

    Args:
      ends: `[sweeps, ladders, 2]`, the replicas in the first and the last slot after each sweep.
      num_replicas: replicas of one ladder.

    Raises:
      ValueError: if the shape is another one.
    """
    ends = np.asarray(ends)
    if ends.ndim != 3 or ends.shape[2] != 2:
        raise ValueError(f"`ends` must be [sweeps, ladders, 2]. Received: {ends.shape}")
    ladders = np.arange(ends.shape[1])
    has_been_up = np.zeros((len(ladders), num_replicas), bool)  # since it was at beta = 0
    has_started = np.zeros_like(has_been_up)
    trips = np.zeros(len(ladders), np.int64)
    for bottom, top in zip(ends[..., 0], ends[..., 1], strict=True):
        trips += has_been_up[ladders, bottom]
        has_been_up[ladders, bottom] = False
        has_started[ladders, bottom] = True
        has_been_up[ladders, top] = has_started[ladders, top]
    return trips


# Machines and their chains


@dataclasses.dataclass(frozen=True)
class ChainHealth:
    """How chains moved in a probe run.

    Attributes:
      autocorrelation_time: of the energy, in sweeps; NaN if it never changed.
      effective_sample_size: of the energies of the whole run; NaN if they never changed.
      r_hat: split R-hat of the energy over the chains; infinite if every chain stands still at an energy of
        its own.
      flip_rate: share of the units that a sweep changes.
      mean_energy: in nats.
      num_chains: number of chains.
      num_sweeps: length of the run.
      warning: what is wrong and what to do about it, or `None`.
    """

    autocorrelation_time: float
    effective_sample_size: float
    r_hat: float
    flip_rate: float
    mean_energy: float
    num_chains: int
    num_sweeps: int
    warning: str | None


def chain_health(
    rbm: RestrictedBoltzmannMachine, state: GibbsState, *, num_sweeps: int = 100, seed
) -> ChainHealth:
    """Runs chains on from their present state and says whether they still mix. The given state is not
    changed.

    The probe sees what happens within its length: chains that all sit in one mode look healthy, whatever else
    the machine has. Compare with parallel tempering to find out.

    Args:
      rbm: the machine.
      state: the chains, `left [chains, left]` and `right [chains, right]` in {0, 1}, such as
        `GibbsState(chains.left, chains.right)` of `PersistentChains`.
      num_sweeps: length of the probe run, at least 10.
      seed: the seed of the probe.

    Returns:
      The health.

    Raises:
      ValueError: if a weight is not finite, the state does not fit the machine, or the run is too short.
    """
    num_sweeps = positive_integer("num_sweeps", num_sweeps)
    if num_sweeps < 10:
        raise ValueError(f"`num_sweeps` must be at least 10 to see a correlation. Received: {num_sweeps}")
    parameters, state = finite_parameters(rbm), _checked_state(rbm, state)
    energies, flip_rate = _probe(parameters, state, tf.constant(num_sweeps), random.as_seed(seed))
    energies, flip_rate = energies.numpy().astype(np.float64), float(flip_rate)  # sums of large ones fit
    time = integrated_autocorrelation_time(energies)
    health = {
        "autocorrelation_time": time,
        "effective_sample_size": energies.size / time,
        "r_hat": potential_scale_reduction(energies),
        "flip_rate": flip_rate,
    }
    return ChainHealth(
        **health,
        mean_energy=float(np.mean(energies)),
        num_chains=energies.shape[1],
        num_sweeps=num_sweeps,
        warning=_chain_warning(**health, num_sweeps=num_sweeps),
    )


def _chain_warning(autocorrelation_time, effective_sample_size, r_hat, flip_rate, num_sweeps):
    if flip_rate < MIN_FLIP_RATE:
        return (
            f"The chains are frozen: a sweep changes {flip_rate:.1e} of the units. The weights have "
            "grown too large: use a smaller learning rate or a weight decay for the machine, and start the "
            "chains anew."
        )
    if not r_hat < MAX_R_HAT:
        return (
            f"The chains disagree: R-hat of the energy is {r_hat:.2f} over {num_sweeps} sweeps (about 1 if "
            "they mix). Use more sweeps an update, a smaller learning rate, or parallel tempering."
        )
    if autocorrelation_time > num_sweeps / 10:
        return (
            f"The energy is correlated over {autocorrelation_time:.0f} sweeps, more than a tenth of the "
            f"{num_sweeps} of the probe run. Use more sweeps an update, or a longer probe to measure it."
        )
    return None


@tf.function
def _probe(parameters: RBMParameters, state: GibbsState, num_sweeps, seed):
    """Energies `[sweeps, chains]` and the share of units that a sweep changes."""
    left_bias, right_bias, coupling = parameters
    seeds = split_seeds(seed, num_sweeps)

    def body(t, left, energies, flips):
        new = gibbs_sweep(parameters, GibbsState(left, None), seed=seeds[t])
        right_part = tf.linalg.matmul(new.left, coupling) + right_bias
        energy = -tf.linalg.matvec(new.left, left_bias) - tf.reduce_sum(right_part * new.right, axis=1)
        flips += tf.reduce_mean(tf.abs(new.left - left))
        return t + 1, new.left, energies.write(t, energy), flips

    start = (0, state.left, tf.TensorArray(tf.float32, num_sweeps), tf.constant(0.0))
    _, _, energies, flips = tf.while_loop(lambda t, *_: t < num_sweeps, body, start)
    return energies.stack(), flips / tf.cast(num_sweeps, tf.float32)


def _checked_state(rbm, state):
    left, right = (tf.cast(tf.convert_to_tensor(s), tf.float32) for s in state)
    wanted = (rbm.left_units, rbm.right_units)
    shapes = tuple(tuple(s.shape) for s in (left, right))
    if any(len(s) != 2 or s[1] != n for s, n in zip(shapes, wanted, strict=True)) or len(left) != len(right):
        raise ValueError(
            f"The state must be left [chains, {wanted[0]}], right [chains, {wanted[1]}]. Received: {shapes}"
        )
    return GibbsState(left, right)
