"""The kernels of a `PixelCNN` in the parts that its sampler multiplies by (see `sampler`).

Rows of features are `[width, batch, channels]`, places `[batch, channels]`.
"""

from typing import NamedTuple

import tensorflow as tf

from tfdvae.layers.causal import concatenated_elu, gated


def product(x, kernel) -> tf.Tensor:
    """The matrix product over the last axis."""
    if x.shape.rank == 2:
        return tf.matmul(x, kernel)
    rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel)
    return tf.reshape(rows, [*x.shape[:-2], batch_size(x, -2), kernel.shape[-1]])


def batch_size(x, axis):
    """The size of the axis, an integer where it is known."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def windows(row, columns, left, strides=1) -> tf.Tensor:
    """Of each place of a row, or of every other one, `columns` places, `left` of them before it, along the
    last axis. Beyond the row there are zeros.
    """
    width = row.shape[0]
    padded = tf.pad(row, [[left, columns - 1 - left], [0, 0], [0, 0]])
    return tf.concat([padded[k : k + width : strides] for k in range(columns)], axis=-1)


def flat(kernel) -> tf.Tensor:
    """A kernel `[columns, inputs, outputs]` as that of a product with windows."""
    return tf.reshape(kernel, [-1, kernel.shape[-1]])


class Gates(NamedTuple):
    """The kernels of a `GatedBlock`: of its two convolutions, and of what comes besides.

    Attributes:
      both: of each convolution the kernels of what is now and of what is carried, side by side: with
        windows of a row (first stream), or with places (second).
      above: of each convolution that of windows of the row above (second stream).
      biases: what each adds everywhere, with the conditioning latents.
      extra: one for each of the block's `extra` features.
    """

    both: tuple[tf.Tensor, tf.Tensor]
    above: tuple[tf.Tensor, tf.Tensor] | None
    biases: tuple[tf.Tensor, tf.Tensor]
    extra: list[tf.Tensor]


def gates(block, condition) -> Gates:
    """Those of a block, given the conditioning latents or `None`."""
    kernels = [layer.normalized_kernel for layer in (block.first, block.second)]
    if block.direction == "down":
        both, above = [tf.concat([flat(k[1]), flat(k[0])], axis=-1) for k in kernels], None
    else:
        both = [tf.concat([k[1, 1], k[1, 0]], axis=-1) for k in kernels]
        above = [flat(k[0]) for k in kernels]
    first, second = (tf.convert_to_tensor(layer.bias) for layer in (block.first, block.second))
    if condition is not None:
        second += block.condition(condition)
    extra = []
    if block.extra is not None:
        first += block.extra.bias
        parts = tf.split(block.extra.normalized_kernel[0, 0], 2 * list(block.extra_filters), axis=0)
        n = len(block.extra_filters)
        extra = [tf.concat([parts[k], parts[k + n]], axis=0) for k in range(n)]
    return Gates(both, above, (first, second), extra)


def step(gates, x, base, carry, around=lambda y: y):
    """A gated block at places, or on a row with windows `around` each place.

    Returns:
      The next features, what is carried, and the inputs of both convolutions.
    """
    first_input = concatenated_elu(x)
    now, first_carry = tf.split(product(around(first_input), gates.both[0]), 2, axis=-1)
    second_input = concatenated_elu(now + carry[0] + base[0])
    now, second_carry = tf.split(product(around(second_input), gates.both[1]), 2, axis=-1)
    x = gated(x, now + carry[1] + base[1])
    return x, (first_carry, second_carry), [first_input, second_input]


class Plain(NamedTuple):
    """The kernels of a convolution between two sizes: with windows of the own row (of the second stream, with
    the place before and the place itself), and with those of the row above.
    """

    own: tf.Tensor
    above: tf.Tensor
    bias: tf.Tensor


def plain(layer) -> Plain:
    """Those of a `CausalConv2D`, of one row or of two."""
    kernel = layer.normalized_kernel
    above = flat(kernel[0]) if kernel.shape[0] == 2 else None
    return Plain(flat(kernel[-1]), above, tf.convert_to_tensor(layer.bias))


class Size(NamedTuple):
    """The parts of one size of features; pairs are of the two streams.

    Attributes:
      width: of the features.
      strides: of the reduction.
      down: pairs of `Gates`, of the way down.
      up: of the way up.
      reduction: the pair of `Plain`s to the next size; `None` of the last.
      enlargement: from this size to the one before, `None` of the first: a pair of `Plain`s, or with strides
        of (kernel, bias).
    """

    width: int
    strides: int
    down: list
    up: list
    reduction: list | None
    enlargement: list | None


def sizes_of(network, condition) -> list[Size]:
    """The parts of a `PixelCNN`."""
    strides = 2 if network.strides else 1

    def pairs(blocks):
        return [(gates(block.down, condition), gates(block.down_right, condition)) for block in blocks]

    def enlargement(layer):
        if strides == 1:
            return plain(layer)
        return layer.product.normalized_kernel[0, 0], tf.convert_to_tensor(layer.product.bias)

    sizes = []
    for s, (_, width) in enumerate(network.sizes):
        reduction = larger = None
        if s + 1 < len(network.sizes):
            reduction = [plain(layer) for layer in network.reductions[s].pair]
        if s > 0:
            larger = [enlargement(layer) for layer in network.enlargements[s - 1].pair]
        down, up = pairs(network.blocks_down(s)), pairs(network.blocks_up(s))
        sizes.append(Size(width, strides, down, up, reduction, larger))
    return sizes
