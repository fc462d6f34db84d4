"""Drawing images from a `PixelCNN` at the cost of about one pass: every activation is computed once.

A convolution is a sum over taps, and each product is made where its input becomes known:

- the first stream knows a row as soon as the row above is drawn: it goes through the network row by row;
- of the second stream, the taps on the row above are one product a row, with all that the first stream and
  the latents add: the *base* of the row. Left are the taps on the place itself and on the place before it:
  one product a place for both, of which the second half is *carried* to the next place.

A smaller size of features takes part in every other row and place, and what it gives is *kept* for those
between. Rows are `[width, batch, channels]`, so that a place is a slice. The *record* of a place is what the
row below will need of it.
"""

from typing import NamedTuple

import tensorflow as tf

from tfdvae.models.pixelvaepp.cached import CachedPixelCNN
from tfdvae.models.pixelvaepp.kernels import batch_size, plain, product, windows
from tfdvae.models.pixelvaepp.pixel_cnn import with_ones


class Entrance:
    """The first features of a row: see `pixel_cnn.Entry`, of which these are the parts.

    Args:
      entry: the layer.
      latents: features beside the image, `[batch, height, width, channels]`, or `None`.
    """

    def __init__(self, entry, latents):
        self.down, self.above = plain(entry.down), plain(entry.above)
        self.left = entry.left.normalized_kernel[:, 0]
        self.left_bias = tf.convert_to_tensor(entry.left.bias)
        self.latents = None
        if latents is not None:
            self.latents = tf.transpose(entry.latents(latents), [1, 2, 0, 3])

    def row(self, i, above, above_that):
        """The first features of the first stream, and the base of those of the second, from two rows of
        pixels with ones; beyond the image they are zeros.
        """
        down = product(windows(above, 3, 1), self.down.own) + product(
            windows(above_that, 3, 1), self.down.above
        )
        right = product(windows(above, 3, 1), self.above.own) + self.above.bias
        # What is shifted in has no bias.
        is_inside = tf.cast(i > 0, tf.float32)
        down, right = is_inside * (down + self.down.bias), is_inside * right
        left = product(above, self.left[0]) + self.left_bias
        right += tf.pad(left[:-1], [[1, 0], [0, 0], [0, 0]])
        if self.latents is not None:
            of_down, of_right = tf.split(self.latents[i], 2, axis=-1)
            down, right = down + of_down, right + of_right
        return down, right

    def carried(self, pixels):
        """What pixels with ones add to the place after them."""
        return product(pixels, self.left[1])


class Drawn(NamedTuple):
    """Images, and the parameters of their pixels given the pixels before, `[batch, height, width, ...]`."""

    images: tf.Tensor
    parameters: tf.Tensor


def draw(
    network, pixels, uniforms, known, mask, latents=None, condition=None, skip_latents=None, on_row=None
) -> Drawn:
    """Draws images pixel by pixel.

    Args:
      network: the `PixelCNN`.
      pixels: the likelihood.
      uniforms: `[batch, height, width, pixels.num_uniforms]`, what a pixel is a function of beside its
        parameters.
      known: images, `[batch, height, width, channels]`.
      mask: `[height, width]`, true where the pixels are those of `known`.
      latents, condition, skip_latents: as `network.down` and `network.up` take them.
      on_row: a Python function that is told how many rows are drawn, after each; not with XLA, and not in
        what is exported.
    """
    height, width, channels = network.image_shape
    batch, c = batch_size(uniforms, 0), network.filters
    cached = CachedPixelCNN(network, condition, skip_latents)
    entrance = Entrance(network.entry, latents)
    kernel = network.parameters_layer.normalized_kernel[0, 0]
    bias = tf.convert_to_tensor(network.parameters_layer.bias)
    uniforms, known = (tf.transpose(v, [1, 2, 0, 3]) for v in (uniforms, known))
    num_parameters, strides = network.num_parameters, 2 if network.strides else 1

    def place(i, j, carry, places, records, bases):
        base = bases[0][j]
        x, places = cached.place(0, i, j, base[:, :c] + carry, base, places, bases)
        parameters = product(tf.nn.elu(x), kernel) + bias
        pixel = tf.where(mask[i, j], known[i, j], pixels.from_uniforms(parameters, uniforms[i, j]))
        written = [state["record"] for state in places]
        written[0] = tf.concat([written[0], parameters, pixel], axis=-1)
        # A smaller size writes what it kept, again, from the places between.
        records = [
            r.write(j // strides**s, value) for s, (r, value) in enumerate(zip(records, written, strict=True))
        ]
        return j + 1, entrance.carried(with_ones(pixels.scaled(pixel))), places, records

    def row(i, above, above_that, rows, images, all_parameters):
        down, base = entrance.row(i, above, above_that)
        _, rows = cached.row(0, i, down, base, rows)
        bases = [state["base"] for state in rows]
        records = [tf.TensorArray(tf.float32, size.width) for size in cached.sizes]
        *_, records = tf.while_loop(
            lambda j, *_: j < width,
            lambda j, carry, places, records: place(i, j, carry, places, records, bases),
            [tf.constant(0), tf.zeros([batch, c]), cached.places(batch), records],
        )
        records = [record.stack() for record in records]
        drawn = tf.split(
            records[0], [records[0].shape[-1] - num_parameters - channels, num_parameters, channels], axis=-1
        )
        records[0], parameters, pixel = drawn
        for s, (state, record) in enumerate(zip(rows, records, strict=True)):
            state["record"] = tf.where(i % strides**s == 0, record, state["record"])
        if on_row is not None:
            with tf.control_dependencies([pixel]):
                told = tf.py_function(on_row, [i + 1], [])
            with tf.control_dependencies([told]):
                pixel = tf.identity(pixel)
        images, all_parameters = images.write(i, pixel), all_parameters.write(i, parameters)
        return i + 1, with_ones(pixels.scaled(pixel)), above, rows, images, all_parameters

    nothing = tf.zeros([width, batch, channels + 1])
    arrays = [tf.TensorArray(tf.float32, height) for _ in range(2)]
    *_, images, parameters = tf.while_loop(
        lambda i, *_: i < height, row, [tf.constant(0), nothing, nothing, cached.rows(batch), *arrays]
    )
    return Drawn(*(tf.transpose(a.stack(), [2, 0, 1, 3]) for a in (images, parameters)))
