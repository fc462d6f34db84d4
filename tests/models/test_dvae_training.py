"""DVAE through Keras: it learns, logs the bound, and drives its optimizers and chains."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import slow_but
from tests.models import oracles
from tfdvae import data
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE
from tfdvae.objectives import Elbo, schedules

SHAPE = (2, 3, 1)
SPIKE = ("spike_and_exponential", {"beta": 3.0})
CONCRETE = ("binary_concrete", {"temperature": 0.5})
LOGISTIC = ("overlapping_logistic", {"scale": 0.2})
MODELS = {
    "rbm": dict(latent_units=(2, 2)),
    "rbm, spike": dict(latent_units=(4,), smoothing=SPIKE),
    "bernoulli": dict(latent_units=(2, 2), prior="bernoulli", smoothing=LOGISTIC),
    "bernoulli, marginal": dict(latent_units=(3,), prior="bernoulli", bound="marginal", smoothing=CONCRETE),
    "normal": dict(latent_units=(2,), prior="normal"),
}
FAST = ("bernoulli, marginal",)


def build(name="rbm", **kwargs):
    arguments = {"network": (6,), "num_chains": 20, "num_sweeps": 3, **MODELS[name], **kwargs}
    if "smoothing" in arguments:
        smoothing, parameters = arguments["smoothing"]
        arguments["smoothing"] = Smoothing(smoothing, **parameters)
    return DVAE(image_shape=SHAPE, **arguments)


def patterns(count=96, seed=0):
    """Images of three patterns with some pixels flipped: something to learn."""
    rng = np.random.default_rng(seed)
    centres = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]])
    flips = rng.random([count, 6]) < 0.05
    return (centres[rng.integers(0, 3, count)] ^ flips).reshape(count, *SHAPE).astype(np.float32)


@pytest.mark.parametrize("name", slow_but(FAST, MODELS))
def test_learns(name):
    model = build(name, seed=3)
    x = patterns()
    model.compile(keras.optimizers.Adam(0.02), steps_per_execution=3)
    if model.rbm is not None:
        model.update_log_partition()
    before = np.mean(model.log_likelihood(x, 200, seed=0))
    history = model.fit(x, batch_size=32, epochs=50, verbose=0).history
    error = set() if model.rbm is None else {"log_partition_error"}
    assert set(history) == {"loss", "elbo", "reconstruction", "kl"} | error
    for log in history.values():
        assert np.isfinite(log).all()
    assert np.mean(history["loss"][-5:]) < np.mean(history["loss"][:5]) - 0.3
    if model.rbm is not None:
        model.update_log_partition()
    after = np.mean(model.log_likelihood(x, 200, seed=0))
    # Six independent pixels with the data's own means score -4.0; the patterns -2.4.
    assert after > before + 0.5
    assert after > -3.6


def test_logs_are_means_over_images_of_batches_of_any_size():
    model = build("bernoulli", network="linear")
    oracles.randomize(model, scale=0.5)
    model.compile("sgd")
    x = patterns(40)
    logs = model.evaluate(x, batch_size=32, verbose=0, return_dict=True)
    # 40 images in batches of 32 and 8, each drawn with the seed of its batch.
    parts = [model.evaluate(x[:32], batch_size=32, verbose=0, return_dict=True)]
    assert logs["elbo"] != parts[0]["elbo"]
    exact = oracles.EnumeratedDVAE(model, np.repeat(x, 1, axis=0))
    error = oracles.normal_bound(np.sqrt(np.mean(exact.elbo_deviation**2)), 40)
    assert abs(logs["elbo"] - exact.elbo.mean()) < error
    np.testing.assert_allclose(logs["elbo"], logs["reconstruction"] - logs["kl"], rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], -logs["elbo"], rtol=1e-6)


@pytest.mark.parametrize("name", ["rbm", "bernoulli"])
def test_evaluate_is_the_binary_bound_and_changes_nothing(name):
    model = build(name, weight_decay=0.1)
    oracles.randomize(model, scale=0.5)
    model.compile("sgd", Elbo(kl_factor=0.01))
    x = patterns(2)
    exact = oracles.EnumeratedDVAE(model, x, [True, True, False, False])
    if model.rbm is not None:
        model.update_log_partition()
    before = model.get_weights()
    batch = np.repeat(x, 4000, axis=0)
    logs = model.evaluate(batch, batch_size=1000, verbose=0, return_dict=True)
    # No annealing, no weight decay, no smoothing; the same numbers every time, and new ones each batch.
    error = oracles.normal_bound(np.sqrt(np.mean(exact.elbo_deviation**2)), len(batch))
    assert abs(logs["elbo"] - exact.elbo.mean()) < error + 1e-5
    assert logs["loss"] == -logs["elbo"]
    assert model.evaluate(batch, batch_size=1000, verbose=0, return_dict=True) == logs
    first = model.evaluate(batch[:1000], batch_size=1000, verbose=0, return_dict=True)
    halves = model.evaluate(np.tile(batch[:1000], [2, 1, 1, 1]), batch_size=1000, verbose=0, return_dict=True)
    assert halves["elbo"] != first["elbo"]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_log_partition_is_measured_when_it_must_be():
    model = build(network="linear")
    model.compile(keras.optimizers.SGD(0.1))
    x = patterns()
    with pytest.raises(ValueError, match="No log Z is stored"):
        _ = model.log_partition
    model.fit(x, epochs=1, verbose=0)
    assert model.stored_log_partition.step == 3
    np.testing.assert_allclose(model.log_partition.value, oracles.log_partition(model.rbm), rtol=1e-10)
    model.train_on_batch(x)
    with pytest.raises(ValueError, match=r"measured at step 3 for other weights.*the model is at step 4"):
        model.log_likelihood(x, 2, seed=0)
    # `val_elbo` is never with an old one.
    history = model.fit(x, epochs=2, validation_data=(x,), verbose=0).history
    assert model.stored_log_partition.step == 10
    np.testing.assert_allclose(model.log_partition.value, oracles.log_partition(model.rbm), rtol=1e-10)
    assert history["val_elbo"][-1] == model.evaluate(x, verbose=0, return_dict=True)["elbo"]
    model.train_on_batch(x)
    model.evaluate(x, verbose=0)
    assert model.stored_log_partition.step == 11


def test_chains_advance_once_an_update():
    model = build(network="linear", num_chains=500, num_sweeps=30)
    oracles.randomize(model)
    model.compile(keras.optimizers.SGD(0.0))
    chains = [model.negative_phase.left.numpy()]
    for _ in range(3):
        model.fit(patterns(32), batch_size=32, verbose=0)
        chains.append(model.negative_phase.left.numpy())
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(chains))
    # They are at equilibrium by then: compare with the exact marginal of the left side.
    left_bias, right_bias, coupling = (np.float64(w) for w in model.rbm.get_weights())
    left = oracles.states(2)
    p = np.exp(left @ left_bias) * np.prod(1 + np.exp(left @ coupling + right_bias), axis=1)
    p /= p.sum()
    frequency = np.array([(chains[-1] == state).all(axis=1).mean() for state in left])
    assert (np.abs(frequency - p) < oracles.bernstein(p * (1 - p), 1.0, 500, 1e-6 / 4)).all()
    # `num_sweeps` of an update, not of a fit: the state follows from (seed, step) alone.
    model.step.assign(0)
    model.negative_phase.left.assign(chains[0])
    model.fit(patterns(96), batch_size=32, shuffle=False, verbose=0)
    np.testing.assert_array_equal(model.negative_phase.left, chains[-1])


class Doubling(keras.optimizers.schedules.LearningRateSchedule):
    """1, 2, 4, ...: of a schedule of one's own nothing is known beforehand."""

    def __call__(self, step):
        return tf.pow(2.0, tf.cast(step, tf.float32))

    def get_config(self):
        return {}


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"smoothing": Smoothing("overlapping_exponential", beta=Doubling())},
            r"`beta` must be in .*Received: beta=1024\.0 at step 10",
        ),
        ({"kl_factor": lambda: None}, "`kl_factor` must be a number or a "),
        ({"kl_factor": "linear"}, "`kl_factor` must be a number or a .*Received: kl_factor='linear'"),
        ({"kl_factor": schedules.linear(1.0, -1.0, 10)}, r"`kl_factor` must .*=-0\.\d* at step 6"),
    ],
)
def test_schedules_that_leave_their_range_are_named(arguments, message, run_eagerly):
    def train():
        smoothing = {k: v for k, v in arguments.items() if k == "smoothing"}
        model = DVAE(image_shape=SHAPE, latent_units=(2, 2), network=(), num_chains=2, **smoothing)
        objective = Elbo(**{k: v for k, v in arguments.items() if k not in smoothing})
        model.compile(keras.optimizers.SGD(0.0), objective, run_eagerly=run_eagerly)
        model.fit(patterns(24), batch_size=2, verbose=0)

    with pytest.raises(ValueError, match=message) as raised:
        train()
    assert "learning rate" not in str(raised.value)


# --- optimizers of groups ---


def moved(model, before):
    """The length of each group's update."""
    return {
        name: np.sqrt(sum(np.sum((v.numpy() - before[v.path]) ** 2) for v in variables))
        for name, variables in model.parameter_groups().items()
    }


def test_parameter_groups():
    model = build()
    groups = model.parameter_groups()
    assert set(groups) == {"networks", "prior"}
    assert {v.path for v in groups["prior"]} == {v.path for v in model.rbm.weights}
    assert len(groups["networks"]) + 3 == len(model.trainable_variables)
    directed = build("bernoulli").parameter_groups()
    assert len(directed["prior"]) == 1 + len(build("bernoulli").prior.networks[0].trainable_variables)
    assert build("normal").parameter_groups()["prior"] == []


@pytest.mark.slow
def test_groups_have_optimizers_of_their_own():
    def run(*args, **kwargs):
        model = oracles.randomize(build(latent_units=(4,), network="linear"), seed=7, scale=0.5)
        model.compile(*args, **kwargs)
        before = {v.path: v.numpy() for v in model.trainable_variables}
        model.fit(patterns(16), batch_size=16, shuffle=False, verbose=0)
        return moved(model, before)

    sgd = keras.optimizers.SGD
    both = run(sgd(0.1))
    assert both["networks"] > 0.01
    assert both["prior"] > 0.01
    slow = run(sgd(0.1), group_optimizers={"prior": sgd(0.01)})
    np.testing.assert_allclose(slow["networks"], both["networks"], rtol=1e-5)
    np.testing.assert_allclose(slow["prior"], 0.1 * both["prior"], rtol=1e-3)
    # With an optimizer for every group the first one is idle, and may be left out.
    every = run(group_optimizers={"networks": sgd(0.2), "prior": "sgd"})
    np.testing.assert_allclose(every["networks"], 2 * both["networks"], rtol=1e-3)
    np.testing.assert_allclose(every["prior"], 0.1 * both["prior"], rtol=1e-3)


def test_compile_checks_its_arguments(strategy):
    model = build()
    with pytest.raises(
        ValueError, match=r"names the groups \['encoder'\], but the model has \['networks', 'prior'\]"
    ):
        model.compile("sgd", group_optimizers={"encoder": "sgd"})
    with pytest.raises(ValueError, match=r"names the groups \['prior'\], but the model has \['networks'\]"):
        build("normal").compile("sgd", group_optimizers={"prior": "sgd"})
    with pytest.raises(ValueError, match=r"brings its own objective. Received: loss='mse'"):
        model.compile("sgd", loss="mse")
    with (
        strategy.scope(),
        pytest.raises(
            ValueError,
            match=r"On several replicas \(here 2\) `steps_per_execution` must be 1.*Received: .*=5",
        ),
    ):
        model.compile("sgd", steps_per_execution=5)


@pytest.mark.slow
def test_batch_normalization_learns_in_training_alone():
    model = build("bernoulli")
    model.compile(keras.optimizers.SGD(0.0))
    normalization = model.encoders[0].normalizations[0]
    start = normalization.moving_mean.numpy()
    model.evaluate(patterns(), verbose=0)
    model.log_likelihood(patterns(), 3, seed=0)
    model.sample(3, seed=0)
    np.testing.assert_array_equal(normalization.moving_mean, start)
    model.fit(patterns(), batch_size=96, verbose=0)
    want = 0.01 * np.mean(
        patterns().reshape(96, -1) @ model.encoders[0].input_layers[0].kernel.numpy(), axis=0
    )
    np.testing.assert_allclose(normalization.moving_mean, want, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_linear_normal_groups_train():
    """Scales that grow from group to group, without a limit, end this training within 50 steps."""
    model = DVAE(
        image_shape=(28, 28, 1),
        latent_units=(32, 32),
        network="linear",
        prior="normal",
        data_mean=data.training_mean("digits"),
    )
    warmup = Elbo(kl_factor=schedules.linear(0.0, 1.0, 700))
    model.compile(keras.optimizers.Adam(3e-3, epsilon=1e-3), warmup, steps_per_execution=20)
    train = data.load("digits", "train", 100, num_epochs=None)
    elbo = model.fit(train, steps_per_epoch=100, epochs=2, verbose=0).history["elbo"]
    assert elbo[-1] > -784 * np.log(2)  # better than a coin for each pixel
