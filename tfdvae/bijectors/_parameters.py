"""Parameters of bijectors and distributions: common dtype, checks, gradients of broadcast arguments."""

from collections.abc import Callable

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


def check(rule: str, given: str, holds: Callable[..., np.ndarray], *tensors: tf.Tensor) -> None:
    """Raises a ValueError unless `holds(*tensors)`, where the values of all tensors are known.

    Inside a graph the values of most tensors are unknown; nothing is checked then.
    """
    values = [tf.get_static_value(tensor) for tensor in tensors]
    if all(value is not None for value in values) and not np.all(holds(*values)):
        raise ValueError(f"{rule}. Received: {given}")


def check_positive(name: str, given, tensor: tf.Tensor) -> None:
    """Raises a ValueError unless the parameter is positive and finite (where its value is known)."""
    rule = f"`{name}` must be positive and finite"
    check(rule, f"{name}={given}", lambda x: (x > 0) & np.isfinite(x), tensor)


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
