"""BinaryConcrete against TFP's RelaxedBernoulli, and where that one saturates."""

import gc

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import random
from tfdvae.distributions import BinaryConcrete, binary_concrete

tfd = tfp.distributions


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_density_and_cdf_of_tfp(temperature):
    logits = tf.constant([-3.0, 0.0, 1.7], tf.float64)
    zeta = tf.constant(np.linspace(0.01, 0.99, 25)[:, np.newaxis])
    peer = tfd.RelaxedBernoulli(tf.constant(temperature, tf.float64), logits=logits)
    distribution = BinaryConcrete(logits=logits, temperature=temperature)
    np.testing.assert_allclose(distribution.log_prob(zeta), peer.log_prob(zeta), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(distribution.cdf(zeta), peer.cdf(zeta), rtol=1e-10)


def test_quantile_is_the_relaxed_gumbel_max():
    rho, logits = np.linspace(0.01, 0.99, 9), np.array([[-2.0], [0.5]])
    zeta = BinaryConcrete(logits=tf.constant(logits), temperature=0.6).quantile(tf.constant(rho))
    want = 1 / (1 + np.exp(-(logits + np.log(rho / (1 - rho))) / 0.6))
    np.testing.assert_allclose(zeta, want, rtol=1e-12)


def test_saturated_samples_keep_their_density():
    # In float32 nearly all of these are 0 or 1; in float64 none is 1 to its own precision.
    rho = np.linspace(0.05, 0.95, 11)
    parameters = {"temperature": 0.05}
    small = BinaryConcrete(logits=tf.constant([[-1.0], [2.0]]), **parameters)
    zeta = small.quantile(tf.constant(rho, tf.float32))
    assert (zeta.numpy() == 1.0).any()
    # log f = log |d rho / d zeta| = log(temperature) - log(zeta (1 - zeta)) + log(rho (1 - rho)).
    logit_rho = np.log(rho / (1 - rho))
    x = (np.array([[-1.0], [2.0]]) + logit_rho) / 0.05
    want = np.log(0.05) + np.logaddexp(0, x) + np.logaddexp(0, -x) + np.log(rho * (1 - rho))
    np.testing.assert_allclose(small.log_prob(zeta), want, rtol=2e-5)
    # The same tensor under another distribution (a prior): its own density at the same point.
    prior = BinaryConcrete(logits=0.3, temperature=0.1)
    y = 0.1 * x - 0.3
    want = np.log(0.1) + y - 2 * np.logaddexp(0, y) + np.logaddexp(0, x) + np.logaddexp(0, -x)
    np.testing.assert_allclose(prior.log_prob(zeta), want, rtol=2e-5)


def test_saturated_draws_of_sample_keep_their_density():
    logits, temperature, seed = 1.0, 0.05, 9
    distribution = BinaryConcrete(logits=[logits], temperature=temperature)
    rho = random.uniform([300, 1], seed=seed).numpy().astype(np.float64)
    x = (logits + np.log(rho / (1 - rho))) / temperature
    want = np.log(temperature * rho * (1 - rho)) + np.logaddexp(0, x) + np.logaddexp(0, -x)

    def draw():
        zeta = distribution.sample(300, seed=seed)
        return zeta, distribution.log_prob(zeta)

    for function in (draw, tf.function(draw)):
        zeta, log_prob = function()
        assert (zeta.numpy() == 1.0).mean() > 0.5
        np.testing.assert_allclose(log_prob, want, rtol=1e-4, atol=1e-4)


def test_pathwise_gradient_through_saturated_samples():
    # log q(zeta) - log p(zeta) with zeta reparameterized, which is free of the Jacobian of the sigmoid.
    rho, logits, temperature = np.linspace(0.05, 0.95, 11), 2.0, 0.05
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        posterior = BinaryConcrete(logits=variable, temperature=temperature)
        zeta = posterior.quantile(tf.constant(rho, tf.float32))
        prior = BinaryConcrete(logits=-0.5, temperature=temperature)
        difference = tf.reduce_sum(posterior.log_prob(zeta) - prior.log_prob(zeta))
    # With u = temperature x = logits + logit(rho): log q(u) is free of the logits, and
    # d/du log p(u) = 1 - 2 sigmoid(u + 0.5).
    u = logits + np.log(rho / (1 - rho))
    want = -np.sum(1 - 2 / (1 + np.exp(-(u + 0.5))))
    np.testing.assert_allclose(tape.gradient(difference, variable), want, rtol=1e-4)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_no_nan_for_binary_values_made_elsewhere(dtype):
    zeta, logits = tf.constant([0.0, 0.5, 1.0], dtype), tf.constant([[-30.0], [0.0], [30.0]], dtype)
    temperature = tf.constant(0.1, dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([zeta, logits, temperature])
        distribution = BinaryConcrete(logits=logits, temperature=temperature)
        values = [distribution.log_prob(zeta), distribution.cdf(zeta)]
    for value in values:
        assert np.isfinite(value).all()
        for gradient in tape.gradient(value, [zeta, logits, temperature]):
            assert np.isfinite(gradient).all()


def test_remembered_logits_are_let_go():
    distribution = BinaryConcrete(logits=tf.zeros([4]), temperature=0.5)
    gc.collect()
    cache = binary_concrete._SIGMOID._cache
    before = len(cache.weak_keys(direction="forward"))
    kept = [distribution.sample(seed=number) for number in range(5)]
    del kept
    gc.collect()
    assert len(cache.weak_keys(direction="forward")) <= before
