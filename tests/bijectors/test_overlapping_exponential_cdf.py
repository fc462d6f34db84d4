"""OverlappingExponentialCDF against reference values, finite differences and direct formulas."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import OverlappingExponentialCDF

tfb, tfd = tfp.bijectors, tfp.distributions

ROWS = json.loads((Path(__file__).parents[1] / "reference.json").read_text())["mixtures"][
    "overlapping_exponential"
]
EDGES = [2.0**-24, 1e-4, 0.3, 0.5, 0.9, 1.0 - 2.0**-24]


def column(name, dtype):
    return tf.constant([row[name] for row in ROWS], dtype)


def scaled_error(got, want):
    return np.abs(np.asarray(got) - np.asarray(want)) / (1.0 + np.abs(np.asarray(want)))


@pytest.mark.parametrize(
    ("dtype", "value_tolerance", "gradient_tolerance", "largest"),
    [(tf.float64, 1e-9, 1e-6, 1e6), (tf.float32, 1e-4, 1e-2, 100.0)],
)
def test_reference_values_and_gradients(dtype, value_tolerance, gradient_tolerance, largest):
    logits, beta, rho, zeta = (column(name, dtype) for name in ("logit", "beta", "rho", "zeta"))
    with tf.GradientTape() as tape:
        tape.watch([logits, beta])
        bijector = OverlappingExponentialCDF(logits, beta)
        quantile = bijector.inverse(rho)
    gradients = tape.gradient(quantile, [logits, beta])
    assert quantile.dtype == dtype
    assert scaled_error(quantile, zeta).max() <= value_tolerance
    log_density = bijector.forward_log_det_jacobian(zeta)
    assert scaled_error(log_density, column("log_prob", dtype)).max() <= value_tolerance
    for gradient, name in zip(gradients, ("dzeta_dlogit", "dzeta_dbeta"), strict=True):
        want = np.array([row[name] for row in ROWS])
        compared = np.abs(want) < largest
        assert compared.sum() > 0.9 * len(ROWS)
        assert scaled_error(gradient, want)[compared].max() <= gradient_tolerance


def test_forward_inverts_inverse_without_the_cache():
    logits, beta, rho = (column(name, tf.float64) for name in ("logit", "beta", "rho"))
    zeta = OverlappingExponentialCDF(logits, beta).inverse(rho)
    again = OverlappingExponentialCDF(logits, beta).forward(tf.identity(zeta))
    np.testing.assert_allclose(again, rho, rtol=0, atol=1e-12)


def test_forward_is_the_papers_cdf():
    zeta = np.linspace(0.0, 1.0, 21)
    for logits, beta in [(-3.0, 0.5), (0.0, 8.0), (2.0, 20.0)]:
        q, d = 1 / (1 + np.exp(-logits)), np.exp(-beta)
        want = (1 - q) * (1 - np.exp(-beta * zeta)) / (1 - d) + q * (np.exp(beta * (zeta - 1)) - d) / (1 - d)
        got = OverlappingExponentialCDF(tf.constant(logits, tf.float64), beta).forward(zeta)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_ends_of_the_interval():
    bijector = OverlappingExponentialCDF([[-30.0], [0.0], [30.0]], [1e-3, 1.0, 50.0])
    np.testing.assert_array_equal(bijector.forward(tf.zeros([3, 3])), np.zeros([3, 3]))
    np.testing.assert_allclose(bijector.forward(tf.ones([3, 3])), np.ones([3, 3]), rtol=1e-6)
    np.testing.assert_array_equal(bijector.inverse(tf.zeros([3, 3])), np.zeros([3, 3]))
    np.testing.assert_allclose(bijector.inverse(tf.ones([3, 3])), np.ones([3, 3]), rtol=1e-6)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_small_beta_is_the_first_order_expansion_of_the_uniform(dtype):
    # F = zeta + (beta / 2) (p - q) zeta (1 - zeta) + O(beta^2), and p - q = -tanh(logits / 2).
    rho, logits = np.linspace(0.01, 0.99, 9), np.array([[-30.0], [-1.0], [0.0], [2.0], [30.0]])
    for beta in (1e-8, 1e-4, 1e-3):
        zeta = OverlappingExponentialCDF(tf.constant(logits, dtype), beta).inverse(tf.constant(rho, dtype))
        want = rho + 0.5 * beta * np.tanh(logits / 2) * rho * (1 - rho)
        np.testing.assert_allclose(zeta, want, rtol=0, atol=beta**2 + 4 * np.finfo(dtype.as_numpy_dtype).eps)


def test_gradients_are_finite_differences():
    logits, beta, rho = np.array([-4.0, -0.3, 0.0, 1.5, 6.0]), np.array([[0.01], [1.0], [8.0]]), 0.37
    arguments = [tf.constant(np.broadcast_to(value, [3, 5])) for value in (rho, logits, beta)]

    def inverse(rho, logits, beta):
        return OverlappingExponentialCDF(logits, beta).inverse(rho)

    def forward(zeta, logits, beta):
        return OverlappingExponentialCDF(logits, beta).forward(zeta)

    def log_density(zeta, logits, beta):
        return OverlappingExponentialCDF(logits, beta).forward_log_det_jacobian(zeta)

    step = 1e-5
    for function in (inverse, forward, log_density):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        for index, gradient in enumerate(tape.gradient(value, arguments)):
            ends = []
            for sign in (1.0, -1.0):
                moved = list(arguments)
                moved[index] = moved[index] + sign * step
                ends.append(function(*moved))
            np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / (2 * step), rtol=2e-6, atol=1e-7)


def test_jacobian_is_the_derivative_of_forward():
    zeta = tf.constant(np.linspace(0.0, 1.0, 11))
    bijector = OverlappingExponentialCDF(tf.constant([[-5.0], [0.5]], tf.float64), 12.0)
    with tf.GradientTape() as tape:
        tape.watch(zeta)
        rho = tf.reduce_sum(bijector.forward(zeta), axis=0)
    want = tf.reduce_sum(tf.exp(bijector.forward_log_det_jacobian(zeta)), axis=0)
    np.testing.assert_allclose(tape.gradient(rho, zeta), want, rtol=1e-11)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_everything_is_finite_over_the_stated_range(dtype):
    logits = np.linspace(-30.0, 30.0, 25)
    # The levels between the modes are those where the density is smallest.
    levels = np.concatenate([EDGES, np.clip(1 / (1 + np.exp(logits)), 2.0**-24, 1 - 2.0**-24)])
    grid = np.meshgrid(levels, logits, [1e-6, 1e-3, 0.1, 1.0, 8.0, 50.0, 1000.0], indexing="ij")
    rho, logits, beta = (tf.constant(values.ravel(), dtype) for values in grid)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([rho, logits, beta])
        bijector = OverlappingExponentialCDF(logits, beta)
        zeta = bijector.inverse(rho)
        fixed = tf.stop_gradient(zeta)
        tape.watch(fixed)
        values = [zeta, bijector.forward(fixed), bijector.forward_log_det_jacobian(fixed)]
    assert tf.reduce_all((zeta >= 0) & (zeta <= 1))
    for value, argument in zip(values, (rho, fixed, fixed), strict=True):
        for tensor in [value, *tape.gradient(value, [argument, logits, beta])]:
            assert np.isfinite(tensor.numpy()).all()


def test_gradients_of_broadcast_parameters_sum_inside_a_graph_of_unknown_shapes():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None], tf.float64),
            tf.TensorSpec([None, None], tf.float64),
            tf.TensorSpec(None, tf.float64),
        ]
    )
    def gradients(rho, logits, beta):
        zeta = OverlappingExponentialCDF(logits, beta).inverse(rho)
        return tf.gradients(zeta, [rho, logits, beta])

    rho = tf.constant(np.random.default_rng(0).uniform(size=[5, 2, 3]))
    logits, beta = tf.constant([[-1.0, 0.5, 2.0]], tf.float64), tf.constant(4.0, tf.float64)
    d_rho, d_logits, d_beta = gradients(rho, logits, beta)
    full = [rho, tf.broadcast_to(logits, rho.shape), tf.broadcast_to(beta, rho.shape)]
    with tf.GradientTape() as tape:
        tape.watch(full)
        zeta = OverlappingExponentialCDF(full[1], full[2]).inverse(full[0])
    want = tape.gradient(zeta, full)
    np.testing.assert_allclose(d_rho, want[0], rtol=1e-12)
    np.testing.assert_allclose(d_logits, tf.reduce_sum(want[1], [0, 1], keepdims=True)[0], rtol=1e-12)
    np.testing.assert_allclose(d_beta, tf.reduce_sum(want[2]), rtol=1e-12)


def test_second_derivatives_inside_the_range():
    logits, rho = tf.constant([0.3, -1.2], tf.float64), tf.constant([0.2, 0.7], tf.float64)

    def first(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            zeta = OverlappingExponentialCDF(logits, 3.0).inverse(rho)
        return tape.gradient(zeta, logits)

    with tf.GradientTape() as tape:
        tape.watch(logits)
        gradient = first(logits)
    want = (first(logits + 1e-5) - first(logits - 1e-5)) / 2e-5
    np.testing.assert_allclose(tape.gradient(gradient, logits), want, rtol=1e-6)


def test_transformed_uniform():
    bijector = OverlappingExponentialCDF([-2.0, 0.0, 3.0], beta=[[1.0], [8.0]])
    mixture = tfd.TransformedDistribution(tfd.Uniform(0.0, 1.0), tfb.Invert(bijector))
    assert mixture.batch_shape == [2, 3]
    assert mixture.sample(4, seed=[1, 2]).shape == [4, 2, 3]
    zeta = np.linspace(0.05, 0.95, 7, dtype=np.float32)[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(mixture.log_prob(zeta), bijector.forward_log_det_jacobian(zeta), rtol=1e-6)
    np.testing.assert_allclose(mixture.cdf(zeta), bijector.forward(zeta), rtol=1e-6)
    np.testing.assert_allclose(mixture.quantile(zeta), bijector.inverse(zeta), rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, -1.0, 1000.5, float("nan"), float("inf"), [1.0, -2.0]])
def test_beta_out_of_range(beta):
    with pytest.raises(ValueError, match=r"`beta` must be in \(0, 1000\]\. Received: beta="):
        OverlappingExponentialCDF(0.0, beta)


def test_static_beta_is_checked_in_a_graph_and_an_unknown_one_gives_nan_out_of_range():
    with pytest.raises(ValueError, match=r"Received: beta=-1\.0"):
        tf.function(lambda x: OverlappingExponentialCDF(x, -1.0).forward(x))(tf.zeros([2]))
    forward = tf.function(lambda x, beta: OverlappingExponentialCDF(x, beta).forward(x))
    for beta, want in ((2.0, False), (1000.0, False), (1000.1, True), (0.0, True)):
        np.testing.assert_array_equal(np.isnan(forward(tf.zeros([2]), tf.constant(beta))), [want, want])


def test_mixed_dtypes():
    with pytest.raises(ValueError, match=r"one floating dtype\. Received: \['float32', 'float64'\]"):
        OverlappingExponentialCDF(tf.zeros([], tf.float64), tf.constant(1.0))
