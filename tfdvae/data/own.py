"""Images of one's own, from memory or a NumPy file, as batches like those of the benchmark sets."""

import os

import numpy as np
import tensorflow as tf

from tfdvae._validation import first_wrong
from tfdvae.data import batches
from tfdvae.data import binarization as binarizations
from tfdvae.files import user_path

BINARIZATIONS = (None, "threshold", "static", "dynamic")


def from_arrays(
    images,
    batch_size: int,
    *,
    binarization: str | None = None,
    seed=0,
    initial_step: int = 0,
    shuffle: bool = False,
    num_epochs: int | None = 1,
    drop_remainder: bool | None = None,
) -> tf.data.Dataset:
    """Batches of one's own images, like those of `load`: order and draws are functions of the seed.

    For training, pass `shuffle=True`, `num_epochs=None` and give `model.fit` its `steps_per_epoch`, as with
    `load`; for evaluation take the defaults: all images once, in their order.

    Args:
      images: an array or tensor `[n, height, width]` or `[n, height, width, channels]`; or the path of a
        `.npy` file, or of an `.npz` file with one array. Its values are whole numbers from 0 to 255 of an
        integer dtype; or floats from 0 to 1, of which round(255 v) is kept; or booleans. Images that hold 0
        and 1 alone, of whatever dtype, are binary already.
      batch_size: images a batch.
      binarization: `None` (the images as they are), "threshold" (1 from half intensity on), "static" (drawn
        once from Bernoulli(grey / 255), with a seed that is part of the library; for evaluation) or "dynamic"
        (drawn anew in each epoch; for training). Binary images stay what they are.
      seed: an integer or a pair of them: order, and dynamic binarization.
      initial_step: number of batches to leave out at the start: the rest is as if they had been read.
      shuffle: whether each epoch is permuted anew.
      num_epochs: passes over the images; `None` for no end.
      drop_remainder: whether the last, smaller batch of each epoch is left out; by default if `shuffle`.

    Returns:
      A dataset of images, float32, shape `[batch, height, width, channels]`: in {0, 1} if they are binary
      or were binarized, in 0..255 otherwise. The batch dimension is static if the remainder is dropped.

    Raises:
      ValueError: if an argument is not as described: an empty array, another rank or dtype, NaN or a value
        out of range, which is quoted with its place.
      OSError: if a file cannot be read.
    """
    if binarization not in BINARIZATIONS:
        names = ", ".join(map(repr, BINARIZATIONS))
        raise ValueError(f"`binarization` must be one of {names}. Received: binarization={binarization!r}")
    order = batches.order(batch_size, seed, initial_step, shuffle, num_epochs, drop_remainder)
    pixels, is_binary = _pixels(images)
    image_shape = pixels.shape[1:]
    pixels = pixels.reshape(len(pixels), -1)
    if binarization is not None and not is_binary and image_shape[-1] != 1:
        raise ValueError(
            "`binarization` is for grey images: colours have no agreed one. Received: binarization="
            f"{binarization!r} for images of {image_shape[-1]} channels"
        )
    draws_anew = binarization == "dynamic" and not is_binary
    if not is_binary:
        pixels = binarizations.once(pixels, "none" if binarization in (None, "dynamic") else binarization)
    with tf.device("CPU:0"):
        return batches.make(
            tf.constant(pixels), None, order, image_shape=image_shape, draws_anew=draws_anew, what="`images`"
        )


def _pixels(images) -> tuple[np.ndarray, bool]:
    """The images as uint8 `[n, height, width, channels]`, and whether they hold 0 and 1 alone."""
    array = _read(images) if isinstance(images, str | os.PathLike) else _array(images)
    if array.dtype.kind not in "buif":
        raise ValueError(f"`images` must be integers, floats or booleans. Received: dtype {array.dtype}")
    if array.ndim not in (3, 4) or not array.size:
        raise ValueError(
            "`images` must have the shape [n, height, width] or [n, height, width, channels], with at least "
            f"one image of one pixel. Received: shape {array.shape}"
        )
    is_float = array.dtype.kind == "f"
    if wrong := first_wrong(array, (array >= 0) & (array <= (1 if is_float else 255))):
        raise ValueError(
            "`images` must be floats in [0, 1] or integers in 0..255 (give whole numbers an integer dtype). "
            f"Received: dtype {array.dtype} with {wrong}"
        )
    is_binary = bool(((array == 0) | (array == 1)).all())
    pixels = (np.rint(255.0 * array) if is_float and not is_binary else array).astype(np.uint8)
    return (pixels[..., np.newaxis] if pixels.ndim == 3 else pixels), is_binary


def _array(images) -> np.ndarray:
    try:
        return np.asarray(images)
    except ValueError as error:  # images of different sizes
        raise ValueError(f"`images` must be one array, images of one size. Received: {error}") from error


def _read(path) -> np.ndarray:
    """The array in a NumPy file."""
    path = user_path(path, "images")
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"`images`: {path} is truncated or no NumPy file of numbers ({error})") from error
    if isinstance(found, np.ndarray):
        return found
    with found:
        if len(found.files) != 1:
            raise ValueError(
                f"`images`: {path} must hold one array, and holds {found.files}. Pass one of them: "
                "`numpy.load(path)[name]`"
            )
        return found[found.files[0]]
