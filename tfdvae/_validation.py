"""Checks of arguments that many modules share."""

import numpy as np


def positive_integer(name: str, value) -> int:
    """Returns `value` as an int.

    Raises:
      ValueError: if it is not an integer of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return int(value)


def not_negative(name: str, value) -> float:
    """Returns `value` as a float.

    Raises:
      ValueError: if it is negative, NaN or infinite.
    """
    if not 0 <= value < np.inf:
        raise ValueError(f"`{name}` must be finite and not negative. Received: {name}={value!r}")
    return float(value)


def finite(name: str, values: np.ndarray) -> None:
    """Checks that no value is NaN or infinite.

    Raises:
      ValueError: if one is.
    """
    count = np.count_nonzero(~np.isfinite(values))
    if count:
        raise ValueError(f"`{name}` must be finite. Received {count} NaN or infinite of {values.size} values")


def increasing_from_0_to_1(name: str, values: np.ndarray) -> None:
    """Refuses a vector of at least two values that does not increase strictly from 0 to 1."""
    # Written so that NaN fails, too.
    if not (values[0] == 0 and values[-1] == 1 and np.all(np.diff(values) > 0)):
        raise ValueError(
            f"`{name}` must increase strictly from 0 to 1. Received: from {values[0]} to {values[-1]}, "
            f"smallest step {np.min(np.diff(values))}"
        )
