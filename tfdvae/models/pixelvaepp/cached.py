"""A `PixelCNN` in steps through rows and places: each activation is computed once (see `sampler`)."""

import tensorflow as tf

from tfdvae.layers.causal import concatenated_elu
from tfdvae.models.pixelvaepp.kernels import batch_size, product, sizes_of, step, windows


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
        states = [self._state(s, [size.width, batch], 1) for s, size in enumerate(self.sizes)]
        for size, state in zip(self.sizes, states, strict=True):
            state["base"] = tf.zeros([size.width, batch, sum(_base_sizes(size, self.filters))])
        return states

    def places(self, batch) -> list[dict]:
        """The states before the first place of a row."""
        return [self._state(s, [batch], size.strides**2) for s, size in enumerate(self.sizes)]

    def _state(self, s, leading, num_kept):
        """What both states of a size have; `num_kept` features are kept of the next size."""
        size, c = self.sizes[s], self.filters

        def zeros(channels):
            return tf.zeros([*leading, channels])

        state = {
            "carry": [(zeros(c), zeros(2 * c)) for _ in size.down + size.up],
            "record": zeros(sum(self._record_sizes(s))),
        }
        if size.reduction is not None:
            state |= {"last": zeros(c), "kept": zeros(num_kept * c)}
        return state

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
    batch = batch_size(row, 1)
    parts = tf.reshape(row, [row.shape[0], batch, num_rows, 2, filters])
    rows = tf.reshape(tf.transpose(parts, [2, 0, 3, 1, 4]), [num_rows, 2 * row.shape[0], batch, filters])
    return tf.unstack(rows[:, :width])
