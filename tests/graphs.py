"""What takes long: graphs, which take longer to make than most tests to run, and some of the parameters."""

import contextlib

import pytest
import tensorflow as tf


def slow_but(fast, values):
    """The `values` as parameters of a test, all but the `fast` ones marked slow."""
    return [value if value in fast else pytest.param(value, marks=pytest.mark.slow) for value in values]


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
