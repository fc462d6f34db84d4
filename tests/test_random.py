"""tfdvae.random: known answers, independence of rows and streams, ranges, errors."""

import numpy as np
import pytest
import tensorflow as tf

from tfdvae import random

KOLMOGOROV = np.sqrt(
    np.log(2e6) / 2
)  # over sqrt(n): exceeded by chance once in 1e6 (Dvoretzky-Kiefer-Wolfowitz)


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_known_answers(key, counter, words):
    # The vectors that the authors' Random123 library distributes for threefry2x32, 20 rounds.
    got = random.threefry_2x32(tf.constant([key], tf.uint32), tf.constant([counter], tf.uint32))
    np.testing.assert_array_equal(got, [words])
    assert got.dtype == tf.uint32


def test_threefry_broadcasts():
    keys = tf.constant([[[1, 2]], [[3, 4]], [[5, 6]]], tf.uint32)
    counters = tf.constant([[0, 0], [1, 0]], tf.uint32)
    words = random.threefry_2x32(keys, counters)
    assert words.shape == [3, 2, 2]
    np.testing.assert_array_equal(words[1, 1], random.threefry_2x32(keys[1, 0], counters[1]))


def row_uniform(seeds, num_words):
    return random.uniform([seeds.shape[0], num_words], seed=seeds)


@pytest.mark.parametrize("num_words", [1, 2, 7, 64])
@pytest.mark.parametrize("function", [random.row_bits, row_uniform])
def test_a_row_depends_on_its_own_seed_alone(function, num_words):
    seeds = tf.constant([[1, 2], [3, 4], [1, 2], [-5, 2**31 - 1], [2, 1]])
    rows = function(seeds, num_words).numpy()
    assert rows.shape == (5, num_words)
    for index in range(5):
        np.testing.assert_array_equal(rows[index], function(seeds[index : index + 1], num_words)[0])
    np.testing.assert_array_equal(rows[::-1], function(seeds[::-1], num_words))
    np.testing.assert_array_equal(rows[0], rows[2])
    assert len({row.tobytes() for row in rows}) == 4


def test_a_longer_row_starts_as_a_shorter_one():
    seeds = tf.constant([[1, 2], [3, 4]])
    np.testing.assert_array_equal(random.row_bits(seeds, 10)[:, :5], random.row_bits(seeds, 5))


@pytest.mark.parametrize(("batch", "num_words"), [(3, 0), (0, 5), (0, 0)])
def test_rows_without_words_and_words_without_rows(batch, num_words):
    seeds = tf.zeros([batch, 2], tf.int32)
    assert random.row_bits(seeds, num_words).shape == [batch, num_words]
    assert random.uniform([batch, num_words], seed=seeds).shape == [batch, num_words]
    assert [s.shape for s in random.split(seeds, 3)] == [[batch, 2]] * 3
    assert random.fold_in(seeds, -1).shape == [batch, 2]


def test_row_bits_of_unknown_batch_size():
    function = tf.function(
        lambda seeds: random.row_bits(seeds, 6), input_signature=[tf.TensorSpec([None, 2], tf.int32)]
    )
    seeds = tf.constant([[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(function(seeds), random.row_bits(seeds, 6))


@pytest.mark.parametrize(
    ("dtype", "half_cell"), [(tf.float32, 2.0**-24), (tf.float64, 2.0**-32)], ids=["float32", "float64"]
)
def test_uniform_is_strictly_inside_the_unit_interval(monkeypatch, dtype, half_cell):
    # The bits that give the smallest and the largest number.
    monkeypatch.setattr(random, "bits", lambda shape, *, seed: tf.constant([0, -1]))
    numbers = random.uniform([2], seed=0, dtype=dtype)
    assert numbers.dtype == dtype
    np.testing.assert_array_equal(numbers, [half_cell, 1 - half_cell])


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_uniform_is_uniform(dtype):
    count = 100_000
    numbers = np.sort(random.uniform([count], seed=11, dtype=dtype))
    assert np.abs(numbers - (np.arange(count) + 0.5) / count).max() < KOLMOGOROV / np.sqrt(count)


def test_row_uniform_is_uniform_along_and_across_rows():
    seeds = tf.stack([tf.range(1000), tf.zeros(1000, tf.int32)], axis=-1)
    numbers = row_uniform(seeds, 20).numpy()
    for sample in (numbers.ravel(), numbers[:, 0], row_uniform(seeds[:1], 1000).numpy().ravel()):
        count = sample.size
        distance = np.abs(np.sort(sample) - (np.arange(count) + 0.5) / count).max()
        assert distance < KOLMOGOROV / np.sqrt(count)


def test_same_seed_same_numbers_in_eager_graph_and_xla():
    want = random.uniform([50], seed=[3, 4])
    np.testing.assert_array_equal(want, random.uniform([50], seed=tf.constant([3, 4])))
    for jit_compile in (False, True):
        function = tf.function(lambda seed: random.uniform([50], seed=seed), jit_compile=jit_compile)
        np.testing.assert_array_equal(function(tf.constant([3, 4])), want)
    assert tf.reduce_any(random.uniform([50], seed=[3, 5]) != want)


def test_bernoulli_frequencies_and_ends():
    count = 50_000
    probs = tf.tile(tf.constant([[0.0, 0.1, 0.5, 0.9, 1.0]]), [count, 1])
    draws = random.bernoulli(probs, seed=2).numpy()
    assert draws.dtype == np.float32
    assert set(np.unique(draws)) == {0.0, 1.0}
    means = draws.mean(0)
    assert (means[0], means[4]) == (0.0, 1.0)
    # Hoeffding, with probability 1e-6 of a false failure each.
    assert np.abs(means - probs[0]).max() < KOLMOGOROV / np.sqrt(count)


INTEGERS = {
    0: [0, 0],
    5: [5, 0],
    -1: [-1, -1],
    -(2**31): [-(2**31), -1],
    2**31 + 3: [-(2**31) + 3, 0],
    2**32 + 7: [7, 1],
    -(2**63): [0, -(2**31)],
    2**64 - 1: [-1, -1],
}
DTYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


def dtypes_of(*integers):
    return [t for t in DTYPES if all(np.iinfo(t).min <= n <= np.iinfo(t).max for n in integers)]


@pytest.mark.parametrize("seed", INTEGERS)
def test_as_seed_of_one_integer(seed):
    """Of Python, of NumPy, and of tensors, in every dtype that holds it, in a graph too."""
    assert random.as_seed(seed).dtype == tf.int32
    assert dtypes_of(seed)
    for dtype in dtypes_of(seed):
        for given in (dtype(seed), np.array(seed, dtype), tf.constant(seed, dtype)):
            np.testing.assert_array_equal(random.as_seed(given), INTEGERS[seed], err_msg=repr(given))
    np.testing.assert_array_equal(random.as_seed(seed), INTEGERS[seed])
    for jit_compile in (False, True):
        compiled = tf.function(random.as_seed, jit_compile=jit_compile)
        np.testing.assert_array_equal(compiled(tf.constant(seed, dtypes_of(seed)[-1])), INTEGERS[seed])


@pytest.mark.parametrize(
    ("seed", "want"),
    [
        ((1, 2), [1, 2]),
        ([1, -2], [1, -2]),
        ((2**31, 2**32 - 1), [-(2**31), -1]),
        ((-(2**31), 2**31 - 1), [-(2**31), 2**31 - 1]),
    ],
)
def test_as_seed_of_two_integers(seed, want):
    np.testing.assert_array_equal(random.as_seed(seed), want)
    assert dtypes_of(*seed)
    for dtype in dtypes_of(*seed):
        for given in (np.array(seed, dtype), [dtype(n) for n in seed], tf.constant(seed, dtype)):
            np.testing.assert_array_equal(random.as_seed(given), want, err_msg=repr(given))
    compiled = tf.function(lambda low, high: random.as_seed([low, high]))
    np.testing.assert_array_equal(compiled(*(tf.constant(n, tf.int64) for n in seed)), want)


def test_as_seed_of_a_variable():
    np.testing.assert_array_equal(random.as_seed(tf.Variable([5, 6])), [5, 6])


@pytest.mark.parametrize(
    "seed",
    [
        None,
        1.5,
        True,
        [1, 2, 3],
        [1.0, 2.0],
        [1, 2.5],
        [1, None],
        [[1, 2]],
        np.float32(1),
        np.array([True, False]),
        tf.constant(1.0),
        "seed",
        {},
    ],
)
def test_as_seed_refuses(seed):
    with pytest.raises(ValueError, match=r"`seed` must be an integer or a pair of integers\. Received"):
        random.as_seed(seed)


@pytest.mark.parametrize(
    "seed",
    [
        2**64,
        -(2**63) - 1,
        (0, 2**32),
        (-(2**31) - 1, 0),
        np.array([0, 2**32]),
        tf.constant([0, -(2**40)], tf.int64),
        tf.constant([0, 2**63], tf.uint64),
    ],
)
def test_as_seed_refuses_what_does_not_fit(seed):
    with pytest.raises(ValueError, match=r"must fit 64 bits, each word of a pair 32 bits\. Received: seed="):
        random.as_seed(seed)


def streams_differ(seeds):
    words = {random.bits([4], seed=seed).numpy().tobytes() for seed in seeds}
    return len(words) == len(seeds)


def test_split_streams_differ():
    parts = random.split(3, 5)
    assert [part.shape for part in parts] == [[2]] * 5
    salted = random.split(3, 5, salt="elbo") + random.split(3, 5, salt="prior")
    assert streams_differ([random.as_seed(3), *parts, *salted, *random.split(4, 5)])


def test_fold_in_streams_differ():
    folded = [random.fold_in(3, step) for step in (*range(100), 2**31 - 1, 2**32 - 1)]
    assert streams_differ([random.as_seed(3), random.as_seed([3, 1]), *random.split(3, 4), *folded])
    assert streams_differ([random.fold_in(random.fold_in(3, 1), 2), random.fold_in(random.fold_in(3, 2), 1)])


def test_numbers_that_are_no_integers_are_refused():
    """A cast would make 1 of 1.7."""
    for data in (1.7, "1", None, np.float32(2), tf.constant(1.0)):
        with pytest.raises(ValueError, match=r"`data` must be an integer\. Received: data="):
            random.fold_in(3, data)
    for n in (0, 2.0, "2", None):
        with pytest.raises(ValueError, match=r"`n` must be a positive integer\. Received: n="):
            random.split(3, n)
    for seed in (1.7, "1", None, True):
        with pytest.raises(ValueError, match=r"`seed` must be an integer\. Received: seed="):
            random.integer(seed, salt="a")


def test_split_and_fold_in_are_functions():
    np.testing.assert_array_equal(
        random.split([1, 2], 3, salt="a"), random.split(tf.constant([1, 2]), 3, salt="a")
    )
    graph = tf.function(lambda seed, step: random.fold_in(seed, step))
    for dtype in (tf.int32, tf.int64):
        got = graph(tf.constant([1, 2]), tf.constant(77, dtype))
        np.testing.assert_array_equal(got, random.fold_in([1, 2], 77))


ROWS = tf.constant([[1, 2], [3, 4], [1, 2], [-5, 2**31 - 1]])


@pytest.mark.parametrize(
    "function",
    [
        lambda s: random.split(s, 3, salt="a")[2],
        lambda s: random.split(s, 3)[2],
        lambda s: random.fold_in(s, 7),
        lambda s: random.fold_in(s, tf.range(tf.shape(s)[0]) * 0 + 7),
        lambda s: random.bernoulli(tf.fill([tf.shape(s)[0], 40], 0.5), seed=s),
        lambda s: random.uniform([tf.shape(s)[0], 3, 2], seed=s),
        lambda s: random.bits([tf.shape(s)[0]], seed=s),
    ],
    ids=["salted split", "split", "fold_in", "fold_in of a tensor", "bernoulli", "uniform", "a word"],
)
def test_seeds_of_rows_go_through_every_function_row_by_row(function):
    rows = function(ROWS).numpy()
    for i in range(len(ROWS)):
        np.testing.assert_array_equal(rows[i], function(ROWS[i : i + 1])[0])
    np.testing.assert_array_equal(rows[0], rows[2])
    assert np.any(rows[0] != rows[1])
    graph = tf.function(function, input_signature=[tf.TensorSpec([None, 2], tf.int32)])
    np.testing.assert_array_equal(graph(ROWS), rows)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_seeds_of_rows_may_be_arrays_of_any_integers(dtype):
    words = [[1, 2], [3, 2**31 + 4]] if dtype != np.int32 else [[1, 2], [3, 4 - 2**31]]
    want = tf.constant([[1, 2], [3, 4 - 2**31]])
    for rows in (np.array(words, dtype), tf.constant(words, dtype)):
        for function in (
            lambda s: random.split(s, 2, salt="a")[1],
            lambda s: random.fold_in(s, 3),
            lambda s: random.bits([2, 5], seed=s),
            lambda s: random.row_bits(s, 5),
        ):
            np.testing.assert_array_equal(function(rows), function(want))


@pytest.mark.parametrize("rows", [np.ones([3, 3], np.int32), tf.ones([3, 2]), np.array([[0, 2**32]])])
def test_seeds_of_rows_are_checked(rows):
    with pytest.raises(ValueError, match=r"Seeds of rows must be pairs of integers|must fit 64 bits"):
        random.split(rows)


def test_seeds_derived_from_those_of_rows_are_streams_of_their_own():
    seeds = [ROWS, *random.split(ROWS, 3), *random.split(ROWS, 2, salt="a"), random.fold_in(ROWS, 0)]
    seeds += [random.fold_in(ROWS, 1), random.fold_in(random.fold_in(ROWS, 0), 1)]
    words = {random.row_bits(s, 4)[row].numpy().tobytes() for s in seeds for row in (0, 1, 3)}
    assert len(words) == 3 * len(seeds)


def test_seeds_of_rows_with_a_sample_axis():
    seeds = random.sample_seeds(ROWS, 5)
    assert seeds.shape == [5, 4, 2]
    numbers = random.uniform([5, 4, 6], seed=seeds)
    for sample in range(5):
        np.testing.assert_array_equal(seeds[sample], random.fold_in(ROWS, sample))
        np.testing.assert_array_equal(numbers[sample], random.uniform([4, 6], seed=seeds[sample]))
    # Neither how many are drawn at a time nor the batch matters.
    np.testing.assert_array_equal(seeds[2:4, 1:2], random.sample_seeds(ROWS[1:2], 2, first=2))
    assert random.sample_seeds(seeds, 3).shape == [3, 5, 4, 2]
    assert random.sample_seeds((1, 2), 5) == (1, 2)
