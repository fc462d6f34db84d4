"""SpikeAndExponential: reference values, its gradients, and Rolfe's correction against an exact gradient."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.distributions import SpikeAndExponential

ROWS = json.loads((Path(__file__).parents[1] / "reference.json").read_text())["mixtures"][
    "spike_and_exponential"
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-9), (tf.float32, 1e-4)])
def test_reference_values(dtype, tolerance):
    logits, beta, rho = (tf.constant([row[name] for row in ROWS], dtype) for name in ("logit", "beta", "rho"))
    zeta = SpikeAndExponential(logits=logits, beta=beta).quantile(rho)
    want = np.array([row["zeta"] for row in ROWS])
    assert (np.abs(zeta - want) <= tolerance * (1 + np.abs(want))).all()
    assert ((want == 0.0) == (zeta.numpy() == 0.0)).all()
    assert (want == 0.0).any()


def test_gradients_are_finite_differences_off_the_boundary():
    arguments = [
        tf.constant(np.broadcast_to(value, [2, 4])) for value in (0.6, [-1.0, 0.2, 1.0, 3.0], [[1.0], [8.0]])
    ]

    def quantile(rho, logits, beta):
        return SpikeAndExponential(logits=logits, beta=beta).quantile(rho)

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        zeta = quantile(*arguments)
    assert (zeta[:, 0] == 0.0).numpy().all()
    assert (zeta[:, 1:] > 0.0).numpy().all()
    for index, gradient in enumerate(tape.gradient(zeta, arguments)):
        ends = []
        for sign in (1.0, -1.0):
            moved = list(arguments)
            moved[index] = moved[index] + sign * 1e-6
            ends.append(quantile(*moved))
        np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-9)
        assert (gradient.numpy()[:, 0] == 0.0).all()


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_finite_over_the_stated_range(dtype):
    levels = [2.0**-24, 0.01, 0.5, 0.99, 1 - 2.0**-24]
    grid = np.meshgrid(levels, np.linspace(-100, 100, 41), [1e-6, 1e-3, 1, 8, 50, 1000], indexing="ij")
    rho, logits, beta = (tf.constant(values.ravel(), dtype) for values in grid)
    with tf.GradientTape() as tape:
        tape.watch([rho, logits, beta])
        zeta = SpikeAndExponential(logits=logits, beta=beta).quantile(rho)
    assert tf.reduce_all((zeta >= 0) & (zeta <= 1))
    for tensor in tape.gradient(zeta, [rho, logits, beta]):
        assert np.isfinite(tensor).all()


def test_cdf_jumps_at_the_spike():
    distribution = SpikeAndExponential(probs=tf.constant([0.2, 0.7], tf.float64), beta=5.0)
    np.testing.assert_allclose(distribution.cdf(tf.constant(-1e-12, tf.float64)), [0.0, 0.0])
    np.testing.assert_allclose(distribution.cdf(tf.constant(0.0, tf.float64)), [0.8, 0.3])
    np.testing.assert_allclose(distribution.cdf(tf.constant([[1.0], [2.0]], tf.float64)), np.ones([2, 2]))


@pytest.mark.parametrize("method", ["log_prob", "prob", "log_density_ratio", "posterior_logits"])
def test_refuses_densities(method):
    distribution = SpikeAndExponential(logits=0.0, beta=5.0)
    with pytest.raises(NotImplementedError, match=r"mixed law with a point mass at 0.*Defined are `sample`"):
        getattr(distribution, method)(0.5)


def later_mean(zeta):
    """The probability of a second variable, which depends on the first through zeta."""
    return tf.sigmoid(1.1 - 2.3 * zeta)


def test_posterior_gradient_is_exact_where_automatic_differentiation_is_not():
    # E[z_1 z_2] = q E[later_mean(zeta) | z_1 = 1], and the law of zeta given z_1 = 1 has no parameters:
    # the gradient in the logit is p q E[...]. Expectations over rho are midpoint sums; their error is
    # half a cell times the jump at the spike, which is below 40 for the gradient.
    logits, beta, cells = tf.constant(0.4, tf.float64), 5.0, 200_000
    rho = tf.constant((np.arange(cells) + 0.5) / cells)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    zeta = 0.5 * (nodes + 1.0)
    slope = beta * np.exp(beta * zeta) / np.expm1(beta)
    given_one = np.sum(0.5 * weights * slope * later_mean(zeta).numpy())
    q = 1 / (1 + np.exp(-0.4))
    exact = q * (1 - q) * given_one

    def gradient(first_probs):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            distribution = SpikeAndExponential(logits=logits, beta=beta)
            zeta = distribution.quantile(rho)
            value = tf.reduce_mean(first_probs(distribution, zeta) * later_mean(zeta))
        np.testing.assert_allclose(value, q * given_one, rtol=1e-5)
        return tape.gradient(value, logits).numpy()

    corrected = gradient(lambda distribution, zeta: distribution.posterior_probs(zeta))
    naive = gradient(lambda distribution, zeta: tf.cast(zeta > 0, tf.float64))
    np.testing.assert_allclose(corrected, exact, rtol=0, atol=20 / cells)
    # What is dropped is the mass that crosses the boundary, dq/dlogit times later_mean(0).
    np.testing.assert_allclose(exact - naive, q * (1 - q) * later_mean(np.float64(0.0)), atol=20 / cells)


def test_posterior_value_and_gradient_formula():
    logits, zeta = tf.constant([-40.0, -2.0, 0.5, 3.0, 100.0]), tf.constant([[0.0], [0.3]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([logits, zeta])
        probs = SpikeAndExponential(logits=logits, beta=5.0).posterior_probs(zeta)
        off, on = tf.unstack(probs)
    np.testing.assert_array_equal(probs, [[0.0] * 5, [1.0] * 5])
    # (1 - z) / (1 - q) dq = (1 - z) q dlogits.
    np.testing.assert_allclose(tape.gradient(off, logits), tf.sigmoid(logits), rtol=1e-6)
    np.testing.assert_array_equal(tape.gradient(on, logits), np.zeros(5))
    assert tape.gradient(probs, zeta) is None
