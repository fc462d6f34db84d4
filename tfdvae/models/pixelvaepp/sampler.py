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

from tfdvae.layers.causal import concatenated_elu, gated
from tfdvae.models.pixelvaepp.pixel_cnn import with_ones


def product(x, kernel) -> tf.Tensor:
    """The matrix product over the last axis, of places `[batch, channels]` or a row of them."""
    if x.shape.rank == 2:
        return tf.matmul(x, kernel)
    rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel)
    return tf.reshape(rows, [*x.shape[:-2], _batch(x, -2), kernel.shape[-1]])


def _batch(x, axis):
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


class CachedPixelCNN:
    """A `PixelCNN` in steps through rows and places.

    Of each size there are two states, dictionaries. That of rows has, of the first stream, `carry` of each
    block, `last`, the last features of the way down of the row above, `kept`, what the next size has given
    for the row below; and of the second stream `record`, that of the row above, and `base`, that of the row.
    That of places has `carry`, `last` and `kept` of the second stream, and the `record` of the place.

    Args:
      network: the `PixelCNN`.
      condition: conditioning latents, `[batch, units]`, or `None`.
      skip_latents: latent features of each skip connection, `[batch, height, width, channels]`, or `None`.
    """

    def __init__(self, network, condition=None, skip_latents=None):
        self.filters = network.filters
        self.sizes = sizes_of(network, condition)
        self.of_latents = None
        if skip_latents is not None:
            # Blocks of the way up meet the features of the way down in the opposite order.
            per_size = network.residual_layers + 1
            self.of_latents = [
                [
                    [self._of_latents(gates, skip_latents[(s + 1) * per_size - 1 - k]) for gates in pair]
                    for k, pair in enumerate(size.up)
                ]
                for s, size in enumerate(self.sizes)
            ]

    @staticmethod
    def _of_latents(gates, features):
        """What latent features add to a block, rows first."""
        features = tf.transpose(concatenated_elu(features), [1, 2, 0, 3])
        return product(features, gates.extra[-1])

    # --- states ---

    def _record_sizes(self, s):
        """Channels of the parts of a record: the inputs of the blocks' convolutions, the last features of the
        way down if there is a next size, and what the size before will need of the row.
        """
        size, c = self.sizes[s], self.filters
        blocks = [2 * c] * 2 * (len(size.down) + len(size.up))
        last = [] if size.reduction is None else [c]
        return blocks + last + ([] if size.enlargement is None else [size.strides * c])

    def rows(self, batch) -> list[dict]:
        """The states before the first row."""
        c = self.filters
        states = []
        for s, size in enumerate(self.sizes):

            def zeros(channels, width=size.width):
                return tf.zeros([width, batch, channels])

            blocks = len(size.down) + len(size.up)
            state = {
                "carry": [(zeros(c), zeros(2 * c)) for _ in range(blocks)],
                "record": zeros(sum(self._record_sizes(s))),
                "base": zeros(sum(_base_sizes(size, c))),
            }
            if size.reduction is not None:
                state |= {"last": zeros(c), "kept": zeros(c)}
            states.append(state)
        return states

    def places(self, batch) -> list[dict]:
        """The states before the first place of a row."""
        c = self.filters
        states = []
        for s, size in enumerate(self.sizes):
            blocks = len(size.down) + len(size.up)
            state = {
                "carry": [(tf.zeros([batch, c]), tf.zeros([batch, 2 * c])) for _ in range(blocks)],
                "record": tf.zeros([batch, sum(self._record_sizes(s))]),
            }
            if size.reduction is not None:
                state |= {"last": tf.zeros([batch, c]), "kept": tf.zeros([batch, size.strides**2 * c])}
            states.append(state)
        return states

    def _split_record(self, s, record):
        """The pairs of inputs of the blocks, and the other two parts; `None` where there is none."""
        size, parts = self.sizes[s], iter(tf.split(record, self._record_sizes(s), axis=-1))
        inputs = [(next(parts), next(parts)) for _ in size.down + size.up]
        last = None if size.reduction is None else next(parts)
        return inputs, last, next(parts, None)

    # --- the first stream ---

    def row(self, s, i, x, entry, states):
        """Takes row `i` of size `s` through the first stream, and makes the bases of the second.

        Args:
          x: the first features of the row.
          entry: the base of the first features of the second stream.
          states: the rows' states of this size and the next ones.

        Returns:
          What the size gives the one before (two rows where it is smaller), and the new states.
        """
        size, state, rest = self.sizes[s], dict(states[0]), states[1:]
        inputs, last, _ = self._split_record(s, state["record"])
        carries, bases, skips = iter(state["carry"]), [entry], [x]
        inputs, state["carry"] = iter(inputs), []

        def block(pair, x, extra, extra_right):
            """A block of the first stream, and the base of that of the second."""
            first, second = pair
            base = (first.biases[0] + extra, first.biases[1])
            x, carry, _ = step(first, x, base, next(carries), lambda y: windows(y, 3, 1))
            state["carry"].append(carry)
            above = [product(windows(y, 2, 1), k) for y, k in zip(next(inputs), second.above, strict=True)]
            of_first = product(concatenated_elu(x), second.extra[0]) + extra_right
            bases.extend([above[0] + second.biases[0] + of_first, above[1] + second.biases[1]])
            return x

        for pair in size.down:
            x = block(pair, x, 0.0, 0.0)
            skips.append(x)
        if size.reduction is not None:
            x, base, rest = self._next_row(s, i, x, last, state, rest)
        for k, pair in enumerate(size.up):
            of_latents = (0.0, 0.0) if self.of_latents is None else [m[i] for m in self.of_latents[s][k]]
            extra = product(concatenated_elu(skips.pop()), pair[0].extra[0])
            x = block(pair, x, extra + of_latents[0], of_latents[1])
        if size.reduction is not None:
            bases.append(base)
        state["base"] = tf.concat(bases, axis=-1)
        if size.enlargement is not None and size.strides == 2:
            kernel, bias = size.enlargement[0]
            x = _enlarged(product(x, kernel) + bias, 2, self.sizes[s - 1].width)
        return x, [state, *rest]

    def _next_row(self, s, i, x, last, state, rest):
        """The next size under row `i` of size `s`, whose way down has ended in `x` on the first stream, and
        in `last` on the second one in the row above.

        Returns:
          The first features of the way up, their base for the second stream, the states of the next sizes.
        """
        size, (first, second) = self.sizes[s], self.sizes[s].reduction
        above, state["last"] = state["last"], x

        def smaller():
            own = product(windows(x, 3, 1, size.strides), first.own)
            entry = own + product(windows(above, 3, 1, size.strides), first.above) + first.bias
            base = product(windows(last, 2, 1, size.strides), second.above) + second.bias
            return self.row(s + 1, i // size.strides, entry, base, rest)

        def kept():
            return [state["kept"], state["kept"]], rest

        *_, result = self._split_record(s + 1, rest[0]["record"])
        if size.strides == 1:
            up, rest_after = smaller()
            first, second = self.sizes[s + 1].enlargement
            x = product(windows(up, 3, 1), first.own) + product(windows(state["kept"], 3, 1), first.above)
            state["kept"] = up
            return x + first.bias, product(windows(result, 2, 1), second.above) + second.bias, rest_after
        (x, state["kept"]), rest_after = tf.cond(i % 2 == 0, smaller, kept)
        return x, _enlarged(result, 1, size.width)[0], rest_after

    # --- the second stream ---

    def place(self, s, i, j, x, base, states, bases):
        """Takes the place `j` of row `i` of size `s` through the second stream.

        Args:
          x: its first features, `[batch, filters]`.
          base: that of the place.
          states: the places' states of this size and the next ones.
          bases: of the rows of all sizes.

        Returns:
          What the size gives the one before (four places where it is smaller), and the new states.
        """
        size, state, rest, c = self.sizes[s], dict(states[0]), states[1:], self.filters
        blocks = len(size.down) + len(size.up)
        _, *parts = tf.split(base, _base_sizes(size, c), axis=-1)
        carries, state["carry"] = iter(state["carry"]), []
        of_blocks, record, skips = iter(zip(parts[: 2 * blocks : 2], parts[1::2], strict=False)), [], [x]

        def block(gates, x, extra):
            first, second = next(of_blocks)
            x, carry, inputs = step(gates, x, (first + extra, second), next(carries))
            state["carry"].append(carry)
            record.extend(inputs)
            return x

        for _, gates in size.down:
            x = block(gates, x, 0.0)
            skips.append(x)
        last = []
        if size.reduction is not None:
            last = [x]
            x, rest = self._next_place(s, i, j, x, parts[-1], state, rest, bases)
        for _, gates in size.up:
            x = block(gates, x, product(concatenated_elu(skips.pop()), gates.extra[1]))
        below = []
        if size.enlargement is not None:
            below = [x]
            if size.strides == 2:
                kernel, bias = size.enlargement[1]
                x = product(x, kernel) + bias
                below = [x[:, 2 * c :]]
        state["record"] = tf.concat([*record, *last, *below], axis=-1)
        return x, [state, *rest]

    def _next_place(self, s, i, j, x, base, state, rest, bases):
        """The next size under the place, whose way down has ended in `x`.

        Args:
          base: that of the first features of the way up.

        Returns:
          The first features of the way up, and the states of the next sizes.
        """
        size, second = self.sizes[s], self.sizes[s].reduction[1]
        before, state["last"] = state["last"], x

        def smaller():
            next_i, next_j = i // size.strides, j // size.strides
            of_next = bases[s + 1][next_j]
            entry = of_next[:, : self.filters] + product(tf.concat([before, x], axis=-1), second.own)
            return self.place(s + 1, next_i, next_j, entry, of_next, rest, bases)

        def kept():
            return state["kept"], rest

        if size.strides == 1:
            before_up = state["kept"]
            state["kept"], rest = smaller()
            own = self.sizes[s + 1].enlargement[1].own
            return base + product(tf.concat([before_up, state["kept"]], axis=-1), own), rest
        state["kept"], rest = tf.cond((i % 2 == 0) & (j % 2 == 0), smaller, kept)
        left, right, *_ = tf.split(state["kept"], 4, axis=-1)
        return tf.where(i % 2 == 0, tf.where(j % 2 == 0, left, right), base), rest


def _base_sizes(size, filters):
    """Channels of the parts of a base: the first features, the blocks, the first features of the way up."""
    blocks = [filters, 2 * filters] * (len(size.down) + len(size.up))
    return [filters, *blocks, *([] if size.reduction is None else [filters])]


def _enlarged(row, num_rows, width):
    """Rows of twice the width from one with `2 num_rows` places in each place."""
    filters = row.shape[-1] // (2 * num_rows)
    batch = _batch(row, 1)
    parts = tf.reshape(row, [row.shape[0], batch, num_rows, 2, filters])
    rows = tf.reshape(tf.transpose(parts, [2, 0, 3, 1, 4]), [num_rows, 2 * row.shape[0], batch, filters])
    return tf.unstack(rows[:, :width])


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


def draw(network, pixels, uniforms, known, mask, latents=None, condition=None, skip_latents=None) -> Drawn:
    """Draws images pixel by pixel.

    Args:
      network: the `PixelCNN`.
      pixels: the likelihood.
      uniforms: `[batch, height, width, pixels.num_uniforms]`, what a pixel is a function of beside its
        parameters.
      known: images, `[batch, height, width, channels]`.
      mask: `[height, width]`, true where the pixels are those of `known`.
      latents, condition, skip_latents: as `network.down` and `network.up` take them.
    """
    height, width, channels = network.image_shape
    batch, c = _batch(uniforms, 0), network.filters
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
        images, all_parameters = images.write(i, pixel), all_parameters.write(i, parameters)
        return i + 1, with_ones(pixels.scaled(pixel)), above, rows, images, all_parameters

    nothing = tf.zeros([width, batch, channels + 1])
    arrays = [tf.TensorArray(tf.float32, height) for _ in range(2)]
    *_, images, parameters = tf.while_loop(
        lambda i, *_: i < height, row, [tf.constant(0), nothing, nothing, cached.rows(batch), *arrays]
    )
    return Drawn(*(tf.transpose(a.stack(), [2, 0, 1, 3]) for a in (images, parameters)))
