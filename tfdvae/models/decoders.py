"""Decoders p(x | latents): of residual networks, in one piece or scale by scale, or of a user's own."""

import math

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae.layers import OwnNetwork, ResidualStack
from tfdvae.layers.convolution import Conv2D
from tfdvae.layers.residual import apply_to_images, halved_sizes
from tfdvae.models.base import Decoded
from tfdvae.models.multi_scale import MultiScaleFactorization


class OwnDecoder(keras.layers.Layer):
    """A network of a user's that yields the parameters of all pixels.

    Args:
      network: a Keras layer or model from latents `[batch, *latents_shape]` to `[batch, height, width,
        pixels.num_parameters]`, or as many numbers in another shape.
      latents_shape: of the latents, which it sees one after the other along the last axis.
      image_shape: `(height, width, channels)` of the images.
      pixels: the pixels' likelihood; see `pixels`.

    Raises:
      ValueError: if the network does not take or yield these shapes.
    """

    def __init__(self, network, latents_shape, image_shape, pixels, **kwargs):
        super().__init__(**kwargs)
        self.pixels = pixels
        self.parameters_shape = (*image_shape[:2], pixels.num_parameters)
        words = "the parameters of all pixels, [batch, {}, {}, {}]".format(*self.parameters_shape)
        size = math.prod(self.parameters_shape)
        self.own = OwnNetwork(network, [latents_shape], "decoder", size, words, name="own")
        self.built = True

    def _parameters(self, latents, training=False):
        output = self.own([latents], training=training)
        return numerics.reshape_event(output, len(self.own.output_shape_of_one), self.parameters_shape)

    def log_prob(self, x, latents, training=False) -> tf.Tensor:
        """log p(x | latents), shape `[..., batch]`, in nats."""
        return tf.reduce_sum(self.pixels.log_prob(x, self._parameters(latents, training)), axis=[-2, -1])

    def generate(self, latents, *, seed) -> Decoded:
        """Images from p(x | latents), and the mean of each pixel's law."""
        parameters = self._parameters(latents)
        return Decoded(self.pixels.sample(parameters, seed=seed), self.pixels.mean(parameters))


class Decoder(keras.layers.Layer):
    """Residual networks that scale the latents up to the image (Vahdat et al. (2018), appendix G.1).

    The unconditional decoder is one stage, "context" and all of "upsample", with a convolution that yields
    the parameters of all pixels. The conditional one has a stage for each scale of the image: "context" for
    the coarsest one, and each "upsample" for the next. A stage sees the features of the stage before and,
    through the network "input", the pixels of the scale before; its convolution yields the parameters of the
    pixels of its own scale, of which those count that are not yet generated.

    The features of a stage have the size of its scale, or twice that: the convolution then has stride 2, and
    the network "input" scales up.

    Args:
      latents_shape: `(height, width, channels)` of the concatenated latents.
      image_shape: `(height, width, channels)` of the images.
      pixels: the pixels' likelihood; see `pixels`.
      context: blocks of the first stage.
      upsample: blocks of each later stage, a sequence.
      base_scale: height of the coarsest scale, or `None` for the unconditional decoder.
      input_blocks: the blocks of "input", without resizing.
      network: keyword arguments of the `ResidualStack`s.

    Raises:
      ValueError: if the stages do not reach the size of the image, or do not fit the scales.
    """

    def __init__(
        self,
        latents_shape,
        image_shape,
        pixels,
        context,
        upsample,
        base_scale,
        input_blocks,
        network,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.pixels = pixels
        height, width, channels = image_shape
        sizes = halved_sizes(height, width)
        self.scales = MultiScaleFactorization(height, width, height if base_scale is None else base_scale)
        blocks = [context, *upsample]
        if base_scale is None:
            blocks = [" ".join(blocks)]
        if len(blocks) != len(self.scales):
            raise ValueError(
                f'A conditional decoder has a stage for each scale: "context" and {len(blocks) - 1} times '
                f'"upsample" do not fit the scales {self.scales.sizes} from base_scale={base_scale}'
            )
        self.stages, self.input_networks, self.parameter_layers = [], [], []
        shapes = [latents_shape]
        for i, (row, scale) in enumerate(zip(blocks, self.scales.sizes, strict=True)):
            stage = ResidualStack(shapes, row, sizes, name=f"stage_{i}", **network)
            size = stage.output_shape_of_images[:2]
            halved = size != scale
            if size not in (scale, _larger(scale, sizes)):
                raise ValueError(
                    f"The stage {row!r} of the decoder yields features of {size}, which do not fit pixels of "
                    f"{scale}: they must have that size, or one scale more"
                )
            self.stages.append(stage)
            layer = Conv2D(
                pixels.num_parameters,
                3,
                strides=2 if halved else 1,
                kernel_initializer=keras.initializers.GlorotUniform(
                    random.integer(network["seed"], salt=f"{self.name}/parameters_{i}")
                ),
                name=f"parameters_{i}",
            )
            layer.build((None, *stage.output_shape_of_images))
            self.parameter_layers.append(layer)
            shapes = [stage.output_shape_of_images]
            if i + 1 < len(blocks):
                row = input_blocks + ("up" if halved else "")
                stack = ResidualStack([(*scale, channels)], row, sizes, name=f"input_{i}", **network)
                self.input_networks.append(stack)
                shapes.append(stack.output_shape_of_images)
        self.built = True

    def _stage(self, i, latents, features, coarser):
        """Features of a stage and parameters of its pixels; `coarser` are the pixels of the scale before."""
        inputs = [latents]
        if i > 0:
            inputs = [features, self.input_networks[i - 1]([self.pixels.scaled(coarser)])]
        features = self.stages[i](inputs)
        return features, apply_to_images(self.parameter_layers[i], features)

    def parameters(self, x, latents) -> list[tf.Tensor]:
        """The parameters of the pixels of each scale, given the image's pixels of the coarser ones."""
        features, parameters = None, []
        for i in range(len(self.scales)):
            coarser = self.scales.at_scale(x, i - 1) if i > 0 else None
            features, theta = self._stage(i, latents, features, coarser)
            parameters.append(theta)
        return parameters

    def log_prob(self, x, latents, training=False) -> tf.Tensor:
        """log p(x | zeta, h), shape `[..., batch]`, in nats."""
        del training
        parameters = self.parameters(x, latents)
        return self.scales.log_prob(
            [self.pixels.log_prob(self.scales.at_scale(x, i), theta) for i, theta in enumerate(parameters)]
        )

    def generate(self, latents, *, seed) -> Decoded:
        """Images from p(x | zeta, h), and the mean of each pixel's law given the coarser scales' samples."""
        features = image = means = None
        for i, s in enumerate(random.split(seed, len(self.scales))):
            features, theta = self._stage(i, latents, features, image)
            means = self.scales.fill(means, self.pixels.mean(theta), i)
            image = self.scales.fill(image, self.pixels.sample(theta, seed=s), i)
        return Decoded(image, means)


def _larger(size, sizes):
    place = sizes.index(size) if size in sizes else 0
    return sizes[place - 1] if place else size
