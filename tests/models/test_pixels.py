"""The likelihoods of pixels against the distributions, for images that broadcast against samples."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import expit, log_expit
from scipy.stats import norm

from tfdvae.distributions import DiscretizedLogisticMixture
from tfdvae.models.pixels import BernoulliPixels, DiscretizedLogisticPixels

tfd = tfp.distributions

FALSE_FAILURES = 1e-6
NUM_COMPONENTS = 4


def bernoulli_images(*shape):
    return np.random.default_rng(0).integers(0, 2, shape).astype(np.float32)


def grey_images(*shape):
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    x.flat[:2] = 0, 255
    return x


def logistic(channels, num_components=NUM_COMPONENTS):
    return DiscretizedLogisticPixels(channels, num_components)


def parameters_for(pixels, *leading, seed=1, dtype=tf.float32):
    values = np.random.default_rng(seed).normal(size=[*leading, pixels.num_parameters])
    return tf.constant(values, dtype)


# --- which pixels are defined ---


@pytest.mark.parametrize(
    ("values", "valid"),
    [
        ([0.0, 1.0, 1.0], True),
        ([0.0, 0.0, -0.0], True),
        ([0.0, 0.5, 1.0], False),
        ([0.0, 1.0, 2.0], False),
        ([0.0, 1.0, 255.0], False),
        ([0.0, -1.0, 1.0], False),
        ([0.0, np.nan, 1.0], False),
        ([0.0, np.inf, 1.0], False),
        ([0.0, 1.0 - 1e-7, 1.0], False),
    ],
)
def test_bernoulli_takes_binary_pixels(values, valid):
    got = BernoulliPixels(1).are_valid(tf.constant(values, shape=[1, 1, 3, 1]))
    assert got.shape == []
    assert got.dtype == tf.bool
    assert bool(got) is valid


@pytest.mark.parametrize(
    ("values", "valid"),
    [
        ([0.0, 1.0, 255.0], True),
        ([254.0, 128.0, -0.0], True),
        ([0.0, 0.5, 1.0], False),
        ([0.0, 127.00001, 1.0], False),
        ([0.0, 256.0, 1.0], False),
        ([0.0, -1.0, 1.0], False),
        ([0.0, np.nan, 1.0], False),
        ([0.0, np.inf, 1.0], False),
        ([0.0, -np.inf, 1.0], False),
    ],
)
def test_logistic_takes_pixels_in_0_to_255(values, valid):
    got = logistic(1).are_valid(tf.constant(values, shape=[1, 1, 3, 1]))
    assert got.shape == []
    assert got.dtype == tf.bool
    assert bool(got) is valid


def test_one_wrong_pixel_among_many_is_seen():
    for pixels, x in (
        (BernoulliPixels(3), bernoulli_images(4, 5, 5, 3)),
        (logistic(3), grey_images(4, 5, 5, 3)),
    ):
        assert pixels.are_valid(x)
        for wrong in (np.nan, 0.25, -3.0):
            spoilt = x.copy()
            spoilt[3, 4, 4, 2] = wrong
            assert not pixels.are_valid(spoilt)


def test_pixels_as_inputs_of_networks():
    np.testing.assert_array_equal(BernoulliPixels(1).scaled(tf.constant([0.0, 1.0])), [0.0, 1.0])
    np.testing.assert_array_equal(logistic(1).scaled(tf.constant([0.0, 127.5, 255.0])), [-1.0, 0.0, 1.0])
    assert (BernoulliPixels(1).max_value, logistic(1).max_value) == (1.0, 255.0)


# --- the laws ---


def test_numbers_of_parameters():
    assert [BernoulliPixels(c).num_parameters for c in (1, 3)] == [1, 3]
    # Table 4 has 100 for 10 components of three colours.
    assert logistic(3, 10).num_parameters == 100
    assert logistic(1, 10).num_parameters == 30
    assert logistic(2, 1).num_parameters == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_bernoulli_agrees_with_the_distribution(channels):
    pixels, x = BernoulliPixels(channels), bernoulli_images(5, 4, 3, channels)
    logits = 3 * parameters_for(pixels, 5, 4, 3)
    got = pixels.log_prob(x, logits)
    assert got.shape == (5, 4, 3)
    assert got.dtype == tf.float32
    by_hand = np.sum(np.where(x == 1, log_expit(np.float64(logits)), log_expit(-np.float64(logits))), axis=-1)
    np.testing.assert_allclose(got, by_hand, rtol=1e-5, atol=1e-6)
    law = tfd.Independent(tfd.Bernoulli(logits=logits), 1)
    np.testing.assert_allclose(got, law.log_prob(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pixels.mean(logits), expit(np.float64(logits)), rtol=1e-5)


def test_bernoulli_is_stable_at_large_logits():
    logits = tf.constant([[-200.0], [200.0]])
    pixels = BernoulliPixels(1)
    np.testing.assert_allclose(pixels.log_prob(tf.constant([[1.0], [0.0]]), logits), [-200.0, -200.0])
    np.testing.assert_allclose(pixels.log_prob(tf.constant([[0.0], [1.0]]), logits), [0.0, 0.0])


def by_components(parameters, channels, k=NUM_COMPONENTS):
    """Weights, means, log-scales and coefficients of one pixel, by counting the parameters off."""
    values = iter(np.float64(parameters))

    def take(n):
        return [[next(values) for _ in range(n)] for _ in range(k)]

    weights = [w for (w,) in take(1)]
    means, log_scales = take(channels), take(channels)
    coefficients = np.tanh(take(3)) if channels == 3 else None
    assert next(values, None) is None
    return weights, means, log_scales, coefficients


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_logistic_agrees_with_the_distribution(channels):
    pixels, x = logistic(channels), grey_images(6, 2, 3, channels)
    parameters = parameters_for(pixels, 6, 2, 3, dtype=tf.float64)
    got = pixels.log_prob(tf.constant(x, tf.float64), parameters)
    assert got.shape == (6, 2, 3)
    for place in np.ndindex(6, 2, 3):
        law = DiscretizedLogisticMixture(
            *(
                None if v is None else tf.constant(v, tf.float64)
                for v in by_components(parameters[place], channels)
            )
        )
        np.testing.assert_allclose(got[place], law.log_prob(np.float64(x[place])), rtol=1e-10)


def test_every_parameter_of_the_logistic_mixture_matters():
    pixels = logistic(3)
    parameters = parameters_for(pixels, 4)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        value = tf.reduce_sum(pixels.log_prob(grey_images(4, 3), parameters))
    gradient = tape.gradient(value, parameters)
    assert np.isfinite(gradient).all()
    assert np.all(np.any(gradient != 0, axis=0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kind", "make_images"), [(BernoulliPixels, bernoulli_images), (logistic, grey_images)]
)
def test_images_broadcast_against_samples(kind, make_images, channels):
    pixels, x = kind(channels), make_images(5, 4, 3, channels)
    parameters = parameters_for(pixels, 7, 5, 4, 3)
    got = pixels.log_prob(x, parameters)
    assert got.shape == (7, 5, 4, 3)
    for sample in range(7):
        np.testing.assert_allclose(got[sample], pixels.log_prob(x, parameters[sample]), rtol=1e-5)
    # Parameters that all images share: those of an unconditional model.
    shared = pixels.log_prob(x, parameters[0, :1])
    assert shared.shape == (5, 4, 3)
    np.testing.assert_allclose(shared[2], pixels.log_prob(x[2], parameters[0, 0]), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kind", "make_images"), [(BernoulliPixels, bernoulli_images), (logistic, grey_images)]
)
def test_unknown_numbers_of_samples_and_images(kind, make_images, channels):
    pixels = kind(channels)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4, 3, channels]),
            tf.TensorSpec([None, None, 4, 3, pixels.num_parameters]),
        ]
    )
    def graph(x, parameters):
        return (
            pixels.log_prob(x, parameters),
            pixels.sample(parameters, seed=[0, 1]),
            pixels.mean(parameters),
        )

    shapes = [output.shape.as_list() for output in graph.get_concrete_function().outputs]
    assert shapes == [[None, None, 4, 3], *[[None, None, 4, 3, channels]] * 2]
    x, parameters = make_images(2, 4, 3, channels), parameters_for(pixels, 3, 2, 4, 3)
    log_prob, sample, mean = graph(x, parameters)
    np.testing.assert_allclose(log_prob, pixels.log_prob(x, parameters), rtol=1e-5)
    np.testing.assert_array_equal(sample, pixels.sample(parameters, seed=[0, 1]))
    np.testing.assert_allclose(mean, pixels.mean(parameters), rtol=1e-5)


# --- samples and pictures ---


def test_bernoulli_samples():
    pixels = BernoulliPixels(3)
    logits, count = parameters_for(pixels, 2, 2), 20_000
    samples = pixels.sample(tf.broadcast_to(logits, [count, 2, 2, 3]), seed=[3, 4])
    assert samples.shape == (count, 2, 2, 3)
    assert pixels.are_valid(samples)
    probs = expit(np.float64(logits))
    error = norm.isf(FALSE_FAILURES / 2 / probs.size) * np.sqrt(probs * (1 - probs) / count)
    assert np.all(np.abs(np.mean(samples, axis=0) - probs) < error)
    assert np.all(np.abs(np.mean(samples, axis=0) - expit(np.float64(logits) + 0.3)) > error)


@pytest.mark.parametrize("channels", [1, 3])
def test_logistic_samples(channels):
    pixels = logistic(channels)
    parameters = parameters_for(pixels, 9, 4, 3)
    samples = pixels.sample(parameters, seed=[3, 4])
    assert samples.shape == (9, 4, 3, channels)
    assert samples.dtype == tf.float32
    assert pixels.are_valid(samples)
    assert samples.numpy().min() == 0
    assert samples.numpy().max() == 255
    np.testing.assert_array_equal(samples, pixels.distribution(parameters).sample(seed=[3, 4]))
    np.testing.assert_array_equal(samples, pixels.sample(parameters, seed=[3, 4]))
    assert np.any(samples != pixels.sample(parameters, seed=[3, 5]))
    assert np.isfinite(pixels.log_prob(samples, parameters)).all()


def peaked(channels, *leading, reach=1.0, seed=2):
    """Parameters of mixtures of which one component is certain, with narrow scales."""
    pixels = logistic(channels)
    values = parameters_for(pixels, *leading, seed=seed).numpy()
    k = NUM_COMPONENTS
    best = np.random.default_rng(seed).integers(0, k, leading)
    values[..., :k] = -60.0
    np.put_along_axis(values, best[..., None], 0.0, axis=-1)
    values[..., k : k + k * channels] *= reach
    values[..., k + k * channels : k + 2 * k * channels] = -14.0
    return pixels, tf.constant(values)


@pytest.mark.parametrize("reach", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_mean_of_a_sharp_law_is_its_samples(channels, reach):
    # Also where means lie outside the range: the next colour depends on the pixel, not on that mean.
    pixels, parameters = peaked(channels, 400, 2, reach=reach)
    mean = pixels.mean(parameters).numpy()
    assert mean.shape == (400, 2, channels)
    assert pixels.are_valid(mean)
    probability = np.exp(np.float64(pixels.log_prob(mean, parameters)))
    # A mean within 7 scales of the edge of two values leaves the sample open: of 3 colours about
    # 3 * 14 * exp(-14) * 127.5 = 0.4% of the pixels.
    sharp = probability > 0.999
    assert sharp.mean() > 0.98
    samples = pixels.sample(parameters, seed=5).numpy()
    np.testing.assert_array_equal(samples[sharp], mean[sharp])
    assert len(np.unique(mean)) > 20


def test_mean_of_bernoulli_pixels_is_between_the_samples():
    logits = tf.constant([[-30.0, 0.0, 30.0]])
    np.testing.assert_allclose(BernoulliPixels(3).mean(logits), [[0.0, 0.5, 1.0]], atol=1e-6)
    np.testing.assert_array_equal(
        BernoulliPixels(3).sample(logits, seed=0).numpy()[..., [0, 2]], [[0.0, 1.0]]
    )


def test_mean_is_of_the_most_probable_component():
    # The mean of the mixture would be grey.
    parameters = tf.constant([[0.0, 0.1, -1.0, 1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(logistic(1, 2).mean(parameters), [[255.0]])


def test_messages_say_what_to_do():
    assert 'binarization="static"' in BernoulliPixels.data_message
    assert "NaN" in BernoulliPixels.data_message
    assert "{0, 1, ..., 255}" in DiscretizedLogisticPixels.data_message
    assert "NaN" in DiscretizedLogisticPixels.data_message
