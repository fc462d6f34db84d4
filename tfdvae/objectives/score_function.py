"""Unbiased gradients of the single-sample bound by score functions: leave-one-out, and antithetic pairs."""

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae.latents import draws
from tfdvae.objectives.sampled import (
    Unscheduled,
    samples_of_posterior,
    score_function,
    scored,
    step_terms,
    two_or_more,
)
from tfdvae.training import StepTerms


class SingleSampleBound(Unscheduled):
    """What objectives share whose value is the bound of one sample, averaged over samples."""

    def terms(self, model, samples, surrogate, negative) -> StepTerms:
        """The terms of a step that ascends the mean of `surrogate [samples, batch]`."""
        figures = samples.figures()
        loss = -numerics.mean_or_zero(tf.reduce_mean(surrogate, axis=0))
        return step_terms(model, samples, loss, figures["kl"] - figures["reconstruction"], negative)


@keras.saving.register_keras_serializable(package="tfdvae")
class LeaveOneOut(SingleSampleBound):
    """REINFORCE with the mean of the other samples as control variate (Kool et al., 2019).

    With l_k = log p(x, z_k) - log q(z_k | x) the gradient of q is

        1/K sum_k (l_k - mean_{j != k} l_j) grad log q(z_k | x),

    without bias. Where a model has continuous groups beside the discrete ones, their gradient goes through
    their samples.

    Args:
      num_samples: K, at least 2.

    Raises:
      ValueError: if there are fewer; at the first step if all latents are continuous.
    """

    def __init__(self, num_samples=2):
        self.num_samples = two_or_more(num_samples)

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        samples = samples_of_posterior(model, x, self.num_samples, seed=seed)
        score, values = score_function(model, samples), samples.log_weights
        others = (tf.reduce_sum(values, axis=0) - values) / (self.num_samples - 1)
        signals = tf.stop_gradient(values - others)
        # The score's own gradient has mean 0: it is left out of the values.
        return self.terms(model, samples, values + score + signals * score, negative)

    def get_config(self):
        """The constructor's arguments."""
        return {"num_samples": self.num_samples}


@keras.saving.register_keras_serializable(package="tfdvae")
class DisARM(SingleSampleBound):
    """Antithetic pairs of binary samples (Dong, Mnih and Tucker, 2020).

    With z made of the noise u and z~ of 1 - u, the gradient of a logit a is

        (l(z) - l(z~)) / 2 * (-1)^z~ 1[z != z~] sigmoid(|a|),

    of p the mean of both. Units whose two samples agree get none: their part is integrated out. For one group
    of binary latents; with several, a pair of the first would need a pair of its own for each later one.

    Raises:
      ValueError: at the first step, for other latents.
    """

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        (seed_dropout,) = random.split(seed, 1, salt="dropout")
        draw = draws.Antithetic(model.group_seeds(seed))
        samples = scored(model, x, draw, seed=seed_dropout)
        logits, (value, other) = draw.pair
        signals = samples.log_weights
        difference = tf.stop_gradient(signals[0] - signals[1])[:, None]
        sign = tf.where(other > 0.5, -1.0, 1.0)
        factor = tf.where(value != other, sign * tf.sigmoid(tf.abs(logits)), 0.0)
        path = tf.reduce_sum(0.5 * difference * tf.stop_gradient(factor) * logits, axis=-1)
        return self.terms(model, samples, samples.log_joint + path, negative)

    def get_config(self):
        """There are no arguments."""
        return {}
