"""Parameters of bijectors and distributions: dtype, variables, checks, gradients of broadcast arguments."""

import contextlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def common_dtype(*values) -> tf.DType:
    """The floating dtype shared by tensors and arrays; float32 if there are only Python numbers.

    Raises:
      ValueError: if two of `values` have different floating dtypes.
    """
    dtypes = {tf.as_dtype(value.dtype) for value in values if getattr(value, "dtype", None) is not None}
    dtypes = {dtype for dtype in dtypes if dtype.is_floating}
    if len(dtypes) > 1:
        names = sorted(dtype.name for dtype in dtypes)
        raise ValueError(f"All parameters must share one floating dtype. Received: {names}")
    return dtypes.pop() if dtypes else tf.float32


def keep(check: Callable | None, dtype: tf.DType, **parameters) -> list:
    """Parameters as tensors, after a check; variables stay as they are, and `read` gives their values.

    Args:
      check: takes the tensors and returns them, with NaN where one is invalid and its value is not known;
        see `checked`. With a variable among the parameters, `read` calls it.
      dtype: of the tensors.
      **parameters: by name; `None` stays `None`.
    """
    kept = [_kept(value, dtype, name) for name, value in parameters.items()]
    return kept if check is None or any(map(_is_reference, kept)) else check(*kept)


def _kept(value, dtype, name):
    if isinstance(value, keras.Variable):
        value = value.value
    if value is None or _is_reference(value):
        return value
    return tf.convert_to_tensor(value, dtype, name=name)


def read(check: Callable | None, *kept) -> list[tf.Tensor]:
    """The present values of parameters that `keep` returned, tensors or `None`."""
    if not any(map(_is_reference, kept)):
        return list(kept)
    tensors = [None if value is None else tf.convert_to_tensor(value) for value in kept]
    return tensors if check is None else check(*tensors)


def _is_reference(value) -> bool:
    """Whether `value` is a variable, or a module that makes a tensor from some, as in TFP."""
    return isinstance(value, tf.Variable) or (isinstance(value, tf.Module) and hasattr(value, "dtype"))


def checked(rule: str, holds: Callable, **parameters: tf.Tensor) -> list[tf.Tensor]:
    """The parameters, after a check that `holds(*parameters)`, elementwise.

    In a graph most values are not known. There the first parameter becomes NaN where the rule is broken, so
    that all that depends on it does: an assertion would be dropped by XLA.

    Raises:
      ValueError: if all values are known and an element breaks the rule.
    """
    first, *others = parameters.values()
    values = [tf.get_static_value(tensor) for tensor in parameters.values()]
    if any(value is None for value in values):
        nan = tf.constant(np.nan, first.dtype)
        return [tf.where(holds(first, *others), first, nan), *others]
    valid = holds(*values)
    if not np.all(valid):
        broken = np.argmin(valid)
        received = [
            f"{name}={np.broadcast_to(value, np.shape(valid)).ravel()[broken]!s}"
            for name, value in zip(parameters, values, strict=True)
        ]
        raise ValueError(f"{rule}. Received: {', '.join(received)}")
    return [first, *others]


@contextlib.contextmanager
def at_step(step):
    """Adds the step, unless it is `None`, to what a ValueError says."""
    try:
        yield
    except ValueError as error:
        if step is None:
            raise
        raise ValueError(f"{error} at step {int(step)}") from error


def require(name: str, value) -> None:
    """Raises a ValueError if a parameter without a default is missing."""
    if value is None:
        raise ValueError(f"`{name}` must be given. Received: {name}=None")


def sum_to_shape_of(gradient: tf.Tensor, argument: tf.Tensor) -> tf.Tensor:
    """Sums a gradient over the dimensions along which `argument` was broadcast."""
    if gradient.shape.is_fully_defined() and gradient.shape == argument.shape:
        return gradient
    shape = tf.shape(argument)
    axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(gradient), s1=shape).r1
    return tf.reshape(tf.reduce_sum(gradient, axes), shape)
