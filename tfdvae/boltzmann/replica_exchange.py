"""Parallel tempering as a pure kernel: (path, state, seed) -> (state, trace).

A ladder holds one replica of the machine at each of K + 1 inverse temperatures, 0 = beta_0 < ... < beta_K =
1, on

    p_k(left, right) ~ exp(-(1 - beta_k) E_base(left, right) - beta_k E(left, right)),

from a base model of independent units to the machine. A sweep lets neighbours exchange their temperatures
(Hukushima and Nemoto, 1996) and then updates all units of all replicas by block Gibbs sampling. A replica
at beta = 0 is an exact and fresh sample of the base model after each sweep, so that what comes down from
there to beta = 1 has forgotten where it was.

Exchanges act on the left side alone, with the right side summed out: the product of the p_k(left) is left as
it is by an exchange with probability min(1, p_k(l') p_k+1(l) / (p_k(l) p_k+1(l'))), and right is then drawn
from p_k(right | left) at the new temperature, which makes the pair a sample of the joint law again. Less has
to agree than in an exchange of pairs, so more of them are accepted.

Pairs (0, 1), (2, 3), ... exchange in even sweeps and (1, 2), (3, 4), ... in odd ones, which carries replicas
along the ladder faster than pairs drawn at random.
"""

from typing import NamedTuple

import tensorflow as tf

from tfdvae import random
from tfdvae._validation import increasing_from_0_to_1, positive_integer
from tfdvae.boltzmann.gibbs import GibbsState, draw_units, noise_seed, noise_seeds, split_seeds, unit_noise
from tfdvae.boltzmann.rbm import RBMParameters

_MIN_REPLICAS_TO_HALVE = 200


class TemperedPath(NamedTuple):
    """The distributions of a ladder; `base_left [left]`, `base_right [right]` are the base model's biases."""

    parameters: RBMParameters
    base_left: tf.Tensor
    base_right: tf.Tensor
    inverse_temperatures: tf.Tensor  # float32 `[temperatures]`, increasing from 0 to 1


class TemperingState(NamedTuple):
    """`left [ladders, replicas, left]` in {0, 1}; `slot [ladders, replicas]`, int32, numbers the
    temperatures.

    A replica keeps its row; in every ladder, the slots are a permutation of 0..K.
    """

    left: tf.Tensor
    slot: tf.Tensor


class TemperingTrace(NamedTuple):
    """What a run leaves behind, a row for each sweep.

    `log_ratios [sweeps, ladders, K + 1]`, float32: log p_m(left) - log p_k(left), unnormalized, of the
    replica that was in slot k when the sweep began, where m is the slot it could go to (k + 1, k - 1, or k
    itself at an end of the ladder that has no partner in that sweep).
    `ends [sweeps, ladders, 2]`, int32: the replicas in the slots 0 and K after the exchange.
    """

    log_ratios: tf.Tensor
    ends: tf.Tensor


def tempering_start(path: TemperedPath, num_ladders: int, *, seed) -> TemperingState:
    """Replicas that are all exact samples of the base model, replica k in slot k.

    Raises:
      ValueError: if `num_ladders` is not a positive integer, the inverse temperatures do not increase from 0
        to 1, or the base model does not fit the machine.
    """
    num_ladders = positive_integer("num_ladders", num_ladders)
    _check_path(path)
    slots, units = path.inverse_temperatures.shape[0], path.base_left.shape[0]
    noise = unit_noise(num_ladders * slots, units, noise_seed(seed, dtype=path.base_left.dtype))
    left = draw_units(tf.broadcast_to(path.base_left, noise.shape), noise)
    slot = tf.broadcast_to(tf.range(slots), [num_ladders, slots])
    return TemperingState(tf.reshape(left, [num_ladders, slots, units]), slot)


def tempering_sweeps(
    path: TemperedPath, state: TemperingState, num_sweeps: int, *, seed
) -> tuple[TemperingState, TemperingTrace]:
    """`num_sweeps` sweeps, beginning with an even one: exchange, then right given left, then left given
    right.

    Args:
      path: the machine, the base model and the inverse temperatures.
      state: the ladders.
      num_sweeps: number of sweeps, at least 1.
      seed: the seed of the whole run.

    Returns:
      The last state and the trace.

    Raises:
      ValueError: if `num_sweeps` is not a positive integer.
    """
    num_sweeps = positive_integer("num_sweeps", num_sweeps)
    ladders, replicas = state.slot.shape
    num_parts = 2 if ladders > 1 and ladders * replicas >= _MIN_REPLICAS_TO_HALVE else 1
    return _sweeps(path, state, tf.constant(num_sweeps), random.as_seed(seed), num_parts=num_parts)


def samples_at(path: TemperedPath, state: TemperingState, slot: int = -1, *, seed) -> GibbsState:
    """Every ladder's replica in a slot, `left [ladders, left]`, with `right [ladders, right]` given it."""
    slot %= path.inverse_temperatures.shape[0]
    return _samples_at(path, state, tf.constant(slot), random.as_seed(seed))


def _check_path(path):
    betas = path.inverse_temperatures.numpy()
    if betas.ndim != 1 or len(betas) < 2:
        raise ValueError(
            "`inverse_temperatures` must be at least two, from 0 to 1. Received: a ladder of the shape "
            f"{betas.shape}"
        )
    increasing_from_0_to_1("inverse_temperatures", betas)
    left, right = path.parameters.coupling.shape
    if path.base_left.shape != (left,) or path.base_right.shape != (right,):
        raise ValueError(
            f"The base model must have the biases [{left}] and [{right}]. Received: "
            f"{path.base_left.shape} and {path.base_right.shape}"
        )


# Shapes are left open, so that another machine or a longer ladder is not traced again.
_PATH = TemperedPath(
    RBMParameters(tf.TensorSpec([None]), tf.TensorSpec([None]), tf.TensorSpec([None, None])),
    *(tf.TensorSpec([None]) for _ in range(3)),
)
_STATE = TemperingState(tf.TensorSpec([None, None, None]), tf.TensorSpec([None, None], tf.int32))


@tf.function(input_signature=[_PATH, _STATE, tf.TensorSpec([], tf.int32), tf.TensorSpec([2], tf.int32)])
def _samples_at(path, state, slot, seed):
    replicas = tf.argmax(tf.equal(state.slot, slot), axis=1)
    left = tf.gather(state.left, replicas, batch_dims=1)
    _, right_bias, coupling = path.parameters
    noise = unit_noise(tf.shape(left)[0], tf.size(right_bias), noise_seed(seed, dtype=left.dtype))
    slope = tf.nn.bias_add(tf.linalg.matmul(left, coupling), right_bias - path.base_right)
    return GibbsState(left, draw_units(path.base_right + path.inverse_temperatures[slot] * slope, noise))


def _sweeps(path, state, num_sweeps, seed, *, num_parts):
    return (_sweeps_in_one_part, _sweeps_in_two_parts)[num_parts - 1](path, state, num_sweeps, seed)


@tf.function(input_signature=[_PATH, _STATE, tf.TensorSpec([], tf.int32), tf.TensorSpec([2], tf.int32)])
def _sweeps_in_one_part(path, state, num_sweeps, seed):
    return _run(path, state, num_sweeps, seed)


@tf.function(input_signature=[_PATH, _STATE, tf.TensorSpec([], tf.int32), tf.TensorSpec([2], tf.int32)])
def _sweeps_in_two_parts(path, state, num_sweeps, seed):
    # Products of this size run on one thread; the loop over the other half of the ladders fills the second
    # one.
    half = tf.shape(state.slot)[0] // 2
    parts = (
        TemperingState(*(s[:half] for s in state)),
        TemperingState(*(s[half:] for s in state)),
    )
    seeds = random.split(seed, salt="tempering_parts")
    (first, first_trace), (second, second_trace) = (
        _run(path, part, num_sweeps, part_seed) for part, part_seed in zip(parts, seeds, strict=True)
    )
    state = TemperingState(*(tf.concat(s, 0) for s in zip(first, second, strict=True)))
    trace = TemperingTrace(*(tf.concat(t, 1) for t in zip(first_trace, second_trace, strict=True)))
    return state, trace


def _run(path, state, num_sweeps, seed):
    ladders, replicas, units = tf.unstack(tf.shape(state.left))
    seed_noise, seed_swaps = random.split(seed, salt="tempering_sweeps")
    noises, swaps = noise_seeds(seed_noise, num_sweeps, 2), split_seeds(seed_swaps, num_sweeps)

    def body(t, left, slot, log_ratios, ends):
        left, slot, log_ratio, end = _sweep(path, left, slot, t % 2, *noises.of_step(t), swaps[t])
        return t + 1, left, slot, log_ratios.write(t, log_ratio), ends.write(t, end)

    _, left, slot, log_ratios, ends = tf.while_loop(
        lambda t, *_: t < num_sweeps,
        body,
        (
            0,
            tf.reshape(state.left, [ladders * replicas, units]),
            state.slot,
            tf.TensorArray(tf.float32, num_sweeps),
            tf.TensorArray(tf.int32, num_sweeps),
        ),
    )
    state = TemperingState(tf.reshape(left, [ladders, replicas, units]), slot)
    return state, TemperingTrace(log_ratios.stack(), ends.stack())


def _sweep(path, left, slot, parity, right_seed, left_seed, swap_seed):
    """One sweep of rows `left [ladders * replicas, left]`; also returns what the trace keeps of it."""
    (left_bias, right_bias, coupling), base_left, base_right, betas = path
    left_change, right_change = left_bias - base_left, right_bias - base_right
    ladders, replicas = tf.unstack(tf.shape(slot))
    right_noise = unit_noise(ladders * replicas, tf.shape(coupling)[1], right_seed)
    left_noise = unit_noise(ladders * replicas, tf.shape(coupling)[0], left_seed)

    # The logits are linear in beta: one product serves both temperatures of the ratio and the Gibbs step.
    slope = tf.nn.bias_add(tf.linalg.matmul(left, coupling), right_change)
    partners = _partners(replicas, parity)
    here, there = (_rows(tf.gather(betas, s)) for s in (slot, tf.gather(partners, slot)))
    # The difference before the sum: the sum of one temperature has lost the digits that matter.
    ratio = tf.nn.softplus(base_right + there * slope) - tf.nn.softplus(base_right + here * slope)
    ratio = tf.reduce_sum(ratio, 1) + (there - here)[:, 0] * tf.linalg.matvec(left, left_change)

    # The place of a replica when sorted by its slot.
    places = slot + replicas * tf.range(ladders)[:, tf.newaxis]
    replica_in_slot = tf.reshape(tf.math.invert_permutation(tf.reshape(places, [-1])), tf.shape(slot))
    log_ratio = tf.gather(ratio, replica_in_slot)
    accepted = _accepted(log_ratio, partners, seed=swap_seed)
    slot = tf.where(tf.gather(tf.reshape(accepted, [-1]), places), tf.gather(partners, slot), slot)
    ends = tf.stack([_replica_in(slot, 0), _replica_in(slot, replicas - 1)], axis=1)

    beta = _rows(tf.gather(betas, slot))
    right = draw_units(base_right + beta * slope, right_noise)
    slope = tf.nn.bias_add(tf.linalg.matmul(right, coupling, transpose_b=True), left_change)
    left = draw_units(base_left + beta * slope, left_noise)
    return left, slot, log_ratio, ends


def _partners(slots, parity):
    """The slot that each slot exchanges with, `[slots]`; itself where there is none."""
    k = tf.range(slots)
    partners = tf.where((k + parity) % 2 == 0, k + 1, k - 1)
    return tf.where((partners < 0) | (partners >= slots), k, partners)


def _accepted(log_ratio, partners, *, seed):
    """Which slots `[ladders, slots]` exchange: with probability min(1, exp(sum of the pair's log ratios))."""
    lower = tf.minimum(partners, tf.range(tf.size(partners)))  # both of a pair look at one number
    log_uniform = tf.math.log(tf.gather(random.uniform(tf.shape(log_ratio), seed=seed), lower, axis=1))
    return log_uniform < log_ratio + tf.gather(log_ratio, partners, axis=1)


def _replica_in(slot, wanted):
    return tf.argmax(tf.equal(slot, wanted), axis=1, output_type=tf.int32)


def _rows(values):
    return tf.reshape(values, [-1, 1])
