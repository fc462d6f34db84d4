"""The path of distributions between independent units and a machine, and chains that walk along it.

p_beta(left, right) ~ exp(-(1 - beta) E_base - beta E), where the base model E_base has biases alone. With the
right side summed out,

  log f_beta(left) = left . left_bias(beta) + sum_j softplus(right_logits_j(left, beta)),

f_0 is normalized by Z_base = prod (1 + exp(bias)) and f_1 by Z. A Gibbs sweep (right given left, then left
given right) is reversible with respect to the marginal f_beta of `left`, which is what lets the same walk run
up and down.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import finite, positive_integer
from tfdvae.boltzmann.gibbs import (
    GibbsState,
    draw_units,
    join_chains,
    noise_seed,
    noise_seeds,
    split_chains,
    unit_noise,
)
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine


class BaseBiases(NamedTuple):
    """Biases of the base model of independent units, `left [left]`, `right [right]`.

    Inside of the library also one base model for each chain, `left [chains, left]`, `right [chains, right]`.
    """

    left: tf.Tensor
    right: tf.Tensor


class Walk(NamedTuple):
    """Where chains arrived, and the weights that they collected, in float64.

    Attributes:
      left: the chains after the last sweep, `[chains, left]`.
      log_weights: the logarithms of the weights, `[chains]`.
      means: mean of the log weights so far, over the chains, after every step, `[steps]`.
      variances: the unbiased variance of the same, `[steps]`; NaN for a single chain.
    """

    left: tf.Tensor
    log_weights: tf.Tensor
    means: tf.Tensor
    variances: tf.Tensor


def base_from_data_means(left_means, right_units: int, *, margin: float = 0.02) -> BaseBiases:
    """A base model that is close to the data: log-odds of their means on the left side, zero on the right.

    For a machine whose left side is visible (Salakhutdinov and Murray (2008), section 4.1).

    Args:
      left_means: mean of every left unit over the data, `[left]`, in [0, 1].
      right_units: number of units on the right side.
      margin: the means are clipped to [margin, 1 - margin], so that units that are constant in the data
        keep finite log-odds; in (0, 0.5).

    Returns:
      The biases, as the estimators take them for `base`.

    Raises:
      ValueError: if a mean lies outside of [0, 1], the margin outside of (0, 0.5), or `right_units` is not a
        positive integer.
    """
    right_units = positive_integer("right_units", right_units)
    means = np.asarray(left_means, np.float64)
    if means.ndim != 1 or not np.all((means >= 0) & (means <= 1)):
        raise ValueError(
            "`left_means` must be a vector of means in [0, 1]. Received: "
            f"shape {means.shape}, from {np.min(means, initial=np.inf)} to {np.max(means, initial=-np.inf)}"
        )
    if not 0 < margin < 0.5:
        raise ValueError(f"`margin` must lie in (0, 0.5). Received: margin={margin}")
    left = tf.constant(numerics.log_odds(means, margin), tf.float32)
    return BaseBiases(left, tf.zeros([right_units], tf.float32))


def centered_base(parameters: RBMParameters) -> BaseBiases:
    """The base model in whose path the coupling grows between units of -1 and 1 rather than 0 and 1.

    E written in s = 2 unit - 1 has the fields (bias + half of the unit's summed couplings) / 2: those stay as
    they are along the path, and beta scales the coupling alone. A symmetry between the two values of the
    units is kept at every beta. The machine's own biases break it, and the path then ends in a discontinuous
    transition next to beta = 1, which no replica crosses.
    """
    left_bias, right_bias, coupling = parameters
    return BaseBiases(
        left_bias + 0.5 * tf.reduce_sum(coupling, 1), right_bias + 0.5 * tf.reduce_sum(coupling, 0)
    )


def base_biases(base, parameters: RBMParameters) -> BaseBiases:
    """The base model as the caller named it: a name, `None` (the machine's own biases), or a pair.

    The names are `"zero"` (uniform states: beta scales the whole energy) and `"centered"` (see
    `centered_base`). On the way from uniform states fields and couplings grow together, and the modes of both
    can be met; where the fields stand at their full strength from the start, as from the other two bases, a
    mode that the couplings make against the fields stays hidden behind a discontinuous transition.

    Raises:
      ValueError: if it is none of these, or does not fit the machine.
    """
    own = BaseBiases(parameters.left_bias, parameters.right_bias)
    if base is None:
        return own
    if isinstance(base, str):
        if base == "centered":
            return centered_base(parameters)
        if base == "zero":
            return BaseBiases(*(tf.zeros_like(b) for b in own))
        raise ValueError(
            f'`base` must be None, "centered", "zero" or a pair (left, right) of biases. Received: {base!r}'
        )
    if len(base) != 2:
        raise ValueError(f"`base` must be a pair (left, right) of biases. Received {len(base)} items")
    biases = []
    for side, values, own_values in zip(("left", "right"), base, own, strict=True):
        values = np.asarray(values)
        if values.shape != tuple(own_values.shape):
            raise ValueError(
                f"The {side} biases of `base` must have the shape {tuple(own_values.shape)}. Received: "
                f"{values.shape}"
            )
        finite(f"base ({side})", values)
        biases.append(tf.cast(values, own_values.dtype))
    return BaseBiases(*biases)


def base_log_partition(base: BaseBiases) -> np.ndarray:
    """log Z_base, in float64, a scalar or `[chains]`."""
    return sum(np.sum(np.logaddexp(0.0, b.numpy().astype(np.float64)), axis=-1) for b in base)


def base_samples(base: BaseBiases, num_chains: int, *, seed) -> tf.Tensor:
    """Exact samples of the base model's left side, `[num_chains, left]`."""
    noise = unit_noise(num_chains, base.left.shape[-1], noise_seed(seed, dtype=base.left.dtype))
    return draw_units(tf.broadcast_to(base.left, noise.shape), noise)


def checked_left_states(name: str, left, rbm: RestrictedBoltzmannMachine) -> tf.Tensor:
    """Returns left states (or those of a `GibbsState`), `[rows, left]`, in the machine's dtype.

    Raises:
      ValueError: if the shape is another, there are none, or a unit is not 0 or 1.
    """
    left = np.asarray(left.left if isinstance(left, GibbsState) else left)
    if left.ndim != 2 or left.shape[1] != rbm.left_units or len(left) == 0:
        raise ValueError(
            f"`{name}` must hold left states of the shape [rows, {rbm.left_units}], at least one. "
            f"Received: {left.shape}"
        )
    if not np.all((left == 0) | (left == 1)):
        raise ValueError(
            f"`{name}` must be binary, 0 or 1. Received other values, such as "
            f"{left[(left != 0) & (left != 1)][0]}"
        )
    return tf.constant(left, rbm.coupling.dtype)


def walk(parameters: RBMParameters, base: BaseBiases, left: tf.Tensor, betas: np.ndarray, *, seed) -> Walk:
    """Takes chains along `betas`, up or down: at each step a weight, then a sweep at the new temperature.

    Args:
      parameters: the machine's weights.
      base: the base model, or one for each chain.
      left: the chains, `[chains, left]`, samples at `betas[0]`.
      betas: the inverse temperatures, `[steps + 1]`.
      seed: the seed.

    Returns:
      The chains, and log prod_k f_{k+1}(left_k) / f_k(left_k), where left_k is the state before step k,
      with its progress.
    """
    seed = random.as_seed(seed)
    lefts = split_chains(left, max(parameters.coupling.shape))
    bases = (base,) * len(lefts)
    if base.left.shape.rank > 1:
        sizes = [part.shape[0] for part in lefts]
        bases = tuple(BaseBiases(*part) for part in zip(*(tf.split(b, sizes) for b in base), strict=True))
    lefts, log_weights, moments = call_for_any_length(_walk, parameters, bases, lefts, betas, seed=seed)
    chains = left.shape[0]
    unbiased = chains / (chains - 1) if chains > 1 else np.nan
    return Walk(join_chains(lefts), join_chains(log_weights), moments[:, 0], moments[:, 1] * unbiased)


def walk_step(parameters: RBMParameters, base: BaseBiases, left, old_beta, beta, *, seeds):
    """One step of the walk: `left` after it, and the log weight's change `[chains]`, float32.

    `seeds` are those of the noise of the right and of the left side.
    """
    left_bias, right_bias, coupling = parameters
    left_change, right_change = left_bias - base.left, right_bias - base.right
    left_units, right_units = coupling.shape
    right_noise = unit_noise(left.shape[0], right_units, seeds[0])
    left_noise = unit_noise(left.shape[0], left_units, seeds[1])
    # The logits are linear in beta: one product serves both temperatures of the weight and the sweep.
    right_slope = _add_bias(tf.linalg.matmul(left, coupling), right_change)
    right_logits = base.right + beta * right_slope
    # The difference before the sum: the sum of one temperature has lost the digits that matter.
    change = tf.nn.softplus(right_logits) - tf.nn.softplus(base.right + old_beta * right_slope)
    change = tf.reduce_sum(change, axis=1) + (beta - old_beta) * _products(left, left_change)
    right = draw_units(right_logits, right_noise)
    left_slope = _add_bias(tf.linalg.matmul(right, coupling, transpose_b=True), left_change)
    return draw_units(base.left + beta * left_slope, left_noise), change


def _add_bias(logits, bias):
    """`logits [chains, units]` with `bias [units]`, or one of each chain, added."""
    return tf.nn.bias_add(logits, bias) if bias.shape.rank == 1 else logits + bias


def _products(states, bias):
    """The scalar products of `states [chains, units]` with `bias [units]`, or with one of each chain."""
    return tf.linalg.matvec(states, bias) if bias.shape.rank == 1 else tf.reduce_sum(states * bias, axis=1)


def call_for_any_length(function, parameters, base, left, betas, *, seed):
    """Calls a `tf.function` along a path; another number of temperatures does not trace it again."""
    betas = tf.constant(betas, parameters.coupling.dtype)
    arguments = (parameters, base, left)
    trace = function.get_concrete_function(*arguments, tf.TensorSpec([None], betas.dtype), seed)
    return trace(*arguments, betas, seed)


@tf.function
def _walk(parameters, bases, lefts, betas, seed):
    num_steps = tf.size(betas) - 1
    seeds = noise_seeds(seed, num_steps, 2 * len(lefts), dtype=betas.dtype)

    def body(k, lefts, log_weights, moments):
        step_seeds = seeds.of_step(k)
        parts = [
            walk_step(parameters, base, left, betas[k], betas[k + 1], seeds=step_seeds[2 * p :][:2])
            for p, (base, left) in enumerate(zip(bases, lefts, strict=True))
        ]
        lefts, changes = zip(*parts, strict=True)
        log_weights = tuple(w + tf.cast(c, tf.float64) for w, c in zip(log_weights, changes, strict=True))
        moments = moments.write(k, tf.stack(tf.nn.moments(join_chains(log_weights), axes=[0])))
        return k + 1, lefts, log_weights, moments

    log_weights = tuple(tf.zeros([left.shape[0]], tf.float64) for left in lefts)
    moments = tf.TensorArray(tf.float64, num_steps, element_shape=[2])
    _, lefts, log_weights, moments = tf.while_loop(
        lambda k, *_: k < num_steps, body, (0, lefts, log_weights, moments)
    )
    return lefts, log_weights, moments.stack()
