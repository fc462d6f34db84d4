"""MuProp (Gu, Levine, Sutskever and Mnih, 2016)."""

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae.latents import draws
from tfdvae.objectives.sampled import check_discrete, scores
from tfdvae.objectives.score_function import SingleSampleBound
from tfdvae.training import StepTerms


@keras.saving.register_keras_serializable(package="tfdvae")
class MuProp(SingleSampleBound):
    """REINFORCE whose control variate is the Taylor expansion of first order around the means of q.

    With l(z) = log p(x, z) - log q(z | x), extended linearly to means, and a pass in which each group has the
    value m_i of its mean, the gradient of q is, of each group i,

        (l(z) - l(m) - l'(m)_i (z_i - m_i)) grad log q(z_i | x, z_<i) + l'(m)_i grad E[z_i | x, z_<i],

    without bias.

    Raises:
      ValueError: in `compile` if p(x | z) has no gradient in the latents; at the first step, if a group is
        continuous or nothing has a gradient in its values.
    """

    def check(self, model) -> None:
        """Checks, with an image, that p(x | z) has a gradient in the latents.

        Raises:
          ValueError: if it has none.
        """
        x = tf.zeros([1, *model.example_shape])
        with tf.GradientTape() as tape:
            trace = model.trace(x, draws.Means())
            log_p = model.log_prob_of_pixels(x, trace)
        if all(slope is None for slope in tape.gradient(log_p, trace.values)):
            raise ValueError(_no_gradient(model, "p(x | z) has none: a layer lets none through"))

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        (seed_dropout,) = random.split(seed, 1, salt="dropout")
        trace = model.trace(x, model.draw("binary", seed=seed, num_samples=1), seed=seed_dropout)
        check_discrete(model, trace)
        samples = scores(model, x, trace)
        with tf.GradientTape() as tape:
            expansion = model.trace(x, draws.Means(), seed=seed_dropout)
            centre = scores(model, x, expansion).log_weights
        slopes = tape.gradient(centre, expansion.values)
        surrogate = samples.log_joint
        for i, (group, mean, slope) in enumerate(zip(trace.groups, expansion.values, slopes, strict=True)):
            if slope is None:
                raise ValueError(_no_gradient(model, f"there is none in group {i}"))
            slope = tf.stop_gradient(slope)
            linear = group.q.total(slope * (group.value - mean))
            signal = tf.stop_gradient(samples.log_weights - centre - linear)
            surrogate += signal * group.q.total(group.q.log_prob(group.value))
            surrogate += group.q.total(slope * group.q.mean)
        return self.terms(model, samples, surrogate, negative)

    def get_config(self):
        """There are no arguments."""
        return {}


def _no_gradient(model, what):
    return f"MuProp needs gradients in the values of the latents, and in {model.name!r} {what}"
