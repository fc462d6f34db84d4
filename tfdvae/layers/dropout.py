"""Dropout whose mask is a function of a seed."""

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import not_negative


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
        self.rate = not_negative("rate", rate)
        if self.rate >= 1.0:
            raise ValueError(f"`rate` must be in [0, 1). Received: rate={rate!r}")
        self.built = True

    def call(self, x, *, seed=None):
        """The values that are left."""
        if seed is None or not self.rate:
            return x
        kept = random.uniform(tf.shape(x), seed=seed) < 1.0 - self.rate
        return tf.where(kept, x / (1.0 - self.rate), 0.0)

    def compute_output_spec(self, x, *, seed=None):
        """The shape of the input."""
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self):
        """Returns the configuration."""
        return {**super().get_config(), "rate": self.rate}
