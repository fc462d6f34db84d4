import numpy as np
import pytest
import tensorflow as tf

from tfdvae import random
from tfdvae.data import binarization, catalog


def test_draw_is_what_the_generator_says():
    # Evaluated without compilation: two pixels from each word of the image's own stream.
    grey = np.random.default_rng(0).integers(0, 256, (5, 33), dtype=np.uint8)
    indices = np.array([3, 0, 70_000, 1, 2])
    seed = binarization.epoch_seed([1, 2], 7)
    got = binarization.draw(tf.constant(grey), indices, seed)
    assert got.dtype == tf.uint8
    for row, index, drawn in zip(grey.astype(int), indices, got.numpy(), strict=True):
        key = tf.stack([seed[0], seed[1] + index])
        words = random.row_bits(key[tf.newaxis], 17).numpy()[0].astype(np.int64)
        uniform = np.concatenate([words >> 16, words & 0xFFFF])[:33]
        np.testing.assert_array_equal(drawn, uniform < np.rint(row * 65536 / 255))


def test_draw_has_the_right_mean():
    levels = np.repeat(np.arange(256, dtype=np.uint8), 4)
    num_images = 20_000
    grey = tf.constant(np.tile(levels, (num_images, 1)))
    mean = binarization.draw(grey, tf.range(num_images), binarization.epoch_seed(0, 0)).numpy().mean(0)
    expected = levels / 255
    # 5.9 standard deviations, one in 3e8 each: 3e-6 for the thousand of them.
    tolerance = 5.9 * np.sqrt(expected * (1 - expected) / num_images) + 2.0**-16
    assert np.all(np.abs(mean - expected) < tolerance)
    assert not mean[levels == 0].any()
    assert mean[levels == 255].all()


def test_draws_are_independent_between_epochs_images_and_pixels():
    grey = tf.fill([2_000, 784], np.uint8(128))
    first, second = (
        binarization.draw(grey, tf.range(2_000), binarization.epoch_seed(0, epoch)).numpy().astype(float)
        for epoch in (0, 1)
    )
    p = round(128 * 65536 / 255) / 65536
    for a, b in (
        (first, second),
        (first[1:], first[:-1]),
        (first[:, 1:], first[:, :-1]),
        (first, first[:, ::-1]),
    ):
        # Of the products of two independent draws, at least half are independent of one another.
        tolerance = 5.0 * np.sqrt(2 * p**2 * (1 - p**2) / a.size)
        assert abs((a * b).mean() - p**2) < tolerance


def test_draw_depends_on_the_index_and_not_on_the_batch():
    grey = np.random.default_rng(0).integers(0, 256, (40, 784), dtype=np.uint8)
    seed = binarization.epoch_seed(3, 1)
    whole = binarization.draw(tf.constant(grey), tf.range(40), seed).numpy()
    some = np.array([17, 3, 39])
    np.testing.assert_array_equal(binarization.draw(tf.constant(grey[some]), some, seed), whole[some])


def test_once():
    grey = np.random.default_rng(0).integers(0, 256, (2_300, 784), dtype=np.uint8)
    static = binarization.once(grey, "static")
    assert static.dtype == np.uint8
    np.testing.assert_array_equal(np.unique(static), [0, 1])
    # The same for everybody: an image's draw does not depend on what comes after it.
    np.testing.assert_array_equal(binarization.once(grey[:1_100], "static"), static[:1_100])
    tolerance = 5.0 * np.sqrt(0.25 / grey.size)
    assert abs(static.mean() - grey.mean() / 255) < tolerance
    np.testing.assert_array_equal(binarization.once(grey, "threshold"), grey > 127)
    np.testing.assert_array_equal(binarization.once(grey, "none"), grey)


def test_check():
    grey, binary, colour = (catalog.info(name) for name in ("omniglot", "static_mnist", "cifar10"))
    assert binarization.check("default", grey) == "static"
    assert binarization.check("default", catalog.info("dynamic_mnist")) == "dynamic"
    assert binarization.check("default", catalog.info("digits")) == "threshold"
    assert binarization.check("default", binary) == binarization.check("default", colour) == "none"
    for name in ("none", "threshold", "static", "dynamic"):
        assert binarization.check(name, grey) == name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "omniglot",
            "stochastic",
            "one of default, none, threshold, static, dynamic for omniglot.*'stochastic'",
        ),
        ("static_mnist", "dynamic", r"one of default, none .*holds binary images already\).*'dynamic'"),
        ("cifar10", "threshold", r"one of default, none .*holds colour images\).*'threshold'"),
        ("digits", None, "Received: binarization=None"),
    ],
)
def test_check_refuses(name, value, message):
    with pytest.raises(ValueError, match=message):
        binarization.check(value, catalog.info(name))
