"""Latents that are given: their probabilities, and samples of the prior under conditions; negative phases."""

import keras
import numpy as np
import pytest

from tests.models import oracles
from tfdvae.boltzmann import TemperedChains
from tfdvae.models import DVAE, DVAELatents

SHAPE = (1, 3, 1)


def build(prior="rbm", **kwargs):
    model = DVAE(image_shape=SHAPE, latent_units=(2, 2), network=(4,), prior=prior, num_chains=10, **kwargs)
    return oracles.randomize(model, seed=5)


@pytest.mark.parametrize("prior", ["rbm", "bernoulli"])
def test_joint_and_posterior_are_those_of_enumeration(prior):
    model = build(prior)
    if model.rbm is not None:
        model.update_log_partition()
    x = oracles.images(model, 3)
    exact = oracles.EnumeratedDVAE(model, x, [True, True, False, False])
    for i, z in enumerate(oracles.states(4)):
        latents = DVAELatents([np.tile(part, (3, 1)) for part in (z[:2], z[2:])])
        log_joint, log_q = model.log_joint(x, latents), model.log_posterior(x, latents)
        np.testing.assert_allclose(log_q, exact.log_q[:, i], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(log_joint - log_q, exact.log_w[:, i], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("held", [0, 1])
def test_the_machine_is_sampled_given_some_groups(held):
    model, count = build(), 20_000
    value = np.array([1.0, 0.0])
    given = [[value, None], [None, value]][held]
    latents = model.sample_prior(count, seed=1, num_sweeps=30, given=DVAELatents(given))
    np.testing.assert_array_equal(latents.groups[held], np.tile(value, (count, 1)))
    free = oracles.states(2)
    groups = [free, free]
    groups[held] = np.tile(value, (4, 1))
    energies = model.prior.energy([np.float32(g) for g in groups]).numpy().astype(np.float64)
    want = np.exp(-energies - np.logaddexp.reduce(-energies))
    got = np.bincount(latents.groups[1 - held].numpy().astype(int) @ [2, 1], minlength=4) / count
    np.testing.assert_array_less(np.abs(got - want), oracles.normal_bound(np.sqrt(want * (1 - want)), count))
    assert np.ptp(want) > 0.1


def test_later_groups_of_a_directed_prior_follow_given_ones():
    model, count = build("bernoulli"), 20_000
    value = np.array([[0.0, 1.0]])
    latents = model.sample_prior(count, seed=1, given=DVAELatents([value, None]))
    logits = model.prior.networks[0]([np.float32(value)]).numpy()[0]
    want = 1 / (1 + np.exp(-logits))
    error = oracles.normal_bound(np.sqrt(want * (1 - want)), count)
    np.testing.assert_array_less(np.abs(latents.groups[1].numpy().mean(axis=0) - want), error + 1e-6)
    images = model.sample(4, seed=2, given=DVAELatents([value, value]))
    assert images.shape == (4, *SHAPE)
    with pytest.raises(ValueError, match="`given` must have a value or None for each of the 2 groups"):
        model.sample(4, seed=2, given=DVAELatents([value]))


@pytest.mark.parametrize("phase", ["pcd", "cd", "tempered", "annealed", TemperedChains])
def test_a_model_takes_any_negative_phase(phase, tmp_path):
    model = build(negative_phase=phase)
    model.compile(keras.optimizers.SGD(0.05), run_eagerly=True)
    x = oracles.images(model, 8)
    before = model.rbm.get_weights()
    model.fit(x, batch_size=4, verbose=0)
    assert all(np.any(a != b) for a, b in zip(before, model.rbm.get_weights(), strict=True))
    model.update_log_partition()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.negative_phase) is type(model.negative_phase)
    for m in (model, again):
        m.fit(x, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        model.sample(3, seed=0, num_sweeps=5), again.sample(3, seed=0, num_sweeps=5)
    )


def test_other_negative_phases_are_refused():
    with pytest.raises(ValueError, match=r"`negative_phase` must be one of .*='gibbs', without"):
        build(negative_phase="gibbs")
