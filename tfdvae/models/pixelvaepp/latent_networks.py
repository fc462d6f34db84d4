"""The networks between latents and images of PixelVAE++ (Sadeghi et al. (2019), section 2.2, table 2)."""

import math

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae.layers.convolution import Conv2DTranspose
from tfdvae.layers.residual import halved_sizes
from tfdvae.layers.weight_normalization import WeightNormalizedConv2D
from tfdvae.models.pixelvaepp.samples import rows

ENCODER_PAIRS = 4  # of convolutions, of q(z1)
FEATURE_FILTERS = (512, 64, 64, 64, 16, 3)  # of the features of z1 (table 2); of small decoders fewer
MAP_SIZE = 8  # of the maps of shared latents, at most


class LatentNetwork(keras.layers.Layer):
    """What the networks share: initial kernels from a seed.

    Args:
      seed: integer seed of the initial kernels.
    """

    def __init__(self, seed, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def _initializer(self, name):
        return keras.initializers.GlorotUniform(random.integer(self.seed, salt=f"{self.name}/{name}"))

    def _convolution(self, name, inputs, filters, kernel_size=3, strides=1):
        layer = WeightNormalizedConv2D(
            filters, kernel_size, strides=strides, kernel_initializer=self._initializer(name), name=name
        )
        layer.build((None, None, None, inputs))
        return layer

    def _dense(self, name, inputs, units):
        layer = keras.layers.Dense(units, kernel_initializer=self._initializer(name), name=name)
        layer.build((None, inputs))
        return layer


class ImageEncoder(LatentNetwork):
    """Parameters of latents from an image: pairs of 3x3 convolutions, the second of stride 2; a dense layer.

    Args:
      image_shape: `(height, width, channels)`.
      filters: of the convolutions.
      num_pairs: pairs of convolutions, at most (a size of one pixel is not halved).
      units: parameters.
      seed: integer seed of the initial kernels.
    """

    def __init__(self, image_shape, filters, num_pairs, units, seed, **kwargs):
        super().__init__(seed, **kwargs)
        *size, channels = image_shape
        sizes = halved_sizes(*size)
        num_pairs = min(num_pairs, len(sizes) - 1)
        self.convolutions = []
        for i in range(2 * num_pairs):
            layer = self._convolution(f"convolution_{i}", channels, filters, strides=1 + i % 2)
            self.convolutions.append(layer)
            channels = filters
        self.dense = self._dense("dense", math.prod(sizes[num_pairs]) * channels, units)
        self.built = True

    def call(self, x):
        """`[batch, units]` from scaled images `[batch, height, width, channels]`."""
        for layer in self.convolutions:
            x = tf.nn.elu(layer(x))
        return self.dense(tf.reshape(x, [-1, self.dense.kernel.shape[0]]))


class ReducedEncoder(LatentNetwork):
    """Parameters of latents from features of any size: a convolution to one small map, and a dense layer.

    Args:
      shape: `(height, width, channels)` of the features.
      strides: of the convolution, whose kernel has this size too, or 3 if that is more.
      units: parameters.
      seed: integer seed of the initial kernels.
    """

    def __init__(self, shape, strides, units, seed, **kwargs):
        super().__init__(seed, **kwargs)
        *size, channels = shape
        self.convolution = self._convolution("convolution", channels, 1, max(strides, 3), strides)
        self.dense = self._dense("dense", math.prod(-(-n // strides) for n in size), units)
        self.built = True

    def call(self, x):
        """`[batch, units]` from features `[batch, height, width, channels]`."""
        x = tf.nn.elu(self.convolution(x))
        return self.dense(tf.reshape(x, [-1, self.dense.kernel.shape[0]]))


class ImageFeatures(LatentNetwork):
    """Features of the size of an image from latents: a dense layer, then pairs of an enlargement (a
    transposed convolution) and a 3x3 convolution, from one pixel on.

    Args:
      image_size: `(height, width)`.
      units: of the latents.
      filters: of the dense layer, and of each pair; the last ones are those of the result.
      seed: integer seed of the initial kernels.
    """

    def __init__(self, image_size, units, filters, seed, **kwargs):
        super().__init__(seed, **kwargs)
        sizes = halved_sizes(*image_size)[::-1][1:]
        dense, *filters = filters
        if sizes:
            filters = [filters[0]] * (len(sizes) - len(filters)) + filters[-len(sizes) :]
        else:  # an image of one pixel
            dense, filters = filters[-1], []
        self.dense = self._dense("dense", units, dense)
        self.sizes, self.enlargements, self.convolutions = sizes, [], []
        for i, (inputs, n) in enumerate(zip([dense, *filters], filters, strict=False)):
            name = f"enlargement_{i}"
            layer = Conv2DTranspose(n, 3, strides=2, kernel_initializer=self._initializer(name), name=name)
            layer.build((None, None, None, inputs))
            self.enlargements.append(layer)
            self.convolutions.append(self._convolution(f"convolution_{i}", n, n))
        self.built = True

    def call(self, z):
        """`[batch, height, width, filters[-1]]` from latents `[batch, units]`."""
        x = tf.nn.elu(self.dense(z))[:, tf.newaxis, tf.newaxis]
        layers = zip(self.enlargements, self.convolutions, self.sizes, strict=True)
        for enlargement, convolution, size in layers:
            x = tf.nn.elu(numerics.cropped(enlargement(x), size))
            x = tf.nn.elu(convolution(x))
        return x


class MapFeatures(LatentNetwork):
    """Features of any size from latents: a dense layer to a small map, and a transposed convolution.

    Args:
      shape: `(height, width, channels)` of the features.
      strides: of the transposed convolution, whose kernel has this size too.
      units: of the latents.
      seed: integer seed of the initial kernels.
    """

    def __init__(self, shape, strides, units, seed, **kwargs):
        super().__init__(seed, **kwargs)
        *self.size, channels = shape
        self.map_size = [-(-n // strides) for n in self.size]
        self.dense = self._dense("dense", units, math.prod(self.map_size))
        self.enlargement = Conv2DTranspose(
            channels,
            strides,
            strides=strides,
            kernel_initializer=self._initializer("enlargement"),
            name="enlargement",
        )
        self.enlargement.build((None, None, None, 1))
        self.built = True

    def call(self, z):
        """`[batch, height, width, channels]` from latents `[batch, units]`."""
        maps = tf.reshape(tf.nn.elu(self.dense(z)), [-1, *self.map_size, 1])
        return numerics.cropped(self.enlargement(maps), self.size)


class LatentNetworks(keras.layers.Layer):
    """All networks between latents and images, of z1, z2 and z3; those of absent groups are `None` or empty.

    Args:
      image_shape: `(height, width, channels)`.
      filters: of the decoder's features.
      latent_shapes: a `PixelVAELatents` of the groups' shapes.
      per_unit: parameters of the law of a unit.
      skip_sizes: `(height, width)` of each of the features of the decoder's way down.
      seed: integer seed of the initial kernels.
    """

    def __init__(self, image_shape, filters, latent_shapes, per_unit, skip_sizes, seed, **kwargs):
        super().__init__(**kwargs)
        z1, z2, z3 = ([units for (units,) in field] for field in latent_shapes)
        self.parameters_of_groups = [per_unit * units for units in z1]
        self.image_encoder = self.image_features = self.conditioning_encoder = None
        if z1:
            self.image_encoder = ImageEncoder(
                image_shape, filters, ENCODER_PAIRS, per_unit * sum(z1), seed, name="image_encoder"
            )
            dense, *others = FEATURE_FILTERS
            widths = (min(dense, 8 * filters), *(min(n, filters) for n in others))
            self.image_features = ImageFeatures(image_shape[:2], sum(z1), widths, seed, name="image_features")
        if z2:
            self.conditioning_encoder = ReducedEncoder(
                image_shape, 2, per_unit * sum(z2), seed, name="conditioning_encoder"
            )
        self.shared_encoders, self.shared_features = [], []
        for i, (units, size) in enumerate(zip(z3, skip_sizes, strict=False)):
            strides, shape = map_strides(size), (*size, filters)
            self.shared_encoders.append(
                ReducedEncoder(shape, strides, per_unit * units, seed, name=f"shared_encoder_{i}")
            )
            self.shared_features.append(MapFeatures(shape, strides, units, seed, name=f"shared_features_{i}"))
        self.built = True

    def concatenated(self, x) -> list[tf.Tensor]:
        """The parameters of each group of q(z1 | x), from scaled images."""
        if self.image_encoder is None:
            return []
        return tf.split(self.image_encoder(x), self.parameters_of_groups, axis=-1)

    def conditioning(self, x) -> list[tf.Tensor]:
        """The parameters of q(z2 | x)."""
        return [] if self.conditioning_encoder is None else [self.conditioning_encoder(x)]

    def shared(self, skips) -> list[tf.Tensor]:
        """The parameters of each group of q(z3 | x, z1, z2), from the features of the decoder's way down."""
        pairs = zip(self.shared_encoders, skips, strict=False)
        return [encoder(streams.down_right) for encoder, streams in pairs]

    def features(self, z1):
        """What stands beside the image, of the groups of z1; `None` without any."""
        return self.image_features(rows(z1)) if z1 else None

    def skip_features(self, z3):
        """What stands beside the features of each skip connection; `None` without any."""
        if not z3:
            return None
        return [f(rows([value])) for f, value in zip(self.shared_features, z3, strict=True)]


def map_strides(size) -> int:
    """How much features of that size are reduced to a map of `MAP_SIZE` or less."""
    return -(-max(size) // MAP_SIZE)
