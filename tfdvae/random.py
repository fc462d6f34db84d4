"""Stateless random numbers: every draw is a function of an explicit seed.

A seed is an int32 tensor of shape `[2]`. Nothing here reads or changes global state, so two
computations with the same seeds agree bit for bit on one machine. Seeds are derived from one
another by `split` (several purposes) and `fold_in` (a counter: step, replica, chunk). A salt keeps
the streams of two functions apart even when both are handed the same seed.

Seeds of rows are an integer array or tensor `[batch, 2]` (or `[..., 2]`): `split`, `fold_in`, `bits`,
`uniform` and `bernoulli` then give every row a stream of its own, whatever the batch that it is in. A server
needs that, which merges the rows of many requests. These streams come from Threefry, the others from
TensorFlow's Philox.

`fold_in` mixes its counter into the second word of a seed: the same seed may come from two that differ in
that word alone. So a seed that a user gave is split with a salt first, and only then folded.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfdvae import _validation

Seed = tf.Tensor

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_FOLD = 0x5BD1E995
# The second words of Threefry's counters: what a row's seed is used for.
_STREAM, _SPLIT_ROWS, _FOLD_ROWS = 0, 1, 2
_PHILOX = tf.random.Algorithm.PHILOX.value


def enable_reproducibility() -> None:
    """Makes equal seeds give equal bits in every run of this process, with the same thread counts.

    Random numbers are stateless anyway; what is left is the order of sums. TensorFlow's graph optimizer
    merges additions of three and more terms into one operation, which begins with whichever term's buffer
    is free: the last bit then depends on timing (measured with TensorFlow 2.21), and a Gibbs sweep turns
    a last bit into another sample. This switches that optimization off, for the whole process; call it
    before the first `tf.function` runs. The programs in `trainers/` do.
    """
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def as_seed(seed: int | Sequence[int] | np.ndarray | tf.Tensor) -> Seed:
    """Returns `seed` as an int32 tensor of shape `[2]`: two words of 32 bits.

    One integer stands for its low and its high word, with the sign extended, and of a pair each is a word:
    the same for integers of Python, of NumPy and of TensorFlow, whatever their dtype. Words are signed or
    unsigned, so that -1 and 2**32 - 1 are one word.

    Raises:
      ValueError: if `seed` is neither one nor two integers, or one is known and has more than 64 bits, in
        a pair 32 bits. In a graph, words of int64 tensors are cut to their low 32 bits.
    """
    given, seed = seed, seed.tolist() if isinstance(seed, np.ndarray | np.generic) else seed
    if _validation.is_integer(seed):
        _check_words(given, [seed], 64)
        words = [seed, seed >> 32]
    elif isinstance(seed, list | tuple) and len(seed) == 2 and all(map(_validation.is_integer, seed)):
        _check_words(given, seed, 32)
        words = seed
    else:
        return _words_of_tensor(given)
    return tf.constant(np.array([int(word) & 0xFFFFFFFF for word in words], np.uint32).view(np.int32))


def _words_of_tensor(seed) -> Seed:
    try:
        tensor = tf.convert_to_tensor(seed)
    except (TypeError, ValueError):  # `None`, or a list of other things
        tensor = tf.constant("")
    if not tensor.dtype.is_integer or tensor.shape not in ([], [2]):
        received = f"a tensor of shape {tensor.shape} and dtype {tensor.dtype.name}"
        raise ValueError(
            "`seed` must be an integer or a pair of integers. Received: "
            + (received if tensor.dtype.is_integer else f"seed={seed!r}")
        )
    if tensor.shape.rank == 1:
        return _cut_to_words(seed, tensor)
    # The words of a scalar, the low one first.
    return tf.bitcast(tensor if tensor.dtype == tf.uint64 else tf.cast(tensor, tf.int64), tf.int32)


def _cut_to_words(seed, tensor: tf.Tensor) -> Seed:
    """Each integer of a tensor as one word, int32 of the same shape."""
    if tensor.dtype.size > 4:
        known = tf.get_static_value(tensor)
        if known is not None:
            _check_words(seed, known.ravel().tolist(), 32)
        return tf.bitcast(tensor, tf.int32)[..., 0]
    return tf.bitcast(tensor, tf.int32) if tensor.dtype == tf.uint32 else tf.cast(tensor, tf.int32)


def _check_words(seed, integers, num_bits: int) -> None:
    if not all(-(2 ** (num_bits - 1)) <= n < 2**num_bits for n in integers):
        raise ValueError(
            f"`seed` must fit 64 bits, each word of a pair 32 bits. Received: seed={str(seed)[:200]}"
        )


def are_row_seeds(seed) -> bool:
    """Whether `seed` is an array or tensor of seeds, `[..., 2]`, one a row, and not one for all."""
    is_array = isinstance(seed, np.ndarray) or tf.is_tensor(seed)
    return is_array and (tf.TensorShape(seed.shape).rank or 0) > 1


def _row_seeds(seed) -> tf.Tensor:
    """Seeds of rows as an int32 tensor."""
    tensor = tf.convert_to_tensor(seed)
    if not tensor.dtype.is_integer or tensor.shape[-1] != 2:
        raise ValueError(
            "Seeds of rows must be pairs of integers, [..., 2]. Received: "
            f"a tensor of shape {tensor.shape} and dtype {tensor.dtype.name}"
        )
    return _cut_to_words(seed, tensor)


def split(seed, n: int = 2, *, salt: str = "") -> list[Seed]:
    """Splits a seed into a list of `n` independent ones; another `salt` gives other ones.

    Raises:
      ValueError: if `n` is not a positive integer.
    """
    n = _validation.positive_integer("n", n)
    if salt:
        seed = fold_in(seed, int.from_bytes(hashlib.sha256(salt.encode()).digest()[:4], "little"))
    if are_row_seeds(seed):
        seed = _row_seeds(seed)
        counters = np.array([[[i, _SPLIT_ROWS] for i in range(n)]], np.int32)
        words = _words_of_rows(tf.reshape(seed, [-1, 2]), counters)
        shape = tf.shape(seed)
        return [tf.reshape(words[:, i], shape) for i in range(n)]
    return tf.unstack(tf.random.split(as_seed(seed), n, alg="philox"))


def fold_in(seed, data) -> Seed:
    """Returns a new seed from `seed` and one integer, `data` (a step, a replica's number, a chunk).

    With seeds of rows, `data` may be a tensor that broadcasts against `seed[..., 0]`.

    Raises:
      ValueError: if `data` is no integer and no tensor of integers.
    """
    if isinstance(data, int | np.integer):
        data = np.array(int(data) & 0xFFFFFFFF, np.uint32).view(np.int32)
    elif not tf.as_dtype(getattr(data, "dtype", tf.string)).is_integer:
        raise ValueError(f"`data` must be an integer. Received: data={data!r}")
    if are_row_seeds(seed):
        seed, data = _row_seeds(seed), tf.cast(data, tf.int32)
        shape = tf.shape(seed)
        if data.shape.rank > 0:
            shape = tf.concat([tf.broadcast_dynamic_shape(shape[:-1], tf.shape(data)), [2]], axis=0)
            seed, data = tf.broadcast_to(seed, shape), tf.broadcast_to(data, shape[:-1])
        data = tf.reshape(data, [-1, 1])
        counters = tf.stack([data, tf.fill(tf.shape(data), _FOLD_ROWS)], axis=-1)
        return tf.reshape(_words_of_rows(tf.reshape(seed, [-1, 2]), counters), shape)
    # The counter enters the key of the generator, and the first word keeps it apart from `split`.
    key = tf.bitwise.bitwise_xor(as_seed(seed), tf.stack([_FOLD, tf.cast(data, tf.int32)]))
    return bits([2], seed=key)


def sample_seeds(seed, num_samples, *, first=0) -> Seed:
    """Seeds of several samples of each row, from seeds of rows: `[..., 2]` to `[num_samples, ..., 2]`.

    A sample's seed is a function of the row's seed and the sample's number, `first` for the first one: it
    depends neither on the batch nor on how many samples are drawn at a time. A seed that is not one of
    rows stays as it is.
    """
    if not are_row_seeds(seed):
        return seed
    numbers = tf.reshape(first + tf.range(num_samples), [-1] + [1] * (len(seed.shape) - 1))
    return fold_in(seed[np.newaxis], numbers)


def replica_seed(seed, counter, *, salt: str) -> Seed:
    """The seed of (base `seed`, purpose `salt`, `counter` such as the step, replica of `tf.distribute`)."""
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group if context is not None else 0
    return fold_in(fold_in(split(seed, 1, salt=salt)[0], counter), replica)


def integer(seed: int, *, salt: str) -> int:
    """An integer in [0, 2**31) from an integer `seed` and a purpose `salt`, for code that wants Python's.

    Raises:
      ValueError: if `seed` is no integer.
    """
    digest = hashlib.sha256(f"{_validation.integer('seed', seed)}/{salt}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def bits(shape, *, seed) -> tf.Tensor:
    """Uniform random 32-bit integers, int32, of a `shape`, from the framework's counter-based generator.

    Args:
      shape: of the result.
      seed: a seed, see `as_seed`; or seeds of rows, whose leading dimensions are those of `shape`.
    """
    if are_row_seeds(seed):
        words = row_bits(seed, tf.reduce_prod(tf.cast(shape[len(seed.shape) - 1 :], tf.int32)))
        return tf.reshape(tf.bitcast(words, tf.int32), shape)
    return tf.random.stateless_uniform(shape, as_seed(seed), None, None, tf.int32, alg="philox")


def bits_of_key(shape, key) -> tf.Tensor:
    """Uniform random 32-bit integers, int32, of a `shape` from a `key` of the generator, uint64 `[1]`: `bits`
    without the operations that make a key from a seed, for inner loops.
    """
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape, key=key, counter=tf.zeros([2], tf.uint64), alg=_PHILOX, dtype=tf.int32
    )


def uniform(shape, *, seed, dtype=tf.float32) -> tf.Tensor:
    """Uniform numbers strictly inside (0, 1): the midpoints of 2**23 (float64: 2**31) equal cells.

    Neither 0 nor 1 is ever drawn, so that a quantile of the result is finite. Made from integer
    bits, which agree with and without XLA (float draws do not).

    Args:
      shape: of the result.
      seed: a seed, or seeds of rows, as in `bits`.
      dtype: float32 or float64.
    """
    dtype = tf.as_dtype(dtype)
    # 23 and 31 bits: with the half cell added, the midpoint is still exact in the dtype.
    num_bits = 31 if dtype == tf.float64 else 23
    cells = tf.bitwise.right_shift(tf.bitcast(bits(shape, seed=seed), tf.uint32), np.uint32(32 - num_bits))
    return (tf.cast(tf.bitcast(cells, tf.int32), dtype) + 0.5) * 2.0**-num_bits


def bernoulli(probs, *, seed) -> tf.Tensor:
    """Independent binary draws in {0, 1} from a `seed`, with the probabilities, shape, dtype of `probs`."""
    probs = tf.convert_to_tensor(probs)
    return tf.cast(uniform(tf.shape(probs), seed=seed, dtype=probs.dtype) < probs, probs.dtype)


def threefry_2x32(keys: tf.Tensor, counters: tf.Tensor) -> tf.Tensor:
    """Threefry-2x32 with 20 rounds (Salmon et al., 2011), elementwise over the leading dimensions.

    Args:
      keys: uint32, shape `[..., 2]`.
      counters: uint32, shape `[..., 2]`, broadcast against `keys`.

    Returns:
      Random words, uint32, the broadcast shape `[..., 2]`.
    """
    key0, key1 = tf.unstack(keys, axis=-1)
    schedule = (key0, key1, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(key0, key1), np.uint32(_PARITY)))
    x0, x1 = tf.unstack(counters, axis=-1)
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = tf.bitwise.bitwise_or(
                tf.bitwise.left_shift(x1, np.uint32(rotation)),
                tf.bitwise.right_shift(x1, np.uint32(32 - rotation)),
            )
            x1 = tf.bitwise.bitwise_xor(x1, x0)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return tf.stack([x0, x1], axis=-1)


# A function of the graph: hundreds of operations that an exported model holds once, not once a draw.
@tf.function(
    input_signature=[tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([None, None, 2], tf.int32)],
    autograph=False,
)
def _words_of_rows(seeds, counters):
    """Words of seeds `[n, 2]` at the counters `[n or 1, k, 2]`, int32 `[n, k, 2]`."""
    keys = tf.bitcast(seeds, tf.uint32)[:, tf.newaxis]
    return tf.bitcast(threefry_2x32(keys, tf.bitcast(counters, tf.uint32)), tf.int32)


@tf.function(
    input_signature=[tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([], tf.int32)], autograph=False
)
def _stream_of_rows(seeds, num_words):
    """The first words of the streams of seeds `[n, 2]`, uint32 `[n, num_words]`."""
    blocks = (num_words + 1) // 2
    counters = tf.stack([tf.range(blocks), tf.fill([blocks], _STREAM)], axis=-1)
    words = _words_of_rows(seeds, counters[tf.newaxis])
    return tf.bitcast(tf.reshape(words, [tf.shape(seeds)[0], 2 * blocks])[:, :num_words], tf.uint32)


def row_bits(seeds: tf.Tensor, num_words) -> tf.Tensor:
    """A stream of its own for every row: row `i` depends on `seeds[i]` alone, whatever the batch.

    Args:
      seeds: int32, shape `[..., 2]`.
      num_words: words drawn for each row, an integer or a scalar tensor.

    Returns:
      Random 32-bit words, uint32, shape `[..., num_words]`.
    """
    seeds = _row_seeds(seeds)
    words = _stream_of_rows(tf.reshape(seeds, [-1, 2]), num_words)
    return tf.reshape(words, tf.concat([tf.shape(seeds)[:-1], [num_words]], axis=0))
