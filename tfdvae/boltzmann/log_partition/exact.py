"""log Z and exact samples by enumeration of the smaller side."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.gibbs import GibbsState
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine, finite_parameters

MAX_UNITS = 25
_STATES_TIMES_UNITS = 2**27  # that are enumerated in about a second
_BLOCK_ELEMENTS = 2**18  # elements of one block of logits: 2 MB of float64, which stays in the cache
_MAX_BLOCK_BITS = 20  # at most 2**20 blocks, of which one number each is kept


class _Sides(NamedTuple):
    """A machine in float64, seen from its smaller side, whose states are enumerated in blocks.

    The first `block_bits` units take all their states within a block, the others one state a block.
    """

    bias: tf.Tensor
    other_bias: tf.Tensor
    coupling: tf.Tensor
    block_bits: tf.Tensor


def is_quick(rbm: RestrictedBoltzmannMachine, seconds: float = 1.0) -> bool:
    """Whether the enumeration takes no more than about so many seconds, 2^smaller x larger <= 2^27 each."""
    smaller, larger = sorted((rbm.left_units, rbm.right_units))
    return smaller <= MAX_UNITS and 2**smaller * larger <= seconds * _STATES_TIMES_UNITS


def exact(rbm: RestrictedBoltzmannMachine) -> LogPartitionEstimate:
    """log Z = log sum_s exp(-F(s)) over all states s of the smaller side, in float64.

    F is the free energy, with the larger side summed out. Time grows as 2^smaller x larger (2^20 x 20
    takes 0.15 s on two cores, 2^20 x 784 and 2^25 x 25 about 10 s); memory is bounded.

    Args:
      rbm: the machine; its smaller side has at most 25 units.

    Returns:
      The estimate with `lower = upper = value` and `standard_error = 0`, in nats.

    Raises:
      ValueError: if the smaller side has more than 25 units, or a weight is not finite.
    """
    sides = _sides(rbm, "Use `annealed_importance_sampling` instead.")
    value = float(tf.reduce_logsumexp(_block_log_sums(*sides)))
    return LogPartitionEstimate(
        value=value,
        standard_error=0.0,
        lower=value,
        upper=value,
        diagnostics={"method": "exact", "num_states": 2 ** len(sides.bias), "trustworthy": True},
    )


def exact_samples(rbm: RestrictedBoltzmannMachine, num_samples: int, *, seed) -> GibbsState:
    """Independent exact samples of the machine, by enumeration of the smaller side.

    Two passes in bounded memory: the first one sums every block of states, as `exact` does; the second one
    draws a block for each sample and a state within it, by inversion of their distribution functions, and
    recomputes only the blocks that were drawn. The larger side is drawn given the smaller one. Uniform
    numbers have 31 bits, so probabilities are exact to 2^-31.

    Args:
      rbm: the machine; its smaller side has at most 25 units.
      num_samples: number of samples, at least 1.
      seed: the seed.

    Returns:
      `left [num_samples, left]`, `right [num_samples, right]`, float32 in {0, 1}.

    Raises:
      ValueError: if the smaller side has more than 25 units, a weight is not finite, or `num_samples` is not
        a positive integer.
    """
    num_samples = positive_integer("num_samples", num_samples)
    sides = _sides(rbm, "Samples of a larger machine come from `gibbs_sweeps` or parallel tempering.")
    seed_block, seed_state, seed_other = random.split(seed, 3, salt="exact_samples")
    blocks = _invert(
        _block_log_sums(*sides), random.uniform([num_samples], seed=seed_block, dtype=tf.float64)
    )
    levels = random.uniform([num_samples], seed=seed_state, dtype=tf.float64).numpy()

    numbers = np.empty(num_samples, np.int64)
    order = np.argsort(blocks, kind="stable")
    drawn, starts = np.unique(blocks[order], return_index=True)
    for block, members in zip(drawn, np.split(order, starts[1:]), strict=True):
        within = _invert(_block_log_weights(*sides, tf.constant(block, tf.int32)), levels[members])
        numbers[members] = (block << int(sides.block_bits)) + within
    smaller = (numbers[:, np.newaxis] >> np.arange(len(sides.bias))) & 1

    smaller = tf.constant(smaller, tf.float64)
    logits = tf.linalg.matmul(smaller, sides.coupling) + sides.other_bias
    larger = random.bernoulli(tf.sigmoid(logits), seed=seed_other)
    left, right = (larger, smaller) if rbm.left_units > rbm.right_units else (smaller, larger)
    return GibbsState(tf.cast(left, tf.float32), tf.cast(right, tf.float32))


def binary_states(units) -> tf.Tensor:
    """All states of `units` binary units, float64, shape `[2**units, units]`; the first varies fastest."""
    shifts = tf.range(units)
    numbers = tf.range(tf.bitwise.left_shift(1, units))
    return tf.cast(tf.bitwise.right_shift(numbers[:, tf.newaxis], shifts) % 2, tf.float64)


def _sides(rbm, advice):
    smaller, larger = sorted((rbm.left_units, rbm.right_units))
    if smaller > MAX_UNITS:
        raise ValueError(
            f"The smaller side must have at most {MAX_UNITS} units to be enumerated. Received a machine of "
            f"{rbm.left_units} + {rbm.right_units} units. {advice}"
        )
    bias, other_bias, coupling = (tf.cast(p, tf.float64) for p in finite_parameters(rbm))
    if rbm.left_units > rbm.right_units:
        bias, other_bias, coupling = other_bias, bias, tf.transpose(coupling)
    block_bits = max(0, (_BLOCK_ELEMENTS // larger).bit_length() - 1, smaller - _MAX_BLOCK_BITS)
    return _Sides(bias, other_bias, coupling, tf.constant(min(smaller, block_bits)))


def _invert(log_weights, levels):
    """The indices at which the distribution function of the weights passes `levels` in (0, 1), int64."""
    log_weights = np.asarray(log_weights)
    sums = np.cumsum(np.exp(log_weights - np.max(log_weights)))
    # Of equal sums the first one: a state without weight is never drawn.
    return np.searchsorted(sums, np.asarray(levels) * sums[-1])


_SIDES_SIGNATURE = [
    tf.TensorSpec([None], tf.float64),
    tf.TensorSpec([None], tf.float64),
    tf.TensorSpec([None, None], tf.float64),
    tf.TensorSpec([], tf.int32),
]


@tf.function(input_signature=_SIDES_SIGNATURE)
def _block_log_sums(bias, other_bias, coupling, block_bits):
    """log sum exp(-F) over the states of each block, `[blocks]`."""
    log_weights_of = _block_function(_Sides(bias, other_bias, coupling, block_bits))
    num_blocks = tf.bitwise.left_shift(1, tf.size(bias) - block_bits)

    def body(block, sums):
        return block + 1, sums.write(block, tf.reduce_logsumexp(log_weights_of(block)))

    sums = tf.TensorArray(tf.float64, size=num_blocks, element_shape=[])
    loop = tf.while_loop(lambda block, _: block < num_blocks, body, (0, sums), parallel_iterations=2)
    return loop[1].stack()


@tf.function(input_signature=[*_SIDES_SIGNATURE, tf.TensorSpec([], tf.int32)])
def _block_log_weights(bias, other_bias, coupling, block_bits, block):
    """-F of the states of one block, `[2**block_bits]`."""
    return _block_function(_Sides(bias, other_bias, coupling, block_bits))(block)


def _block_function(sides):
    # The products with the units that vary within a block are the same in every block.
    states = binary_states(sides.block_bits)
    block_logits = tf.linalg.matmul(states, sides.coupling[: sides.block_bits]) + sides.other_bias
    block_bias = tf.linalg.matvec(states, sides.bias[: sides.block_bits])
    rest_bias, rest_coupling = sides.bias[sides.block_bits :], sides.coupling[sides.block_bits :]
    shifts = tf.range(tf.size(rest_bias))

    def log_weights(block):
        state = tf.cast(tf.bitwise.right_shift(block, shifts) % 2, tf.float64)
        logits = block_logits + tf.linalg.matvec(rest_coupling, state, transpose_a=True)
        rest = tf.tensordot(rest_bias, state, 1)
        return block_bias + tf.reduce_sum(tf.nn.softplus(logits), axis=1) + rest

    return log_weights
