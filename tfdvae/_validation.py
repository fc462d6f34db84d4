"""Checks of arguments that many modules share."""

from numbers import Real

import numpy as np
import tensorflow as tf


def is_integer(value) -> bool:
    """Whether `value` is an integer of Python or NumPy; a bool is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def integer(name: str, value, at_least: int | None = None, of: str = "an integer") -> int:
    """Returns `value`, Python's or NumPy's, as an int.

    Raises:
      ValueError: if it is something else (a bool, 1.0, "1"), or smaller than `at_least`.
    """
    if not is_integer(value) or (at_least is not None and value < at_least):
        raise ValueError(f"`{name}` must be {of}. Received: {name}={value!r}")
    return int(value)


def positive_integer(name: str, value) -> int:
    """Returns `value` as an int.

    Raises:
      ValueError: if it is not an integer of at least 1.
    """
    return integer(name, value, 1, "a positive integer")


def not_negative_integer(name: str, value) -> int:
    """Returns `value` as an int.

    Raises:
      ValueError: if it is not an integer of at least 0.
    """
    return integer(name, value, 0, "an integer of at least 0")


def positive_count(name: str, value) -> int | tf.Tensor:
    """Returns `value` as an int; a tensor of integers, which a graph may know later, as it is.

    Raises:
      ValueError: if it is neither that nor an integer of at least 1.
    """
    if tf.is_tensor(value) and value.dtype.is_integer:
        return value
    return positive_integer(name, value)


def positive_integers(name: str, values) -> tuple[int, ...]:
    """Returns `values`, one integer or a sequence of them, as a tuple of ints.

    Raises:
      ValueError: if it is neither, or one of them is not an integer of at least 1.
    """
    if isinstance(values, str) or not np.iterable(values):
        values = (values,)
    return tuple(positive_integer(name, value) for value in values)


def not_negative(name: str, value) -> float:
    """Returns `value` as a float.

    Raises:
      ValueError: if it is no number, negative, NaN or infinite.
    """
    if not isinstance(value, Real) or not 0 <= value < np.inf:
        raise ValueError(f"`{name}` must be finite and not negative. Received: {name}={value!r}")
    return float(value)


def rate(name: str, value) -> float:
    """Returns `value`, that of a dropout, as a float.

    Raises:
      ValueError: if it is no number in [0, 1).
    """
    if not isinstance(value, Real) or not 0 <= value < 1:
        raise ValueError(f"`{name}` must be in [0, 1). Received: {name}={value!r}")
    return float(value)


def finite(name: str, values: np.ndarray) -> None:
    """Checks that no value is NaN or infinite.

    Raises:
      ValueError: if one is.
    """
    count = np.count_nonzero(~np.isfinite(values))
    if count:
        raise ValueError(f"`{name}` must be finite. Received {count} NaN or infinite of {values.size} values")


def first_wrong(values: np.ndarray, are_right: np.ndarray) -> str | None:
    """The first value that is not right with its place (from 0) and the number of the others; or `None`."""
    wrong = np.flatnonzero(~are_right)
    if not wrong.size:
        return None
    place = [int(i) for i in np.unravel_index(wrong[0], values.shape)]
    more = f", and {wrong.size - 1} more" if wrong.size > 1 else ""
    return f"{values.flat[wrong[0]]} at {place}{more}"


def increasing_from_0_to_1(name: str, values: np.ndarray) -> None:
    """Refuses a vector of at least two values that does not increase strictly from 0 to 1."""
    # Written so that NaN fails, too.
    if not (values[0] == 0 and values[-1] == 1 and np.all(np.diff(values) > 0)):
        raise ValueError(
            f"`{name}` must increase strictly from 0 to 1. Received: from {values[0]} to {values[-1]}, "
            f"smallest step {np.min(np.diff(values))}"
        )
