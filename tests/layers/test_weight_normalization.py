"""Initialization from data."""

import numpy as np

from tests.layers.test_pre_activation import images
from tfdvae.layers import WeightNormalizedConv2D
from tfdvae.layers.weight_normalization import initialization_from_data


def test_outputs_of_the_batch_have_the_scale():
    x = 3.0 + 2.0 * images(5, 6, 4, 3)
    layer, plain = (
        WeightNormalizedConv2D(4, 3, initial_scale=0.1),
        WeightNormalizedConv2D(4, 3, use_bias=False),
    )
    with initialization_from_data():
        y, centred = layer(x).numpy(), plain(x).numpy()
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 0.1, rtol=1e-4)
    np.testing.assert_allclose(centred.std(axis=(0, 1, 2)), 1.0, rtol=1e-4)
    np.testing.assert_array_equal(layer(x), y)  # afterwards it is a layer like others
    weights = layer.get_weights()
    layer(2.0 * x)
    for before, after in zip(weights, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_filter_that_sees_nothing_stays_as_it_is():
    layer = WeightNormalizedConv2D(2, 1)
    layer.build((None, 4, 4, 3))
    gain = layer.gain.numpy()
    with initialization_from_data():
        y = layer(np.zeros([2, 4, 4, 3], np.float32))
    np.testing.assert_array_equal(layer.gain, gain)
    np.testing.assert_array_equal(y, 0.0)
