"""Schedules: pure functions of the step.

A schedule is a number, or any `keras.optimizers.schedules.LearningRateSchedule` (Keras' own serve for
KL factors and smoothing parameters as well as for learning rates). Holding no state, they survive
`steps_per_execution`, checkpoints and resuming.
"""

import math

import keras
import tensorflow as tf

from tfdvae._schedules import Schedule, check_all_steps, number_or_schedule
from tfdvae._validation import integer, positive_integer
from tfdvae.bijectors import _parameters


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


def value_at(schedule: Schedule, step, *, name=None, low=-math.inf, high=math.inf) -> tf.Tensor:
    """The schedule's value at `step`, a float32 scalar.

    Args:
      schedule: a number or a schedule.
      step: an integer.
      name: of the parameter, to have its value checked: it must be finite, and in [low, high]. In a graph,
        where it is not known, the result is NaN if it is not.
      low: the lowest value.
      high: the highest value.

    Raises:
      ValueError: if a value that is checked is known and out of range.
    """
    value = tf.cast(schedule(step) if callable(schedule) else schedule, tf.float32)
    if name is None:
        return value
    step = tf.get_static_value(tf.convert_to_tensor(step))
    with _parameters.at_step(step if callable(schedule) else None):
        (value,) = _parameters.checked(
            f"`{name}` must be finite and in [{low:g}, {high:g}]",
            lambda v: (v >= low) & (v <= high) & (abs(v) < math.inf),
            **{name: value},
        )
    return value


def checked(name: str, schedule, *, low=-math.inf, high=math.inf) -> Schedule:
    """Returns the parameter `name`, a number, a schedule or its configuration, as a number or a schedule.

    Its values must be finite and in [low, high]. Of a number, of what `linear` and `piecewise_constant` give,
    and of Keras' `PolynomialDecay`, `ExponentialDecay`, `PiecewiseConstantDecay` and `CosineDecay` all are
    checked; of other schedules the one at step 0, and `value_at` checks the others at their steps.

    Raises:
      ValueError: if it is neither a number nor a schedule, or a value is out of range: says which, and at
        which step.
    """
    schedule = deserialize(schedule, name)
    check_all_steps(lambda step: value_at(schedule, step, name=name, low=low, high=high), [schedule])
    return schedule


def serialize(schedule: Schedule):
    """A JSON-able form of a schedule, for `get_config`."""
    return keras.saving.serialize_keras_object(schedule) if callable(schedule) else float(schedule)


def deserialize(config, name: str = "schedule") -> Schedule:
    """The schedule of a `config` made by `serialize`; numbers and schedules pass through.

    Raises:
      ValueError: if the parameter, `name`, is none of these.
    """
    schedule = keras.saving.deserialize_keras_object(config) if isinstance(config, dict) else config
    return number_or_schedule(name, schedule)
