"""Batch normalization, as all networks here use it."""

import keras
import tensorflow as tf


def make_batch_normalization(
    units, momentum, *, ndim, dtype=None, name=None
) -> keras.layers.BatchNormalization:
    """A built layer that normalizes the last axis, `units` wide, of tensors of rank `ndim`.

    In training the statistics are those of the batch, over all replicas. The moving averages apply to any
    rank, so that inference may add a sample axis.

    Raises:
      ValueError: if the momentum is not in [0, 1).
    """
    if not 0 <= momentum < 1:
        raise ValueError(
            f"The momentum of batch normalization must be in [0, 1). Received: momentum={momentum!r}"
        )
    layer = keras.layers.BatchNormalization(
        momentum=momentum,
        # Statistics of the whole batch; on one replica the plain kernel is the faster one.
        synchronized=tf.distribute.get_strategy().num_replicas_in_sync > 1,
        dtype=dtype,
        name=name,
    )
    layer.build((None,) * (ndim - 1) + (units,))
    layer.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: units})
    return layer
