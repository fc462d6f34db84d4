"""Weight normalization, and pre-activation blocks, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae.layers import PreActivationBlock, WeightNormalizedConv2D
from tfdvae.layers.convolution import Conv2D


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def convolved(x, layer, stride=1):
    """A 3x3 or 1x1 convolution of zero-padded images by loops over places, in float64."""
    v, gain = np.float64(layer.kernel), np.float64(layer.gain)
    kernel = v * gain / np.sqrt(np.sum(v**2, axis=(0, 1, 2)))
    size = kernel.shape[0]
    height, width = (-(-n // stride) for n in x.shape[1:3])
    # As TensorFlow pads: what is odd goes to the end.
    pads = [max((m - 1) * stride + size - n, 0) for m, n in zip((height, width), x.shape[1:3], strict=True)]
    x = np.pad(x, [(0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)])
    result = np.zeros((len(x), height, width, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            result[:, i, j] = np.tensordot(window, kernel, 3)
    return result if layer.bias is None else result + np.float64(layer.bias)


def with_random_weights(layer):
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape, scale=0.5) for w in layer.get_weights()])
    return layer


def test_the_gain_is_the_length_of_a_filter():
    x = images(2, 5, 4, 3)
    layer, plain = WeightNormalizedConv2D(4, 3), Conv2D(4, 3)
    want = plain(x)
    layer.build(x.shape)
    layer.kernel.assign(plain.kernel)
    layer.gain.assign(np.linalg.norm(np.reshape(plain.kernel, [-1, 4]), axis=0))
    np.testing.assert_allclose(layer(x), want, atol=1e-5)
    layer.kernel.assign(3.0 * plain.kernel)
    np.testing.assert_allclose(layer(x), want, atol=1e-5)
    layer.gain.assign(2.0 * layer.gain)
    np.testing.assert_allclose(layer(x), 2.0 * want, atol=1e-5)


def test_it_begins_as_without_normalization():
    layer = WeightNormalizedConv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(3))
    plain = Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(3))
    x = images(2, 5, 4, 3)
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)


def test_weight_decay_is_that_of_the_filters():
    layer = WeightNormalizedConv2D(4, 3, gain_regularizer=keras.regularizers.L2(0.1))
    layer(images(1, 4, 4, 2))
    with_random_weights(layer)
    np.testing.assert_allclose(sum(layer.losses), 0.1 * np.sum(np.square(layer.gain)), rtol=1e-5)


@pytest.mark.parametrize(
    ("resize", "filters", "output_size", "want_shape"),
    [
        (None, 3, None, (5, 4, 3)),
        (None, 2, None, (5, 4, 2)),
        ("down", 3, None, (3, 2, 3)),
        ("up", 3, None, (10, 8, 3)),
        ("up", 2, (9, 7), (9, 7, 2)),
    ],
)
def test_a_block_is_what_it_says(resize, filters, output_size, want_shape):
    x = images(2, 5, 4, 3)
    block = PreActivationBlock(filters, resize, output_size)
    assert block.compute_output_shape(x.shape) == (2, *want_shape)
    block.build(x.shape)
    for layer in (block.first, block.second, block.shortcut):
        if layer is not None:
            with_random_weights(layer)
    features = np.float64(x)
    if resize == "up":
        features = np.repeat(np.repeat(features, 2, axis=1), 2, axis=2)[:, : want_shape[0], : want_shape[1]]
    stride = 2 if resize == "down" else 1
    want = convolved(elu(convolved(elu(features), block.first, stride)), block.second)
    shortcut = features[:, ::stride, ::stride]
    assert (block.shortcut is None) == (want_shape[2] == 3 and resize != "down")
    want += shortcut if block.shortcut is None else convolved(shortcut, block.shortcut)
    got = block(x)
    assert got.shape == (2, *want_shape)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_blocks_are_saved_and_repeatable(tmp_path):
    model = keras.Sequential(
        [
            keras.layers.Input((5, 5, 1)),
            PreActivationBlock(3, "down", weight_decay=0.1, seed=1, name="a"),
            PreActivationBlock(2, "up", (5, 5), activation="relu", seed=1, name="b"),
        ]
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = images(2, 5, 5, 1)
    np.testing.assert_array_equal(model(x), again(x))
    assert len(again.losses) == 3  # of the first block: two convolutions and the shortcut
    other = PreActivationBlock(3, "down", seed=1, name="a")
    other(x)
    np.testing.assert_array_equal(other.first.kernel, model.layers[0].first.kernel)


def test_a_batch_without_images_passes():
    assert PreActivationBlock(2, "down")(tf.zeros([0, 5, 5, 1])).shape == (0, 3, 3, 2)


def test_unknown_resizing_is_refused():
    with pytest.raises(ValueError, match=r"`resize` must be None, .* Received: resize='sideways'"):
        PreActivationBlock(2, "sideways")
