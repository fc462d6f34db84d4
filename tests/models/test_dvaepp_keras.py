"""DVAE++ through Keras: it learns, balances on two replicas, and stops where it diverges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import EAGER_OR_SLOW
from tests.models.test_dvaepp import TINY, every_image
from tfdvae import random
from tfdvae.models import DVAEPlusPlus, TrainingDiverged
from tfdvae.objectives import Elbo, schedules


def images(count=12, size=2, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (count, size, size, 1)).astype(np.float32)


def build(run_eagerly=True, kl_factor=None, **kwargs):
    """Compiled without a graph, of which the first step takes longer than all these trainings."""
    arguments = {**TINY, "local_groups": 2, "seed": 3, **kwargs}
    model = DVAEPlusPlus(**arguments)
    steps = 1 if run_eagerly else 2
    optimizer = keras.optimizers.Adamax(0.01, global_clipnorm=50.0)
    objective = Elbo(kl_factor or schedules.linear(0.0, 1.0, 8), kl_balancing=True)
    model.compile(optimizer, objective, steps_per_execution=steps, run_eagerly=run_eagerly)
    return model


def train(model, **kwargs):
    model.fit(images(), batch_size=4, shuffle=False, verbose=0, **kwargs)
    return model


def patterns():
    rng = np.random.default_rng(0)
    x = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])[rng.integers(0, 2, 96)]
    return (x ^ (rng.random((96, 4)) < 0.05)).reshape(-1, 2, 2, 1).astype(np.float32)


def learn(model, epochs=1):
    """Six steps an epoch."""
    model.fit(patterns(), batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return model


@pytest.fixture(scope="module")
def learned():
    """Trained in a graph."""
    return learn(build(kl_factor=1.0, run_eagerly=False), epochs=40)


@pytest.mark.slow
def test_it_learns(learned):
    learned.update_log_partition()
    log_likelihood = float(tf.reduce_mean(learned.log_likelihood(patterns(), 100, seed=0)))
    # Uniform pixels have -2.77 nats, independent ones no more; the source has -1.4.
    assert log_likelihood > -2.3


@pytest.mark.slow
@pytest.mark.parametrize("run_eagerly", EAGER_OR_SLOW)
def test_two_replicas_make_the_step_of_the_whole_batch(strategy, run_eagerly):
    """Balanced groups: the coefficients are those of the whole batch, with equal and unequal shares."""

    def make(scope):
        with scope.scope():
            # Continuous latents with one variable: equal noise for all images is handed in below.
            model = DVAEPlusPlus(**{**TINY, "local_groups": 2}, global_prior="normal")
            objective = Elbo(kl_factor=0.5, kl_balancing=True)
            model.compile(keras.optimizers.SGD(0.01), objective, run_eagerly=run_eagerly)
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


@pytest.mark.slow
@pytest.mark.parametrize("run_eagerly", EAGER_OR_SLOW)
def test_a_loss_that_is_not_finite_stops_the_training(run_eagerly, request):
    model, fit, step = train(build()), train, 3
    if not run_eagerly:
        model, fit, step = request.getfixturevalue("learned"), learn, 240
    kernel = model.decoder.parameter_layers[0].kernel
    before = [w.numpy() for w in model.trainable_variables]
    good = kernel.numpy()
    kernel.assign(tf.fill(kernel.shape, np.inf))
    with pytest.raises(
        TrainingDiverged, match=rf"the terms of step {step} are loss .*, reconstruction -?(inf|nan), kl "
    ) as error:
        fit(model)
    kernel.assign(good)
    assert "lower the learning rate" in str(error.value)
    assert int(model.step.numpy()) == step
    assert len(before) > 20
    for value, weight in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(value, weight.numpy(), err_msg=weight.path)


def test_a_gradient_that_is_not_finite_stops_the_training(monkeypatch):
    model, original = train(build()), DVAEPlusPlus.log_prob_of_pixels

    def flawed(self, x, trace):
        # Adds 0, whose derivative is 0 times infinity.
        zero = 0.0 * tf.reduce_sum(self.decoder.parameter_layers[0].bias)
        return original(self, x, trace) + tf.sqrt(zero)

    before = [w.numpy() for w in model.trainable_variables]
    monkeypatch.setattr(DVAEPlusPlus, "log_prob_of_pixels", flawed)
    with pytest.raises(
        TrainingDiverged, match=r"the terms of step 3 are loss .*, reconstruction -\d.*, gradient_norm nan"
    ):
        train(model)
    assert int(model.step.numpy()) == 3
    for value, weight in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(value, weight.numpy(), err_msg=weight.path)
