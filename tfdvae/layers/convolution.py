"""Convolutions of images, as all networks here use them: Keras' layers, kept off faults of TensorFlow."""

import keras
import tensorflow as tf


class _Convolution:
    """What both layers below add to Keras': `padding="same"` and `"channels_last"` unless said otherwise, and

    - batches without images: one black image takes their place on the way in and is cut off again, because
      TensorFlow's convolutions with oneDNN give an empty batch a wrong shape. Neither copies other batches;
    - no kernel smaller than the stride: the gradient of such a convolution can end the process there (see
      `docs/platforms.md`). It never reads the pixels between, so leave them out first: that gives the same
      values.

    Raises:
      ValueError: if the kernel is smaller than the stride.
    """

    def __init__(
        self, filters, kernel_size, strides=1, padding="same", data_format="channels_last", **kwargs
    ):
        super().__init__(filters, kernel_size, strides, padding, data_format=data_format, **kwargs)
        if any(k < s for k, s in zip(self.kernel_size, self.strides, strict=True)):
            raise ValueError(
                "A kernel must not be smaller than the stride: leave out the pixels that it skips before the "
                f"convolution. Received: kernel_size={self.kernel_size}, strides={self.strides}"
            )

    def call(self, inputs):
        """Maps images `[batch, height, width, channels]` to images."""
        if inputs.shape[0]:
            return super().call(inputs)
        count = tf.shape(inputs)[0]
        missing = tf.cast(tf.equal(count, 0), tf.int32)
        # As `PadV2`: TensorFlow fuses `Pad` with a convolution without padding, and forgets the batch there.
        paddings = [[0, missing], [0, 0], [0, 0], [0, 0]]
        zero = tf.zeros([], inputs.dtype)
        padded = tf.raw_ops.PadV2(input=inputs, paddings=paddings, constant_values=zero)
        padded.set_shape([None, *inputs.shape[1:]])
        outputs = super().call(padded)
        return tf.slice(outputs, [0, 0, 0, 0], [count, *outputs.shape[1:]])


# Files of weights have the names of the classes in them: these are Keras'.
@keras.saving.register_keras_serializable(package="tfdvae")
class Conv2D(_Convolution, keras.layers.Conv2D):
    """A convolution of images."""


@keras.saving.register_keras_serializable(package="tfdvae")
class Conv2DTranspose(_Convolution, keras.layers.Conv2DTranspose):
    """A transposed convolution of images."""
