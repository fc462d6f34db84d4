"""Pre-activation residual blocks with weight normalization (He et al., 2016)."""

import keras

from tfdvae import numerics
from tfdvae.layers.residual import ResizingBlock
from tfdvae.layers.weight_normalization import WeightNormalizedConv2D


@keras.saving.register_keras_serializable(package="tfdvae")
class PreActivationBlock(ResizingBlock):
    """Two 3x3 convolutions of activated features beside a shortcut: x + conv(f(conv(f(x)))).

    "Learning deep generative models with discrete latent variables", appendix C: on the way down the first
    convolution has stride 2; on the way up pixels are repeated (nearest-neighbour interpolation) before the
    block and its shortcut, which gives no checkerboards. The shortcut is the identity, or a 1x1 convolution
    where the shapes differ, of every other pixel on the way down.

    Args:
      filters: channels of the output.
      resize: `None`, `"down"` or `"up"`.
      output_size: `(height, width)` of the result of `"up"`, if not twice that of the input.
      activation: f.
      weight_decay: L2 factor on the filters.
      seed: integer seed of the initial kernels, or `None` for Keras' global seed.

    Call arguments:
      x: `[batch, height, width, channels]`.

    Raises:
      ValueError: for an unknown `resize`, and sizes that are not positive.
    """

    def __init__(
        self,
        filters,
        resize=None,
        output_size=None,
        activation="elu",
        weight_decay=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(filters, resize, output_size, activation, weight_decay, seed, **kwargs)

    def _convolution(self, name, kernel_size, inputs, **kwargs):
        layer = WeightNormalizedConv2D(
            self.filters,
            kernel_size,
            kernel_initializer=self._initializer(name),
            gain_regularizer=self._regularizer(),
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )
        layer.build((None, None, None, inputs))
        return layer

    def build(self, input_shape):
        """Makes the convolutions."""
        inputs = input_shape[-1]
        self.first = self._convolution("first", 3, inputs, strides=2 if self.resize == "down" else 1)
        self.second = self._convolution("second", 3, self.filters)
        keeps_shape = self.resize != "down" and inputs == self.filters
        self.shortcut = None if keeps_shape else self._convolution("shortcut", 1, inputs, use_bias=False)

    def call(self, x):
        """Maps features to features."""
        if self.resize == "up":
            x = self._cropped(numerics.repeat_pixels(x))
        y = self.second(self.activation(self.first(self.activation(x))))
        if self.resize == "down":
            x = x[:, ::2, ::2]
        return y + (x if self.shortcut is None else self.shortcut(x))

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output."""
        batch, *size, _ = input_shape
        if self.resize == "down":
            size = [-(-n // 2) for n in size]
        elif self.resize == "up":
            size = self.output_size or [2 * n for n in size]
        return (batch, *size, self.filters)
