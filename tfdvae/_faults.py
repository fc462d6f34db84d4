"""Faults that a graph finds in its values, and the errors that they are outside of it.

All that TensorFlow tells of a failed check is its message; so a check says which fault it has found by a
code.
"""

import contextlib
import re

import tensorflow as tf

_WRONG_VALUES, _REFUSED, _DIVERGED = "tfdvae.WrongValues", "tfdvae.Refused", "tfdvae.TrainingDiverged"


class TrainingDiverged(ValueError):
    """The loss of a step or its gradient is NaN or infinite; that step has changed no trainable weight."""


def checked_values(x, valid) -> tf.Tensor:
    """`x`, which fails in a graph where it is not `valid`."""
    return _asserted(x, valid, _WRONG_VALUES)


def checked(x, valid, message) -> tf.Tensor:
    """`x`, which fails with the message, without square brackets, where it is not `valid`; not under XLA."""
    if tf.executing_eagerly() and not valid:
        raise ValueError(message)
    return _asserted(x, valid, _REFUSED, message)


def _asserted(x, valid, *words):
    with tf.control_dependencies([tf.debugging.Assert(valid, words, 1)]):
        return tf.identity(x)


def assert_finite(model, figures):
    """Fails, naming step and figures, where one of them is not finite; in a graph, an operation."""
    finite = tf.reduce_all(tf.math.is_finite(tf.stack(list(figures.values()))))
    if not tf.executing_eagerly():
        words = [word for name, value in figures.items() for word in (name, value)]
        return tf.debugging.Assert(finite, [_DIVERGED, model.step, *words], 1)
    if not finite:
        raise _diverged(model, int(model.step.numpy()), {n: float(v) for n, v in figures.items()})
    return tf.no_op()


def _diverged(model, step, figures):
    model.scheduled_values()  # says so if what follows a schedule has left its range
    named = ", ".join(f"{name} {value}" for name, value in figures.items())
    return TrainingDiverged(
        f"The training has diverged: the terms of step {step} are {named}. Go back to an earlier "
        "checkpoint and lower the learning rate, or clip the gradients"
    )


@contextlib.contextmanager
def raised(model):
    """Turns a fault of the model's graph into an error without the graph's traceback.

    Raises:
      ValueError: with the model's `data_message`, for a batch with wrong values; with that of `checked`.
      TrainingDiverged: where a figure was not finite.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        fault = re.search(rf"\[({_WRONG_VALUES}|{_REFUSED}|{_DIVERGED})\]((?: \[[^\]]*\])*)", str(error))
        if fault is None:
            raise
        if fault[1] == _WRONG_VALUES:
            raise ValueError(model.data_message) from error
        if fault[1] == _REFUSED:
            raise ValueError(fault[2].strip()[1:-1]) from error
        step, *words = re.findall(r"\[([^\]]*)\]", fault[2])
        raise _diverged(model, step, dict(zip(words[::2], words[1::2], strict=True))) from error
