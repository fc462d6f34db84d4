"""Causal convolutions and gated blocks: what they see, by the Jacobian, and their values by loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.test_pre_activation import elu, images, with_random_weights
from tfdvae.layers.causal import DIRECTIONS, CausalConv2D, Enlarged, GatedBlock, shift_down, shift_right
from tfdvae.layers.convolution import Conv2D

SEEN = {  # places relative to the own one
    ("down", (2, 3)): {(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1)},
    ("down", (1, 3)): {(0, -1), (0, 0), (0, 1)},
    ("down_right", (2, 2)): {(-1, -1), (-1, 0), (0, -1), (0, 0)},
    ("down_right", (2, 1)): {(-1, 0), (0, 0)},
}


def places_seen(function, shape):
    """For each place of the output, the places of an image of the shape that it depends on."""
    x = images(1, *shape)
    places = list(np.ndindex(*shape[:2]))
    copies = np.tile(x, (1 + len(places), 1, 1, 1))
    for k, (i, j) in enumerate(places):
        copies[1 + k, i, j] += 1.0
    y = np.asarray(function(copies))
    changed = np.any(y[1:] != y[0], axis=-1)
    return {
        place: {places[k] for k in np.flatnonzero(changed[(slice(None), *place)])}
        for place in np.ndindex(*y.shape[1:3])
    }


@pytest.mark.parametrize(
    ("direction", "window", "strides"),
    [*((*key, 1) for key in SEEN), ("down", (2, 3), 2), ("down_right", (2, 2), 2)],
)
def test_what_a_convolution_sees(direction, window, strides):
    layer = CausalConv2D(2, direction, window, strides)
    seen = places_seen(layer, (5, 4, 2))
    assert len(seen) == np.prod(layer.compute_output_shape((None, 5, 4, 2))[1:3])
    for (i, j), got in seen.items():
        places = {(strides * i + di, strides * j + dj) for di, dj in SEEN[direction, window]}
        assert got == {(a, b) for a, b in places if 0 <= a < 5 and 0 <= b < 4}


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("direction", ["down", "down_right"])
def test_a_convolution_against_loops(direction, strides):
    x, layer = images(2, 5, 4, 3), CausalConv2D(2, direction, strides=strides)
    layer.build(x.shape)
    with_random_weights(layer)
    kernel, got = np.float64(layer.normalized_kernel), layer(x).numpy()
    for i, j in np.ndindex(got.shape[1:3]):
        want = np.float64(np.tile(layer.bias, (2, 1)))
        for a, b in np.ndindex(kernel.shape[:2]):
            row, column = strides * i + a - 1, strides * j + b - 1
            if 0 <= row < 5 and 0 <= column < 4:
                want += x[:, row, column] @ kernel[a, b]
        np.testing.assert_allclose(got[:, i, j], want, rtol=1e-4, atol=1e-5)


def test_shifts():
    x = images(2, 3, 4, 1)
    np.testing.assert_array_equal(shift_down(x)[:, 1:], x[:, :-1])
    np.testing.assert_array_equal(shift_right(x)[:, :, 1:], x[:, :, :-1])
    assert not np.any(shift_down(x)[:, 0])
    assert not np.any(shift_right(x)[:, :, 0])


def test_an_enlarged_place_knows_what_it_knew():
    seen = places_seen(Enlarged(2, (5, 3)), (3, 2, 2))
    assert seen == {(i, j): {(i // 2, j // 2)} for i, j in np.ndindex(5, 3)}


def gated_block(**arguments):
    block = GatedBlock(3, "down_right", **arguments)
    block.build()
    return with_random_weights(block)


def test_a_gated_block_is_its_formula():
    """With f(x) = elu of x and of -x: conv(f(x)) + product(f(extra)), its f, conv + W h, and the gate."""
    x, extra, more, h = (
        images(2, 4, 3, 3),
        images(2, 4, 3, 2, seed=1),
        images(2, 4, 3, 1, seed=2),
        images(2, 5),
    )
    block = gated_block(extra_filters=(2, 1), conditioning_units=5)

    def f(x):
        return elu(np.concatenate([x, -x], axis=-1)).astype(np.float32)

    y = block.first(f(x)) + block.extra(f(np.concatenate([extra, more], axis=-1)))
    y = block.second(f(y.numpy())) + (h @ block.condition.kernel)[:, None, None]
    a, b = np.split(y.numpy(), 2, axis=-1)
    np.testing.assert_allclose(block(x, [extra, more], h), x + a / (1 + np.exp(-b)), rtol=1e-5, atol=1e-5)


def test_dropout_in_a_block_is_a_function_of_the_seed():
    x, block = images(2, 4, 3, 3), gated_block(dropout=0.5)
    kept = block(x)
    np.testing.assert_array_equal(kept, gated_block()(x))
    one, again, other = (block(x, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)
    assert np.any(one != kept)


@pytest.mark.parametrize(
    "layer",
    [
        CausalConv2D(
            2, "down", (1, 3), initial_scale=0.1, kernel_initializer=keras.initializers.GlorotUniform(1)
        ),
        Enlarged(2, (5, 3), keras.initializers.GlorotUniform(1)),
        GatedBlock(3, "down", dropout=0.2, seed=4),
    ],
)
def test_a_configuration_makes_the_same_layer(layer):
    x = images(1, 3, 2, 3)
    again = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(layer(x), again(x))
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up",), r"`direction` must be one of .* Received: direction='up'"),
        (("down", (2, 2)), r"an odd number of columns\. Received: window=\(2, 2\)"),
        (("down", (0, 3)), "`window` must be a positive integer. Received: window=0"),
    ],
)
def test_convolutions_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CausalConv2D(2, *arguments)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_an_empty_batch_in_a_graph(padding):
    """TensorFlow fuses paddings with convolutions there."""
    convolution = Conv2D(3, 2, padding=padding)
    convolution(np.zeros([1, 4, 4, 2], np.float32))
    layers = [CausalConv2D(3, direction) for direction in DIRECTIONS]
    for layer in (convolution, *layers):
        layer(np.zeros([1, 4, 4, 2], np.float32))
        function = tf.function(layer.__call__, input_signature=[tf.TensorSpec([None, 4, 4, 2])])
        for count in (0, 2):
            size = 3 if layer is convolution and padding == "valid" else 4
            assert function(tf.zeros([count, 4, 4, 2])).shape == (count, size, size, 3)
