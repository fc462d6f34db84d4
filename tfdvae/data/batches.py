"""Batches of images in memory, whose order and content are functions of (seed, epoch, index)."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import integer, not_negative_integer, positive_integer
from tfdvae.data import binarization as binarizations

_FOREVER = np.iinfo(np.int64).max


class Order(NamedTuple):
    """Which images come when; from `order`.

    Attributes:
      batch_size: images a batch.
      seed: of the order, and of dynamic binarization.
      initial_step: number of batches to leave out at the start.
      shuffle: whether each epoch is permuted anew.
      num_epochs: passes over the images; `None` for no end.
      drop_remainder: whether the last, smaller batch of each epoch is left out.
    """

    batch_size: int
    seed: random.Seed
    initial_step: int
    shuffle: bool
    num_epochs: int | None
    drop_remainder: bool


def order(batch_size, seed, initial_step, shuffle, num_epochs, drop_remainder) -> Order:
    """Checks arguments of a user; `drop_remainder` is by default (`None`) `shuffle`.

    Raises:
      ValueError: if a number is no integer or out of range.
    """
    return Order(
        positive_integer("batch_size", batch_size),
        random.as_seed(seed),
        not_negative_integer("initial_step", initial_step),
        bool(shuffle),
        None
        if num_epochs is None
        else integer("num_epochs", num_epochs, 1, "a positive integer, or None for no end"),
        bool(shuffle if drop_remainder is None else drop_remainder),
    )


def make(
    images: tf.Tensor, labels: tf.Tensor | None, order: Order, *, image_shape, draws_anew: bool, what: str
) -> tf.data.Dataset:
    """Batches of float32 images `[batch, *image_shape]`, or pairs of them and their labels.

    Args:
      images: uint8, shape `[n, pixels]`.
      labels: shape `[n]`, or `None`.
      order: which images come when.
      image_shape: `(height, width, channels)`.
      draws_anew: whether pixels are drawn from Bernoulli(grey / 255), anew in each epoch.
      what: what the images are, for the error.

    Raises:
      ValueError: if there are not enough images for one batch.
    """
    size, batch_size, drop_remainder = int(images.shape[0]), order.batch_size, order.drop_remainder
    steps = size // batch_size if drop_remainder else -(-size // batch_size)
    if not steps:
        raise ValueError(
            f"`batch_size` must not exceed the {size} images of {what} when the remainder is dropped. "
            f"Received: batch_size={batch_size}"
        )
    first_epoch, first_step = divmod(order.initial_step, steps)
    shape = [batch_size if drop_remainder else None, *image_shape]
    order_seed = random.split(order.seed, 1, salt="tfdvae.data.order")[0]

    def batches_of(epoch):
        """The batches of an epoch, as a dataset."""
        places = tf.range(size, dtype=tf.int64)
        if order.shuffle:
            last = tf.constant(size - 1, tf.int64)
            places = tf.random.experimental.index_shuffle(places, random.fold_in(order_seed, epoch), last)
        draw_seed = binarizations.epoch_seed(order.seed, epoch)

        def batch(step):
            indices = places[step * batch_size : (step + 1) * batch_size]
            pixels = tf.gather(images, indices)
            if draws_anew:
                pixels = binarizations.draw(pixels, indices, draw_seed)
            x = tf.ensure_shape(tf.reshape(tf.cast(pixels, tf.float32), [-1, *image_shape]), shape)
            return x if labels is None else (x, tf.ensure_shape(tf.gather(labels, indices), shape[:1]))

        skipped = tf.where(tf.equal(epoch, first_epoch), first_step, 0)
        return tf.data.Dataset.range(tf.cast(skipped, tf.int64), steps).map(batch)

    epochs = tf.data.Dataset.range(first_epoch, _FOREVER if order.num_epochs is None else order.num_epochs)
    dataset = epochs.flat_map(batches_of)
    left = (
        tf.data.INFINITE_CARDINALITY
        if order.num_epochs is None
        else max(0, order.num_epochs * steps - order.initial_step)
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(left)).prefetch(tf.data.AUTOTUNE)
