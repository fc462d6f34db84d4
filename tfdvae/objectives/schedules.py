"""Schedules: pure functions of the step.

A schedule is a number, or any `keras.optimizers.schedules.LearningRateSchedule` (Keras' own serve for
KL factors and smoothing parameters as well as for learning rates). Holding no state, they survive
`steps_per_execution`, checkpoints and resuming.
"""

import keras
import tensorflow as tf

from tfdvae._validation import integer, positive_integer

Schedule = float | keras.optimizers.schedules.LearningRateSchedule


def linear(initial: float, final: float, num_steps: int) -> Schedule:
    """Goes linearly from `initial` at step 0 to `final` at `num_steps`, and stays there."""
    num_steps = positive_integer("num_steps", num_steps)
    return keras.optimizers.schedules.PolynomialDecay(
        float(initial), num_steps, end_learning_rate=float(final), power=1.0
    )


def piecewise_constant(boundaries, values) -> Schedule:
    """`values[i]` up to and including step `boundaries[i]`, the last value afterwards."""
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [integer("boundaries", b) for b in boundaries], [float(v) for v in values]
    )


def value_at(schedule: Schedule, step) -> tf.Tensor:
    """The schedule's value at `step`, a float32 scalar."""
    return tf.cast(schedule(step) if callable(schedule) else schedule, tf.float32)


def serialize(schedule: Schedule):
    """A JSON-able form of a schedule, for `get_config`."""
    return keras.saving.serialize_keras_object(schedule) if callable(schedule) else float(schedule)


def deserialize(config) -> Schedule:
    """The schedule of a `config` made by `serialize`; numbers and schedules pass through."""
    return keras.saving.deserialize_keras_object(config) if isinstance(config, dict) else config
