"""OverlappingLogisticCDF against reference values, finite differences and TFP's mixture."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import OverlappingLogisticCDF, overlapping_logistic_cdf

tfb, tfd = tfp.bijectors, tfp.distributions

ROWS = json.loads((Path(__file__).parents[1] / "reference.json").read_text())["mixtures"][
    "overlapping_logistic"
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
    logits, scale, loc0, loc1, rho, zeta = (
        column(name, dtype) for name in ("logit", "scale", "mu0", "mu1", "rho", "zeta")
    )
    with tf.GradientTape() as tape:
        tape.watch([logits, scale])
        bijector = OverlappingLogisticCDF(logits, scale, loc0, loc1)
        quantile = bijector.inverse(rho)
    gradients = tape.gradient(quantile, [logits, scale])
    assert quantile.dtype == dtype
    assert scaled_error(quantile, zeta).max() <= value_tolerance
    log_density = bijector.forward_log_det_jacobian(zeta)
    assert scaled_error(log_density, column("log_prob", dtype)).max() <= value_tolerance
    for gradient, name in zip(gradients, ("dzeta_dlogit", "dzeta_dscale"), strict=True):
        want = np.array([row[name] for row in ROWS])
        compared = np.abs(want) < largest
        assert compared.sum() > 0.9 * len(ROWS)
        assert scaled_error(gradient, want)[compared].max() <= gradient_tolerance


def test_against_the_mixture_of_tfp():
    zeta = tf.constant(np.linspace(-4.0, 5.0, 31))
    for logits, scale, loc0, loc1 in [(-3.0, 0.1, 0.0, 1.0), (0.4, 0.7, -1.0, 2.0), (5.0, 2.0, 0.5, 0.6)]:
        logits = tf.constant(logits, tf.float64)
        mixture = tfd.MixtureSameFamily(
            tfd.Categorical(logits=[tf.zeros([], tf.float64), logits]),
            tfd.Logistic(tf.constant([loc0, loc1], tf.float64), tf.constant(scale, tf.float64)),
        )
        bijector = OverlappingLogisticCDF(logits, scale, loc0, loc1)
        np.testing.assert_allclose(
            bijector.forward_log_det_jacobian(zeta), mixture.log_prob(zeta), rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(bijector.forward(zeta), mixture.cdf(zeta), rtol=1e-10)


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.5, 10.0, 1e4])
def test_forward_inverts_inverse_without_the_cache(scale):
    rho = tf.constant([1e-6, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-6], tf.float64)
    logits = tf.constant([[-5.0], [0.0], [1.0], [8.0]], tf.float64)
    zeta = OverlappingLogisticCDF(logits, scale, 0.0, 1.0).inverse(rho)
    again = OverlappingLogisticCDF(logits, scale, 0.0, 1.0).forward(tf.identity(zeta))
    np.testing.assert_allclose(again, tf.broadcast_to(rho, again.shape), rtol=0, atol=1e-11)


def test_values_need_no_smallest_scale():
    # The log-space solution itself: at a scale of 1e-6 the modes are half a million scales from the centre.
    rho, scale = tf.constant([0.1, 0.4, 0.6, 0.9]), tf.constant(1e-6)
    zeta = overlapping_logistic_cdf.quantile(rho, tf.constant(0.0), scale, tf.constant(0.0), tf.constant(1.0))
    np.testing.assert_allclose(zeta, [0.0, 0.0, 1.0, 1.0], rtol=0, atol=1e-5)


def test_gradients_are_finite_differences():
    arguments = [
        tf.constant(np.broadcast_to(value, [3, 5]))
        for value in (0.37, np.array([-4.0, -0.3, 0.1, 1.5, 6.0]), np.array([[0.1], [0.5], [3.0]]), -0.2, 0.9)
    ]

    def inverse(rho, *parameters):
        return OverlappingLogisticCDF(*parameters).inverse(rho)

    def forward(zeta, *parameters):
        return OverlappingLogisticCDF(*parameters).forward(zeta)

    def log_density(zeta, *parameters):
        return OverlappingLogisticCDF(*parameters).forward_log_det_jacobian(zeta)

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
            np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_everything_is_finite_over_the_stated_range(dtype):
    logits = np.linspace(-30.0, 30.0, 25)
    # The levels between the modes are those where the density is smallest.
    levels = np.concatenate([EDGES, np.clip(1 / (1 + np.exp(logits)), 2.0**-24, 1 - 2.0**-24)])
    grid = np.meshgrid(levels, logits, [0.01, 0.02, 0.1, 1.0, 100.0, 1e6], indexing="ij")
    rho, logits, scale = (tf.constant(values.ravel(), dtype) for values in grid)
    loc0, loc1 = tf.zeros([], dtype), tf.ones([], dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([rho, logits, scale, loc0, loc1])
        bijector = OverlappingLogisticCDF(logits, scale, loc0, loc1)
        zeta = bijector.inverse(rho)
        fixed = tf.stop_gradient(zeta)
        tape.watch(fixed)
        values = [zeta, bijector.forward(fixed), bijector.forward_log_det_jacobian(fixed)]
    for value, argument in zip(values, (rho, fixed, fixed), strict=True):
        for tensor in [value, *tape.gradient(value, [argument, logits, scale, loc0, loc1])]:
            assert np.isfinite(tensor.numpy()).all()


def test_gradients_of_broadcast_parameters_sum():
    rho = tf.constant(np.random.default_rng(0).uniform(size=[5, 1, 3]))
    parameters = [
        tf.constant(value, tf.float64) for value in ([[-1.0], [0.5]], [0.1, 0.2, 0.3], 0.0, [[1.0]])
    ]
    full = [tf.broadcast_to(value, [5, 2, 3]) for value in (rho, *parameters)]
    with tf.GradientTape() as tape:
        tape.watch([rho, *parameters])
        zeta = OverlappingLogisticCDF(*parameters).inverse(rho)
    got = tape.gradient(zeta, [rho, *parameters])
    with tf.GradientTape() as tape:
        tape.watch(full)
        zeta = OverlappingLogisticCDF(*full[1:]).inverse(full[0])
    want = tape.gradient(zeta, full)
    np.testing.assert_allclose(got[0], tf.reduce_sum(want[0], 1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(got[1], tf.reduce_sum(want[1], [0, 2])[:, tf.newaxis], rtol=1e-12)
    np.testing.assert_allclose(got[2], tf.reduce_sum(want[2], [0, 1]), rtol=1e-12)
    np.testing.assert_allclose(got[3], tf.reduce_sum(want[3]), rtol=1e-12)
    np.testing.assert_allclose(got[4], [[tf.reduce_sum(want[4])]], rtol=1e-12)


def test_transformed_uniform():
    bijector = OverlappingLogisticCDF([-2.0, 0.0, 3.0], scale=[[0.1], [1.0]], loc0=-1.0, loc1=1.0)
    mixture = tfd.TransformedDistribution(tfd.Uniform(0.0, 1.0), tfb.Invert(bijector))
    assert mixture.batch_shape == [2, 3]
    zeta = np.linspace(-1.4, 1.4, 7, dtype=np.float32)[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(mixture.log_prob(zeta), bijector.forward_log_det_jacobian(zeta), rtol=1e-6)
    rho = np.linspace(0.05, 0.95, 7, dtype=np.float32)[:, np.newaxis, np.newaxis]
    np.testing.assert_allclose(mixture.quantile(rho), bijector.inverse(rho), rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scale": 0.0}, r"`scale` must be positive and finite\. Received: scale=0\.0"),
        ({"scale": -1.0}, r"`scale` must be positive and finite\. Received: scale=-1\.0"),
        ({"scale": float("nan")}, r"`scale` must be positive and finite\. Received: scale=nan"),
        ({"scale": float("inf")}, r"`scale` must be positive and finite\. Received: scale=inf"),
        (
            {"scale": 0.009},
            r"`scale` must be at least \(loc1 - loc0\) / 100.*Received: scale=0\.009, loc0=0\.0",
        ),
        (
            {"scale": 0.5, "loc1": 60.0},
            r"`scale` must be at least .*Received: scale=0\.5, loc0=0\.0, loc1=60",
        ),
        ({"scale": 1.0, "loc0": 2.0}, r"loc0 < loc1\. Received: scale=1\.0, loc0=2\.0, loc1=1\.0"),
        ({"scale": 1.0, "loc1": float("nan")}, r"must be finite.*loc1=nan"),
    ],
)
def test_parameters_out_of_range(parameters, message):
    with pytest.raises(ValueError, match=message):
        OverlappingLogisticCDF(0.0, **parameters)
    with pytest.raises(ValueError, match=message):
        tf.function(lambda x: OverlappingLogisticCDF(x, **parameters).forward(x))(tf.zeros([2]))
