"""The ranges of the smoothings' parameters are those that float32 bears: draws, densities and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.distributions import (
    BinaryConcrete,
    OverlappingExponential,
    OverlappingLogistic,
    SpikeAndExponential,
)

# Midpoints of equal cells: their means are integrals, without the noise of a sample. In an order without a
# relation to the logits.
RHO = np.random.default_rng(0).permutation((np.arange(100_000) + 0.5) / 100_000).astype(np.float32)
LOGITS = np.linspace(-5.0, 5.0, RHO.size).astype(np.float32)
ENDS = [
    *(pytest.param(OverlappingExponential, "beta", b, id=f"exponential-{b:g}") for b in (1e-3, 98.2, 1000)),
    *(pytest.param(SpikeAndExponential, "beta", b, id=f"spike-{b:g}") for b in (1e-3, 98.2, 1000)),
    *(pytest.param(OverlappingLogistic, "scale", s, id=f"logistic-{s:g}") for s in (0.01, 1e6)),
    *(pytest.param(BinaryConcrete, "temperature", t, id=f"concrete-{t:g}") for t in (1e-3, 1e3)),
]


def draws_and_gradients(law, name, value, dtype):
    arguments = [tf.constant(RHO, dtype), tf.constant(LOGITS, dtype), tf.constant(np.float32(value), dtype)]
    with tf.GradientTape() as tape:
        tape.watch(arguments[:2])
        distribution = law(logits=arguments[1], **{name: arguments[2]})
        zeta = distribution.quantile(arguments[0])
    return distribution, zeta, [g.numpy() for g in tape.gradient(zeta, arguments[:2])]


@pytest.mark.parametrize("beta", [1.0, 8.0, 50.0, 88.0, 98.2, 400.0, 1000.0])
def test_draws_have_the_mean_distance_of_the_exponential(beta):
    # E[x] of the density beta exp(-beta x) / (1 - exp(-beta)) on [0, 1].
    mean = 1 / beta - 1 / np.expm1(beta) if beta < 700 else 1 / beta
    rho = (np.arange(400_000) + 0.5).astype(np.float32) / np.float32(400_000)
    zeta = SpikeAndExponential(logits=0.0, beta=beta).quantile(rho).numpy().astype(np.float64)
    np.testing.assert_allclose(np.mean(1 - zeta[rho > 0.5]), mean, rtol=1e-4)
    zeta = OverlappingExponential(logits=0.0, beta=beta).quantile(rho).numpy().astype(np.float64)
    np.testing.assert_allclose(np.mean(zeta), 0.5, rtol=1e-6)
    # Of both components together, the distance from the nearer end.
    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.minimum(np.arange(61) / beta, 0.5)
    half = 0.5 * np.diff(edges)[:, np.newaxis]
    x = edges[:-1, np.newaxis] + half * (nodes + 1)
    density = beta * (np.exp(-beta * x) + np.exp(-beta * (1 - x))) / -np.expm1(-beta)
    np.testing.assert_allclose(
        np.mean(np.minimum(zeta, 1 - zeta)), np.sum(half * weights * density * x), rtol=1e-4
    )


@pytest.mark.parametrize(("law", "name", "value"), ENDS)
def test_float32_agrees_with_float64_at_the_ends_of_the_range(law, name, value):
    small, zeta, gradients = draws_and_gradients(law, name, value, tf.float32)
    exact, want, exact_gradients = draws_and_gradients(law, name, value, tf.float64)
    drawn = np.float64(zeta)
    assert abs(np.mean(drawn - want)) < 1e-6 * np.mean(np.abs(want))
    assert np.mean(np.abs(drawn - want) > 1e-5 * (1 + np.abs(want))) < 3e-3
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        assert np.isfinite(gradient).all()
        # A draw between the modes, where the quantile is steep, turns on the last bits of rho.
        wrong = np.abs(gradient - exact_gradient) > 0.01 * np.abs(exact_gradient) + 1e-30
        assert np.mean(wrong) < 3e-3
    if law is BinaryConcrete:  # which knows the logit of the tensor that it has drawn
        assert np.max(np.abs(small.log_prob(zeta) - exact.log_prob(want).numpy())) < 0.01
    elif law.has_density:
        for method in ("log_prob", "log_density_ratio"):
            got, want = getattr(small, method)(zeta), getattr(exact, method)(tf.constant(drawn))
            assert np.max(np.abs(got - want.numpy())) < 2e-4
