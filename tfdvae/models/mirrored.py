"""An encoder from images to latents, and its mirror image as the decoder: perceptrons, and ResNets.

"Learning deep generative models with discrete latent variables", appendix C.
"""

import math

import keras

from tfdvae import random
from tfdvae.layers import PreActivationBlock, WeightNormalizedConv2D
from tfdvae.layers.residual import halved_sizes, parse_blocks


class Mirrored:
    """Makes the two networks.

    Args:
      network: widths of the hidden layers of the encoder, or a row of residual blocks as a string, such as
        `"25down 25 50down 50"`: filters, with `down` where a block halves the image.
      activation: of the hidden layers and of the blocks.
      weight_decay: L2 factor on the kernels.
      seed: of the initial weights.

    Raises:
      ValueError: for blocks that go up, or further down than to one pixel.
    """

    def __init__(self, network, activation, weight_decay, seed):
        self.network, self.activation, self.seed = network, activation, seed
        self.weight_decay = weight_decay

    def encoder(self, image_shape, latent_units) -> keras.Sequential:
        """From images to `latent_units` numbers."""
        name = "encoder"
        if not isinstance(self.network, str):
            return self._perceptron(name, image_shape, self.network, (latent_units,))
        blocks, shape = self._blocks(image_shape)
        layers = [self._block(name, i, *block) for i, block in enumerate(blocks)]
        if math.prod(shape) == latent_units:  # the features are the logits
            layers += [keras.layers.Flatten()]
        else:
            layers += [keras.layers.Activation(self.activation), keras.layers.Flatten()]
            layers += [self._dense(name, len(blocks), latent_units)]
        return self._sequential(name, image_shape, layers)

    def decoder(self, latent_units, image_shape, parameters) -> keras.Sequential:
        """From latents to `parameters` numbers for each pixel of an image."""
        name, output_shape = "decoder", (*image_shape[:2], parameters)
        if not isinstance(self.network, str):
            return self._perceptron(name, (latent_units,), self.network[::-1], output_shape)
        _, shape = self._blocks(image_shape)
        layers = [keras.layers.Reshape(shape)]
        if math.prod(shape) != latent_units:
            layers = [self._dense(name, 0, math.prod(shape)), *layers]
        layers += [self._block(name, i, *block) for i, block in enumerate(self._upwards(image_shape))]
        seed = random.integer(self.seed, salt=f"{name}/parameters")
        pixels = WeightNormalizedConv2D(
            parameters,
            3,
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            gain_regularizer=self._regularizer(),
            name="parameters",
        )
        layers += [keras.layers.Activation(self.activation), pixels]
        return self._sequential(name, (latent_units,), layers)

    def _blocks(self, image_shape):
        """The blocks of the encoder, `(filters, resize, None)`, and the shape of what they yield."""
        sizes, place, channels = halved_sizes(*image_shape[:2]), 0, image_shape[-1]
        blocks = []
        for channels, resize in parse_blocks(self.network):
            place += resize == "down"
            if resize == "up" or place >= len(sizes):
                raise ValueError(
                    "The blocks of `network` must keep or halve the size, down to one pixel. Received: "
                    f"network={self.network!r} for images of {sizes[0]}"
                )
            blocks.append((channels, resize, None))
        return blocks, (*sizes[place], channels)

    def _upwards(self, image_shape):
        """The blocks of the decoder: repeats of a block come in the order in which they do in the encoder."""
        sizes = halved_sizes(*image_shape[:2])
        parts = []
        for filters, resize, _ in self._blocks(image_shape)[0]:
            if resize == "down" or not parts:
                parts.append([])
            parts[-1].append((filters, "up" if resize else None))
        place = sum(part[0][1] == "up" for part in parts)
        for part in reversed(parts):
            for filters, resize in part:
                place -= resize == "up"
                yield filters, resize, sizes[place] if resize else None

    def _perceptron(self, name, input_shape, widths, output_shape):
        layers = [keras.layers.Flatten()]
        layers += [self._dense(name, i, units, self.activation) for i, units in enumerate(widths)]
        layers += [
            self._dense(name, len(widths), math.prod(output_shape)),
            keras.layers.Reshape(output_shape),
        ]
        return self._sequential(name, input_shape, layers)

    def _block(self, name, i, filters, resize, output_size):
        return PreActivationBlock(
            filters,
            resize,
            output_size,
            self.activation,
            self.weight_decay,
            random.integer(self.seed, salt=f"{name}/{i}"),
            name=f"block_{i}",
        )

    def _dense(self, name, i, units, activation=None):
        seed = random.integer(self.seed, salt=f"{name}/{i}")
        return keras.layers.Dense(
            units,
            activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            kernel_regularizer=self._regularizer(),
            name=f"dense_{i}",
        )

    def _regularizer(self):
        return keras.regularizers.L2(self.weight_decay) if self.weight_decay else None

    def _sequential(self, name, input_shape, layers):
        return keras.Sequential([keras.layers.Input(input_shape), *layers], name=f"{name}_network")
