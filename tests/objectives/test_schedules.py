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


def test_errors():
    for num_steps in (0, -3):
        with pytest.raises(
            ValueError, match=f"`num_steps` must be a positive integer. Received: num_steps={num_steps}"
        ):
            schedules.linear(0.0, 1.0, num_steps)
    with pytest.raises(ValueError, match="should be 1 less"):
        schedules.piecewise_constant([10], [1.0])
