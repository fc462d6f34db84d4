"""What all the relaxed Bernoullis share, each test over all of them that support it."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import random
from tfdvae.bijectors import OverlappingExponentialCDF, OverlappingLogisticCDF
from tfdvae.distributions import (
    BinaryConcrete,
    OverlappingExponential,
    OverlappingLogistic,
    SpikeAndExponential,
)

tfb, tfd = tfp.bijectors, tfp.distributions

# class, parameters, an interval that holds all of the mass
ALL = [
    pytest.param(OverlappingExponential, {"beta": 6.0}, (0.0, 1.0), id="exponential"),
    pytest.param(OverlappingExponential, {"beta": 0.01}, (0.0, 1.0), id="exponential-flat"),
    pytest.param(OverlappingLogistic, {"scale": 0.1}, (-4.0, 5.0), id="logistic"),
    pytest.param(
        OverlappingLogistic, {"scale": 0.5, "loc0": -2.0, "loc1": 1.0}, (-22.0, 22.0), id="logistic-wide"
    ),
    pytest.param(SpikeAndExponential, {"beta": 6.0}, (0.0, 1.0), id="spike"),
    pytest.param(BinaryConcrete, {"temperature": 0.7}, (0.0, 1.0), id="concrete"),
]
WITH_DENSITY = [case for case in ALL if case.values[0].has_density]
WITH_RATIO = [case for case in WITH_DENSITY if case.values[0].has_posterior]
LOGITS = [-6.0, -0.7, 0.0, 1.3, 8.0]


@pytest.mark.parametrize(("law", "parameters", "interval"), WITH_DENSITY)
def test_density_integrates_to_the_cdf(law, parameters, interval):
    # Gauss-Legendre in 400 panels; the Concrete density has integrable singularities at the ends, so
    # the integrals start and end inside.
    low, high = interval
    margin = 0.02 * (high - low)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    edges = np.linspace(low + margin, high - margin, 401)
    half = 0.5 * np.diff(edges)
    points = (0.5 * (edges[1:] + edges[:-1]) + nodes[:, np.newaxis] * half)[..., np.newaxis]
    distribution = law(logits=tf.constant(LOGITS, tf.float64), **parameters)
    panels = np.einsum("n,p,npl->pl", weights, half, np.exp(distribution.log_prob(points)))
    cdf = distribution.cdf(edges[:, np.newaxis]).numpy()
    np.testing.assert_allclose(np.cumsum(panels, axis=0), cdf[1:] - cdf[:1], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_cdf_runs_from_zero_to_one_and_inverts_the_quantile(law, parameters, interval):
    distribution = law(logits=tf.constant(LOGITS, tf.float64), **parameters)
    low, high = interval
    # Below the support, and a logistic tail of 40 scales.
    np.testing.assert_allclose(distribution.cdf(tf.constant(low - 1e-9, tf.float64)), 0.0, atol=1e-15)
    np.testing.assert_allclose(distribution.cdf(tf.constant(high, tf.float64)), 1.0, atol=1e-15)
    rho = tf.constant(np.linspace(0.001, 0.999, 37)[:, np.newaxis])
    zeta = distribution.quantile(rho)
    assert tf.reduce_all(zeta[1:] >= zeta[:-1])
    smooth = zeta.numpy() > 0.0 if law is SpikeAndExponential else np.ones(zeta.shape, bool)
    again = distribution.cdf(tf.identity(zeta)).numpy()
    np.testing.assert_allclose(again[smooth], np.broadcast_to(rho, again.shape)[smooth], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("law", "parameters", "interval"), WITH_DENSITY)
def test_densities_and_cdfs_outside_the_support(law, parameters, interval):
    distribution = law(logits=0.3, **parameters)
    if law is OverlappingLogistic:
        assert np.isfinite(distribution.log_prob([-50.0, 50.0])).all()
    else:
        np.testing.assert_array_equal(distribution.log_prob([-0.1, 1.1]), [-np.inf, -np.inf])
        np.testing.assert_allclose(distribution.cdf([-0.1, 0.0, 1.0, 1.1]), [0.0, 0.0, 1.0, 1.0], rtol=1e-6)
    assert np.isnan(distribution.log_prob(float("nan")))


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_derivatives_in_zeta_and_rho_are_finite_differences(law, parameters, interval):
    distribution = law(logits=tf.constant(LOGITS, tf.float64), **parameters)
    low, high = interval
    zeta = tf.constant(np.linspace(low, high, 9)[1:-1, np.newaxis] + np.zeros(5))
    rho = tf.constant(np.linspace(0.03, 0.97, 8)[:, np.newaxis] + np.zeros(5))
    cases = [(distribution.cdf, zeta), (distribution.quantile, rho)]
    if distribution.has_density:
        cases.append((distribution.log_prob, zeta))
    if distribution.has_density and distribution.has_posterior:
        cases += [(distribution.log_density_ratio, zeta), (distribution.posterior_probs, zeta)]
    for function, argument in cases:
        with tf.GradientTape() as tape:
            tape.watch(argument)
            value = function(argument)
        want = (function(argument + 1e-6) - function(argument - 1e-6)) / 2e-6
        np.testing.assert_allclose(tape.gradient(value, argument), want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_samples_follow_the_cdf(law, parameters, interval):
    count = 40_000
    distribution = law(logits=[-1.5, 0.4], **parameters)
    samples = np.sort(distribution.sample(count, seed=[3, 4]).numpy(), axis=0)
    assert samples.shape == (count, 2)
    assert samples.dtype == np.float32
    # Dvoretzky-Kiefer-Wolfowitz: P(sup > t) <= 2 exp(-2 n t^2), here 1e-6.
    threshold = np.sqrt(np.log(2e6) / (2 * count))
    cdf = distribution.cdf(samples).numpy()
    ranks = np.arange(1, count + 1)[:, np.newaxis] / count
    # Compared from above at the last of equal samples only: the spike is an atom.
    last = np.concatenate([samples[1:] > samples[:-1], np.ones([1, 2], bool)])
    assert np.abs(np.where(last, ranks - cdf, 0.0)).max() < threshold
    # A law that differs by 0.03 would be seen.
    assert np.abs(np.where(last, ranks - cdf**1.1, 0.0)).max() > threshold


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_samples_are_functions_of_the_seed_and_are_reparameterized(law, parameters, interval):
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        zeta = law(logits=logits, **parameters).sample([20, 3], seed=random.as_seed(5))
    assert zeta.shape == [20, 3, 5]
    gradient = tape.gradient(zeta, logits)
    assert tf.reduce_all(gradient[1:] > 0.0)
    # The first logit is -6: of a spike's 60 samples none need be off it.
    assert gradient[0] > 0.0 or law is SpikeAndExponential
    distribution = law(logits=logits, **parameters)
    assert distribution.reparameterization_type == tfd.FULLY_REPARAMETERIZED
    np.testing.assert_array_equal(zeta, distribution.sample([20, 3], seed=5))
    assert tf.reduce_any(zeta != distribution.sample([20, 3], seed=6))
    graph = tf.function(lambda count, seed: distribution.sample(count, seed=seed))
    drawn = graph(tf.constant([20, 3]), tf.constant([5, 0]))
    np.testing.assert_allclose(drawn, zeta, rtol=1e-5, atol=1e-6)
    static = tf.function(lambda seed: distribution.sample([20, 3], seed=seed))
    assert static.get_concrete_function(tf.constant([5, 0])).outputs[0].shape == [20, 3, 5]
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        distribution.sample()


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_finite_in_the_float_range_of_uniforms(law, parameters, interval, dtype):
    logits = tf.constant(np.linspace(-30.0, 30.0, 41)[:, np.newaxis], dtype)
    rho = tf.constant([2.0**-24, 1e-3, 0.25, 0.5, 0.8, 1 - 2.0**-24], dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([logits, rho])
        distribution = law(logits=logits, **parameters)
        zeta = distribution.quantile(rho)
        values = [zeta, distribution.cdf(zeta)]
        if distribution.has_density:
            values.append(distribution.log_prob(zeta))
        if distribution.has_posterior:
            values.append(distribution.posterior_probs(zeta))
    for value in values:
        assert value.dtype == dtype
        assert np.isfinite(value).all()
        for gradient in tape.gradient(value, [logits, rho], unconnected_gradients="zero"):
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("law", "parameters", "interval"), WITH_RATIO)
def test_posterior_is_bayes_rule(law, parameters, interval):
    zeta = tf.constant(np.linspace(*interval, 15)[:, np.newaxis])
    logits = tf.constant(LOGITS, tf.float64)
    distribution = law(logits=logits, **parameters)
    # The components are the mixture at the ends of the logits, where the other weight is exp(-60).
    log_r0 = law(logits=tf.constant(-60.0, tf.float64), **parameters).log_prob(zeta)
    log_r1 = law(logits=tf.constant(60.0, tf.float64), **parameters).log_prob(zeta)
    moderate = np.abs(log_r1 - log_r0) < 25.0
    ratio = distribution.log_density_ratio(zeta).numpy()
    np.testing.assert_allclose(ratio[moderate], (log_r1 - log_r0)[moderate], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(distribution.posterior_logits(zeta), logits + ratio, rtol=1e-12)
    joint = tf.sigmoid(logits) * tf.exp(log_r1)
    bayes = (joint / tf.exp(distribution.log_prob(zeta))).numpy()
    probs = distribution.posterior_probs(zeta).numpy()
    np.testing.assert_allclose(probs[moderate[:, 0]], bayes[moderate[:, 0]], rtol=1e-8)


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_logits_or_probs(law, parameters, interval):
    probs = tf.constant([0.1, 0.5, 0.97], tf.float64)
    by_probs = law(probs=probs, **parameters)
    by_logits = law(logits=tf.math.log(probs / (1 - probs)), **parameters)
    rho = tf.constant([[0.2], [0.95]], tf.float64)
    np.testing.assert_allclose(by_probs.quantile(rho), by_logits.quantile(rho), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(by_probs.logits_parameter(), by_logits.logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_logits.probs_parameter(), by_probs.probs, rtol=1e-12)
    assert by_probs.logits is None
    assert by_logits.probs is None
    certain = law(probs=[0.0, 1.0], **parameters)
    assert np.isfinite(certain.quantile(0.5)).all()
    assert np.isfinite(certain.logits_parameter()).all()


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_binary_limit(law, parameters, interval):
    distribution = law(logits=tf.constant(LOGITS, tf.float64), **parameters)
    limit = distribution.binary_limit()
    assert isinstance(limit, tfd.Bernoulli)
    assert limit.dtype == tf.float64
    np.testing.assert_allclose(limit.probs_parameter(), 1 / (1 + np.exp(-np.array(LOGITS))), rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "parameters"),
    [
        (OverlappingExponential, {"beta": 50.0}),
        (OverlappingLogistic, {"scale": 0.01}),
        (SpikeAndExponential, {"beta": 50.0}),
        (BinaryConcrete, {"temperature": 1e-3}),
    ],
)
def test_quantile_tends_to_that_of_the_binary_limit(law, parameters):
    rho = tf.constant([0.05, 0.25, 0.45, 0.55, 0.75, 0.9])[:, tf.newaxis]
    logits = tf.constant([-1.0, 0.0, 2.0])
    zeta = law(logits=logits, **parameters).quantile(rho)
    z = tf.cast(rho > tf.sigmoid(-logits), tf.float32)
    np.testing.assert_allclose(zeta, z, rtol=0, atol=0.08)


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_shapes_slices_copies_and_wrappers(law, parameters, interval):
    name = next(iter(parameters))
    value = tf.fill([4, 1], parameters[name])
    distribution = law(logits=tf.zeros([3]), **(parameters | {name: value}))
    assert distribution.batch_shape == [4, 3]
    np.testing.assert_array_equal(distribution.batch_shape_tensor(), [4, 3])
    assert distribution.event_shape == []
    assert distribution.dtype == tf.float32
    assert distribution.sample(seed=1).shape == [4, 3]
    assert distribution[:2, 0].batch_shape == [2]
    assert distribution.copy(logits=tf.zeros([5, 1, 3])).batch_shape == [5, 4, 3]
    assert set(type(distribution).parameter_properties()) == {"logits", "probs", *law_parameters(law)}
    independent = tfd.Independent(distribution, 1)
    zeta = independent.sample(6, seed=2)
    assert zeta.shape == [6, 4, 3]
    if law.has_density:
        want = tf.reduce_sum(distribution.log_prob(zeta), -1)
        np.testing.assert_allclose(independent.log_prob(zeta), want, rtol=1e-6)


def law_parameters(law):
    return {
        OverlappingExponential: {"beta"},
        OverlappingLogistic: {"scale", "loc0", "loc1"},
        SpikeAndExponential: {"beta"},
        BinaryConcrete: {"temperature"},
    }[law]


@pytest.mark.parametrize(
    ("law", "bijector", "parameters"),
    [
        (OverlappingExponential, OverlappingExponentialCDF, {"beta": 8.0}),
        (OverlappingLogistic, OverlappingLogisticCDF, {"scale": 0.2, "loc0": -0.5, "loc1": 1.5}),
    ],
)
def test_equals_the_transformed_uniform(law, bijector, parameters):
    logits = tf.constant(LOGITS, tf.float64)
    uniform = tfd.Uniform(tf.zeros([], tf.float64), tf.ones([], tf.float64))
    transformed = tfd.TransformedDistribution(uniform, tfb.Invert(bijector(logits, **parameters)))
    distribution = law(logits=logits, **parameters)
    rho = tf.constant(np.linspace(0.01, 0.99, 9)[:, np.newaxis])
    zeta = distribution.quantile(rho)
    np.testing.assert_allclose(transformed.quantile(rho), zeta, rtol=1e-13)
    np.testing.assert_allclose(transformed.log_prob(zeta), distribution.log_prob(zeta), rtol=1e-12)
    np.testing.assert_allclose(transformed.cdf(zeta), distribution.cdf(zeta), rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "density", "posterior"),
    [
        (OverlappingExponential, True, True),
        (OverlappingLogistic, True, True),
        (SpikeAndExponential, False, True),
        (BinaryConcrete, True, False),
    ],
)
def test_what_is_supported_is_said(law, density, posterior):
    assert (law.has_density, law.has_posterior) == (density, posterior)
    assert hasattr(law, "posterior_probs") == posterior
    if not posterior:
        assert not hasattr(law, "log_density_ratio")


@pytest.mark.parametrize(("law", "parameters", "interval"), ALL)
def test_bad_arguments(law, parameters, interval):
    name = next(iter(parameters))
    with pytest.raises(ValueError, match=r"Exactly one of `logits` and `probs`.*logits=None, probs=None"):
        law(**parameters)
    with pytest.raises(ValueError, match=r"Exactly one of `logits` and `probs`.*logits=0\.0, probs=0\.5"):
        law(logits=0.0, probs=0.5, **parameters)
    with pytest.raises(ValueError, match=r"`probs` must be in \[0, 1\]\. Received: probs=1\.5"):
        law(probs=1.5, **parameters)
    with pytest.raises(ValueError, match=r"`probs` must be in \[0, 1\]\. Received: probs=nan"):
        law(probs=float("nan"), **parameters)
    with pytest.raises(ValueError, match=f"`{name}` must be given"):
        law(logits=0.0)
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}={value}"):
            law(logits=0.0, **(parameters | {name: value}))
    with pytest.raises(ValueError, match="one floating dtype"):
        law(logits=tf.zeros([], tf.float64), **(parameters | {name: tf.constant(1.0)}))
