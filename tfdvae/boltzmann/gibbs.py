"""Block Gibbs sampling as pure kernels: (parameters, state, seed) -> state.

Both sides of the bipartite graph are sampled in turn, each given the other, so that a sweep updates
every unit once. The kernels hold no state and leave the distribution of the machine unchanged.

On a CPU a sweep of layers of 100 to 200 units costs as much for random bits as for matrix products.
Hence 16 bits a unit (`unit_noise`), seeds that are made before a loop and not in it, `floor(probability +
noise)` in place of a comparison and a cast, which take several times as long, and parts of the chains that
run side by side (`split_chains`).

The price is the resolution. A unit is 1 with a multiple of 2^-23 for a probability, which is within 2^-22 of
p = sigmoid(logit): units whose p or 1 - p is below about 2^-23, those of logits beyond 16.2, never flip. So a
sweep of n units differs from the exact one by a total variation of at most n 2^-22 + n^2 2^-34, where the
second term comes from bits that units share. Of chains that run T sweeps, at most T times that share end
elsewhere than exact ones would: 5 % for 200 units and 1,000 sweeps, each by one flip. Where such flips alone
join two modes, no chain passes from one to the other; exact chains would take millions of sweeps. The mean
weight of annealed importance sampling changes by a factor: the mean, over paths of the reverse annealing, of
the product of drawn probability over p, which near equilibrium is 1 to first order. By enumeration of
machines with logits up to 100, log Z moves by 1e-6 nats in 200 temperatures. `row_gibbs_sweeps` is within
2^-23 of p.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.rbm import RBMParameters

# An operation on more units is shared among threads, which then wait for one another (see `split_chains`).
_UNITS_OF_A_PART = 25_000
_MAX_PARTS = 10


class GibbsState(NamedTuple):
    """`left [chains, left]`, `right [chains, right]`, float32 in {0, 1}."""

    left: tf.Tensor
    right: tf.Tensor


def gibbs_sweep(
    parameters: RBMParameters,
    state: GibbsState,
    *,
    seed,
    inverse_temperature=1.0,
    first: str = "right",
    clamped: GibbsState | None = None,
) -> GibbsState:
    """One sweep: right ~ p(right | left), then left ~ p(left | right), or the other way round.

    Args:
      parameters: the machine's weights.
      state: the chains. Of the side that is drawn first only clamped units are read; without any, it may
        be `None`.
      seed: the sweep's seed.
      inverse_temperature: what multiplies the energy, a scalar or a tensor `[chains, 1]`; not negative.
      first: the side that is drawn first, `"right"` or `"left"`.
      clamped: units that keep the values of `state`, as boolean masks `GibbsState(left, right)`, each
        `[units]`, `[chains, units]` or `None`. The others then follow their law given the clamped ones.

    Returns:
      The new state, of the same shapes. A logit that is NaN gives a unit that is NaN.

    Raises:
      ValueError: if `inverse_temperature` is a negative number, `first` is no side, or a mask does not fit.
    """
    _check_inverse_temperature(inverse_temperature)
    _check_first(first)
    masks = _masks(clamped, state, parameters)
    seeds = noise_seeds(seed, 1, 2, dtype=parameters.coupling.dtype).of_step(0)
    return _sweep(parameters, state, seeds, inverse_temperature, first, masks)


def _sweep(parameters, state, seeds, inverse_temperature, first, masks) -> GibbsState:
    left_bias, right_bias, coupling = parameters
    left_units, right_units = (coupling.shape[i] or tf.shape(coupling)[i] for i in (0, 1))
    given = state.left if first == "right" else state.right
    chains = given.shape[0] or tf.shape(given)[0]
    left_clamped, right_clamped = masks
    right_noise, left_noise = (
        unit_noise(chains, right_units, seeds[0]),
        unit_noise(chains, left_units, seeds[1]),
    )

    def tempered(logits):
        # At 1 no product, so that the framework fuses the matrix product, the bias and the sigmoid.
        is_one = isinstance(inverse_temperature, int | float) and inverse_temperature == 1
        return logits if is_one else inverse_temperature * logits

    def draw_right(left):
        logits = tf.nn.bias_add(tf.linalg.matmul(left, coupling), right_bias)
        right = draw_units(tempered(logits), right_noise)
        return right if right_clamped is None else tf.where(right_clamped, state.right, right)

    def draw_left(right):
        logits = tf.nn.bias_add(tf.linalg.matmul(right, coupling, transpose_b=True), left_bias)
        left = draw_units(tempered(logits), left_noise)
        return left if left_clamped is None else tf.where(left_clamped, state.left, left)

    if first == "right":
        right = draw_right(state.left)
        return GibbsState(draw_left(right), right)
    left = draw_left(state.right)
    return GibbsState(left, draw_right(left))


def gibbs_sweeps(
    parameters: RBMParameters,
    state: GibbsState,
    num_sweeps: int,
    *,
    seed,
    inverse_temperature=1.0,
    first: str = "right",
    clamped: GibbsState | None = None,
) -> GibbsState:
    """`num_sweeps` sweeps one after the other, in a loop of the graph.

    Args:
      parameters: the machine's weights.
      state: the chains; of the side that is drawn first only the shape and clamped units are read.
      num_sweeps: number of sweeps, at least 1.
      seed: the seed of the whole run.
      inverse_temperature: as in `gibbs_sweep`.
      first: as in `gibbs_sweep`.
      clamped: as in `gibbs_sweep`.

    Returns:
      The last state, of the same shapes.

    Raises:
      ValueError: if `num_sweeps` is not a positive integer; and as `gibbs_sweep`.
    """
    num_sweeps = positive_integer("num_sweeps", num_sweeps)
    _check_inverse_temperature(inverse_temperature)
    _check_first(first)
    masks = _masks(clamped, state, parameters)
    lefts, rights = (split_chains(side, max(parameters.coupling.shape)) for side in state)
    betas, *masks = (_split_like(lefts, values) for values in (inverse_temperature, *masks))
    seeds = noise_seeds(seed, num_sweeps, 2 * len(lefts), dtype=parameters.coupling.dtype)

    def body(i, lefts, rights):
        step_seeds = seeds.of_step(i)
        states = [
            _sweep(parameters, GibbsState(left, right), step_seeds[2 * p :][:2], beta, first, part_masks)
            for p, (left, right, beta, *part_masks) in enumerate(
                zip(lefts, rights, betas, *masks, strict=True)
            )
        ]
        return i + 1, *(tuple(side) for side in zip(*states, strict=True))

    _, lefts, rights = tf.while_loop(lambda i, *_: i < num_sweeps, body, (0, lefts, rights))
    return GibbsState(join_chains(lefts), join_chains(rights))


_SWEEPS_AT_A_TIME = 16  # of `row_gibbs_sweeps`: their random numbers are drawn together


def row_gibbs_sweeps(
    parameters: RBMParameters, left: tf.Tensor, num_sweeps: tf.Tensor, *, seeds
) -> GibbsState:
    """Chains that know nothing of one another: each has its own stream and its own number of sweeps.

    What becomes of a chain is the same whatever the batch that it runs in, for a server that merges requests.

    Args:
      parameters: the machine's weights.
      left: where the chains start, `[chains, left]`.
      num_sweeps: of each chain, int32 `[chains]`, at least 1.
      seeds: of each chain, int32 `[chains, 2]`.

    Returns:
      Each chain after its own number of sweeps; a chain in excess of it waits for the others.
    """
    left_bias, right_bias, coupling = parameters
    chains, (left_units, right_units) = tf.shape(left)[0], coupling.shape
    longest = tf.reduce_max(num_sweeps)

    def block(first, left, right):
        seeds_of_sweeps = random.fold_in(seeds[:, tf.newaxis], first + tf.range(_SWEEPS_AT_A_TIME))
        shape = [chains, _SWEEPS_AT_A_TIME, right_units + left_units]
        cells = tf.transpose(random.uniform(shape, seed=seeds_of_sweeps, dtype=left.dtype), [1, 0, 2])
        end = tf.minimum(first + _SWEEPS_AT_A_TIME, longest)

        def sweep(i, left, right):
            cells_right, cells_left = tf.split(cells[i - first], [right_units, left_units], axis=-1)
            new_right = tf.cast(cells_right < tf.sigmoid(left @ coupling + right_bias), left.dtype)
            left_logits = tf.linalg.matmul(new_right, coupling, transpose_b=True) + left_bias
            new_left = tf.cast(cells_left < tf.sigmoid(left_logits), left.dtype)
            running = (i < num_sweeps)[:, tf.newaxis]
            return i + 1, tf.where(running, new_left, left), tf.where(running, new_right, right)

        return tf.while_loop(lambda i, *_: i < end, sweep, (first, left, right))

    start = (0, left, tf.zeros([chains, right_units], left.dtype))
    return GibbsState(*tf.while_loop(lambda first, *_: first < longest, block, start)[1:])


def _check_inverse_temperature(inverse_temperature):
    is_number = isinstance(inverse_temperature, int | float | np.number)
    if is_number and not 0 <= inverse_temperature < math.inf:
        raise ValueError(
            "`inverse_temperature` must be finite and not negative. Received: "
            f"inverse_temperature={inverse_temperature!r}"
        )


def _check_first(first):
    if first not in ("left", "right"):
        raise ValueError(f'`first` must be "left" or "right". Received: first={first!r}')


def _masks(clamped, state, parameters):
    """The two masks as boolean tensors, `None` where a side is free."""
    if clamped is None:
        return None, None
    masks = []
    for side, mask, values, bias in zip(("left", "right"), clamped, state, parameters[:2], strict=True):
        if mask is None:
            masks.append(None)
            continue
        mask = tf.convert_to_tensor(mask)
        if mask.dtype != tf.bool or mask.shape.rank not in (1, 2) or mask.shape[-1] != bias.shape[0]:
            raise ValueError(
                f"`clamped.{side}` must be boolean, [{bias.shape[0]}] or [chains, {bias.shape[0]}]. "
                f"Received: a tensor of shape {mask.shape} and dtype {mask.dtype.name}"
            )
        if values is None or not mask.shape[:-1].is_compatible_with(values.shape[: mask.shape.rank - 1]):
            shape = None if values is None else values.shape
            raise ValueError(
                f"`clamped.{side}` keeps the values of `state.{side}`, which must have as many chains. "
                f"Received: a mask of shape {mask.shape} and a state of shape {shape}"
            )
        masks.append(mask)
    return tuple(masks)


def _split_like(parts, values):
    """For each part of the chains the values that belong to it: a share of `[chains, n]`, else all."""
    if len(parts) == 1 or np.ndim(values) < 2:
        return (values,) * len(parts)
    return tf.split(values, [part.shape[0] for part in parts])


def draw_units(logits: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Binary units, 1 with probability sigmoid(logits); `noise` is uniform in [0, 1), of the same shape.

    With noise on a grid of 2^-23, in float32, that is right to 2^-22: the sum is rounded in steps of 2^-24,
    so that a unit is 1 for all multiples of 2^-23 from 1 - 2^-25 - sigmoid(logits) on.
    """
    return tf.floor(tf.sigmoid(logits) + noise)


class NoiseSeed(NamedTuple):
    """What an array of `unit_noise` is made from: a key, uint64 `[1]`, and an offset in [0, 2^-16)."""

    key: tf.Tensor
    offset: tf.Tensor


class NoiseSeeds(NamedTuple):
    """Seeds of all arrays of a loop: `keys [steps, arrays, 1]`, `offsets [steps, arrays]`."""

    keys: tf.Tensor
    offsets: tf.Tensor

    def of_step(self, step) -> list[NoiseSeed]:
        """The seeds of a step's arrays."""
        return [NoiseSeed(*s) for s in zip(*(tf.unstack(v[step]) for v in self), strict=True)]


def noise_seeds(seed, num_steps, num_arrays: int, *, dtype=tf.float32) -> NoiseSeeds:
    """Independent seeds for `unit_noise`, all at once, which is cheaper than some in each step of a loop."""
    words = random.bits([num_steps, num_arrays, 3], seed=seed)
    offsets = tf.cast(tf.bitwise.bitwise_and(words[..., 2], 127), dtype) * 2.0**-23
    return NoiseSeeds(tf.bitcast(words[..., :2], tf.uint64)[..., tf.newaxis], offsets)


def noise_seed(seed, *, dtype=tf.float32) -> NoiseSeed:
    """The seed of one array."""
    return noise_seeds(seed, 1, 1, dtype=dtype).of_step(0)[0]


def unit_noise(chains, units, seed: NoiseSeed) -> tf.Tensor:
    """Uniform numbers in [0, 1) for `draw_units`, shape `[chains, units]`, dtype of the offset.

    Each number is uniform on a grid of 2^-23, and exact: 23 bits fit a float32. Its 16 leading bits are its
    own, the 7 last ones are common to the array: the covariance that this adds between two of its units is
    at most 2^-34.
    """
    size = chains * units
    words = random.bits_of_key([(size + 1) // 2], seed.key)
    own = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:size]
    return tf.cast(tf.reshape(own, [chains, units]), seed.offset.dtype) * 2.0**-16 + seed.offset


def split_seeds(seed, *shape) -> tf.Tensor:
    """Independent seeds, int32, shape `shape + [2]`, in one operation, cheaper than one a sweep."""
    # The algorithm is named, for XLA would choose another one inside of loops.
    seeds = tf.random.split(random.as_seed(seed), tf.reduce_prod(shape), alg="philox")
    return tf.reshape(seeds, [*shape, 2])


def split_chains(chains: tf.Tensor, units: int) -> tuple[tf.Tensor, ...]:
    """Parts of the chains `[chains, ...]` that fill the threads, for layers of up to `units` units.

    TensorFlow shares an operation on many units among its threads, which then wait for one another, and
    runs small operations whole, side by side where they do not depend on one another. So parts are as large
    as one thread takes whole. Where that would be too many parts, threads wait little in comparison with
    the work, and two parts fill the gaps.
    """
    num_chains = chains.shape[0] or 1
    num_parts = min(-(-num_chains * (units or 1) // _UNITS_OF_A_PART), num_chains)
    if num_parts == 1:
        return (chains,)
    num_parts = num_parts if num_parts <= _MAX_PARTS else 2
    sizes = [num_chains // num_parts + (p < num_chains % num_parts) for p in range(num_parts)]
    return tuple(tf.split(chains, sizes))


def join_chains(parts) -> tf.Tensor:
    """Undoes `split_chains`."""
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)
