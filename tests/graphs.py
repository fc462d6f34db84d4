"""Running functions without graphs, which take longer to make than most of the tests to run."""

import contextlib

import pytest
import tensorflow as tf

# Values of a parameter `run_eagerly`: what a graph does is tested too, after the fast tests.
EAGER_OR_SLOW = [True, pytest.param(False, marks=pytest.mark.slow)]


@contextlib.contextmanager
def without_graphs():
    """Runs every `tf.function` operation by operation, with the same results."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
