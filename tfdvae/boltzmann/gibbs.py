"""Block Gibbs sampling as pure kernels: (parameters, state, seed) -> state.

Both sides of the bipartite graph are sampled in turn, each given the other, so that a sweep updates
every unit once. The kernels hold no state and leave the distribution of the machine unchanged.
"""

from typing import NamedTuple

import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann.rbm import RBMParameters

_CHAINS_PER_GROUP = 250
_MAX_GROUPS = 4


class GibbsState(NamedTuple):
    """`left [chains, left]`, `right [chains, right]`, float32 in {0, 1}."""

    left: tf.Tensor
    right: tf.Tensor


def gibbs_sweep(parameters: RBMParameters, state: GibbsState, *, seed, inverse_temperature=1.0) -> GibbsState:
    """One sweep: right ~ p(right | left), then left ~ p(left | right).

    Args:
      parameters: the machine's weights.
      state: the chains; only `left` is read.
      seed: the sweep's seed.
      inverse_temperature: scalar that multiplies the energy, or a tensor `[chains, 1]`.

    Returns:
      The new state, of the same shapes.
    """
    left_bias, right_bias, coupling = parameters
    chains = state.left.shape[0] or tf.shape(state.left)[0]
    left_units, right_units = coupling.shape
    right_noise, left_noise = _noise(chains, (right_units, left_units), seed)

    def draw(logits, noise):
        if not isinstance(inverse_temperature, float) or inverse_temperature != 1.0:
            logits = inverse_temperature * logits
        return tf.floor(tf.sigmoid(logits) + noise)

    # bias_add: the framework fuses it with the product and the sigmoid.
    right = draw(tf.nn.bias_add(tf.linalg.matmul(state.left, coupling), right_bias), right_noise)
    left = draw(tf.nn.bias_add(tf.linalg.matmul(right, coupling, transpose_b=True), left_bias), left_noise)
    return GibbsState(left, right)


def _noise(chains, units, seed):
    sizes = [chains * n for n in units]
    words = random.bits([(sum(sizes) + 1) // 2 + 1], seed=seed)
    halves = tf.reshape(tf.bitcast(words, tf.uint16), [-1])
    noise, start = [], 0
    for i, (size, n) in enumerate(zip(sizes, units, strict=True)):
        dither = tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(words[-1], 7 * i), 127), tf.float32)
        cells = tf.cast(tf.reshape(halves[start : start + size], [chains, n]), tf.float32)
        noise.append(cells * 2.0**-16 + dither * 2.0**-23)
        start = start + size
    return noise


def gibbs_sweeps(parameters: RBMParameters, state: GibbsState, num_sweeps: int, *, seed) -> GibbsState:
    """`num_sweeps` sweeps one after the other, in a loop of the graph; returns the last state."""
    chains = state.left.shape[0] or 1
    groups = min(_MAX_GROUPS, max(1, chains // _CHAINS_PER_GROUP))
    seeds = tf.reshape(tf.random.split(random.as_seed(seed), num_sweeps * groups), [num_sweeps, groups, 2])
    if groups == 1:
        states = [GibbsState(*state)]
    else:
        sizes = [chains * (g + 1) // groups - chains * g // groups for g in range(groups)]
        states = [GibbsState(*s) for s in zip(tf.split(state.left, sizes), tf.split(state.right, sizes), strict=True)]

    def body(i, states):
        return i + 1, [gibbs_sweep(parameters, s, seed=seeds[i, g]) for g, s in enumerate(states)]

    _, states = tf.while_loop(lambda i, _: i < num_sweeps, body, (0, states))
    if groups == 1:
        return states[0]
    return GibbsState(*(tf.concat(side, 0) for side in zip(*states, strict=True)))
