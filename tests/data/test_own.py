import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tfdvae import data
from tfdvae.data import store


def arrays(dataset, n=None):
    return [x.numpy() for x in (dataset if n is None else itertools.islice(dataset, n))]


@pytest.fixture(scope="module")
def grey():
    """Images of three rows and five columns, uint8."""
    return np.random.default_rng(0).integers(0, 256, (23, 3, 5), dtype=np.uint8)


@pytest.mark.parametrize("binarization", ["none", "threshold", "static", "dynamic"])
def test_batches_are_those_of_load(numbered_mnist, binarization):
    images, _ = store.read_split(store.locate("dynamic_mnist", numbered_mnist), "train")
    options = {"seed": (3, 4), "initial_step": 4, "shuffle": True, "num_epochs": 3}
    expected = data.load("dynamic_mnist", "train", 8, numbered_mnist, binarization, **options)
    own = None if binarization == "none" else binarization
    got = data.from_arrays(images, 8, binarization=own, **options)
    assert got.element_spec == expected.element_spec
    assert got.cardinality() == expected.cardinality()
    for x, y in zip(arrays(got), arrays(expected), strict=True):
        np.testing.assert_array_equal(x, y)


def test_by_default_all_images_come_once_in_their_order(grey):
    dataset = data.from_arrays(grey, 10)
    batches = arrays(dataset)
    assert [x.shape for x in batches] == [(10, 3, 5, 1), (10, 3, 5, 1), (3, 3, 5, 1)]
    np.testing.assert_array_equal(np.concatenate(batches)[..., 0], grey)
    assert dataset.element_spec == tf.TensorSpec([None, 3, 5, 1], tf.float32)
    assert len(arrays(data.from_arrays(grey, 10, shuffle=True))) == 2
    assert len(arrays(data.from_arrays(grey, 10, num_epochs=None), 7)) == 7


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.int64),
        lambda x: (x / 255).astype(np.float32),
        lambda x: x / 255,
        lambda x: x[..., np.newaxis],
        lambda x: tf.constant(x),
        lambda x: x.tolist(),
        lambda x: np.asfortranarray(x),
    ],
)
def test_the_same_images_in_other_types(grey, convert):
    (expected,) = arrays(data.from_arrays(grey, 23))
    (got,) = arrays(data.from_arrays(convert(grey), 23))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("binarization", [None, "threshold", "static", "dynamic"])
def test_binary_images_stay_what_they_are(grey, dtype, binarization):
    binary = (grey > 99).astype(dtype)
    (got,) = arrays(data.from_arrays(binary, 23, binarization=binarization))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[..., 0], binary)


def test_dark_images_are_not_taken_for_binary():
    dark = np.full([1, 10, 10], 1 / 255, np.float64)
    (got,) = arrays(data.from_arrays(dark, 1))
    np.testing.assert_array_equal(got, 1.0)  # of 255
    (got,) = arrays(data.from_arrays(dark, 1, binarization="threshold"))
    np.testing.assert_array_equal(got, 0.0)


def test_dynamic_draws_differ_between_epochs_and_have_the_right_mean(grey):
    first, second = arrays(data.from_arrays(grey, 23, binarization="dynamic", num_epochs=2))
    assert (first != second).any()
    epochs = np.stack(arrays(data.from_arrays(grey, 23, binarization="dynamic", num_epochs=50)))
    p = grey / 255
    tolerance = 5.0 * np.sqrt(np.sum(p * (1 - p)) * 50) / epochs.size + 2.0**-16
    assert abs(epochs.mean() - p.mean()) < tolerance
    static = arrays(data.from_arrays(grey, 23, binarization="static", num_epochs=2, seed=5))
    np.testing.assert_array_equal(static[0], static[1])


def test_colour_images(grey):
    colour = np.random.default_rng(1).integers(0, 256, (4, 3, 5, 3), dtype=np.uint8)
    (got,) = arrays(data.from_arrays(colour, 4))
    np.testing.assert_array_equal(got, colour)
    with pytest.raises(
        ValueError, match=r"`binarization` is for grey images.*'static' for images of 3 channels"
    ):
        data.from_arrays(colour, 4, binarization="static")


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_files(tmp_path, monkeypatch, grey, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", grey)
    np.savez_compressed(tmp_path / "x.npz", images=grey)
    for name in ("~/x.npy", "~/x.npz"):
        (got,) = arrays(data.from_arrays(kind(name), 23))
        np.testing.assert_array_equal(got[..., 0], grey)


def test_files_that_are_none(tmp_path, grey):
    np.savez(tmp_path / "two.npz", train=grey, test=grey)
    with pytest.raises(ValueError, match=r"two\.npz must hold one array, and holds \['train', 'test'\]"):
        data.from_arrays(tmp_path / "two.npz", 5)
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"objects\.npy is truncated or no NumPy file of numbers"):
        data.from_arrays(tmp_path / "objects.npy", 5)
    np.save(tmp_path / "x.npy", grey)
    whole = (tmp_path / "x.npy").read_bytes()
    for size in (0, 20, len(whole) - 1):
        (tmp_path / "x.npy").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"x\.npy is truncated or no NumPy file of numbers"):
            data.from_arrays(tmp_path / "x.npy", 5)
    with pytest.raises(FileNotFoundError):
        data.from_arrays(tmp_path / "nowhere.npy", 5)


def with_value(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


HALF = np.full([4, 2, 3], 0.5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (with_value(HALF, (1, 0, 2), np.nan), r"Received: dtype float64 with nan at \[1, 0, 2\]$"),
        (with_value(HALF, (1, 0, 2), 1.5), r"Received: dtype float64 with 1\.5 at \[1, 0, 2\]$"),
        (with_value(HALF, (1, 0, 2), -0.1), r"with -0\.1 at"),
        (255 * HALF, r"give whole numbers an integer dtype.* with 127\.5 .*, and 23 more$"),
        (np.full([2, 2, 2], 256), r"integers in 0\.\.255 .*Received: dtype int64 with 256 at \[0, 0, 0\]"),
        (np.full([2, 2, 2], -1), r"with -1 at"),
        (HALF[:0], r"at least one image of one pixel\. Received: shape \(0, 2, 3\)"),
        (HALF[:, :0], r"Received: shape \(4, 0, 3\)"),
        (HALF[0], r"must have the shape \[n, height, width\] or .*Received: shape \(2, 3\)"),
        (HALF[None, None], r"Received: shape \(1, 1, 4, 2, 3\)"),
        ([[[0, 1]], [[0, 1, 1]]], "`images` must be one array, images of one size"),
        (HALF.astype(str), "`images` must be integers, floats or booleans. Received: dtype <U"),
        (HALF * 1j, "Received: dtype complex128"),
        (None, "Received: dtype object"),
        (tf.data.Dataset.range(3), "Received: dtype object"),
    ],
)
def test_images_that_are_refused(images, message):
    with pytest.raises(ValueError, match=message) as error:
        data.from_arrays(images, 1)
    assert "`images`" in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 2.0}, "`batch_size` must be a positive integer. Received: batch_size=2.0"),
        ({"batch_size": 24, "shuffle": True}, "must not exceed the 23 images of `images` .*batch_size=24"),
        ({"binarization": "default"}, "`binarization` must be one of None, 'threshold', .*'default'"),
        ({"seed": 0.5}, "`seed` must be an integer"),
        ({"num_epochs": 0}, "`num_epochs` must be a positive integer, or None"),
        ({"initial_step": -1}, "`initial_step` must be an integer of at least 0"),
    ],
)
def test_arguments_that_are_refused(grey, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.from_arrays(grey, **{"batch_size": 5} | arguments)
