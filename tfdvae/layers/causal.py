"""Convolutions that see earlier pixels alone, and gated residual blocks of them (PixelCNN++).

Pixels are ordered row by row. There are two streams of features: at a place, those of the first (`"down"`)
say something of the rows above, those of the second (`"down_right"`) of the pixels before it in its own row
too. Salimans et al. (2017), section 2 and figure 2. The streams begin with `shift_down` and `shift_right`;
the convolutions keep a stream causal, for they see no later places than their own.
"""

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import positive_integer, positive_integers
from tfdvae.layers.dropout import Dropout
from tfdvae.layers.weight_normalization import WeightNormalizedConv2D

DIRECTIONS = {"down": (2, 3), "down_right": (2, 2)}


def shift_down(x) -> tf.Tensor:
    """Images moved by one row; the last row is lost, and the first one is 0."""
    return tf.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])


def shift_right(x) -> tf.Tensor:
    """Images moved by one column."""
    return tf.pad(x[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])


def concatenated_elu(x) -> tf.Tensor:
    """elu of x and of -x, `[..., 2 channels]`: no sign of a feature is lost."""
    return tf.nn.elu(tf.concat([x, -x], axis=-1))


@keras.saving.register_keras_serializable(package="tfdvae")
class CausalConv2D(WeightNormalizedConv2D):
    """A convolution over the place itself, places to the left of it and rows above.

    `"down"` takes places of the row on both sides of the own one, for a stream that knows nothing of the own
    row. With stride 2, of images of any size, every other place is left, the first one included.

    Args:
      filters: number of filters.
      direction: `"down"` or `"down_right"`.
      window: rows and columns; by default those of PixelCNN++, 2x3 and 2x2.
      strides: 1 or 2.
      **kwargs: as of `WeightNormalizedConv2D`.

    Raises:
      ValueError: for another direction, and a window that is no pair of positive integers, or of an even
        number of columns with `"down"`.
    """

    def __init__(self, filters, direction, window=None, strides=1, **kwargs):
        if direction not in DIRECTIONS:
            raise ValueError(
                f"`direction` must be one of {tuple(DIRECTIONS)}. Received: direction={direction!r}"
            )
        kernel_size = positive_integers("window", DIRECTIONS[direction] if window is None else window)
        if direction == "down" and kernel_size[1] % 2 == 0:
            raise ValueError(
                'The window of "down" is as wide to the left as to the right: it has an odd number of '
                f"columns. Received: window={window!r}"
            )
        kwargs = {name: v for name, v in kwargs.items() if name not in ("kernel_size", "padding")}
        super().__init__(filters, kernel_size, strides=strides, padding="valid", **kwargs)
        self.direction = direction

    @property
    def margins(self) -> list[list[int]]:
        """Zeros around the image: above and below, to the left and to the right."""
        rows, columns = self.kernel_size
        right = (columns - 1) // 2 if self.direction == "down" else 0
        return [[rows - 1, 0], [columns - 1 - right, right]]

    def call(self, inputs):
        """Maps images `[batch, height, width, channels]` to images."""
        return super().call(tf.pad(inputs, [[0, 0], *self.margins, [0, 0]]))

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output."""
        batch, *size, _ = input_shape
        size = [None if n is None else -(-n // s) for n, s in zip(size, self.strides, strict=True)]
        return (batch, *size, self.filters)

    def get_config(self):
        """Returns the configuration."""
        config = super().get_config()
        config["window"] = config.pop("kernel_size")
        del config["padding"]
        return {**config, "direction": self.direction}


@keras.saving.register_keras_serializable(package="tfdvae")
class Enlarged(keras.layers.Layer):
    """Four places for each, which know what it knows (Shi et al., 2016, sub-pixel convolution).

    A stream stays causal so: the place (i, j) becomes (2 i, 2 j) and its three neighbours to the right and
    below, all of which come after what it has seen.

    Args:
      filters: channels of the output.
      output_size: `(height, width)` of the result, at most twice that of the input: what is beyond is cut.
      kernel_initializer: of the products' kernel.
    """

    def __init__(self, filters, output_size, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = positive_integer("filters", filters)
        self.output_size = positive_integers("output_size", output_size)
        self.product = WeightNormalizedConv2D(
            4 * self.filters, 1, kernel_initializer=kernel_initializer, name="product"
        )

    def build(self, input_shape):
        """Makes the weights."""
        self.product.build(input_shape)

    def call(self, x):
        """Maps images `[batch, height, width, channels]` to larger ones."""
        return numerics.cropped(tf.nn.depth_to_space(self.product(x), 2), self.output_size)

    def get_config(self):
        """Returns the configuration."""
        initializer = keras.initializers.serialize(self.product.kernel_initializer)
        return {
            **super().get_config(),
            "filters": self.filters,
            "output_size": self.output_size,
            "kernel_initializer": initializer,
        }


@keras.saving.register_keras_serializable(package="tfdvae")
class GatedBlock(keras.layers.Layer):
    """A gated residual block of a stream (Salimans et al. (2017), section 2.4; van den Oord et al. (2016)).

        y = conv(f(x)) + product(f(extra)),    a, b = conv(dropout(f(y))) + W h,    x + a sigmoid(b)

    with f the concatenated elu, `extra` the features of a skip connection or of the other stream, and h the
    conditioning latents.

    Args:
      filters: channels of x and of the result.
      direction: of the stream, see `CausalConv2D`.
      extra_filters: channels of each of the `extra` features, a sequence.
      conditioning_units: numbers of h; 0 for none.
      dropout: rate of the dropout.
      seed: integer seed of the initial kernels.

    Call arguments:
      x: `[batch, height, width, filters]`.
      extra: a list of features `[batch, height, width, extra_filters[i]]`.
      condition: `[batch, conditioning_units]`, or `None`.
      seed: of the dropout; `None` for none.
    """

    def __init__(
        self, filters, direction, extra_filters=(), conditioning_units=0, dropout=0.0, seed=0, **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = positive_integer("filters", filters)
        self.direction, self.extra_filters = direction, tuple(extra_filters)
        self.conditioning_units, self.seed = int(conditioning_units), seed
        self.dropout = Dropout(dropout, name="dropout")

        def initializer(name):
            return keras.initializers.GlorotUniform(random.integer(seed, salt=f"{self.name}/{name}"))

        self.first = CausalConv2D(
            self.filters, direction, kernel_initializer=initializer("first"), name="first"
        )
        # A block begins near the identity.
        self.second = CausalConv2D(
            2 * self.filters,
            direction,
            initial_scale=0.1,
            kernel_initializer=initializer("second"),
            name="second",
        )
        self.extra = self.condition = None
        if self.extra_filters:
            self.extra = WeightNormalizedConv2D(
                self.filters, 1, kernel_initializer=initializer("extra"), name="extra"
            )
        if self.conditioning_units:
            self.condition = keras.layers.Dense(
                2 * self.filters,
                use_bias=False,
                kernel_initializer=initializer("condition"),
                name="condition",
            )

    def build(self, input_shape=None):
        """Makes the weights; their shapes are known from the arguments."""
        self.first.build((None, None, None, 2 * self.filters))
        self.second.build((None, None, None, 2 * self.filters))
        if self.extra is not None:
            self.extra.build((None, None, None, 2 * sum(self.extra_filters)))
        if self.condition is not None:
            self.condition.build((None, self.conditioning_units))

    def call(self, x, extra=(), condition=None, *, seed=None):
        """Maps features to features."""
        y = self.first(concatenated_elu(x))
        if extra:
            y += self.extra(concatenated_elu(tf.concat(extra, axis=-1)))
        y = self.second(self.dropout(concatenated_elu(y), seed=seed))
        if condition is not None:
            y += self.condition(condition)[:, tf.newaxis, tf.newaxis]
        return gated(x, y)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "direction": self.direction,
            "extra_filters": self.extra_filters,
            "conditioning_units": self.conditioning_units,
            "dropout": self.dropout.rate,
            "seed": self.seed,
        }


def gated(x, y) -> tf.Tensor:
    """x + a sigmoid(b), for the halves a, b of the channels of y."""
    a, b = tf.split(y, 2, axis=-1)
    return x + a * tf.sigmoid(b)
