"""Schedules: values at the ends, steps of any kind, round trips through JSON."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae.objectives import schedules

LINEAR = schedules.linear(0.0, 1.0, 1000)
CONSTANT = schedules.piecewise_constant([10, 20], [3e-3, 3e-4, 3e-5])


@pytest.mark.parametrize(("step", "value"), [(0, 0.0), (1, 0.001), (500, 0.5), (1000, 1.0), (10**9, 1.0)])
def test_linear(step, value):
    np.testing.assert_allclose(schedules.value_at(LINEAR, step), value, rtol=1e-6, atol=1e-7)
    falling = schedules.linear(8, 2, 1000)
    np.testing.assert_allclose(schedules.value_at(falling, step), 8 - 6 * value, rtol=1e-6)


@pytest.mark.parametrize(("step", "value"), [(0, 3e-3), (10, 3e-3), (11, 3e-4), (20, 3e-4), (21, 3e-5)])
def test_piecewise_constant(step, value):
    np.testing.assert_allclose(schedules.value_at(CONSTANT, step), value, rtol=1e-6)


def test_a_number_is_a_schedule():
    for value in (2, 0.25, np.float32(0.25)):
        got = schedules.value_at(value, 17)
        assert got.dtype == tf.float32
        assert got.shape == ()
        assert float(got) == value


@pytest.mark.parametrize("schedule", [LINEAR, CONSTANT])
def test_pure_functions_of_the_step(schedule):
    # An int64 variable inside a graph is how a model calls them.
    step = keras.Variable(0, dtype="int64", trainable=False)
    compiled = tf.function(lambda: schedules.value_at(schedule, step))
    for value in (500, 0, 15, 500):
        step.assign(value)
        assert compiled().dtype == tf.float32
        np.testing.assert_allclose(compiled(), schedules.value_at(schedule, value), rtol=1e-6)


@pytest.mark.parametrize(
    "schedule", [LINEAR, CONSTANT, keras.optimizers.schedules.CosineDecay(1.0, 100, warmup_steps=5), 0.3, 1]
)
def test_round_trip_through_json(schedule):
    restored = schedules.deserialize(json.loads(json.dumps(schedules.serialize(schedule))))
    for step in (0, 7, 15, 60, 2000):
        np.testing.assert_array_equal(schedules.value_at(restored, step), schedules.value_at(schedule, step))
    # What is no configuration passes through.
    assert schedules.deserialize(schedule) is schedule


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """1 - step, of which nothing but its value at a step is known."""

    def __call__(self, step):
        return tf.cast(1 - step, tf.float32)


@pytest.mark.parametrize("value", ["linear", True, None, [1.0], lambda step: 1.0, tf.constant(1.0), {"a": 1}])
def test_what_is_neither_a_number_nor_a_schedule_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"`kl_factor` must be a number or a keras.* Received: kl_factor="):
        schedules.checked("kl_factor", value, low=0.0)
    with pytest.raises(ValueError, match=r"`schedule` must be a number or a keras"):
        schedules.deserialize(value)


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (-0.5, "=-0.5"),
        (float("nan"), "=nan"),
        (float("inf"), "=inf"),
        (schedules.linear(1.0, -1.0, 10), "=-0.2.* at step 6"),
        (schedules.piecewise_constant([3], [1.0, -2.0]), "=-2.0 at step 4"),
        (keras.optimizers.schedules.ExponentialDecay(1.0, 1, 10.0), "=inf at step 39"),
        (Falling(), None),
    ],
)
def test_values_out_of_range_are_refused(value, received):
    """At once, with the first step, or at their steps."""
    message = r"`kl_factor` must be finite and in \[0, inf\]\. Received: kl_factor"
    if received is not None:
        with pytest.raises(ValueError, match=f"{message}{received}$"):
            schedules.checked("kl_factor", value, low=0.0)
        return
    assert schedules.checked("kl_factor", value, low=0.0) is value
    with pytest.raises(ValueError, match=f"{message}=-1.0 at step 2$"):
        schedules.value_at(value, 2, name="kl_factor", low=0.0)
    compiled = tf.function(lambda step: schedules.value_at(value, step, name="kl_factor", low=0.0))
    np.testing.assert_array_equal([compiled(tf.constant(step)) for step in (0, 1, 2)], [1.0, 0.0, np.nan])


@pytest.mark.parametrize("schedule", [LINEAR, CONSTANT, 0.3, 1, np.float32(2)])
def test_what_is_in_range_is_returned_as_it_is(schedule):
    assert schedules.checked("kl_factor", schedule, low=0.0) is schedule
    restored = schedules.checked("kl_factor", schedules.serialize(schedule), low=0.0)
    assert schedules.value_at(restored, 500) == schedules.value_at(schedule, 500)


def test_errors():
    for num_steps in (0, -3):
        with pytest.raises(
            ValueError, match=f"`num_steps` must be a positive integer. Received: num_steps={num_steps}"
        ):
            schedules.linear(0.0, 1.0, num_steps)
    with pytest.raises(ValueError, match="should be 1 less"):
        schedules.piecewise_constant([10], [1.0])
