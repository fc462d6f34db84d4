"""DVAE with smoothed latents against quadrature over zeta: joint <= marginal <= log p_beta(x)."""

import numpy as np
import pytest

from tests.models import oracles, smoothed_oracles
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE

SMOOTHINGS = {
    "overlapping_exponential": {"beta": 4.0},
    "overlapping_logistic": {"scale": 0.2},
    "spike_and_exponential": {"beta": 3.0},
    "binary_concrete": {"temperature": 0.6},
}
LATENTS = {"one group": (2,), "two groups": (1, 1)}
NUM_IMAGES, REPEATS = 2, 10_000


@pytest.fixture(
    scope="module", params=[(s, units) for s in SMOOTHINGS for units in LATENTS.values()], ids=str
)
def case(request):
    """The two models with one set of weights (`None` where a bound is refused), images, quadrature."""
    name, units = request.param
    models = {}
    for bound in ("joint", "marginal"):
        if (name, bound) in (("spike_and_exponential", "marginal"), ("binary_concrete", "joint")):
            continue
        model = DVAE(
            image_shape=(2, 2, 1),
            latent_units=units,
            prior="bernoulli",
            bound=bound,
            network=(4,),
            smoothing=Smoothing(name, **SMOOTHINGS[name]),
            data_mean=np.full([2, 2, 1], 0.4),
        )
        models[bound] = oracles.randomize(model, seed=len(name) + len(units))
    x = oracles.images(model, NUM_IMAGES)
    law = smoothed_oracles.LAWS[name](*SMOOTHINGS[name].values())
    return models, x, smoothed_oracles.SmoothedDVAE(model, x, law)


def test_quadrature_integrates_to_one(case):
    _, _, exact = case
    np.testing.assert_allclose(exact.expectation(np.ones([NUM_IMAGES, 1])), 1.0, rtol=1e-8)
    np.testing.assert_allclose(np.sum(np.exp(exact.log_measure + exact.log_p_zeta)), 1.0, rtol=1e-8)


def test_bounds_are_ordered(case):
    models, _, exact = case
    assert (exact.marginal_elbo < exact.log_p - 1e-3).all()
    if "joint" in models:
        # A spike tells z, and then the two are equal.
        tight = "marginal" not in models
        gap = exact.marginal_elbo - exact.joint_elbo
        assert (np.abs(gap) < 1e-8).all() if tight else (gap > 1e-3).all()


def test_elbo_terms_average_to_the_quadrature(case):
    models, x, exact = case
    means = {}
    for bound, model in models.items():
        terms = model.elbo_terms(np.repeat(x, REPEATS, axis=0), seed=7, limit="smoothed")
        want = exact.joint_elbo if bound == "joint" else exact.marginal_elbo
        for values, value in (
            (terms.elbo, want),
            (terms.reconstruction, exact.expectation(exact.log_likelihood)),
        ):
            values = np.float64(values).reshape(NUM_IMAGES, REPEATS)
            error = oracles.normal_bound(values.std(axis=1), REPEATS)
            assert (error < 0.2).all(), "the test must have power"
            assert (np.abs(values.mean(axis=1) - value) < error + 1e-5).all()
            means.setdefault(bound, values.mean(axis=1))
        assert terms.kl_per_group.shape == (len(model.latent_units), NUM_IMAGES * REPEATS)


def test_importance_weights_average_to_the_smoothed_likelihood(case):
    models, x, exact = case
    for model in models.values():
        count = 2 * REPEATS
        ratio = np.exp(np.float64(model.log_weights(x, count, seed=9, limit="smoothed")) - exact.log_p)
        error = oracles.normal_bound(ratio.std(axis=0), count)
        assert (error < 0.3).all(), "the test must have power"
        assert (np.abs(ratio.mean(axis=0) - 1) < error + 1e-5).all()
        bound = np.float64(model.log_likelihood(x, count, seed=10, limit="smoothed"))
        assert (np.abs(np.exp(bound - exact.log_p) - 1) < error + 1e-5).all()


def test_smoothed_and_binary_models_differ(case):
    models, x, exact = case
    for model in models.values():
        binary = oracles.EnumeratedDVAE(model, x)
        assert (np.abs(binary.log_p - exact.log_p) > 1e-3).any()
        ratio = np.exp(np.float64(model.log_likelihood(x, 20_000, seed=1)) - binary.log_p)
        assert (np.abs(ratio - 1) < binary.relative_error(20_000) + 1e-4).all()


@pytest.mark.parametrize("name", ["overlapping_exponential", "overlapping_logistic", "spike_and_exponential"])
@pytest.mark.parametrize("units", LATENTS.values())
def test_boltzmann_prior(name, units):
    # The relaxed model p(z) r(zeta | z) p(x | zeta): joint ELBO <= log p_beta(x), unbiased weights.
    model = DVAE(
        image_shape=(2, 2, 1),
        latent_units=units,
        network=(4,),
        smoothing=Smoothing(name, **SMOOTHINGS[name]),
    )
    oracles.randomize(model, seed=3)
    x = oracles.images(model, NUM_IMAGES)
    model.update_log_partition()
    exact = smoothed_oracles.SmoothedDVAE(model, x, smoothed_oracles.LAWS[name](*SMOOTHINGS[name].values()))
    terms = model.elbo_terms(np.repeat(x, REPEATS, axis=0), seed=7, limit="smoothed")
    values = np.float64(terms.elbo).reshape(NUM_IMAGES, REPEATS)
    error = oracles.normal_bound(values.std(axis=1), REPEATS)
    assert (np.abs(values.mean(axis=1) - exact.joint_elbo) < error + 1e-5).all()
    assert (exact.joint_elbo < exact.log_p - 1e-3).all()
    count = 2 * REPEATS
    ratio = np.exp(np.float64(model.log_weights(x, count, seed=9, limit="smoothed")) - exact.log_p)
    ratio /= np.exp(model.log_partition.value)
    error = oracles.normal_bound(ratio.std(axis=0), count)
    assert (error < 0.3).all(), "the test must have power"
    assert (np.abs(ratio.mean(axis=0) - 1) < error + 1e-5).all()
