"""Binary Concrete latents: the path derivative by quadrature, and the surrogate of a machine."""

import numpy as np
import pytest
import tensorflow as tf

from tests.objectives.enumeration import gradient, hybrid, with_weights
from tfdvae.latents import Bernoulli, draws
from tfdvae.models import DVAE, PixelVAEPlusPlus
from tfdvae.objectives import Concrete

X = np.array([[1, 0, 1]], np.float32).reshape(1, 1, 3, 1)
PLACES = 20_000


@pytest.fixture(scope="module")
def model():
    arguments = dict(network="linear", prior="bernoulli", batch_normalization=False, seed=1)
    return with_weights(DVAE((1, 3, 1), latent_units=1, **arguments))


@pytest.fixture
def by_quadrature(monkeypatch):
    """Noise of a batch at the midpoints of equal parts of (0, 1)."""
    noise = ((np.arange(PLACES) + 0.5) / PLACES).astype(np.float32)[:, np.newaxis]
    monkeypatch.setattr(Bernoulli, "noise", lambda self, *, seed, num_samples=None: tf.constant(noise))
    return np.repeat(X, PLACES, axis=0)


def mean_gradients(model, x, **arguments):
    """The mean gradient of the objective with the full derivative and with that of the path."""
    results = []
    for path_derivative in (False, True):
        objective = Concrete(1.0, path_derivative=path_derivative, **arguments)
        terms = gradient(lambda o=objective: o(model, x, seed=0, negative=None).loss, model)
        results.append(np.concatenate([np.ravel(g) for g in terms]))
    return results


def test_the_path_derivative_has_no_bias_where_the_density_is_that_of_the_sample(model, by_quadrature):
    full, path = mean_gradients(model, by_quadrature, kl="density")
    np.testing.assert_allclose(path, full, atol=2e-4)
    assert np.abs(full).max() > 0.05


def test_in_the_energy_it_is_another_gradient(model, by_quadrature):
    full, path = mean_gradients(model, by_quadrature, kl="energy")
    assert np.abs(path - full).max() > 0.01


@pytest.mark.parametrize("kind", ["hybrid", "pixels"])
def test_the_surrogate_is_the_energy_of_relaxed_values(kind):
    """And of a step the loss alone is logged, for the other terms are those of no bound."""
    x, arguments = np.ones([3, 2, 3, 1], np.float32), dict(filters=2, residual_layers=1, seed=1)
    model = hybrid()
    if kind == "pixels":
        model = with_weights(PixelVAEPlusPlus((2, 3, 1), concatenated_units=(1, 2), **arguments))
    objective = Concrete(0.5, kl="energy")
    terms = objective(model, x, seed=1, negative=None)
    reconstruction, kl = objective.terms(model, x, seed=1, seed_dropout=0)
    draw = draws.Smoothed(model.group_seeds(1), objective.smoothing, model.step)
    trace = model.trace(x, draw, seed=0)
    zeta = [group.value for group in trace.groups]
    assert all(np.all((v > 0) & (v < 1)) for v in zeta)
    log_q = sum(tf.reduce_sum(g.q.log_prob(v), axis=-1) for g, v in zip(trace.groups, zeta, strict=True))
    np.testing.assert_allclose(kl, (model.prior.energy(zeta) + log_q)[None], rtol=1e-5, atol=1e-5)
    want = tf.reduce_mean(kl[0] - reconstruction)
    np.testing.assert_allclose(terms.loss, want, rtol=1e-5)
    assert set(terms.figures) == {"loss", "log_partition_factor"}
