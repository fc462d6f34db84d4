"""Neural variational inference and learning (Mnih and Gregor, 2014)."""

import math

import keras
import tensorflow as tf

from tfdvae import numerics
from tfdvae._validation import positive_integer, positive_integers
from tfdvae.layers import DenseStack
from tfdvae.objectives.sampled import samples_of_posterior, score_function
from tfdvae.objectives.score_function import SingleSampleBound
from tfdvae.training import StepTerms


@keras.saving.register_keras_serializable(package="tfdvae")
class NVIL(SingleSampleBound):
    """REINFORCE with a running mean, a network of the image, and a running variance as its control.

    With l = log p(x, z) - log q(z | x) the gradient of q is that of

        (l - b(x) - c) / max(1, sigma) log q(z | x),

    with a baseline network b, which descends (l - b(x) - c)^2, and running averages c of l - b(x) and sigma^2
    of its variance, of the steps before. Division by sigma aside, which only scales the gradient of q, it is
    without bias. Network and averages belong to the model while it is compiled with this objective: they are
    saved with it, and its parameter group "objective" may have an optimizer of its own.

    Args:
      hidden_units: widths of the hidden layers of b (tanh; the paper has 100 units).
      decay: of the running averages, in [0, 1); the paper has 0.8.
      normalize: whether to divide by sigma.
      seed: of the initial weights of b.

    Raises:
      ValueError: if a width is not positive or the decay not in [0, 1); at the first step if all latents are
        continuous.
    """

    def __init__(self, hidden_units=(100,), decay=0.8, normalize=True, seed=0):
        self.hidden_units = positive_integers("hidden_units", hidden_units)
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be in [0, 1). Received: decay={decay!r}")
        self.decay, self.normalize, self.seed = float(decay), bool(normalize), seed

    def make_layer(self, model) -> keras.layers.Layer:
        """The baseline network and the averages, for images of the model."""
        return Baseline(math.prod(model.example_shape), self.hidden_units, self.seed, name="baseline")

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        baseline = model.objective_layer
        samples = samples_of_posterior(model, x, 1, seed=seed)
        score = score_function(model, samples)
        inputs = tf.reshape(model.pixels.scaled(x), [-1, math.prod(model.example_shape)])
        values = tf.stop_gradient(samples.log_weights[0]) - baseline.network([inputs])[:, 0]
        centred = values - baseline.mean
        scale = tf.maximum(1.0, tf.sqrt(baseline.variance)) if self.normalize else 1.0
        signals = tf.stop_gradient(centred / scale)
        baseline.update(tf.stop_gradient(values), self.decay)
        # The score's own gradient has mean 0: it is left out of the weights.
        surrogate = samples.log_weights + score + signals * score - 0.5 * tf.square(centred)
        return self.terms(model, samples, surrogate, negative)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "hidden_units": self.hidden_units,
            "decay": self.decay,
            "normalize": self.normalize,
            "seed": self.seed,
        }


class Baseline(keras.layers.Layer):
    """What `NVIL` learns: a network from `[batch, pixels]` to `[batch, 1]`, and running averages."""

    def __init__(self, pixels, hidden_units, seed, **kwargs):
        super().__init__(**kwargs)
        pixels = positive_integer("pixels", pixels)
        self.network = DenseStack(
            (pixels,), 1, hidden_units, batch_normalization=False, seed=seed, name="network"
        )
        self.mean, self.variance = (
            self.add_weight(shape=(), initializer=start, trainable=False, aggregation="mean", name=name)
            for name, start in (("mean", "zeros"), ("variance", "ones"))
        )
        self.built = True

    def update(self, values, decay) -> None:
        """Takes the batch's mean and variance into the averages."""
        mean = numerics.mean_or_zero(values)
        for average, value in (
            (self.mean, mean),
            (self.variance, numerics.mean_or_zero(tf.square(values - mean))),
        ):
            average.assign(decay * average + (1.0 - decay) * value)
