"""Residual blocks with squeeze-and-excitation, and stacks of them (Vahdat et al. (2018), appendix G)."""

import functools
import operator
import re
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import integer, not_negative, positive_integer, positive_integers
from tfdvae.layers.convolution import Conv2D, Conv2DTranspose

_BLOCK = re.compile(r"(\d+)(down|up)?")


def halved_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of an image that is halved, rounded up, down to one pixel: 28, 14, 7, 4, 2, 1."""
    sizes = [(int(height), int(width))]
    while sizes[-1] != (1, 1):
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    return sizes


def parse_blocks(text: str) -> list[tuple[int, str | None]]:
    """Reads a row of table 4, such as `"32down 32 64up"`: filters of each block, and how it resizes.

    Raises:
      ValueError: for an unknown block.
    """
    blocks = []
    for word in text.split():
        match = _BLOCK.fullmatch(word)
        if match is None or int(match[1]) == 0:
            raise ValueError(
                "Residual blocks are written as numbers of filters, then `down` or `up` where the block "
                f'halves or doubles the size, such as "32down 32 64up". Received: {word!r} in {text!r}'
            )
        blocks.append((int(match[1]), match[2]))
    return blocks


def apply_to_images(layer, x, **kwargs):
    """Applies a layer of images to `[..., height, width, channels]`."""
    images, restored = numerics.flat_images(x)
    return restored(layer(images, **kwargs))


def _sum(terms):
    """Python's `sum` would add them to 0, a pass over the features more."""
    return functools.reduce(operator.add, terms)


class ResizingBlock(keras.layers.Layer):
    """What residual blocks share that may resize: their arguments, as of `SEResidualBlock`."""

    def __init__(self, filters, resize, output_size, activation, weight_decay, seed, **kwargs):
        super().__init__(**kwargs)
        self.filters = positive_integer("filters", filters)
        if resize not in (None, "down", "up"):
            raise ValueError(f'`resize` must be None, "down" or "up". Received: resize={resize!r}')
        self.resize = resize
        self.output_size = None if output_size is None else positive_integers("output_size", output_size)
        self.activation = keras.activations.get(activation)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.seed = None if seed is None else integer("seed", seed)

    def _initializer(self, name, variance=1.0):
        """Of the kernel of the layer with this name."""
        seed = None if self.seed is None else random.integer(self.seed, salt=f"{self.name}/{name}")
        return keras.initializers.VarianceScaling(variance, "fan_avg", "uniform", seed)

    def _regularizer(self):
        return keras.regularizers.L2(self.weight_decay) if self.weight_decay else None

    def _cropped(self, x):
        return numerics.cropped(x, self.output_size or x.shape[1:3])

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "resize": self.resize,
            "output_size": self.output_size,
            "activation": keras.activations.serialize(self.activation),
            "weight_decay": self.weight_decay,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="tfdvae")
class SEResidualBlock(ResizingBlock):
    """Two 3x3 convolutions beside a skip connection, with squeeze-and-excitation.

        y = activation(skip(x) + s * conv(elu(conv(x)))),    s = sigmoid(dense(selu(dense(mean(conv(...))))))

    The first convolution resizes: stride 2 down, transposed with stride 2 up (its result is cropped where
    twice the size is a pixel too many). The skip connection is the identity where the shapes agree and there
    is an activation, else a 1x1 convolution, of every other pixel on the way down and of repeated ones on the
    way up. The mean is that over the image; the layer between has a quarter of the filters (Hu et al., 2018).

    With several inputs the block is that of their concatenation; kernels are kept by input and the products
    added, so that inputs `[batch, ...]` and `[samples, batch, ...]` may be mixed and what does not
    depend on the sample is computed once.

    Args:
      input_filters: channels of each input.
      filters: channels of the output.
      resize: `None`, `"down"` or `"up"`.
      output_size: `(height, width)` of the result of `"up"`, if not twice that of the input.
      activation: of the output; `None` where the block yields the parameters of a distribution, which then
        begins small: the kernels next to the output have a hundredth of the usual scale.
      weight_decay: L2 factor on the kernels.
      seed: integer seed of the initial kernels, or `None` for Keras' global seed.

    Call arguments:
      inputs: a list of float tensors `[..., height, width, input_filters[i]]`; leading dimensions broadcast.

    Output shape: the broadcast leading dimensions `+ [height', width', filters]`.
    """

    def __init__(
        self,
        input_filters: Sequence[int],
        filters: int,
        resize: str | None = None,
        output_size: tuple[int, int] | None = None,
        activation: str | None = "elu",
        weight_decay: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(filters, resize, output_size, activation, weight_decay, seed, **kwargs)
        self.input_filters = positive_integers("input_filters", input_filters)
        # `get_config` knows `None` as "linear".
        is_linear = self.activation is keras.activations.linear
        last = 1e-4 if is_linear else 1.0
        first = Conv2DTranspose if resize == "up" else Conv2D
        self.first = [
            self._layer(first, f"first_{i}", n, self.filters, 3, strides=2 if resize else 1, use_bias=i == 0)
            for i, n in enumerate(self.input_filters)
        ]
        self.second = self._layer(Conv2D, "second", self.filters, self.filters, 3, variance=last)
        keeps_shape = resize is None and self.input_filters == (self.filters,) and not is_linear
        self.skips = [
            keras.layers.Identity(dtype=self.dtype_policy, name="skip_0")
            if keeps_shape
            else self._layer(Conv2D, f"skip_{i}", n, self.filters, 1, variance=last, use_bias=False)
            for i, n in enumerate(self.input_filters)
        ]
        squeezed = max(1, self.filters // 4)
        self.squeeze = self._layer(keras.layers.Dense, "squeeze", self.filters, squeezed, activation="selu")
        self.excite = self._layer(keras.layers.Dense, "excite", squeezed, self.filters, activation="sigmoid")
        self.built = True

    def _layer(self, kind, name, inputs, *args, variance=1.0, **kwargs):
        convolution = kind is not keras.layers.Dense
        layer = kind(
            *args,
            **kwargs,
            kernel_initializer=self._initializer(name, variance),
            kernel_regularizer=self._regularizer(),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, None, None, inputs) if convolution else (None, inputs))
        return layer

    def call(self, inputs):
        """Maps the inputs to the output."""
        if len(inputs) != len(self.input_filters):
            raise ValueError(
                f"`{self.name}` takes {len(self.input_filters)} inputs of {self.input_filters} channels. "
                f"Received: {len(inputs)} inputs"
            )
        y = _sum(apply_to_images(layer, x) for layer, x in zip(self.first, inputs, strict=True))
        if self.resize == "down":
            inputs = [x[..., ::2, ::2, :] for x in inputs]
        skip = _sum(apply_to_images(layer, x) for layer, x in zip(self.skips, inputs, strict=True))
        y, restored = numerics.flat_images(y)
        skip, _ = numerics.flat_images(skip)
        if self.resize == "up":
            # A 1x1 convolution commutes with repeating pixels: it came first, on fewer of them.
            y, skip = self._cropped(y), self._cropped(numerics.repeat_pixels(skip))
        y = self.second(keras.activations.elu(y))
        scale = self.excite(self.squeeze(tf.reduce_mean(y, axis=[1, 2])))
        return restored(self.activation(skip + tf.reshape(scale, [-1, 1, 1, self.filters]) * y))

    def get_config(self):
        """Returns the configuration."""
        return {**super().get_config(), "input_filters": self.input_filters}


@keras.saving.register_keras_serializable(package="tfdvae")
class ResidualStack(keras.layers.Layer):
    """Residual blocks one after the other: a row of table 4.

    Args:
      input_shapes: `(height, width, channels)` of each input; the heights and widths agree.
      blocks: the row as a string, such as `"32down 32 64up"` (see `parse_blocks`).
      sizes: the sizes that the stack moves along, as `halved_sizes` gives them; by default those of the
        input, halved. `"down"` goes to the next smaller one, `"up"` to the next larger one.
      output_activation: of the last block; `None` where it yields the parameters of a distribution.
      weight_decay: L2 factor on the kernels.
      seed: integer seed of the initial kernels, or `None` for Keras' global seed.

    Call arguments:
      inputs: a list of float tensors `[..., height, width, channels]`; leading dimensions broadcast.

    Output shape: the broadcast leading dimensions `+ output_shape_of_images`.

    Raises:
      ValueError: for an unknown block, a size that is not in `sizes`, or none left to go up or down to.
    """

    def __init__(
        self,
        input_shapes,
        blocks: str,
        sizes=None,
        output_activation: str | None = "elu",
        weight_decay: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.input_shapes = tuple(positive_integers("input_shapes", shape) for shape in input_shapes)
        self.blocks_spec = blocks
        size = self.input_shapes[0][:2]
        self.sizes = [positive_integers("sizes", s) for s in (sizes or halved_sizes(*size))]
        self.output_activation = output_activation
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.seed = None if seed is None else integer("seed", seed)
        filters = tuple(shape[2] for shape in self.input_shapes)
        parsed = parse_blocks(blocks)
        if not parsed:
            raise ValueError(f"`{self.name}` needs at least one block. Received: {blocks!r}")
        self.blocks = []
        for i, (n, resize) in enumerate(parsed):
            size = self._resized(size, resize)
            self.blocks.append(
                SEResidualBlock(
                    filters,
                    n,
                    resize,
                    size if resize == "up" else None,
                    "elu" if i < len(parsed) - 1 else output_activation,
                    self.weight_decay,
                    None if seed is None else random.integer(seed, salt=f"{self.name}/{i}"),
                    dtype=self.dtype_policy,
                    name=f"block_{i}",
                )
            )
            filters = (n,)
        self.output_shape_of_images = (*size, sum(filters))
        self.built = True

    def _resized(self, size, resize):
        place = self.sizes.index(size) if size in self.sizes else None
        step = {None: 0, "down": 1, "up": -1}[resize]
        if place is None or not 0 <= place + step < len(self.sizes):
            raise ValueError(
                f"`{self.name}` cannot go {resize} from the size {size} in {self.blocks_spec!r}: the sizes "
                f"are {self.sizes}"
            )
        return self.sizes[place + step]

    def call(self, inputs, training=False):
        """Maps the inputs to the output of the last block, in the dtype of the weights."""
        del training  # there is nothing that it would change
        for block in self.blocks:
            inputs = [block(inputs)]
        return tf.cast(inputs[0], self.variable_dtype)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output."""
        shapes = [tf.TensorShape(shape[:-3]) for shape in input_shape]
        leading = shapes[0]
        for shape in shapes[1:]:
            leading = tf.broadcast_static_shape(leading, shape)
        return (*leading, *self.output_shape_of_images)

    def compute_output_spec(self, inputs, training=False):
        """Returns the symbolic output, in the dtype of the weights."""
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, dtype=self.variable_dtype)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "input_shapes": self.input_shapes,
            "blocks": self.blocks_spec,
            "sizes": self.sizes,
            "output_activation": self.output_activation,
            "weight_decay": self.weight_decay,
            "seed": self.seed,
        }
