"""Restricted Boltzmann machine over binary units in {0, 1}."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


class RBMParameters(NamedTuple):
    """`left_bias [left]`, `right_bias [right]`, `coupling [left, right]`: what the pure kernels take."""

    left_bias: tf.Tensor
    right_bias: tf.Tensor
    coupling: tf.Tensor


@keras.saving.register_keras_serializable(package="tfdvae")
class RestrictedBoltzmannMachine(keras.layers.Layer):
    """p(left, right) = exp(-E(left, right)) / Z on a bipartite graph (Vahdat et al. (2018), section 5).

    E(left, right) = -left_bias . left - right_bias . right - left . coupling . right, in nats.

    In DVAE++ both sides are latent variables; with hidden units, the right side is summed out by
    `free_energy`. The weights are float32 whatever the mixed-precision policy.

    Args:
      left_units: number of units on the left side, at least 1.
      right_units: number of units on the right side, at least 1.
      coupling_initializer: initializer of the coupling; the biases start at zero.
    """

    def __init__(self, left_units, right_units, coupling_initializer=None, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        for name, units in (("left_units", left_units), ("right_units", right_units)):
            if isinstance(units, bool) or not isinstance(units, int | np.integer) or units < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={units!r}")
        self.left_units = int(left_units)
        self.right_units = int(right_units)
        self.coupling_initializer = keras.initializers.get(
            coupling_initializer or keras.initializers.RandomNormal(stddev=0.01, seed=0)
        )
        self.left_bias = self.add_weight(shape=(self.left_units,), initializer="zeros", name="left_bias")
        self.right_bias = self.add_weight(shape=(self.right_units,), initializer="zeros", name="right_bias")
        self.coupling = self.add_weight(
            shape=(self.left_units, self.right_units), initializer=self.coupling_initializer, name="coupling"
        )
        self.built = True

    @classmethod
    def from_arrays(cls, left_bias, right_bias, coupling, **kwargs) -> "RestrictedBoltzmannMachine":
        """Builds a machine with the given weights.

        Raises:
          ValueError: if the shapes do not agree or a value is not finite.
        """
        left_bias, right_bias, coupling = (np.asarray(a) for a in (left_bias, right_bias, coupling))
        if (
            left_bias.ndim != 1
            or right_bias.ndim != 1
            or coupling.shape != left_bias.shape + right_bias.shape
        ):
            raise ValueError(
                "The shapes must be left_bias [left], right_bias [right], coupling [left, right]. Received: "
                f"left_bias {left_bias.shape}, right_bias {right_bias.shape}, coupling {coupling.shape}"
            )
        for name, values in (("left_bias", left_bias), ("right_bias", right_bias), ("coupling", coupling)):
            if not np.all(np.isfinite(values)):
                raise ValueError(
                    f"`{name}` must be finite. Received {np.sum(~np.isfinite(values))} NaN or infinite values"
                )
        machine = cls(len(left_bias), len(right_bias), **kwargs)
        machine.set_weights([left_bias, right_bias, coupling])
        return machine

    @property
    def parameters(self) -> RBMParameters:
        """The weights as tensors, as the pure kernels take them."""
        return RBMParameters(*(tf.convert_to_tensor(w) for w in (self.left_bias, self.right_bias, self.coupling)))

    def energy(self, left, right) -> tf.Tensor:
        """E(left, right) of `left [..., left]`, `right [..., right]`; returns shape `[...]`, in nats."""
        interaction = tf.reduce_sum(tf.linalg.matmul(left, self.coupling) * right, axis=-1)
        return -tf.linalg.matvec(left, self.left_bias) - tf.linalg.matvec(right, self.right_bias) - interaction

    def left_logits(self, right) -> tf.Tensor:
        """Logits of p(left | right); `right [..., right]` gives `[..., left]`."""
        return tf.linalg.matmul(right, self.coupling, transpose_b=True) + self.left_bias

    def right_logits(self, left) -> tf.Tensor:
        """Logits of p(right | left); `left [..., left]` gives `[..., right]`."""
        return tf.linalg.matmul(left, self.coupling) + self.right_bias

    def free_energy(self, left) -> tf.Tensor:
        """-log sum_right exp(-E(left, right)) of `left [..., left]`; returns shape `[...]`, in nats."""
        return -tf.linalg.matvec(left, self.left_bias) - tf.reduce_sum(
            tf.nn.softplus(self.right_logits(left)), axis=-1
        )

    def call(self, left, right):
        """Returns the energy."""
        return self.energy(left, right)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "left_units": self.left_units,
            "right_units": self.right_units,
            "coupling_initializer": keras.initializers.serialize(self.coupling_initializer),
        }
