"""What the kernels' 23 random bits leave out, exactly: of a unit, of a sweep, and of an annealed log Z."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.boltzmann.gibbs import draw_units

STATES = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
TEMPERATURES = 200


def probabilities(logits):
    """P(unit = 1) as `draw_units` gives it, `[..., 128]`: for each value of the 7 bits that units share."""
    p = tf.sigmoid(tf.constant(logits, tf.float32)).numpy().astype(np.float64)
    first = np.ceil((1 - 2.0**-25 - p) * 2**23)  # multiple of 2^-23 that makes a 1
    return np.clip(2**16 - np.ceil((first[..., np.newaxis] - np.arange(128)) / 128), 0, 2**16) / 2**16


@pytest.mark.parametrize("logit", [-16.3, -16.1, -15.5, -3.0, 0.7, 15.682067, 16.6, 17.0])
def test_the_probability_of_a_unit(logit):
    noise = (2.0**-16 * tf.range(2.0**16)[:, tf.newaxis]) + 2.0**-23 * tf.range(128.0)
    means = tf.reduce_mean(draw_units(tf.fill(noise.shape, logit), noise), axis=0).numpy()
    np.testing.assert_array_equal(means, probabilities(logit))
    p = np.mean(means, dtype=np.float64)
    assert abs(p - 1 / (1 + np.exp(-np.float64(np.float32(logit))))) < 2.0**-22
    assert (p == 0.0) == (logit < -16.2)
    assert (p == 1.0) == (logit > 16.6)


def side(logits, exact):
    """P(state of a side | state of the other one), from logits `[states, units]`."""
    if exact:
        return np.exp(np.sum(-np.logaddexp(0, np.where(STATES > 0, -1, 1) * logits[:, np.newaxis]), axis=-1))
    p = probabilities(logits)[:, np.newaxis]
    return np.mean(np.prod(np.where(STATES[..., np.newaxis] > 0, p, 1 - p), axis=2), axis=-1)


def sweep(machine, beta, exact):
    """The kernel of the left side."""
    left_bias, right_bias, coupling = machine
    right = side(beta * (STATES @ coupling + right_bias), exact)
    return right @ side(beta * (STATES @ coupling.T + left_bias), exact)


def log_weights(machine, beta):
    """Of the left states, the right side summed out."""
    left_bias, right_bias, coupling = machine
    fields = beta * (STATES @ coupling + right_bias)
    return beta * (STATES @ left_bias) + np.sum(np.logaddexp(0, fields), axis=1)


def annealed_log_partition(machine, exact):
    """log E[w] of annealed importance sampling from fair coins."""
    masses, betas = np.full(8, 8.0), np.linspace(0, 1, TEMPERATURES + 1)  # with 2^6 states in all
    for old, beta in itertools.pairwise(betas):
        masses = masses * np.exp(log_weights(machine, beta) - log_weights(machine, old))
        masses = masses @ sweep(machine, beta, exact)
    return np.log(masses.sum())


def machines():
    rng = np.random.default_rng(0)
    for scale in (4.0, 16.0, 33.0):
        yield [np.float64(np.float32(scale * rng.normal(size=n))) for n in (3, 3, (3, 3))]
    for coupling in (
        10.8,
        16.5,
    ):  # two modes, each of which a unit leaves with a probability of about 2^-23, or less
        yield [np.full(3, -1.5 * coupling)] * 2 + [np.full((3, 3), coupling)]


@pytest.mark.parametrize("machine", list(machines()))
def test_extreme_machines(machine):
    bound = 6 * 2.0**-22 + 6**2 * 2.0**-34
    for beta in (0.3, 0.7, 1.0):
        exact, drawn = (sweep(machine, beta, exact) for exact in (True, False))
        np.testing.assert_allclose(drawn.sum(1), 1.0, rtol=1e-12)
        assert 0 < np.abs(exact - drawn).sum(1).max() / 2 < bound
    log_z = np.log(np.sum(np.exp(log_weights(machine, 1.0) - np.max(log_weights(machine, 1.0)))))
    log_z += np.max(log_weights(machine, 1.0))
    np.testing.assert_allclose(annealed_log_partition(machine, exact=True), log_z, rtol=0, atol=1e-11)
    assert abs(annealed_log_partition(machine, exact=False) - log_z) < min(1e-5, TEMPERATURES * bound)
