"""The Smoothing layer: values, modes, schedules, configuration, errors."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae import random
from tfdvae.distributions import (
    BinaryConcrete,
    OverlappingExponential,
    OverlappingLogistic,
    SpikeAndExponential,
)
from tfdvae.layers import Smoothing

ALL = [
    ("overlapping_exponential", {"beta": 8.0}, OverlappingExponential),
    ("overlapping_logistic", {"scale": 0.1, "loc0": -1.0}, OverlappingLogistic),
    ("spike_and_exponential", {"beta": 8}, SpikeAndExponential),
    ("binary_concrete", {"temperature": 0.5}, BinaryConcrete),
]
LOGITS = np.linspace(-4.0, 4.0, 60, dtype=np.float32).reshape(4, 15)


PIECES = keras.optimizers.schedules.PiecewiseConstantDecay
GROWTH = keras.optimizers.schedules.ExponentialDecay
COSINE = keras.optimizers.schedules.CosineDecay


def decay(first, last, steps=100):
    return keras.optimizers.schedules.PolynomialDecay(first, steps, last)


@pytest.mark.parametrize(("smoothing", "parameters", "law"), ALL)
def test_training_draws_from_the_law(smoothing, parameters, law):
    layer = Smoothing(smoothing, **parameters)
    zeta = layer(LOGITS, seed=3, training=True)
    rho = random.uniform(LOGITS.shape, seed=3)
    np.testing.assert_allclose(zeta, law(logits=LOGITS, **parameters).quantile(rho), rtol=1e-6, atol=1e-7)
    assert zeta.dtype == tf.float32
    distribution = layer.distribution(LOGITS)
    assert isinstance(distribution, law)
    assert distribution.batch_shape == LOGITS.shape
    assert layer.weights == []


@pytest.mark.parametrize(("smoothing", "parameters", "law"), ALL)
def test_outside_training_draws_binary(smoothing, parameters, law):
    layer, count = Smoothing(smoothing, **parameters), 20_000
    logits = np.tile(np.float32([-2.0, 0.0, 1.0]), [count, 1])
    for kwargs in ({}, {"training": False}):
        z = layer(logits, seed=[1, 2], **kwargs).numpy()
        assert z.dtype == np.float32
        assert set(np.unique(z)) == {0.0, 1.0}
        probs = 1 / (1 + np.exp(-logits[0].astype(np.float64)))
        # Hoeffding: P(|mean - q| > t) <= 2 exp(-2 n t^2), here 1e-6.
        assert (np.abs(z.mean(0) - probs) < np.sqrt(np.log(2e6) / (2 * count))).all()


@pytest.mark.parametrize(
    ("smoothing", "parameters"),
    [
        ("overlapping_exponential", {"beta": 50.0}),
        ("overlapping_logistic", {"scale": 0.01}),
        ("spike_and_exponential", {"beta": 50.0}),
        ("binary_concrete", {"temperature": 1e-3}),
    ],
)
def test_one_seed_gives_the_same_variables_in_both_modes(smoothing, parameters):
    layer = Smoothing(smoothing, **parameters)
    logits = np.random.default_rng(0).normal(size=[50, 40]).astype(np.float32)
    zeta, z = layer(logits, seed=7, training=True), layer(logits, seed=7)
    agree = (zeta.numpy() > 0.5) == (z.numpy() > 0.5)
    assert agree.mean() > 0.95
    assert 0.3 < z.numpy().mean() < 0.7


@pytest.mark.parametrize(("smoothing", "parameters", "law"), ALL)
def test_forwards_what_the_law_supports(smoothing, parameters, law):
    layer = Smoothing(smoothing, **parameters)
    for name in ("has_density", "has_posterior"):
        assert getattr(layer, name) == getattr(law, name)
    assert layer.distribution_class is law


@pytest.mark.parametrize(("smoothing", "parameters", "law"), ALL)
def test_config_round_trip(smoothing, parameters, law):
    layer = Smoothing(smoothing, **parameters, name="zeta")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert config["registered_name"] == "tfdvae>Smoothing"
    again = keras.saving.deserialize_keras_object(config)
    assert again.name == "zeta"
    assert again.parameter() == layer.parameter() == {name: float(x) for name, x in parameters.items()}
    for training in (True, False):
        np.testing.assert_array_equal(
            again(LOGITS, seed=1, training=training), layer(LOGITS, seed=1, training=training)
        )


def test_schedules_are_evaluated_at_the_step_and_survive_the_config():
    layer = Smoothing("overlapping_exponential", beta=decay(5.0, 9.0))
    again = Smoothing.from_config(json.loads(json.dumps(layer.get_config())))
    for each in (layer, again):
        assert [float(each.parameter(step)["beta"]) for step in (0, 50, 1000)] == [5.0, 7.0, 9.0]
        np.testing.assert_allclose(each.distribution(LOGITS, step=50).beta, 7.0)
        zeta = each(LOGITS, seed=1, training=True, step=50)
        want = OverlappingExponential(logits=LOGITS, beta=7.0).quantile(random.uniform(LOGITS.shape, seed=1))
        np.testing.assert_allclose(zeta, want, rtol=1e-6)
    draw = tf.function(lambda step: layer(LOGITS, seed=1, training=True, step=step))
    np.testing.assert_allclose(draw(tf.constant(50, tf.int64)), want, rtol=1e-5)
    assert tf.reduce_any(draw(tf.constant(0, tf.int64)) != want)
    assert layer.distribution(LOGITS.astype(np.float64), step=50).beta.dtype == tf.float64


class Steeper(OverlappingExponential):
    """The overlapping exponential with twice the rate."""

    def __init__(self, logits=None, probs=None, rate=None, name="Steeper"):
        super().__init__(logits, probs, beta=2.0 * rate, name=name)


@keras.saving.register_keras_serializable(package="tests")
class SteeperSmoothing(Smoothing):
    distribution_class = Steeper


def test_a_smoothing_of_ones_own():
    layer = SteeperSmoothing(rate=decay(2.0, 4.0))
    assert (layer.has_density, layer.has_posterior, layer.smoothing) == (True, True, "SteeperSmoothing")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert config["registered_name"] == "tests>SteeperSmoothing"
    for each in (layer, keras.saving.deserialize_keras_object(config)):
        zeta = each(LOGITS, seed=1, training=True, step=50)
        want = OverlappingExponential(logits=LOGITS, beta=6.0).quantile(random.uniform(LOGITS.shape, seed=1))
        np.testing.assert_allclose(zeta, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "parameters", "message"),
    [
        ((), {}, r"The smoothing 'SteeperSmoothing' needs the parameter `rate`\. Received: \{\}"),
        ((), {"rate": 1.0, "beta": 2.0}, r"has the parameters \['rate'\]\. Received: beta=2\.0"),
        (("overlapping_exponential",), {"rate": 1.0}, r"takes no name\. Received: 'overlapping_exponential'"),
        ((), {"rate": decay(8.0, -8.0)}, r"\(0, 1000\]\. Received: beta=.* at step 50"),
    ],
)
def test_bad_arguments_of_ones_own(arguments, parameters, message):
    with pytest.raises(ValueError, match=message):
        SteeperSmoothing(*arguments, **parameters)


def test_gradients_reach_the_logits_inside_a_graph():
    layer = Smoothing("overlapping_exponential", beta=decay(5.0, 9.0))

    @tf.function
    def gradient(logits, seed, step):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            zeta = layer(logits, seed=seed, training=True, step=step)
        return tape.gradient(zeta, logits)

    result = gradient(tf.constant(LOGITS), tf.constant([1, 2]), tf.constant(3, tf.int64))
    assert tf.reduce_all(result > 0)


@pytest.mark.parametrize(
    ("dtype", "want"), [("float64", "float64"), ("float16", "float32"), ("bfloat16", "float32")]
)
def test_dtypes_of_the_logits(dtype, want):
    layer = Smoothing("overlapping_exponential", beta=8.0)
    logits = tf.cast(LOGITS, dtype)
    for training in (True, False):
        assert layer(logits, seed=1, training=training).dtype.name == want
    assert (
        keras.KerasTensor(LOGITS.shape, dtype).shape
        == layer(keras.Input((15,), 4, dtype=dtype), seed=1).shape
    )
    assert layer(keras.Input((15,), 4, dtype=dtype), seed=1).dtype == want


def test_mixed_precision_policy():
    layer = Smoothing("overlapping_exponential", beta=8.0, dtype="mixed_float16")
    assert layer(LOGITS, seed=1, training=True).dtype == tf.float32
    assert keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    ).dtype_policy.name == ("mixed_float16")


def test_functional_model_saves_and_loads(tmp_path):
    inputs, seed = keras.Input((15,), batch_size=4), keras.Input((), batch_size=2, dtype="int32")
    outputs = Smoothing("overlapping_exponential", beta=decay(5.0, 9.0))(
        inputs, seed=seed, training=True, step=50
    )
    model = keras.Model([inputs, seed], outputs)
    assert outputs.shape == (4, 15)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    seed = tf.constant([1, 0])
    want = OverlappingExponential(logits=LOGITS, beta=7.0).quantile(random.uniform(LOGITS.shape, seed=1))
    for each in (model, loaded):
        np.testing.assert_allclose(each([tf.constant(LOGITS), seed]), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("smoothing", "parameters", "message"),
    [
        ("gumbel", {"beta": 1.0}, r"`smoothing` must be one of \['binary_concrete', .*Received: 'gumbel'"),
        (None, {}, r"`smoothing` must be one of .*Received: None"),
        ("overlapping_exponential", {}, r"needs the parameter `beta`\. Received: \{\}"),
        ("binary_concrete", {"beta": 1.0}, r"needs the parameter `temperature`\. Received: \{'beta': 1\.0\}"),
        (
            "overlapping_logistic",
            {"scale": 0.1, "beta": 8.0},
            r"has the parameters \['scale', 'loc0', 'loc1'\]\. Received: beta=8\.0",
        ),
        ("overlapping_exponential", {"beta": "8"}, r"`beta` must be a number or a keras.*Received: beta='8'"),
        (
            "overlapping_exponential",
            {"beta": True},
            r"`beta` must be a number or a keras.*Received: beta=True",
        ),
        (
            "overlapping_exponential",
            {"beta": None},
            r"`beta` must be a number or a keras.*Received: beta=None",
        ),
        ("overlapping_exponential", {"beta": 0.0}, r"`beta` must be in \(0, 1000\]\. Received: beta=0\.0"),
        (
            "spike_and_exponential",
            {"beta": float("nan")},
            r"`beta` must be in \(0, 1000\]\. Received: beta=nan",
        ),
        (
            "spike_and_exponential",
            {"beta": decay(-1.0, 5.0)},
            r"`beta` must be in \(0, 1000\]\. Received: beta=-1",
        ),
        (
            "overlapping_logistic",
            {"scale": -0.1},
            r"`scale` must be positive and finite\. Received: scale=-0\.1",
        ),
        ("overlapping_logistic", {"scale": 0.001}, r"`scale` must be at least .*Received: scale=0\.001"),
        (
            "binary_concrete",
            {"temperature": 0},
            r"`temperature` must be in \[0.001, 1000\]\. Received: temperature=0\.0",
        ),
    ],
)
def test_bad_arguments(smoothing, parameters, message):
    with pytest.raises(ValueError, match=message):
        Smoothing(smoothing, **parameters)


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of which nothing is known but its value at a step: first + step."""

    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return tf.cast(self.first + tf.cast(step, tf.int64), tf.float32)


@pytest.mark.parametrize(
    ("smoothing", "parameters", "message"),
    [
        ("overlapping_exponential", {"beta": decay(8.0, 1008.0)}, r"\(0, 1000\].* beta=1008\.0 at step 100"),
        ("overlapping_exponential", {"beta": decay(8.0, 4008.0)}, r"\(0, 1000\].* beta=1008\.0 at step 25"),
        ("spike_and_exponential", {"beta": decay(5.0, -5.0)}, r"\(0, 1000\].* beta=0\.0 at step 50"),
        (
            "overlapping_exponential",
            {"beta": PIECES([5, 9], [8.0, 0.0, 9.0])},
            r"\(0, 1000\].* beta=0\.0 at step 6",
        ),
        ("binary_concrete", {"temperature": GROWTH(1.0, 10, 10.0)}, r"temperature=1258\.92.* at step 31"),
        ("binary_concrete", {"temperature": GROWTH(1.0, 10, 0.1)}, r"temperature=0\.00079.* at step 31"),
        (
            "overlapping_logistic",
            {"scale": COSINE(0.1, 50)},
            r"at least .* scale=0\.009.*, loc1=1\.0 at step",
        ),
        (
            "overlapping_logistic",
            {"scale": COSINE(0.1, 50, 1.0, warmup_target=-1.0, warmup_steps=10)},
            r"must be positive.* scale=-0\.0.* at step 1$",
        ),
        ("overlapping_logistic", {"scale": 0.1, "loc1": decay(1.0, 101.0)}, r"loc1=11\.0 at step 10$"),
    ],
)
def test_a_schedule_that_leaves_the_range_is_refused_at_once(smoothing, parameters, message):
    with pytest.raises(ValueError, match=message):
        Smoothing(smoothing, **parameters)


@pytest.mark.parametrize(
    "beta",
    [
        decay(1.0, 1000.0),
        PIECES([5, 9], [8.0, 1.0, 1000.0]),
        COSINE(1.0, 50, 1.0, warmup_target=1000.0, warmup_steps=10),
    ],
)
def test_a_schedule_may_use_the_whole_range(beta):
    layer = Smoothing("overlapping_exponential", beta=beta)
    for step in (0, 5, 6, 9, 10, 30, 10**6):
        assert 1 <= layer.parameter(step)["beta"] <= 1000


def test_an_unknown_schedule_is_checked_at_each_step():
    with pytest.raises(ValueError, match=r"`beta` must be in .* Received: beta=-3\.0 at step 0"):
        Smoothing("overlapping_exponential", beta=Rising(-3))
    layer = Smoothing("overlapping_exponential", beta=Rising(990))
    layer.check(10)
    for call in (layer.check, lambda step: layer.distribution(LOGITS, step)):
        with pytest.raises(ValueError, match=r"`beta` must be in \(0, 1000\]\. .* beta=1001\.0 at step 11"):
            call(11)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    ("smoothing", "name", "first", "bad"),
    [
        ("overlapping_exponential", "beta", 990, 11),
        ("spike_and_exponential", "beta", 990, 11),
        ("binary_concrete", "temperature", 990, 11),
        ("overlapping_logistic", "loc0", -5, 6),
    ],
)
def test_in_a_graph_a_value_out_of_range_gives_nan(smoothing, name, first, bad, jit_compile):
    parameters = {"scale": 1.0} if smoothing == "overlapping_logistic" else {}
    layer = Smoothing(smoothing, **parameters, **{name: Rising(first)})

    @tf.function(jit_compile=jit_compile)
    def draw(step):
        logits = tf.constant(LOGITS)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            zeta = layer(logits, seed=1, training=True, step=step)
        return zeta, tape.gradient(zeta, logits)

    for value in draw(tf.constant(bad - 1)):
        assert np.isfinite(value).all()
    zeta, gradient = draw(tf.constant(bad))
    assert np.isnan(zeta).all()
    # Where a spike's z is 0 it is 0 whatever the slope is.
    assert np.isnan(gradient).any() if smoothing == "spike_and_exponential" else np.isnan(gradient).all()


def test_a_seed_is_required():
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        Smoothing("overlapping_exponential", beta=8.0)(LOGITS, seed=None)
