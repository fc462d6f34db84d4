"""PixelCNN++ (Salimans et al., 2017): the parameters of each pixel given those before it, and latents."""

from typing import NamedTuple

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae.layers.causal import (
    CausalConv2D,
    Enlarged,
    GatedBlock,
    shift_down,
    shift_right,
)
from tfdvae.layers.weight_normalization import WeightNormalizedConv2D


class Streams(NamedTuple):
    """Features of each place, `[batch, height, width, filters]`.

    Attributes:
      down: of the rows above.
      down_right: of all pixels before.
    """

    down: tf.Tensor
    down_right: tf.Tensor


class Entry(keras.layers.Layer):
    """The first features of an image, and those of latents beside them: of 3x5 pixels above, and of two to
    the left.

    Args:
      channels: of the image.
      filters: of the features.
      latent_channels: channels of the features of latents, which each place may see; 0 for none.
      initializer: a function of a name that gives the initializer of a kernel.
    """

    def __init__(self, channels, filters, latent_channels, initializer, **kwargs):
        super().__init__(**kwargs)

        def convolution(name, direction, window):
            layer = CausalConv2D(
                filters, direction, window, kernel_initializer=initializer(f"{self.name}/{name}"), name=name
            )
            layer.build((None, None, None, channels + 1))
            return layer

        self.down = convolution("down", "down", (2, 3))
        self.above = convolution("above", "down", (1, 3))
        self.left = convolution("left", "down_right", (2, 1))
        self.latents = None
        if latent_channels:
            self.latents = WeightNormalizedConv2D(
                2 * filters, 3, kernel_initializer=initializer(f"{self.name}/latents"), name="latents"
            )
            self.latents.build((None, None, None, latent_channels))
        self.built = True

    def call(self, x, latents=None):
        """Features of scaled images `[batch, height, width, channels]`."""
        x = with_ones(x)
        down = shift_down(self.down(x))
        down_right = shift_down(self.above(x)) + shift_right(self.left(x))
        if self.latents is not None:
            of_down, of_down_right = tf.split(self.latents(latents), 2, axis=-1)
            down, down_right = down + of_down, down_right + of_down_right
        return Streams(down, down_right)


def with_ones(x) -> tf.Tensor:
    """A channel that tells pixels from the zeros around an image."""
    return tf.concat([x, tf.ones_like(x[..., :1])], axis=-1)


class Transition(keras.layers.Layer):
    """A convolution of each stream between two sizes of features."""

    def __init__(self, down, down_right, filters, **kwargs):
        super().__init__(**kwargs)
        self.down, self.down_right = down, down_right
        for layer in (down, down_right):
            layer.build((None, None, None, filters))
        self.built = True

    @property
    def pair(self):
        """The layers of both streams."""
        return self.down, self.down_right

    def call(self, streams):
        """The streams in the other size."""
        return Streams(self.down(streams.down), self.down_right(streams.down_right))


class Block(keras.layers.Layer):
    """A gated block of each stream; the second stream sees the first one, which may not see the second.

    Args:
      filters: of the features.
      skips: channels of what comes by the skip connection besides the streams of the way down, or `None`
        without a skip connection.
      options: keyword arguments of `GatedBlock`.
    """

    def __init__(self, filters, skips, options, **kwargs):
        super().__init__(**kwargs)
        skip = () if skips is None else (filters, *skips)
        self.down = GatedBlock(filters, "down", skip, name=f"{self.name}_down", **options)
        self.down_right = GatedBlock(
            filters, "down_right", (filters, *skip), name=f"{self.name}_down_right", **options
        )
        for layer in (self.down, self.down_right):
            layer.build()
        self.built = True

    def call(self, streams, skip=None, latents=(), condition=None, *, seed=None):
        """The next features, with those of the way down and of latents where there is a skip connection."""
        seeds = (None, None) if seed is None else random.split(seed)
        of_down, of_down_right = ([], []) if skip is None else ([s, *latents] for s in skip)
        down = self.down(streams.down, of_down, condition, seed=seeds[0])
        down_right = self.down_right(streams.down_right, [down, *of_down_right], condition, seed=seeds[1])
        return Streams(down, down_right)


class PixelCNN(keras.layers.Layer):
    """A causal network on two streams of features, with skip connections from its early to its late layers.

    On the way down there are `num_sizes` sizes, each of an entry and `residual_layers` blocks; on the way up
    the same sizes, each of `residual_layers + 1` blocks, which meet the features of the way down in the
    opposite order. With three sizes these are the six blocks of PixelCNN++, with one layer more in the
    fourth: PixelVAE++ gives the latents of the last features of the way down a place there.

    Args:
      image_shape: `(height, width, channels)`.
      num_parameters: numbers that are wanted for each pixel.
      filters: of all features.
      residual_layers: blocks of one size.
      num_sizes: sizes of features.
      strides: whether the sizes are halved; otherwise all are that of the image.
      latent_channels: channels of latent features beside the image; 0 for none.
      skip_channels: channels of latent features beside each skip connection; 0 for none.
      conditioning_units: numbers that condition all blocks; 0 for none.
      dropout: rate of the dropout in blocks.
      seed: integer seed of the initial kernels.
    """

    def __init__(
        self,
        image_shape,
        num_parameters,
        filters,
        residual_layers,
        num_sizes=3,
        strides=True,
        latent_channels=0,
        skip_channels=0,
        conditioning_units=0,
        dropout=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        height, width, channels = image_shape
        self.image_shape, self.num_parameters, self.filters = image_shape, num_parameters, filters
        self.residual_layers, self.strides = residual_layers, strides
        self.sizes = [(height, width)]
        for _ in range(num_sizes - 1):
            self.sizes.append(tuple(-(-n // 2) for n in self.sizes[-1]) if strides else self.sizes[-1])
        options = {"conditioning_units": conditioning_units, "dropout": dropout, "seed": seed}

        def initializer(name):
            return keras.initializers.GlorotUniform(random.integer(seed, salt=f"{self.name}/{name}"))

        def transition(name, layer):
            pair = [layer(f"{name}/{direction}", direction) for direction in ("down", "down_right")]
            return Transition(*pair, filters, name=name)

        def smaller(name, direction):
            strides_ = 2 if strides else 1
            return CausalConv2D(
                filters, direction, strides=strides_, kernel_initializer=initializer(name), name=direction
            )

        def larger(size):
            def make(name, direction):
                if not strides:
                    return smaller(name, direction)
                return Enlarged(filters, size, kernel_initializer=initializer(name), name=direction)

            return make

        skips = (skip_channels,) if skip_channels else ()
        self.entry = Entry(channels, filters, latent_channels, initializer, name="entry")
        self.reductions, self.enlargements, self.down_blocks, self.up_blocks = [], [], [], []
        for i in range(num_sizes):
            if i > 0:
                self.reductions.append(transition(f"reduction_{i}", smaller))
                self.enlargements.append(transition(f"enlargement_{i}", larger(self.sizes[i - 1])))
            for j in range(residual_layers):
                self.down_blocks.append(Block(filters, None, options, name=f"down_{i}_{j}"))
            for j in range(residual_layers + 1):
                self.up_blocks.append(Block(filters, skips, options, name=f"up_{i}_{j}"))
        self.parameters_layer = WeightNormalizedConv2D(
            num_parameters, 1, kernel_initializer=initializer("parameters"), name="parameters"
        )
        self.parameters_layer.build((None, None, None, filters))
        self.built = True

    @property
    def skip_sizes(self) -> list[tuple[int, int]]:
        """The size of each of the features of the way down."""
        return [size for size in self.sizes for _ in range(self.residual_layers + 1)]

    def down(self, x, latents=None, condition=None, *, seed=None) -> list[Streams]:
        """The features of the way down, `(residual_layers + 1)` of each size.

        Args:
          x: scaled images, `[batch, height, width, channels]`.
          latents: latent features beside the image, `[batch, height, width, latent_channels]`.
          condition: `[batch, conditioning_units]`.
          seed: of the dropout; `None` for none.
        """
        streams, all_streams = self.entry(x, latents), []
        for i in range(len(self.sizes)):
            if i > 0:
                streams = self.reductions[i - 1](streams)
            all_streams.append(streams)
            for block in self.blocks_down(i):
                streams = block(streams, condition=condition, seed=_folded(seed, len(all_streams)))
                all_streams.append(streams)
        return all_streams

    def blocks_down(self, i) -> list[Block]:
        """The blocks of size `i` on the way down."""
        return self.down_blocks[i * self.residual_layers : (i + 1) * self.residual_layers]

    def blocks_up(self, i) -> list[Block]:
        """Those on the way up."""
        count = self.residual_layers + 1
        return self.up_blocks[i * count : (i + 1) * count]

    def up(self, skips, latents=None, condition=None, *, seed=None) -> tf.Tensor:
        """The parameters of the pixels, `[batch, height, width, num_parameters]`.

        Args:
          skips: what `down` gave.
          latents: latent features of each of these, `[batch, its height, its width, skip_channels]`.
          condition, seed: as of `down`.
        """
        streams, skips = skips[-1], list(enumerate(skips))
        for i in reversed(range(len(self.sizes))):
            for block in self.blocks_up(i):
                j, skip = skips.pop()
                of_skip = () if latents is None else (latents[j],)
                streams = block(streams, skip, of_skip, condition, seed=_folded(seed, -1 - j))
            if i > 0:
                streams = self.enlargements[i - 1](streams)
        return self.parameters_layer(tf.nn.elu(streams.down_right))


def _folded(seed, number):
    return None if seed is None else random.fold_in(seed, number)
