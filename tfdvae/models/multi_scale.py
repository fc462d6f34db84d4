"""The factorization of an image's pixels over scales (Vahdat et al. (2018), appendix G.1, figure 8)."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfdvae import numerics
from tfdvae._validation import is_integer, positive_integer


class MultiScaleFactorization:
    """p(x) = p(x_0) prod_i p(x_i | x_<i): from the coarsest pixels to the whole image.

    Scale i consists of the pixels whose row and column are multiples of a stride, which halves from one scale
    to the next down to 1; x_i are those pixels of scale i that no coarser scale has. An image of 28x28
    with base scale 4 has the strides 8, 4, 2, 1 and the scales 4x4, 7x7, 14x14, 28x28.

    Args:
      height: of the image.
      width: of the image.
      base_scale: height of the coarsest scale; that of the image for a single scale.

    Attributes:
      strides: of each scale, from the coarsest one.
      sizes: `(height, width)` of each scale.

    Raises:
      ValueError: if no stride that is a power of 2 gives the base scale.
    """

    def __init__(self, height: int, width: int, base_scale: int):
        self.image_size = (positive_integer("height", height), positive_integer("width", width))
        powers = [2**k for k in range(max(self.image_size).bit_length() + 1)]
        scales = {-(-self.image_size[0] // p): p for p in reversed(powers)}
        if not is_integer(base_scale) or base_scale not in scales:
            raise ValueError(
                f"`base_scale` must be one of {sorted(scales)}, the heights of {height} rows at the strides "
                f"1, 2, 4, ... Received: base_scale={base_scale}"
            )
        self.strides = [p for p in reversed(powers) if p <= scales[base_scale]]
        self.sizes = [tuple(-(-n // s) for n in self.image_size) for s in self.strides]

    def __len__(self) -> int:
        return len(self.strides)

    def at_scale(self, images: tf.Tensor, scale: int) -> tf.Tensor:
        """The pixels of a scale: `[..., height, width, channels]` to `[..., height', width', channels]`."""
        stride = self.strides[scale]
        return images[..., ::stride, ::stride, :]

    def new_pixels(self, scale: int) -> np.ndarray:
        """Which pixels of a scale no coarser one has: boolean `[height', width']`."""
        new = np.ones(self.sizes[scale], bool)
        if scale > 0:
            new[::2, ::2] = False
        return new

    def log_prob(self, pixel_log_probs: Sequence[tf.Tensor]) -> tf.Tensor:
        """log p(x) from the log-probabilities of all pixels of each scale.

        Args:
          pixel_log_probs: log p(pixel | coarser scales) for each scale, `[..., height', width']`.

        Returns:
          Nats, shape `[...]`: each pixel of the image counts once, at the coarsest scale that has it.
        """
        total = 0.0
        for scale, values in enumerate(pixel_log_probs):
            mask = tf.constant(self.new_pixels(scale), values.dtype)
            total += tf.reduce_sum(values * mask, axis=[-2, -1])
        return total

    def fill(self, coarser: tf.Tensor | None, drawn: tf.Tensor, scale: int) -> tf.Tensor:
        """A scale's pixels: those of the coarser scale where it has them, else those drawn.

        Args:
          coarser: the pixels of the scale before, or `None` at the coarsest one.
          drawn: values for all pixels of this scale, `[..., height', width', channels]`.
          scale: number of the scale.

        Returns:
          The shape of `drawn`.
        """
        if coarser is None:
            return drawn
        height, width = self.sizes[scale]
        spread = numerics.repeat_pixels(coarser)[..., :height, :width, :]
        return tf.where(self.new_pixels(scale)[..., np.newaxis], drawn, spread)
