"""Numbers that may be schedules of the step, and what is known of their values before a training begins."""

from collections.abc import Callable, Iterable
from numbers import Real

import keras
import tensorflow as tf

Schedule = float | keras.optimizers.schedules.LearningRateSchedule

_FOREVER = 2**40  # more steps than a training takes

# For schedules of Keras, steps between which the values rise or fall: all others lie between theirs.
_TURNS = {
    keras.optimizers.schedules.PolynomialDecay: lambda s: [s.decay_steps],
    keras.optimizers.schedules.ExponentialDecay: lambda s: [_FOREVER],
    keras.optimizers.schedules.PiecewiseConstantDecay: lambda s: [int(b) + 1 for b in s.boundaries],
    keras.optimizers.schedules.CosineDecay: lambda s: [s.warmup_steps, s.warmup_steps + s.decay_steps],
}


def is_schedule(value) -> bool:
    """Whether `value` is a schedule and no number."""
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def number_or_schedule(name: str, value) -> Schedule:
    """Returns `value`.

    Raises:
      ValueError: if it is neither a number nor a schedule.
    """
    if not is_schedule(value) and (isinstance(value, bool) or not isinstance(value, Real)):
        raise ValueError(
            f"`{name}` must be a number or a keras.optimizers.schedules.LearningRateSchedule. "
            f"Received: {name}={value!r}"
        )
    return value


def check_all_steps(check: Callable[[int], object], schedules: Iterable[Schedule]) -> None:
    """Calls `check(step)` at the ends of all schedules, or at step 0 alone where these are not known.

    Raises:
      ValueError: what `check` raises, at the first step at which it does.
    """
    turns = {step for s in schedules if type(s) in _TURNS for step in _TURNS[type(s)](s)}
    last = -1
    with tf.init_scope():  # where values are known
        for step in sorted({0, *turns}):
            try:
                check(step)
            except ValueError as error:
                raise _first_error(check, last, step, error) from None
            last = step


def _first_error(check, good: int, bad: int, error: ValueError) -> ValueError:
    """The error of the first step after `good` at which `check` raises one; it does at `bad`."""
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            check(middle)
            good = middle
        except ValueError as earlier:
            bad, error = middle, earlier
    return error
