"""A new model and a new objective need nothing but themselves."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.latents.ladder import CLASSES, Ladder, StraightThrough
from tests.models import oracles
from tfdvae import export
from tfdvae.latents import OneHotCategorical, draws
from tfdvae.models import DVAE

EVERY = np.array(list(itertools.product([0.0, 1.0], repeat=6)), np.float32).reshape(64, 2, 3, 1)


def every_state():
    """All 9 x 4 states of the two layers, one-hot."""
    rows = [np.array(list(itertools.product(np.eye(n, dtype=np.float32), repeat=2))) for n in CLASSES]
    return [np.repeat(rows[0], len(rows[1]), axis=0), np.tile(rows[1], (len(rows[0]), 1, 1))]


def log_joint(model):
    """log p(x, z), `[states, 64]`, from the model's networks, its laws written out."""
    z = every_state()
    flat = [v.reshape(len(v), -1) for v in z]
    scores = [np.tile(model.p_1.numpy(), (len(flat[0]), 1)), model.p_2([flat[0]]).numpy()]
    log_p = 0.0
    for value, score in zip(z, scores, strict=True):
        score = np.float64(score).reshape(value.shape)
        log_p += np.sum(value * (score - np.log(np.sum(np.exp(score), -1, keepdims=True))), axis=(1, 2))
    logits = np.float64(model.decoder(flat))
    x = EVERY.reshape(64, 6)
    log_x = np.sum(x * logits[:, None] - np.log1p(np.exp(logits))[:, None], axis=-1)
    return log_p[:, None] + log_x


@pytest.fixture(scope="module")
def model():
    model = Ladder(seed=1)
    model.compile(keras.optimizers.Adam(0.02), StraightThrough())
    x = EVERY[np.random.default_rng(0).choice([0, 7, 56, 63], 200)]
    history = model.fit(x, batch_size=50, epochs=30, verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0] + 0.5
    return model


def test_it_evaluates_to_enumeration(model):
    joint = log_joint(model)
    log_p = np.logaddexp.reduce(joint, axis=0)
    np.testing.assert_allclose(np.logaddexp.reduce(log_p), 0.0, atol=1e-6)
    # Weights averaged over samples of q: unbiased, and near its limit with 4,000.
    got = model.log_likelihood(EVERY, 4_000, seed=0)
    weights = np.exp(np.float64(model.log_weights(EVERY, 4_000, seed=0)) - log_p)
    error = oracles.normal_bound(weights.std(axis=0), 4_000)
    np.testing.assert_array_less(np.abs(np.exp(got - log_p) - 1.0), error + 1e-5)
    # One weight for each state.
    state = model.structured([v[17:18].repeat(64, axis=0) for v in every_state()])
    np.testing.assert_allclose(model.log_joint(EVERY, state), joint[17], rtol=1e-4, atol=1e-4)
    q = sum(
        np.exp(model.log_posterior(EVERY[:1], [[v[s : s + 1] for v in every_state()]])[0]) for s in range(36)
    )
    np.testing.assert_allclose(q, 1.0, rtol=1e-5)


def test_its_samples_follow_the_law(model):
    z = every_state()
    trace = model.trace(None, draws.Prior(model.group_seeds(3), 20_000, {}))
    places = [np.argmax(v, axis=-1) @ [n, 1] for v, n in zip(trace.values, CLASSES, strict=True)]
    counts = np.bincount(places[0] * 4 + places[1], minlength=36)
    want = np.exp(np.logaddexp.reduce(log_joint(model), axis=1))
    error = oracles.normal_bound(np.sqrt(want * (1 - want)), 20_000)
    np.testing.assert_array_less(np.abs(counts / 20_000 - want), error + 1e-4)
    assert z[0].shape == (36, 2, 3)
    images = model.sample(5, seed=0)
    np.testing.assert_array_equal(images, model.sample(5, seed=0))


def test_it_is_saved_and_exported(model, tmp_path):
    model.save(tmp_path / "ladder.keras")
    again = keras.saving.load_model(tmp_path / "ladder.keras")
    assert isinstance(again.objective, StraightThrough)
    np.testing.assert_array_equal(
        again.log_likelihood(EVERY, 5, seed=0), model.log_likelihood(EVERY, 5, seed=0)
    )
    export.export_generator(model, tmp_path / "generator", num_samples=4)
    generator = export.load_generator(tmp_path / "generator")
    seeds = export.row_seeds(2, 3)
    np.testing.assert_array_equal(generator.sample(3, seed=2), model.sample(3, seed=tf.constant(seeds)))


def test_an_objective_that_smooths_is_refused():
    model = Ladder()
    model.compile("adam", run_eagerly=True)
    with pytest.raises(ValueError, match="The latents of Ladder are not smoothed"):
        model.fit(EVERY, batch_size=32, verbose=0)
    with pytest.raises(ValueError, match="Categorical latents have no smoothing"):
        OneHotCategorical(tf.zeros([1, 2, 3])).smoothed(None, 0)


def test_another_model_trains_with_the_new_objective():
    model = DVAE(image_shape=(2, 3, 1), latent_units=(2, 2), network=(6,), num_chains=20, seed=2)
    model.compile(keras.optimizers.Adam(0.02), StraightThrough(), run_eagerly=True)
    x = EVERY[np.random.default_rng(0).choice([0, 7, 56, 63], 40)]
    history = model.fit(x, batch_size=20, epochs=12, verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0]
