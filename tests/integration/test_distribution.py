"""Training on two replicas: gradients of the whole batch, chains and streams of their own, resuming."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae import callbacks, random
from tfdvae.boltzmann import NegativeSamples, PersistentChains
from tfdvae.models import DVAE
from tfdvae.objectives import Elbo

UNITS, CHAINS = (4, 3), 6


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (count, 3, 3, 1)).astype("float32")


def batches(x, batch_size):
    return tf.data.Dataset.from_tensor_slices(x).batch(batch_size)


def make(strategy, optimizer, seed=0, network=(5,)):
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        model = DVAE(
            image_shape=(3, 3, 1),
            latent_units=UNITS,
            network=network,
            num_chains=CHAINS,
            num_sweeps=2,
            weight_decay=0.01,
        )
        model.compile(optimizer(), Elbo(kl_factor=0.7))
    return model


def replicas(variable):
    """The values that all replicas hold."""
    strategy = getattr(variable.value, "distribute_strategy", tf.distribute.get_strategy())
    return [value.numpy() for value in strategy.experimental_local_results(variable.value)]


def chains(model):
    """The left sides of the chains, one array a replica."""
    return replicas(model.negative_phase.left)


# --- the same as on one device ---


@pytest.fixture
def fixed_draws(monkeypatch):
    """Every image draws the same numbers and the chains are constant, so that the split has no part in it."""

    def uniform(shape, *, seed, dtype=tf.float32):
        units = shape[-1]
        return tf.broadcast_to((tf.cast(tf.range(units), dtype) + 0.5) / tf.cast(units, dtype), shape)

    def negative_samples(phase, *, seed, left=None):
        left, right = (np.indices([CHAINS, n]).sum(axis=0) % 2 for n in UNITS)
        return NegativeSamples(tf.constant(left, tf.float32), tf.constant(right, tf.float32))

    monkeypatch.setattr(random, "uniform", uniform)
    monkeypatch.setattr(PersistentChains, "negative_samples", negative_samples)


@pytest.mark.slow
def test_step_and_metrics_are_those_of_the_whole_batch(strategy, fixed_draws):
    one, two = (make(s, lambda: keras.optimizers.SGD(1.0)) for s in (tf.distribute.get_strategy(), strategy))
    start = [weight.numpy() for weight in one.trainable_variables]
    # Equal and unequal shares, and one replica without any image.
    for count in (10, 7, 1):
        for model in (one, two):
            for weight, value in zip(model.trainable_variables, start, strict=True):
                weight.assign(value)
        logs = [model.fit(batches(images(count), 10), verbose=0).history for model in (one, two)]
        for a, b, before in zip(one.trainable_variables, two.trainable_variables, start, strict=True):
            gradient = before - a.numpy()
            for value in replicas(b):
                np.testing.assert_allclose(
                    before - value, gradient, rtol=1e-5, atol=1e-5, err_msg=f"{a.path}, {count} images"
                )
        # Nothing is compared with nothing. (A normalization makes a single image zero.)
        changed = [
            np.any(w.numpy() != before) for w, before in zip(one.trainable_variables, start, strict=True)
        ]
        assert all(changed) or count == 1
        for a, b in zip(one.non_trainable_variables, two.non_trainable_variables, strict=True):
            if "moving" in a.path:  # batch statistics are those of the whole batch
                np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)
        for name, values in logs[0].items():
            np.testing.assert_allclose(logs[1][name], values, rtol=1e-5, err_msg=f"{name}, {count} images")
    assert int(one.step.numpy()) == int(two.step.numpy()) == 3

    # The last batch has one image.
    logs = [model.evaluate(batches(images(21), 10), verbose=0, return_dict=True) for model in (one, two)]
    for name, value in logs[0].items():
        np.testing.assert_allclose(logs[1][name], value, rtol=1e-4, err_msg=name)


# --- what is a replica's own ---


def test_replicas_have_random_streams_of_their_own(strategy):
    model = make(strategy, keras.optimizers.SGD)

    @tf.function
    def draw(salt):
        return strategy.run(lambda: random.uniform([100], seed=model._replica_seed(model.step, salt)))

    for salt in ("train_step", "test_step"):
        rho = np.stack([value.numpy() for value in strategy.experimental_local_results(draw(salt))])
        assert len(np.unique(rho)) == 200
        assert abs(np.corrcoef(rho)[0, 1]) < 5 / np.sqrt(100)  # false alarm: 6e-7


@pytest.mark.slow
def test_resumed_training_is_exact(strategy, tmp_path):
    x = images(40, seed=1)

    def train(model, first_epoch, epochs, folder):
        model.fit(
            batches(x, 10).skip(2 * first_epoch),
            steps_per_epoch=2,
            initial_epoch=first_epoch,
            epochs=epochs,
            verbose=0,
            callbacks=[callbacks.TrainingCheckpoint(folder)],
        )

    def adam():
        return keras.optimizers.Adam(0.01)

    def state(model):
        return {
            variable.path.partition("/")[2]: replicas(variable)  # without the names of model and optimizer
            for variable in (*model.weights, *model.optimizer.variables)
            if "metric" not in variable.path
        }

    whole = make(strategy, adam, network="linear")
    train(whole, 0, 2, tmp_path / "whole")
    assert np.any(chains(whole)[0] != chains(whole)[1])

    resumed = make(strategy, adam, seed=5, network="linear")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "step-00000002.weights.h5").symlink_to(
        tmp_path / "whole" / "step-00000002.weights.h5"
    )
    assert callbacks.TrainingCheckpoint(tmp_path / "half").restore(resumed) == 2
    assert np.any(chains(resumed)[0] != chains(resumed)[1])
    train(resumed, 1, 2, tmp_path / "half")
    a, b = state(whole), state(resumed)
    assert a.keys() == b.keys()
    for path, values in a.items():
        assert len(values) == 2 or path.endswith("iteration")
        for expected, got in zip(values, b[path], strict=True):
            np.testing.assert_array_equal(got, expected, err_msg=path)

    # On one replica: the weights and the chains of the first.
    single = make(tf.distribute.get_strategy(), adam, seed=6, network="linear")
    single_checkpoint = callbacks.TrainingCheckpoint(tmp_path / "single")
    single_checkpoint.directory.mkdir()
    name = "step-00000004.weights.h5"
    (single_checkpoint.directory / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    assert single_checkpoint.restore(single) == 4
    np.testing.assert_array_equal(chains(single), chains(whole)[:1])
    for path, values in state(single).items():
        if "chains" not in path:
            np.testing.assert_array_equal(values[0], a[path][0], err_msg=path)

    # And back: both replicas start from the chains of the one, and part ways at the first step.
    single.save_weights(tmp_path / "back.weights.h5")
    resumed.load_weights(tmp_path / "back.weights.h5")
    np.testing.assert_array_equal(chains(resumed), chains(single) * 2)
    train(resumed, 1, 2, tmp_path / "back")
    assert np.any(chains(resumed)[0] != chains(resumed)[1])
