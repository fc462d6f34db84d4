"""The check by RAISE: unbiased for the annealing model, by enumeration, and what it finds out."""

import dataclasses

import numpy as np
import pytest

from tests.boltzmann.path_oracle import Marginals
from tests.models import oracles
from tests.objectives.enumeration import with_weights
from tfdvae.evaluation import check_by_raise
from tfdvae.models import DVAE, HybridRBM

SHAPE = (2, 3, 1)


def images(count):
    return np.random.default_rng(0).integers(0, 2, (count, *SHAPE)).astype(np.float32)


def hybrid():
    return with_weights(HybridRBM(SHAPE, latent_units=3, hidden_units=2, network=(4,), num_chains=8))


def both_sides():
    return oracles.randomize(DVAE(SHAPE, latent_units=(3, 2), network=(5,)), seed=2)


def log_annealed(model, x, num_temperatures):
    """log p(x) of the model with the annealing model's law of the left side in the machine's place."""
    base = [np.zeros(n) for n in (model.rbm.left_units, model.rbm.right_units)]
    marginals = Marginals(model.rbm, base, np.linspace(0, 1, num_temperatures + 1))
    p = marginals.f[0] / marginals.f[0].sum()
    for kernel in marginals.kernels[1:]:
        p = p @ kernel
    log_correction = dict(
        zip(map(tuple, marginals.left_states), np.log(p) - np.log(marginals.f[-1]), strict=True)
    )
    log_p = []
    for z in oracles.states(sum(shape[0] for field in model.latent_shapes for shape in field)):
        groups, start = [], 0
        for field in model.latent_shapes:
            for (n,) in field:
                groups.append(np.tile(np.float32(z[start : start + n]), (len(x), 1)))
                start += n
        log_joint = np.float64(model.log_joint(x, model.structured(groups))) + model.log_partition.value
        log_p.append(log_joint + log_correction[tuple(model.prior.state(groups).left.numpy()[0])])
    return np.logaddexp.reduce(log_p, axis=0)


@pytest.mark.parametrize("make", [hybrid, both_sides])
def test_it_is_unbiased_for_the_annealing_model(make):
    model, repeats = make(), 1_500
    model.rbm.coupling.assign(4.0 * model.rbm.coupling)  # a hard one for a single temperature
    model.update_log_partition()
    x = images(30)
    want = log_annealed(model, x, 1)
    apart = np.exp(np.float64(model.log_likelihood(x, 20_000, seed=0)) - want) - 1.0
    seen = np.argmax(np.abs(apart))  # where the annealing model and the machine differ
    run = dict(seed=0, num_vectors=4, num_temperatures=1)
    check = check_by_raise(model, np.repeat(x[seen][None], repeats, axis=0), 60, **run)
    ratios = np.exp(check.by_raise - want[seen])
    # Five standard errors: a rate of false failures of 6e-7.
    error = 5 * ratios.std(ddof=1) / np.sqrt(repeats)
    assert abs(ratios.mean() - 1.0) < error
    assert error < abs(apart[seen]), "the test must have power"


@pytest.mark.parametrize("make", [hybrid, both_sides])
def test_it_finds_a_wrong_log_z(make):
    model = make()
    estimate = model.update_log_partition()

    def check(shift):
        shifted = dataclasses.replace(estimate, value=estimate.value + shift)
        return check_by_raise(
            model, images(20), 500, seed=1, num_vectors=64, num_temperatures=500, log_partition=shifted
        )

    right = check(0.0)
    assert right.warning is None
    assert abs(right.difference) < 0.1
    assert right.standard_error < 0.05
    again = model.log_likelihood(images(20), 500, seed=2)
    assert abs(np.mean(right.by_log_partition - again)) < 0.2
    assert "below that by log Z" in check(-0.5).warning
    assert "log Z is too small and its figure flatters the model" in check(-0.5).warning
    assert "above that by log Z" in check(0.5).warning
    summary = right.to_dict()
    np.testing.assert_allclose(summary["by_raise"] - summary["by_log_partition"], right.difference)
    assert (summary["num_examples"], summary["num_samples"], summary["warning"]) == (20, 500, None)


def test_it_does_not_depend_on_the_chunks(monkeypatch):
    """Many small chunks give the same law of samples: their figures agree."""
    model = hybrid()
    model.update_log_partition()
    x = np.repeat(images(1), 400, axis=0)
    run = dict(seed=0, num_vectors=2, num_temperatures=2)
    whole = check_by_raise(model, x, 16, **run)
    monkeypatch.setattr(HybridRBM, "importance_rows", 400)
    parts = check_by_raise(model, x, 16, **run)
    ratios = np.exp([whole.by_raise, parts.by_raise]) / np.exp(whole.by_raise).mean()
    error = 5 * np.sqrt(np.sum(ratios.var(axis=1, ddof=1)) / 400)
    assert abs(ratios[0].mean() - ratios[1].mean()) < error < 0.4


def test_bad_input_is_refused():
    directed = DVAE(SHAPE, latent_units=(2,), network="linear", prior="bernoulli")
    with pytest.raises(ValueError, match="is normalized: RAISE has nothing to check"):
        check_by_raise(directed, images(2), 5, seed=0)
    model = hybrid()
    with pytest.raises(ValueError, match="update_log_partition"):
        check_by_raise(model, images(2), 5, seed=0)
    model.update_log_partition()
    with pytest.raises(
        ValueError, match=r"`num_vectors` must be a positive integer\. Received: num_vectors=0"
    ):
        check_by_raise(model, images(2), 5, seed=0, num_vectors=0)
