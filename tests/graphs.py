"""What takes long: graphs, which take longer to make than most tests to run, and some of the parameters."""

import contextlib

import pytest
import tensorflow as tf


def slow_but(fast, values):
    """The `values` (of several parameters: tuples) of a test, all but the `fast` ones marked slow."""
    slow = {value: value if isinstance(value, tuple) else (value,) for value in values if value not in fast}
    return [pytest.param(*slow[v], marks=pytest.mark.slow) if v in slow else v for v in values]


# Values of a parameter `run_eagerly`: what a graph does is tested too, after the fast tests.
EAGER_OR_SLOW = slow_but([True], [True, False])


@contextlib.contextmanager
def without_graphs():
    """Runs every `tf.function` operation by operation, with the same results."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
