"""DVAE++ through Keras: saved and loaded, deterministic, on two replicas, stopped where it diverges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_dvaepp import CONDITIONAL, TINY, every_image
from tfdvae import callbacks, random
from tfdvae.layers import Smoothing
from tfdvae.models import DVAEPlusPlus, TrainingDiverged
from tfdvae.objectives import schedules


def images(count=12, size=2, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (count, size, size, 1)).astype(np.float32)


def build(run_eagerly=True, **kwargs):
    """Compiled without a graph, of which the first step takes longer than all these trainings."""
    arguments = {**TINY, "local_groups": 2, "kl_factor": schedules.linear(0.0, 1.0, 8), "seed": 3, **kwargs}
    model = DVAEPlusPlus(**arguments)
    steps = 1 if run_eagerly else 2
    optimizer = keras.optimizers.Adamax(0.01, global_clipnorm=50.0)
    model.compile(optimizer, steps_per_execution=steps, run_eagerly=run_eagerly)
    return model


def train(model, **kwargs):
    model.fit(images(), batch_size=4, shuffle=False, verbose=0, **kwargs)
    return model


def assert_same_state(one, other):
    assert len(one.weights) == len(other.weights)
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    for a, b in zip(one.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


def test_two_runs_agree_bit_for_bit():
    assert_same_state(train(build(run_eagerly=False)), train(build(run_eagerly=False)))
    assert np.any(build(seed=4).down1.weights[0] != build().down1.weights[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"local_prior": "bernoulli", "smoothing": Smoothing("overlapping_logistic", scale=0.2)},
        {"global_prior": "none", "convolution_dtype": "bfloat16"},
        {"global_prior": "bernoulli", "kl_balancing": False, "training_samples": 2},
    ],
    ids=["rbm", "all binary", "no global", "directed"],
)
def test_saved_models_come_back_whole(arguments, tmp_path):
    model = train(build(**arguments))
    if model.rbm is not None:
        model.update_log_partition()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert_same_state(model, loaded)
    x = images()
    for call in (
        lambda m: m.log_likelihood(x, 10, seed=1),
        lambda m: m.elbo_terms(x, seed=1, limit="smoothed").elbo,
        lambda m: m.sample(5, seed=1),
    ):
        np.testing.assert_array_equal(call(model), call(loaded))
    assert_same_state(train(model), train(loaded))


def test_the_conditional_decoder_is_saved_too(tmp_path):
    model = DVAEPlusPlus(**CONDITIONAL)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.sample(5, seed=1), loaded.sample(5, seed=1))


def test_a_resumed_training_goes_on_exactly(tmp_path):
    whole = train(build(), epochs=2)
    half = build()
    checkpoint = callbacks.TrainingCheckpoint(tmp_path)
    train(half, callbacks=[checkpoint])
    resumed = build()
    assert callbacks.TrainingCheckpoint(tmp_path).restore(resumed) == 3
    train(resumed, initial_epoch=1, epochs=2)
    assert_same_state(whole, resumed)


def test_it_learns():
    model = build(kl_factor=1.0, run_eagerly=False)
    rng = np.random.default_rng(0)
    patterns = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])[rng.integers(0, 2, 96)]
    x = (patterns ^ (rng.random((96, 4)) < 0.05)).reshape(-1, 2, 2, 1).astype(np.float32)
    model.fit(x, batch_size=16, epochs=40, shuffle=False, verbose=0)
    model.update_log_partition()
    log_likelihood = float(tf.reduce_mean(model.log_likelihood(x, 100, seed=0)))
    # Uniform pixels have -2.77 nats, independent ones no more; the source has -1.4.
    assert log_likelihood > -2.3


def test_two_replicas_make_the_step_of_the_whole_batch(strategy):
    """Balanced groups: the coefficients are those of the whole batch, with equal and unequal shares."""

    def make(scope):
        with scope.scope():
            # Continuous latents with one variable: equal noise for all images is handed in below.
            model = DVAEPlusPlus(
                **{**TINY, "local_groups": 2}, global_prior="normal", kl_factor=0.5, kl_balancing=True
            )
            model.compile(keras.optimizers.SGD(0.01))
        return model

    def uniform(shape, *, seed, dtype=tf.float32):
        units = shape[-1]
        return tf.broadcast_to((tf.cast(tf.range(units), dtype) + 0.5) / tf.cast(units, dtype), shape)

    original, random.uniform = random.uniform, uniform
    try:
        one, two = make(tf.distribute.get_strategy()), make(strategy)
        start = [w.numpy() for w in one.trainable_variables]
        for count in (16, 11):
            for model in (one, two):
                for weight, value in zip(model.trainable_variables, start, strict=True):
                    weight.assign(value)
                data = tf.data.Dataset.from_tensor_slices(every_image()[:count]).batch(16)
                model.fit(data, verbose=0)
            for a, b, before in zip(one.trainable_variables, two.trainable_variables, start, strict=True):
                np.testing.assert_allclose(
                    b.numpy() - before, a.numpy() - before, rtol=1e-3, atol=2e-6, err_msg=a.path
                )
        assert any(np.any(w.numpy() != b) for w, b in zip(one.trainable_variables, start, strict=True))
    finally:
        random.uniform = original


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_a_loss_that_is_not_finite_stops_the_training(run_eagerly):
    model = train(build(run_eagerly))
    before = [w.numpy() for w in model.trainable_variables]
    model.decoder.parameter_layers[0].kernel.assign(
        tf.fill(model.decoder.parameter_layers[0].kernel.shape, np.inf)
    )
    with pytest.raises(
        TrainingDiverged, match=r"the terms of step 3 are reconstruction -?(inf|nan), kl "
    ) as error:
        train(model)
    assert "lower the learning rate" in str(error.value)
    assert int(model.step.numpy()) == 3
    kept = [w for w in model.trainable_variables if "parameters" not in w.path]
    assert len(kept) > 20
    for value, weight in zip(before, model.trainable_variables, strict=True):
        if weight is not model.decoder.parameter_layers[0].kernel:
            np.testing.assert_array_equal(value, weight.numpy())
