"""Annealed importance sampling."""

import math

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import finite, positive_integer
from tfdvae.boltzmann.gibbs import draw_units, halve_chains, join_chains, split_seeds, unit_noise
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate, finite_parameters
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine


def annealed_importance_sampling(
    rbm: RestrictedBoltzmannMachine,
    *,
    num_chains: int,
    num_temperatures: int,
    seed,
    base: tuple | None = None,
) -> LogPartitionEstimate:
    """log Z by annealed importance sampling (Neal, 2001; Salakhutdinov and Murray, 2008, section 4.1).

    Chains start from exact samples of a base model of independent units and pass through
    p_k ~ exp(-(1 - beta_k) E_base - beta_k E), beta_k = k / num_temperatures, with one Gibbs sweep at each.
    The right side is summed out of the weights: w = prod_k f_k(left_{k-1}) / f_{k-1}(left_{k-1}) with
    f_k(left) = sum_right p_k(left, right), which gives a smaller variance than weights of pairs.

    mean(w) is an unbiased estimate of Z / Z_base. So the value is below log Z in expectation, and
    P(value > log Z + c) <= exp(-c) (Markov): it is a stochastic lower bound. The standard error does not see
    modes that no chain has found; more temperatures help against those.

    Args:
      rbm: the machine.
      num_chains: number of independent chains, at least 1.
      num_temperatures: number of steps from the base model to the machine, at least 1; one of 1 is plain
        importance sampling.
      seed: the seed.
      base: the biases of the base model, `(left [left], right [right])`. The default are the machine's own,
        so that beta scales the coupling alone.

    Returns:
      The estimate, in nats: `value = lower = log Z_base + log(mean(w))`, `standard_error` =
      sd(w) / (mean(w) sqrt(num_chains)) (delta method; infinite with one chain), `upper = None`. The
      diagnostics hold `num_chains`, `num_temperatures`, `effective_sample_size` = sum(w)^2 / sum(w^2),
      `log_weights` (float64, `[num_chains]`, with log Z_base) and `log_weights_variance`.

    Raises:
      ValueError: if a number is not a positive integer, a weight is not finite, or `base` does not fit.
    """
    num_chains = positive_integer("num_chains", num_chains)
    num_temperatures = positive_integer("num_temperatures", num_temperatures)
    parameters = finite_parameters(rbm)
    base_biases = _base_biases(base, parameters)
    log_weights = _anneal(
        parameters, *base_biases, tf.constant(num_temperatures), random.as_seed(seed), num_chains=num_chains
    ).numpy()
    for bias in base_biases:
        log_weights += np.sum(np.logaddexp(0.0, bias.numpy().astype(np.float64)))
    return _summary(log_weights, num_temperatures)


def _base_biases(base, parameters):
    if base is None:
        return parameters.left_bias, parameters.right_bias
    if len(base) != 2:
        raise ValueError(f"`base` must be a pair (left, right) of biases. Received {len(base)} items")
    biases = []
    for side, values, own in zip(("left", "right"), base, parameters[:2], strict=True):
        values = np.asarray(values)
        if values.shape != tuple(own.shape):
            raise ValueError(
                f"The {side} biases of `base` must have the shape {tuple(own.shape)}. Received: "
                f"{values.shape}"
            )
        finite(f"base ({side})", values)
        biases.append(tf.cast(values, own.dtype))
    return biases


def _summary(log_weights, num_temperatures):
    num_chains = len(log_weights)
    shift = np.max(log_weights)
    weights = np.exp(log_weights - shift)  # the largest is 1
    value = float(shift + np.log(np.mean(weights)))
    several = num_chains > 1
    error = np.std(weights, ddof=1) / (np.mean(weights) * math.sqrt(num_chains)) if several else math.inf
    return LogPartitionEstimate(
        value=value,
        standard_error=float(error),
        lower=value,
        upper=None,
        diagnostics={
            "method": "annealed_importance_sampling",
            "num_chains": num_chains,
            "num_temperatures": num_temperatures,
            "effective_sample_size": float(np.sum(weights) ** 2 / np.sum(weights**2)),
            "log_weights_variance": float(np.var(log_weights, ddof=1)) if several else math.nan,
            "log_weights": log_weights,
        },
    )


@tf.function
def _anneal(parameters: RBMParameters, base_left, base_right, num_temperatures, seed, *, num_chains):
    """Log weights of the chains without log Z_base, float64, `[num_chains]`; traced once for each shape."""
    left_bias, right_bias, coupling = parameters
    left_units, right_units = coupling.shape
    left_change, right_change = left_bias - base_left, right_bias - base_right
    seed_start, seed_path = random.split(seed, salt="annealed_importance_sampling")

    (noise,) = unit_noise(num_chains, (left_units,), seed=seed_start, dtype=coupling.dtype)
    lefts = halve_chains(draw_units(tf.broadcast_to(base_left, noise.shape), noise))
    seeds = split_seeds(seed_path, num_temperatures, len(lefts))

    def step(left, log_weight, old_beta, beta, seed):
        right_noise, left_noise = unit_noise(
            left.shape[0], (right_units, left_units), seed=seed, dtype=coupling.dtype
        )
        # The logits are linear in beta: one product serves both temperatures of the weight and the sweep.
        right_slope = tf.nn.bias_add(tf.linalg.matmul(left, coupling), right_change)
        right_logits = base_right + beta * right_slope
        # The difference before the sum: the sum of one temperature has lost the digits that matter.
        change = tf.nn.softplus(right_logits) - tf.nn.softplus(base_right + old_beta * right_slope)
        change = tf.reduce_sum(change, axis=1) + (beta - old_beta) * tf.linalg.matvec(left, left_change)
        right = draw_units(right_logits, right_noise)
        left_slope = tf.nn.bias_add(tf.linalg.matmul(right, coupling, transpose_b=True), left_change)
        left = draw_units(base_left + beta * left_slope, left_noise)
        return left, log_weight + tf.cast(change, tf.float64)

    def body(k, lefts, log_weights):
        old_beta, beta = (tf.cast((k + i) / num_temperatures, coupling.dtype) for i in (0, 1))
        parts = [
            step(left, log_weight, old_beta, beta, seeds[k, p])
            for p, (left, log_weight) in enumerate(zip(lefts, log_weights, strict=True))
        ]
        lefts, log_weights = zip(*parts, strict=True)
        return k + 1, lefts, log_weights

    start = (0, lefts, tuple(tf.zeros([left.shape[0]], tf.float64) for left in lefts))
    _, _, log_weights = tf.while_loop(lambda k, *_: k < num_temperatures, body, start)
    return join_chains(log_weights)
