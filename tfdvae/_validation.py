"""Checks of arguments that many modules share."""

import numpy as np
import tensorflow as tf


def positive_integer(name: str, value) -> int:
    """Returns `value` as an int.

    Raises:
      ValueError: if it is not an integer of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return int(value)


def finite(name: str, values: np.ndarray) -> None:
    """Checks that no value is NaN or infinite.

    Raises:
      ValueError: if one is.
    """
    count = np.count_nonzero(~np.isfinite(values))
    if count:
        raise ValueError(f"`{name}` must be finite. Received {count} NaN or infinite of {values.size} values")


def one_step_per_execution_on_replicas(steps_per_execution: int) -> None:
    """Checks what `compile` is given against the strategy in scope.

    Raises:
      ValueError: if it is not 1 on several replicas.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1 and steps_per_execution > 1:
        raise ValueError(
            f"On several replicas (here {replicas}) `steps_per_execution` must be 1: with more, `fit` of "
            f"Keras 3.15 fails. Received: steps_per_execution={steps_per_execution}"
        )
