"""Block Gibbs sampling as pure kernels: (parameters, state, seed) -> state.

Both sides of the bipartite graph are sampled in turn, each given the other, so that a sweep updates
every unit once. The kernels hold no state and leave the distribution of the machine unchanged.

On a CPU a sweep of layers of 100 to 200 units costs as much for random bits as for matrix products.
Hence 16 bits a unit (`unit_noise`), and `floor(probability + noise)` in place of a comparison and a
cast, which take several times as long.
"""

from typing import NamedTuple

import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.rbm import RBMParameters

_MIN_CHAINS_TO_HALVE = 200


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
      The new state, of the same shapes. A logit that is NaN gives a unit that is NaN.
    """
    left_bias, right_bias, coupling = parameters
    left_units, right_units = coupling.shape
    chains = state.left.shape[0] or tf.shape(state.left)[0]
    right_noise, left_noise = unit_noise(chains, (right_units, left_units), seed=seed, dtype=coupling.dtype)

    def tempered(logits):
        # At 1 no product, so that the framework fuses the matrix product, the bias and the sigmoid.
        is_one = isinstance(inverse_temperature, int | float) and inverse_temperature == 1
        return logits if is_one else inverse_temperature * logits

    right_logits = tf.nn.bias_add(tf.linalg.matmul(state.left, coupling), right_bias)
    right = draw_units(tempered(right_logits), right_noise)
    left_logits = tf.nn.bias_add(tf.linalg.matmul(right, coupling, transpose_b=True), left_bias)
    left = draw_units(tempered(left_logits), left_noise)
    return GibbsState(left, right)


def gibbs_sweeps(parameters: RBMParameters, state: GibbsState, num_sweeps: int, *, seed) -> GibbsState:
    """`num_sweeps` sweeps one after the other, in a loop of the graph.

    Args:
      parameters: the machine's weights.
      state: the chains; of `right` only the shape is read.
      num_sweeps: number of sweeps, at least 1.
      seed: the seed of the whole run.

    Returns:
      The last state, of the same shapes.

    Raises:
      ValueError: if `num_sweeps` is not a positive integer.
    """
    num_sweeps = positive_integer("num_sweeps", num_sweeps)
    seeds = split_seeds(seed, num_sweeps, len(halve_chains(state.left)))

    def body(i, lefts, _):
        states = [gibbs_sweep(parameters, GibbsState(z, None), seed=seeds[i, p]) for p, z in enumerate(lefts)]
        lefts, rights = zip(*states, strict=True)
        return i + 1, lefts, rights

    start = (0, halve_chains(state.left), halve_chains(state.right))
    _, lefts, rights = tf.while_loop(lambda i, *_: i < num_sweeps, body, start)
    return GibbsState(join_chains(lefts), join_chains(rights))


def draw_units(logits: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Binary units, 1 with probability sigmoid(logits); `noise` is uniform in [0, 1), of the same shape."""
    return tf.floor(tf.sigmoid(logits) + noise)


def unit_noise(chains, units, *, seed, dtype=tf.float32) -> list[tf.Tensor]:
    """Uniform numbers in [0, 1) for `draw_units`, an array `[chains, n]` for every `n` in `units`.

    Each number is uniform on a grid of 2^-23, so that the probability of a unit is exact to 2^-23. Its 16
    leading bits are its own, the 7 last ones are common to an array: the covariance that this adds between
    two units of an array is at most 2^-34.
    """
    sizes = [chains * n for n in units]
    words = random.bits([(sum(sizes) + 1) // 2 + len(units)], seed=seed)
    halves = tf.reshape(tf.bitcast(words, tf.uint16), [-1])
    arrays, start = [], 0
    for i, (n, size) in enumerate(zip(units, sizes, strict=True)):
        own = tf.cast(tf.reshape(halves[start : start + size], [chains, n]), dtype)
        common = tf.cast(tf.bitwise.bitwise_and(words[-1 - i], 127), dtype)
        arrays.append(own * 2.0**-16 + common * 2.0**-23)
        start = start + size
    return arrays


def split_seeds(seed, *shape) -> tf.Tensor:
    """Independent seeds, int32, shape `shape + [2]`, in one operation, cheaper than one a sweep."""
    # The algorithm is named, for XLA would choose another one inside of loops.
    seeds = tf.random.split(random.as_seed(seed), tf.reduce_prod(shape), alg="philox")
    return tf.reshape(seeds, [*shape, 2])


def halve_chains(chains: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Two halves of many chains `[chains, ...]`, or one part with all of few.

    Matrix products of this size run on one thread; those of the other half fill the second one.
    """
    num_chains = chains.shape[0] or 0
    if num_chains < _MIN_CHAINS_TO_HALVE:
        return (chains,)
    return chains[: num_chains // 2], chains[num_chains // 2 :]


def join_chains(parts) -> tf.Tensor:
    """Undoes `halve_chains`."""
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)
