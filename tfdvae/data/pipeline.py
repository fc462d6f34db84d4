"""`load`: batches of a benchmark set."""

import functools
import os

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae.data import batches, catalog, store
from tfdvae.data import binarization as binarizations


def load(
    name: str,
    split: str,
    batch_size: int,
    data_dir: str | os.PathLike | None = None,
    binarization: str = "default",
    seed=0,
    initial_step: int = 0,
    *,
    shuffle: bool | None = None,
    num_epochs: int | None = 1,
    drop_remainder: bool | None = None,
    with_labels: bool = False,
) -> tf.data.Dataset:
    """Batches of images of a benchmark set.

    For training, pass `num_epochs=None` and give `model.fit` its `steps_per_epoch`: a finite dataset
    that Keras iterates again starts over at the same epoch, with the same order and the same draws.

    Args:
      name: one of `names()`.
      split: "train", "valid" (or "validation") or "test".
      batch_size: images a batch.
      data_dir: directory of the publisher's files: they are looked for in `data_dir/<info(name).folder>`
        and in `data_dir`. Files that are not there are downloaded by TFDS.
      binarization: "default" (`info(name).default_binarization`), "none", "threshold" (1 from half
        intensity on), "static" (drawn once from Bernoulli(grey / 255), with a seed that is part of the
        library) or "dynamic" ("static" for validation and test; drawn anew in each epoch of training).
      seed: an integer or a pair of them: order, and dynamic binarization.
      initial_step: number of batches to leave out at the start: the rest is as if they had been read.
      shuffle: whether each epoch is permuted anew; by default only the training split is.
      num_epochs: passes over the split; `None` for no end.
      drop_remainder: whether the last, smaller batch of each epoch is left out; by default if `shuffle`.
        Batches never reach over the end of an epoch.
      with_labels: whether elements are pairs (images, labels).

    Returns:
      A dataset of images, float32, shape `[batch, height, width, channels]`: in {0, 1} for binary sets
      and once binarized, in 0..255 otherwise (grey values too); with labels, int64, shape `[batch]`,
      if asked for. The batch dimension is static if the remainder is dropped.

    Raises:
      ValueError: if an argument is not as described, or a file is truncated or of another format.
      FileNotFoundError: if the files cannot be found or downloaded: says where to get and to put them.
    """
    facts, split = catalog.info(name), catalog.check_split(split)
    binarization = binarizations.check(binarization, facts)
    if with_labels and not facts.num_classes:
        raise ValueError(f"{name} has no labels. Received: with_labels=True")
    is_training = split == "train"
    order = batches.order(
        batch_size,
        seed,
        initial_step,
        is_training if shuffle is None else shuffle,
        num_epochs,
        drop_remainder,
    )
    images, labels = _tensors(name, split, binarization, data_dir)
    return batches.make(
        images,
        labels if with_labels else None,
        order,
        image_shape=facts.image_shape,
        draws_anew=binarization == "dynamic" and is_training,
        what=f"the {split} split",
    )


def training_mean(
    name: str,
    data_dir: str | os.PathLike | None = None,
    binarization: str = "default",
    seed=0,
) -> np.ndarray:
    """The mean training image, for centring the input and for the bias of the output.

    Args:
      name: one of `names()`.
      data_dir: as in `load`.
      binarization: as in `load`; under "dynamic" the mean is that of the grey values, over 255.
      seed: as in `load`: the mean does not depend on it.

    Returns:
      float32, shape `[height, width, channels]`, in [0, 1] if images are binary and in 0..255 otherwise.
    """
    random.as_seed(seed)
    facts = catalog.info(name)
    binarization = binarizations.check(binarization, facts)
    images, _ = _tensors(name, "train", binarization, data_dir)
    mean = images.numpy().mean(axis=0, dtype=np.float64) / (255.0 if binarization == "dynamic" else 1.0)
    return mean.reshape(facts.image_shape).astype(np.float32)


def _tensors(name, split, binarization, data_dir):
    """The images and labels of a split on the host; grey images where `load` binarizes them by batch."""
    if binarization == "dynamic":
        binarization = "none" if split == "train" else "static"
    return _cached_tensors(store.locate(name, data_dir), split, binarization)


# At most four splits of at most 180 MB stay in memory.
@functools.lru_cache(maxsize=4)
def _cached_tensors(records: store.Records, split: str, binarization: str):
    images, labels = store.read_split(records, split)
    pixels = binarizations.once(images.reshape(len(images), -1), binarization)
    with tf.device("CPU:0"):
        return tf.constant(pixels), None if labels is None else tf.constant(labels)
