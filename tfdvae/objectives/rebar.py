"""REBAR (Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein, 2017)."""

import math

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import not_negative
from tfdvae.latents import draws
from tfdvae.objectives.sampled import ScoredSamples, scored
from tfdvae.objectives.score_function import SingleSampleBound
from tfdvae.training import StepTerms


@keras.saving.register_keras_serializable(package="tfdvae")
class REBAR(SingleSampleBound):
    """REINFORCE whose control variate is the bound of a relaxed sample, itself reparameterized.

    With a logit a, uniform u and v, and temperature t, a unit has the sample z = 1[x > 0], x = a + logit(u),
    its relaxation s = sigmoid(x / t), and another one s~ that is drawn given z. With l(z) = log p(x, z) - log
    q(z | x), extended to relaxed values, the gradient of q is

        (l(z) - c l(s~)) grad log q(z | x) + c grad l(s) - c grad l(s~),

    without bias for any scale c and temperature t. Both are learned: they descend the sum of the squared
    gradients of the logits. They belong to the model while it is compiled with this objective, as its
    parameter group "objective". For one group of binary latents.

    Args:
      scale: the c to begin with.
      temperature: the t to begin with.

    Raises:
      ValueError: if one is not positive; at the first step, for other latents.
    """

    def __init__(self, scale=1.0, temperature=0.5):
        self.scale = not_negative("scale", scale)
        self.temperature = not_negative("temperature", temperature)
        if not (self.scale and self.temperature):
            raise ValueError(
                f"`scale` and `temperature` must be positive. Received: {scale=}, {temperature=}"
            )

    def make_layer(self, model) -> keras.layers.Layer:
        """The logarithms of scale and temperature."""
        del model
        return Relaxation(self.scale, self.temperature, name="relaxation")

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        (seed_dropout,) = random.split(seed, 1, salt="dropout")
        own = model.objective_layer.trainable_variables
        with tf.GradientTape() as tape_own:
            # What follows has no gradient in the variables themselves: theirs is another one.
            logarithms = [tf.stop_gradient(tf.convert_to_tensor(v)) for v in own]
            tape_own.watch(logarithms)
            scale, temperature = map(tf.exp, logarithms)
            draw = draws.Relaxed(model.group_seeds(seed), temperature)
            with tf.GradientTape() as tape:
                samples = scored(model, x, draw, seed=seed_dropout)
                hard, relaxed, conditional = tf.unstack(samples.log_weights)
                difference = relaxed - conditional
            slopes = tape.gradient(difference, draw.logits)
            signal = tf.stop_gradient(hard) - scale * conditional
            residual = tf.stop_gradient(draw.hard - tf.sigmoid(draw.logits))  # the gradient of log q(z | x)
            gradient = signal[:, None] * residual + scale * slopes
            variance = numerics.mean_or_zero(tf.reduce_sum(tf.square(gradient), axis=-1))
        steps = tape_own.gradient(variance, logarithms)
        score = samples.log_posterior[0]
        surrogate = samples.log_joint[0] + tf.stop_gradient(signal) * score + scale * difference
        hard_ones = ScoredSamples(*(None if s is None else s[:1] for s in samples))
        terms = self.terms(model, hard_ones, surrogate[None], negative)
        learned = sum(v * tf.stop_gradient(step) for v, step in zip(own, steps, strict=True))
        return terms._replace(loss=terms.loss + learned)

    def get_config(self):
        """The constructor's arguments."""
        return {"scale": self.scale, "temperature": self.temperature}


class Relaxation(keras.layers.Layer):
    """What `REBAR` learns: the logarithms of the scale and of the temperature."""

    def __init__(self, scale, temperature, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("log_scale", scale), ("log_temperature", temperature)):
            start = keras.initializers.Constant(math.log(value))
            setattr(self, name, self.add_weight(shape=(), initializer=start, name=name))
        self.built = True
