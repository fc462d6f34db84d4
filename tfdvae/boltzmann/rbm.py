"""Restricted Boltzmann machine over binary units in {0, 1}."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfdvae._validation import finite, positive_integer


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
        self.left_units = positive_integer("left_units", left_units)
        self.right_units = positive_integer("right_units", right_units)
        self.coupling_initializer = keras.initializers.get(
            coupling_initializer or keras.initializers.RandomNormal(stddev=0.01, seed=0)
        )
        # Without autocast: a model that computes in half precision would read the weights in it.
        self.left_bias = self.add_weight(
            shape=(self.left_units,), initializer="zeros", name="left_bias", autocast=False
        )
        self.right_bias = self.add_weight(
            shape=(self.right_units,), initializer="zeros", name="right_bias", autocast=False
        )
        self.coupling = self.add_weight(
            shape=(self.left_units, self.right_units),
            initializer=self.coupling_initializer,
            name="coupling",
            autocast=False,
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
            finite(name, values)
        machine = cls(len(left_bias), len(right_bias), **kwargs)
        machine.set_weights([left_bias, right_bias, coupling])
        return machine

    @property
    def parameters(self) -> RBMParameters:
        """The weights as tensors, as the pure kernels take them."""
        return RBMParameters(
            *(tf.convert_to_tensor(w) for w in (self.left_bias, self.right_bias, self.coupling))
        )

    def energy(self, left, right) -> tf.Tensor:
        """E(left, right) of `left [..., left]`, `right [..., right]`; returns shape `[...]`, in nats.

        Linear in each side, which may hold probabilities in place of states (mean-field energies).
        """
        left, right = self._states(left), self._states(right)
        # The logits of the right side hold its biases and the coupling.
        right_part = tf.reduce_sum(self.right_logits(left) * right, axis=-1)
        return -tf.tensordot(left, self.parameters.left_bias, 1) - right_part

    def left_logits(self, right) -> tf.Tensor:
        """Logits of p(left | right); `right [..., right]` gives `[..., left]`."""
        left_bias, _, coupling = self.parameters
        return tf.tensordot(self._states(right), tf.transpose(coupling), 1) + left_bias

    def right_logits(self, left) -> tf.Tensor:
        """Logits of p(right | left); `left [..., left]` gives `[..., right]`."""
        _, right_bias, coupling = self.parameters
        return tf.tensordot(self._states(left), coupling, 1) + right_bias

    def free_energy(self, left) -> tf.Tensor:
        """-log sum_right exp(-E(left, right)) of `left [..., left]`; returns shape `[...]`, in nats."""
        left = self._states(left)
        hidden = tf.reduce_sum(tf.nn.softplus(self.right_logits(left)), axis=-1)
        return -tf.tensordot(left, self.parameters.left_bias, 1) - hidden

    def right_free_energy(self, right) -> tf.Tensor:
        """-log sum_left exp(-E(left, right)) of `right [..., right]`; returns shape `[...]`, in nats."""
        right = self._states(right)
        hidden = tf.reduce_sum(tf.nn.softplus(self.left_logits(right)), axis=-1)
        return -tf.tensordot(right, self.parameters.right_bias, 1) - hidden

    def _states(self, states):
        return tf.cast(states, self.coupling.dtype)

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


def finite_parameters(rbm: RestrictedBoltzmannMachine) -> RBMParameters:
    """The machine's weights as eager tensors.

    Raises:
      ValueError: if a weight is NaN or infinite.
    """
    parameters = rbm.parameters
    for name, values in parameters._asdict().items():
        try:
            finite(name, values.numpy())
        except ValueError as error:
            raise ValueError(f"{error}. After training: it has diverged, lower the learning rate") from error
    return parameters
