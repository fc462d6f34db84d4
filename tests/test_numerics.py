"""tfdvae.numerics against float64 loops and TFP."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import numerics

tfd = tfp.distributions

LOGITS = [-100.0, -30.0, -5.0, -0.5, 0.0, 1.0, 8.0, 30.0, 100.0]


def test_bernoulli_log_prob():
    logits = tf.constant(LOGITS, tf.float64)
    for value in (0.0, 1.0):
        got = numerics.bernoulli_log_prob(tf.constant(value, tf.float64), logits)
        np.testing.assert_allclose(got, tfd.Bernoulli(logits=logits).log_prob(value), rtol=1e-12, atol=1e-13)
    ends = [numerics.bernoulli_log_prob(tf.constant(value, tf.float64), logits) for value in (0.0, 0.25, 1.0)]
    np.testing.assert_allclose(ends[1], 0.75 * ends[0] + 0.25 * ends[2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_bernoulli_log_likelihood(leading):
    """The sum, its gradient and the derivative of that, with which REBAR and MuProp go on."""
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.permuted(np.resize(LOGITS, (*leading, 4, 9))))
    values = tf.constant(rng.integers(0, 2, (4, 9)), tf.float64)
    upstream = tf.constant(rng.normal(size=(*leading, 4)))

    def sums(logits):
        return tf.reduce_sum(numerics.bernoulli_log_prob(values, logits), axis=-1)

    results = []
    for function in (sums, lambda logits: numerics.bernoulli_log_likelihood(values, logits)):
        with tf.GradientTape() as outer:
            outer.watch(logits)
            with tf.GradientTape() as inner:
                inner.watch(logits)
                result = function(logits)
                value = tf.reduce_sum(upstream * result)
            gradient = inner.gradient(value, logits)
            length = tf.reduce_sum(gradient**2)
        results.append((result, gradient, outer.gradient(length, logits)))
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_bernoulli_entropy():
    got = numerics.bernoulli_entropy(tf.constant(LOGITS, tf.float64))
    for entropy, logit in zip(got.numpy(), LOGITS, strict=True):
        # q as odds over one plus odds, of the unlikely side, so that nothing cancels.
        odds = math.exp(-abs(logit))
        unlikely = odds / (1 + odds)
        want = -unlikely * math.log(unlikely) + (1 - unlikely) * math.log1p(odds)
        assert entropy == pytest.approx(want, rel=1e-9, abs=1e-14)


def test_bernoulli_kl():
    logits = tf.constant(LOGITS, tf.float64)
    prior = logits[:, tf.newaxis]
    got = numerics.bernoulli_kl(logits, prior)
    want = tfd.kl_divergence(tfd.Bernoulli(logits=logits), tfd.Bernoulli(logits=prior))
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.diag(got), 0.0, atol=1e-12)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_values_and_gradients_are_finite(dtype):
    logits, prior = tf.constant(LOGITS, dtype), tf.constant(LOGITS[::-1], dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([logits, prior])
        values = [
            numerics.bernoulli_entropy(logits),
            numerics.bernoulli_kl(logits, prior),
            numerics.bernoulli_log_prob(tf.constant(0.3, dtype), logits),
            numerics.bernoulli_log_likelihood(tf.constant([[1.0]], dtype), logits[:, tf.newaxis, tf.newaxis]),
        ]
    for value in values:
        assert value.dtype == dtype
        assert np.isfinite(value).all()
        assert np.isfinite(tape.gradient(value, logits)).all()
    assert np.isfinite(tape.gradient(values[1], prior)).all()


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_repeat_pixels(leading):
    x = np.random.default_rng(0).normal(size=(*leading, 2, 3, 4))
    expected = x.repeat(2, axis=-3).repeat(2, axis=-2)
    np.testing.assert_array_equal(numerics.repeat_pixels(tf.constant(x)), expected)
