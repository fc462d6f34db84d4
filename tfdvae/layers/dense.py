"""Fully connected networks over several inputs."""

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import integer, not_negative, positive_integer, positive_integers
from tfdvae.layers.normalization import make_batch_normalization


@keras.saving.register_keras_serializable(package="tfdvae")
class DenseStack(keras.layers.Layer):
    """Dense layers from the concatenation of several inputs to one output.

    Each hidden layer is dense, batch normalization (then without bias), activation; the output is affine.
    Without hidden units the stack is one affine map (the papers' "linear" networks). The first layer
    keeps one kernel for each input and adds the products, which is the dense layer of the
    concatenation, but lets inputs of `[batch, units]` and `[samples, batch, units]` be mixed: what
    does not depend on the sample is computed once.

    Args:
      input_units: width of each input.
      output_units: width of the output.
      hidden_units: widths of the hidden layers; empty for an affine map.
      activation: of the hidden layers.
      batch_normalization: whether hidden layers are normalized.
      batch_normalization_momentum: of the moving averages.
      weight_decay: L2 factor on the kernels (added to the loss as `weight_decay * sum(kernel^2)`).
      seed: integer seed of the initial kernels (Glorot uniform), or `None` for Keras' global seed.

    Call arguments:
      inputs: a list of float tensors, `[..., input_units[i]]`; leading dimensions broadcast.
      training: batch normalization uses the statistics of the batch, of all leading axes, if true.

    Output shape: the broadcast leading dimensions `+ [output_units]`.
    """

    def __init__(
        self,
        input_units,
        output_units,
        hidden_units=(),
        activation="tanh",
        batch_normalization=True,
        batch_normalization_momentum=0.99,
        weight_decay=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.input_units = positive_integers("input_units", input_units)
        self.output_units = positive_integer("output_units", output_units)
        self.hidden_units = positive_integers("hidden_units", hidden_units)
        self.activation = keras.activations.get(activation)
        self.batch_normalization = bool(batch_normalization)
        self.batch_normalization_momentum = float(batch_normalization_momentum)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.seed = None if seed is None else integer("seed", seed)
        widths = (*self.hidden_units, self.output_units)
        # Normalization subtracts the mean, which makes a bias before it idle.
        has_bias = [not self.batch_normalization] * len(self.hidden_units) + [True]

        def dense(units, use_bias, name):
            regularizer = keras.regularizers.L2(self.weight_decay) if self.weight_decay else None
            seed = None if self.seed is None else random.integer(self.seed, salt=f"{self.name}/{name}")
            return keras.layers.Dense(
                units,
                use_bias=use_bias,
                kernel_initializer=keras.initializers.GlorotUniform(seed),
                kernel_regularizer=regularizer,
                dtype=self.dtype_policy,
                name=name,
            )

        self.input_layers = [
            dense(widths[0], use_bias=has_bias[0] and i == 0, name=f"input_{i}")
            for i in range(len(self.input_units))
        ]
        self.normalizations = [
            make_batch_normalization(
                units,
                self.batch_normalization_momentum,
                ndim=2,
                dtype=self.dtype_policy,
                name=f"normalization_{i}",
            )
            if self.batch_normalization
            else keras.layers.Identity(dtype=self.dtype_policy, name=f"normalization_{i}")
            for i, units in enumerate(self.hidden_units)
        ]
        self.hidden_layers = [
            dense(units, use_bias=has_bias[i + 1], name=f"dense_{i}") for i, units in enumerate(widths[1:])
        ]
        self.build()

    def build(self, input_shape=None):
        """Builds the sublayers; the widths are known since construction."""
        for layer, units in zip(self.input_layers, self.input_units, strict=True):
            layer.build((None, units))
        widths = (*self.hidden_units, self.output_units)
        for layer, units in zip(self.hidden_layers, widths[:-1], strict=True):
            layer.build((None, units))
        self.built = True

    @property
    def output_bias(self):
        """The bias of the output, `[output_units]`."""
        return (self.hidden_layers[-1] if self.hidden_layers else self.input_layers[0]).bias

    def call(self, inputs, training=False):
        """Maps the inputs to the output."""
        if len(inputs) != len(self.input_units):
            raise ValueError(
                f"`{self.name}` takes {len(self.input_units)} inputs of widths {self.input_units}. "
                f"Received: {len(inputs)} inputs"
            )
        x = sum(layer(value) for layer, value in zip(self.input_layers, inputs, strict=True))
        for normalization, layer in zip(self.normalizations, self.hidden_layers, strict=True):
            if training and self.batch_normalization and x.shape.rank > 2:
                # The batch whose statistics are taken is that of all leading axes.
                rows = normalization(tf.reshape(x, [-1, x.shape[-1]]), training=True)
                x = tf.reshape(rows, tf.shape(x))
            else:
                x = normalization(x, training=training)
            x = layer(self.activation(x))
        return x

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output."""
        shapes = [tf.TensorShape(shape[:-1]) for shape in input_shape]
        leading = shapes[0]
        for shape in shapes[1:]:
            leading = tf.broadcast_static_shape(leading, shape)
        return (*leading, self.output_units)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "input_units": self.input_units,
            "output_units": self.output_units,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "batch_normalization": self.batch_normalization,
            "batch_normalization_momentum": self.batch_normalization_momentum,
            "weight_decay": self.weight_decay,
            "seed": self.seed,
        }
