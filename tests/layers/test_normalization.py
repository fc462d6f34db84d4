"""The shared batch normalization: the statistics of the batch, moving averages at any rank."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae.layers.normalization import make_batch_normalization


def images(*shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape)
    return (3.0 * values + np.arange(shape[-1])).astype(np.float32)


@pytest.fixture
def layer():
    layer = make_batch_normalization(3, 0.9, ndim=4, name="normalization")
    for i, weight in enumerate((layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)):
        weight.assign(np.array([0.5, 1.0, 2.0]) + i)
    return layer


def test_training_normalizes_with_the_statistics_of_all_pixels(layer):
    x = images(4, 5, 6, 3)
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    moving = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
    want = (x - mean) / np.sqrt(variance + 1e-3) * layer.gamma.numpy() + layer.beta.numpy()
    np.testing.assert_allclose(layer(x, training=True), want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean, 0.9 * moving[0] + 0.1 * mean, rtol=1e-5)
    # The kernel for images corrects the variance for the number of pixels.
    tolerance = 2 / (x.size / 3)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * moving[1] + 0.1 * variance, rtol=tolerance)


@pytest.mark.parametrize("shape", [(2, 3), (4, 5, 6, 3), (2, 4, 5, 6, 3)])
def test_inference_takes_any_rank(layer, shape):
    x = images(*shape)
    gamma, beta, mean, variance = (np.float64(w) for w in layer.get_weights())
    want = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(layer(x), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, mean.astype(np.float32))


@pytest.mark.parametrize(("shape", "message"), [((2, 4), "expected axis -1"), ((3,), "min_ndim=2")])
def test_wrong_shapes(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer(np.zeros(shape, np.float32))


def test_arguments():
    layer = make_batch_normalization(3, 0.75, ndim=2, dtype="float64", name="other")
    assert (layer.momentum, layer.name, layer.moving_mean.dtype) == (0.75, "other", "float64")
    assert isinstance(layer, keras.layers.BatchNormalization)
    assert layer.built


def test_statistics_are_those_of_all_replicas(strategy):
    with strategy.scope():
        layer = make_batch_normalization(3, 0.5, ndim=2)
    assert layer.synchronized
    assert not make_batch_normalization(3, 0.5, ndim=2).synchronized
    x = images(8, 3)
    parts = iter(np.split(x, 2))
    values = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(next(parts)))
    got = strategy.run(tf.function(lambda part: layer(part, training=True)), [values])
    want = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
    got = np.concatenate([part.numpy() for part in strategy.experimental_local_results(got)])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.5 * x.mean(axis=0), rtol=1e-4)
