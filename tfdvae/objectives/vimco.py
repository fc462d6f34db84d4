"""The multi-sample bound with leave-one-out control variates: VIMCO (Mnih and Rezende, 2016)."""

import math

import keras
import tensorflow as tf

from tfdvae import numerics
from tfdvae.objectives.sampled import (
    Unscheduled,
    samples_of_posterior,
    score_function,
    step_terms,
    two_or_more,
)
from tfdvae.training import StepTerms


def multi_sample_bound(log_weights) -> tf.Tensor:
    """L_K = log (1/K sum_k w_k) of `log_weights [samples, ...]`, in nats."""
    return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


def leave_one_out_bounds(log_weights) -> tf.Tensor:
    """L(-i): the bound with the geometric mean of the other weights in the place of w_i, in nats.

    Args:
      log_weights: `[samples, ...]`, two samples or more, whose number is known.

    Returns:
      `[samples, ...]`.
    """
    num_samples = log_weights.shape[0]
    total = tf.reduce_sum(log_weights, axis=0)
    others = (total - log_weights) / (num_samples - 1)
    place = tf.eye(num_samples, dtype=tf.bool)
    place = tf.reshape(place, [num_samples, num_samples] + [1] * (log_weights.shape.rank - 1))
    replaced = tf.where(place, others[None], log_weights[:, None])  # [samples, left out, ...]
    return multi_sample_bound(replaced)


@keras.saving.register_keras_serializable(package="tfdvae")
class VIMCO(Unscheduled):
    """The bound of K samples; both sides descend it.

        L_K = log 1/K sum_k p(x, z_k) / q(z_k | x),    z_k ~ q(z | x)

    The gradient of q is sum_k (L_K - L(-k) - w_k / sum w) grad log q(z_k | x), without bias: L(-k), the bound
    with the geometric mean of the other weights in the place of w_k, knows nothing of z_k (algorithm 2 of
    "Learning deep generative models with discrete latent variables"). log Z cancels in the signals. Where a
    model has continuous groups beside the discrete ones, the gradient of L_K goes through their samples.

    Args:
      num_samples: K, at least 2.

    Raises:
      ValueError: if there are fewer; at the first step if all latents are continuous.
    """

    def __init__(self, num_samples=10):
        self.num_samples = two_or_more(num_samples)

    @property
    def bound_samples(self) -> int:
        """K of the bound."""
        return self.num_samples

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        samples = samples_of_posterior(model, x, self.num_samples, seed=seed)
        bound = multi_sample_bound(samples.log_weights)
        signals = tf.stop_gradient(bound - leave_one_out_bounds(samples.log_weights))
        surrogate = bound + tf.reduce_sum(signals * score_function(model, samples), axis=0)
        loss, value = (-numerics.mean_or_zero(x) for x in (surrogate, bound))
        return step_terms(model, samples, loss, value, negative)

    def get_config(self):
        """The constructor's arguments."""
        return {"num_samples": self.num_samples}
