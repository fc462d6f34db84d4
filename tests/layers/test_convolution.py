"""Conv2D and Conv2DTranspose: Keras' values at any batch size, and nothing that skips pixels."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae.layers import SEResidualBlock
from tfdvae.layers.convolution import Conv2D, Conv2DTranspose

KINDS = {
    Conv2D: (keras.layers.Conv2D, [((3, 3), 1), ((3, 3), 2), ((1, 1), 1), ((2, 3), (1, 2))]),
    Conv2DTranspose: (keras.layers.Conv2DTranspose, [((3, 3), 1), ((3, 3), 2), ((2, 4), (2, 3))]),
}
CASES = [
    pytest.param(kind, of_keras, *shape, id=f"{kind.__name__}-{shape}")
    for kind, (of_keras, shapes) in KINDS.items()
    for shape in shapes
]
SIGNATURES = [None, tf.TensorSpec([None, 5, 4, 3])]


def images(count):
    return np.random.default_rng(0).normal(size=(count, 5, 4, 3)).astype(np.float32)


def value_and_gradients(layer, x, signature=None):
    """The images that a layer yields, and the gradients of their sum of squares."""

    def calls(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            total = tf.reduce_sum(y**2)
        return [y, *tape.gradient(total, [x, *layer.trainable_variables])]

    function = calls if signature is None else tf.function(calls, input_signature=[signature])
    return function(tf.constant(x))


@pytest.mark.parametrize(("kind", "of_keras", "kernel_size", "strides"), CASES)
def test_values_are_those_of_keras(kind, of_keras, kernel_size, strides):
    layer = kind(2, kernel_size, strides)
    other = of_keras(2, kernel_size, strides, padding="same")
    for one in (layer, other):
        one.build((None, 5, 4, 3))
    other.set_weights(layer.get_weights())
    assert [w.path for w in layer.weights] == [f"{layer.name}/kernel", f"{layer.name}/bias"]
    for signature in SIGNATURES:
        got, want = (value_and_gradients(one, images(7), signature) for one in (layer, other))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "of_keras", "kernel_size", "strides"), CASES)
@pytest.mark.parametrize("signature", SIGNATURES, ids=["eager", "graph"])
def test_no_images_give_no_images(kind, of_keras, kernel_size, strides, signature):
    layer = kind(2, kernel_size, strides)
    layer.build((None, 5, 4, 3))
    layer.bias.assign([1.0, -2.0])  # so that the black image in their place has a value
    y, dx, *gradients = value_and_gradients(layer, images(0), signature)
    assert y.shape == layer.compute_output_shape((0, 5, 4, 3))
    assert dx.shape == (0, 5, 4, 3)
    for gradient, weight in zip(gradients, layer.trainable_variables, strict=True):
        np.testing.assert_array_equal(gradient, np.zeros(weight.shape))


@pytest.mark.parametrize("resize", [None, "down", "up"])
def test_residual_blocks_of_no_images(resize):
    block = SEResidualBlock((3, 2), 6, resize)
    size = {None: (5, 4), "down": (3, 2), "up": (10, 8)}[resize]
    for leading in ((0,), (2, 0)):
        y = block([tf.zeros([0, 5, 4, 3]), tf.zeros([*leading, 5, 4, 2])])
        assert y.shape == (*leading, *size, 6)


def test_images_may_have_any_float_type():
    for dtype in ("float64", "bfloat16"):
        layer = Conv2D(2, 3, dtype=keras.DTypePolicy(dtype))
        layer.build((None, 5, 4, 3))
        for count in (0, 2):
            y = layer(tf.cast(images(count), dtype))
            assert (y.shape, y.dtype.name) == ((count, 5, 4, 2), dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("kernel_size", "strides"), [(1, 2), (2, 3), ((3, 1), 2), ((1, 3), (2, 1))])
def test_a_kernel_smaller_than_the_stride_is_refused(kind, kernel_size, strides):
    with pytest.raises(ValueError, match=r"must not be smaller than the stride: .* Received: kernel_size=\("):
        kind(2, kernel_size, strides)


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_round_trip(kind):
    layer = kind(2, (2, 3), 2, padding="valid", use_bias=False, name="layer")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is kind
    assert copy.get_config() == layer.get_config()


def test_keras_image_data_format_changes_nothing():
    kept = keras.config.image_data_format()
    try:
        found = []
        for data_format in ("channels_last", "channels_first"):
            keras.config.set_image_data_format(data_format)
            blocks = [SEResidualBlock((3,), 2, r, seed=0, name="block") for r in (None, "down", "up")]
            found.append([block([images(2)]).numpy() for block in blocks])
    finally:
        keras.config.set_image_data_format(kept)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("resize", "first"), [("down", "conv2d"), ("up", "conv2d_transpose")])
def test_files_name_the_layers_as_those_of_keras(resize, first, tmp_path):
    # Weights that were saved when these layers were Keras' own must load.
    model = keras.Model()
    model.block, model.built = SEResidualBlock((3,), 2, resize), True
    model.save_weights(tmp_path / "model.weights.h5")
    names = set()
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visit(names.add)
    for layer in (f"first/{first}", "second", "skips/conv2d"):
        assert f"block/{layer}/vars/0" in names
