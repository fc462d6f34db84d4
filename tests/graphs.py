"""Running functions without graphs, which take longer to make than most of the tests to run."""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def without_graphs():
    """Runs every `tf.function` operation by operation, with the same results."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
