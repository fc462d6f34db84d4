"""Block Gibbs sampling as pure kernels: (parameters, state, seed) -> state.

Both sides of the bipartite graph are sampled in turn, each given the other, so that a sweep updates
every unit once. The kernels hold no state and leave the distribution of the machine unchanged.

On a CPU a sweep of layers of 100 to 200 units costs as much for random bits as for matrix products.
Hence 16 bits a unit (`unit_noise`), and `floor(probability + noise)` in place of a comparison and a
cast, which take several times as long.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.rbm import RBMParameters

_MIN_CHAINS_TO_HALVE = 200


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
    left_bias, right_bias, coupling = parameters
    left_units, right_units = (coupling.shape[i] or tf.shape(coupling)[i] for i in (0, 1))
    given = state.left if first == "right" else state.right
    chains = given.shape[0] or tf.shape(given)[0]
    left_clamped, right_clamped = _masks(clamped, state, parameters)
    right_noise, left_noise = unit_noise(chains, (right_units, left_units), seed=seed, dtype=coupling.dtype)

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
    masks = GibbsState(*_masks(clamped, state, parameters))
    lefts, rights = halve_chains(state.left), halve_chains(state.right)
    betas = _halve_like(lefts, inverse_temperature)
    masks = [GibbsState(*m) for m in zip(*(_halve_like(lefts, mask) for mask in masks), strict=True)]
    seeds = split_seeds(seed, num_sweeps, len(lefts))

    def body(i, lefts, rights):
        states = [
            gibbs_sweep(
                parameters,
                GibbsState(*z),
                seed=seeds[i, p],
                inverse_temperature=betas[p],
                first=first,
                clamped=masks[p],
            )
            for p, z in enumerate(zip(lefts, rights, strict=True))
        ]
        return i + 1, *(tuple(side) for side in zip(*states, strict=True))

    _, lefts, rights = tf.while_loop(lambda i, *_: i < num_sweeps, body, (0, lefts, rights))
    return GibbsState(join_chains(lefts), join_chains(rights))


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


def _halve_like(parts, values):
    """For each part of the chains the values that belong to it: a share of `[chains, n]`, else all."""
    if len(parts) == 1 or np.ndim(values) < 2:
        return (values,) * len(parts)
    half = parts[0].shape[0]
    return values[:half], values[half:]


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
