"""DVAE in the binary limit against enumeration of all latents: log p(x), the ELBO, importance weighting."""

import numpy as np
import pytest

from tests.models import oracles
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE

LOGISTIC = {"smoothing": "overlapping_logistic", "scale": 0.1}
SPIKE = {"smoothing": "spike_and_exponential", "beta": 5.0}
# name: (arguments, whether each latent is on the left side of the machine).
CASES = {
    "rbm, one even group": (dict(latent_units=(6,), network="linear"), "LLLRRR"),
    "rbm, one odd group": (dict(latent_units=5, network=(4,)), "LLRRR"),
    "rbm, two groups": (dict(latent_units=(4, 3), network=(5,)), "LLLLRRR"),
    "rbm, two groups, no normalization": (
        dict(latent_units=(2, 3), network=(5, 4), batch_normalization=False),
        "LLRRR",
    ),
    "rbm, three groups": (dict(latent_units=(1, 2, 3), network=(5,)), "LRRRRR"),
    "rbm, four unequal groups": (
        dict(latent_units=(2, 3, 1, 2), network=(5,), smoothing=LOGISTIC),
        "LLLLLRRR",
    ),
    "rbm, sides given": (
        dict(latent_units=(4, 2, 3), network="linear", sides=("right", "left", "right"), smoothing=SPIKE),
        "RRRRLLRRR",
    ),
    "rbm, sides split": (
        dict(latent_units=(3, 2, 2), network=(5,), sides=["split", "right", "split"]),
        "LRRRRLR",
    ),
    "bernoulli, one group": (dict(prior="bernoulli", latent_units=(5,), network=(5,)), None),
    "bernoulli, two groups": (
        dict(prior="bernoulli", latent_units=(3, 2), network="linear", bound="marginal"),
        None,
    ),
    "bernoulli, four groups": (dict(prior="bernoulli", latent_units=(2, 1, 2, 1), network=(5,)), None),
}
NUM_IMAGES, REPEATS, MANY = 3, 200, 5_000


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A model with random weights, three images, and the exact sums."""
    arguments, sides = CASES[request.param]
    if "smoothing" in arguments:
        arguments = {**arguments, "smoothing": Smoothing(**arguments["smoothing"])}
    model = DVAE(image_shape=(2, 3, 1), data_mean=np.full([2, 3, 1], 0.3), **arguments)
    oracles.randomize(model, seed=len(request.param), scale=0.6)
    x = oracles.images(model, NUM_IMAGES)
    exact = oracles.EnumeratedDVAE(model, x, None if sides is None else [side == "L" for side in sides])
    if model.rbm is not None:
        estimate = model.update_log_partition()
        np.testing.assert_allclose(estimate.value, oracles.log_partition(model.rbm), rtol=1e-12)
    return model, x, exact


def repeated(x, repeats=REPEATS):
    """Each image many times: independent samples in one call. Undone by `[NUM_IMAGES, repeats]`."""
    return np.repeat(x, repeats, axis=0)


def test_the_oracle_is_normalized(case):
    _, _, exact = case
    np.testing.assert_allclose(exact.q.sum(axis=1), 1.0, rtol=1e-12)
    assert (exact.log_p - exact.elbo > 0.05).all(), "the posterior must not be trivial"
    assert (exact.elbo_deviation > 0.1).all()


def test_log_likelihood_converges_to_log_p(case):
    model, x, exact = case
    # As many samples as the test needs to have power: the tails of the weights differ.
    num_samples = next(n for n in 10_000 * 2 ** np.arange(6) if (exact.relative_error(n) < 0.25).all())
    ratio = np.exp(np.float64(model.log_likelihood(x, num_samples, seed=5)) - exact.log_p)
    assert (np.abs(ratio - 1) < exact.relative_error(num_samples) + 1e-4).all()


def test_bound_rises_with_the_number_of_samples(case):
    model, x, exact = case
    means, errors = [], []
    for num_samples in (1, 10, 300):
        values = np.float64(model.log_likelihood(repeated(x), num_samples, seed=num_samples))
        values = values.reshape(NUM_IMAGES, REPEATS)
        means.append(values.mean(axis=1))
        errors.append(values.std(axis=1) / np.sqrt(REPEATS))
    means, errors = np.array(means), np.array(errors)
    # One sample is the ELBO; with more the mean rises, and never passes log p(x).
    single_error = oracles.normal_bound(exact.elbo_deviation, REPEATS)
    assert (np.abs(means[0] - exact.elbo) < single_error).all()
    assert (means <= exact.log_p + 5 * errors + 1e-4).all()
    assert (means[1:] - means[:-1] > -5 * np.hypot(errors[1:], errors[:-1]) - 1e-4).all()
    assert (np.diff(means.mean(axis=1)) > 0).all()
    gap = np.abs(means - exact.log_p).sum(axis=1)
    assert gap[2] < 0.2 * gap[0]


def test_elbo_terms_average_to_the_exact_elbo(case):
    model, x, exact = case
    terms = model.elbo_terms(repeated(x, MANY), seed=11)
    num_groups = 1 if model.rbm is not None else len(model.latent_units)
    assert terms.kl_per_group.shape == (num_groups, NUM_IMAGES * MANY)
    np.testing.assert_allclose(
        terms.elbo, terms.reconstruction - np.sum(terms.kl_per_group, axis=0), rtol=1e-5
    )
    values = np.float64(terms.elbo).reshape(NUM_IMAGES, MANY)
    # The KL is in closed form where it can be, so the spread is the sample's own; the normal law holds.
    error = oracles.normal_bound(values.std(axis=1), MANY)
    assert (np.abs(values.mean(axis=1) - exact.elbo) < 1.1 * error + 1e-4).all()
    assert (error < 0.15).all(), "the test must have power"


def test_reconstruction_and_kl_are_right_one_by_one(case):
    model, x, exact = case
    terms = model.elbo_terms(repeated(x, MANY), seed=12)
    values = np.float64(terms.reconstruction).reshape(NUM_IMAGES, MANY)
    error = oracles.normal_bound(values.std(axis=1), MANY)
    assert (np.abs(values.mean(axis=1) - exact.reconstruction) < 1.1 * error + 1e-4).all()


def test_log_weights_are_those_of_the_oracle(case):
    # With one seed, log w of the same z: every value must be among the enumerated ones.
    model, x, exact = case
    log_z = model.log_partition.value
    log_w = np.float64(model.log_weights(x, 50, seed=3)) - log_z
    assert log_w.shape == (50, NUM_IMAGES)
    distance = np.abs(log_w.T[:, :, None] - exact.log_w[:, None, :]).min(axis=2)
    assert distance.max() < 1e-4
    assert len(np.unique(log_w)) > 5
