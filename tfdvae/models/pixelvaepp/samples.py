"""Several samples of the latents for each image as rows of one batch, one sample after the other."""

import tensorflow as tf


def number_of_samples(groups):
    """How many samples there are for each image, an axis before the batch; `None` without the axis."""
    value = groups[-1].value if groups else None
    return tf.shape(value)[0] if value is not None and value.shape.rank == 3 else None


def repeated(x, num_samples):
    """The rows once for each sample, one sample after the other."""
    if num_samples is None:
        return x
    return tf.tile(x, tf.concat([[num_samples], tf.ones([x.shape.rank - 1], tf.int32)], axis=0))


def restored(rows, num_samples):
    """The inverse of how the rows of samples are put one after the other."""
    if num_samples is None:
        return rows
    return tf.reshape(rows, tf.concat([[num_samples, -1], rows.shape[1:]], axis=0))


def rows(groups):
    """Groups `[..., units]` as rows of all units; `None` without any."""
    if not groups:
        return None
    return tf.reshape(tf.concat(groups, axis=-1), [-1, sum(group.shape[-1] for group in groups)])
