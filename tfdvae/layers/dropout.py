"""Dropout whose mask is a function of a seed."""

import keras
import tensorflow as tf

from tfdvae import _validation, random


def dropped(x, rate, *, seed) -> tf.Tensor:
    """`x` with a part `rate` of the values set to 0, and the others divided by what is left."""
    kept = random.bernoulli(tf.fill(tf.shape(x), 1.0 - rate), seed=seed)
    return x * kept / (1.0 - rate)


@keras.saving.register_keras_serializable(package="tfdvae")
class Dropout(keras.layers.Layer):
    """Sets a part of the values to 0 and divides the others by what is left (Srivastava et al., 2014).

    Args:
      rate: the part, in [0, 1).

    Call arguments:
      x: a float tensor.
      seed: of the mask, as in `tfdvae.random`; `None` keeps all values, as where nothing is trained.

    Raises:
      ValueError: for a rate out of range.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = _validation.rate("rate", rate)
        self.built = True

    def call(self, x, *, seed=None):
        """The values that are left."""
        if seed is None or not self.rate:
            return x
        return dropped(x, self.rate, seed=seed)

    def compute_output_spec(self, x, *, seed=None):
        """The shape of the input."""
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self):
        """Returns the configuration."""
        return {**super().get_config(), "rate": self.rate}
