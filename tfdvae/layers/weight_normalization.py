"""Weight normalization, and its initialization from data (Salimans and Kingma, 2016)."""

import contextlib
import contextvars

import keras
import tensorflow as tf

from tfdvae.layers.convolution import Conv2D

_INITIALIZES = contextvars.ContextVar("initializes", default=False)
_CONSTANT = 1e-6  # a variance below which a filter says nothing of the data


@contextlib.contextmanager
def initialization_from_data():
    """In a `with` block, calls of weight-normalized layers set their gains and biases first, so that their
    outputs for the batch have mean 0 and the standard deviation `initial_scale`.

    A filter that is constant on the batch keeps what it has. Not for graphs.
    """
    token = _INITIALIZES.set(True)
    try:
        yield
    finally:
        _INITIALIZES.reset(token)


@keras.saving.register_keras_serializable(package="tfdvae")
class WeightNormalizedConv2D(Conv2D):
    """A convolution whose kernel is `gain * v / |v|` for each filter, with a learned `gain` and `v`.

    The weight `kernel` is v. The gain begins as |v|, so that the layer begins as without normalization,
    unless `initialization_from_data` sets it. An L2 regularizer belongs to the gain, `gain_regularizer`: its
    squares are those of the filters.

    Args:
      filters: number of filters.
      kernel_size: of the convolution.
      gain_regularizer: of the gain.
      initial_scale: of the outputs, where they are initialized from data.
      **kwargs: as of `Conv2D`.
    """

    def __init__(self, filters, kernel_size, gain_regularizer=None, initial_scale=1.0, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.gain_regularizer = keras.regularizers.get(gain_regularizer)
        self.initial_scale = float(initial_scale)

    def build(self, input_shape):
        """Makes v, the gain and the bias."""
        super().build(input_shape)
        self.gain = self.add_weight(
            shape=(self.filters,),
            initializer=lambda shape, dtype: tf.cast(_lengths(self.kernel), dtype),
            regularizer=self.gain_regularizer,
            name="gain",
        )

    @property
    def normalized_kernel(self) -> tf.Tensor:
        """`gain * v / |v|`."""
        kernel = tf.convert_to_tensor(self.kernel)
        return kernel * (tf.cast(self.gain, kernel.dtype) / _lengths(kernel))

    def convolution_op(self, inputs, kernel):
        """The convolution with the normalized kernel."""
        del kernel
        return super().convolution_op(inputs, tf.cast(self.normalized_kernel, inputs.dtype))

    def call(self, inputs):
        """Maps images `[batch, height, width, channels]` to images."""
        outputs = super().call(inputs)
        if not _INITIALIZES.get():
            return outputs
        mean, variance = tf.nn.moments(outputs, axes=[0, 1, 2])
        varies = variance > _CONSTANT * tf.square(self.gain)
        factor = tf.where(varies, self.initial_scale * tf.math.rsqrt(variance), 1.0)
        self.gain.assign(self.gain * factor)
        if self.bias is not None:
            self.bias.assign(tf.where(varies, factor * (self.bias - mean), self.bias))
        return super().call(inputs)

    def save_own_variables(self, store):
        """Stores all weights: Keras' convolutions store kernel and bias alone."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        """Restores them."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "gain_regularizer": keras.regularizers.serialize(self.gain_regularizer),
            "initial_scale": self.initial_scale,
        }


def _lengths(kernel):
    """|v| of each filter; never 0, where it would have no gradient."""
    squares = tf.reduce_sum(tf.square(tf.convert_to_tensor(kernel)), axis=[0, 1, 2])
    return tf.sqrt(squares + 1e-12)
