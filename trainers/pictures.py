"""Grids of images as PNG files."""

import contextlib

import matplotlib.image
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae.files import write_atomically
from tfdvae.models import PixelVAEPlusPlus

_SCALE = 2  # picture pixels an image pixel
_IN_ROW = 8  # images that share their latents
_SHOWN, IMAGES = 16, 128  # rows in a picture; of colour images, rows of which it has those at both ends
_PAIRS = 32  # images beside their reconstructions


def save_all(directory, model, images, seed, verbose=0) -> None:
    """Writes samples.png, reconstructions.png and, of a model with global latents, samples_by_global.png; of
    a PixelVAE++ with latents samples_by_latents.png and reconstructions_by_image.png in its place.

    Args:
      directory: where to write.
      model: the model.
      images: the first ones of a data set, up to `IMAGES`, to be reconstructed.
      seed: of the pictures.
      verbose: 1 for progress bars of a PixelVAE++.
    """
    is_autoregressive = isinstance(model, PixelVAEPlusPlus)
    with model.progress_bar() if verbose and is_autoregressive else contextlib.nullcontext():
        _save_all(directory, model, images, seed, is_autoregressive)


def _save_all(directory, model, images, seed, is_autoregressive):
    few = images[:_PAIRS]
    reconstructions = model.reconstruct(few, seed=seed, mean=True)
    pairs = [image for pair in zip(few, reconstructions, strict=True) for image in pair]
    grids = {"samples": model.sample(64, seed=seed, mean=True), "reconstructions": pairs}
    for name, grid in grids.items():
        save_grid(directory / f"{name}.png", grid, columns=8, vmax=model.max_pixel)
    if is_autoregressive:
        if any(model.latent_shapes):
            _save_rows(directory, model, images, seed)
    elif model.has_global_latents:
        # As figure 4 of Vahdat et al. (2018): two runs of five in a row.
        rows = model.sample_by_global(16, 5, seed=seed, mean=True)
        save_grid(directory / "samples_by_global.png", rows, columns=10, vmax=model.max_pixel)


def _save_rows(directory, model, images, seed):
    """Rows of images that share their latents, in two panels: figures 2 to 7 of Sadeghi et al. (2019).

    Of colour images the left panel has those of `IMAGES` rows that are nearest to each other or to their
    image, by the energy distance, and the right one those that are furthest.
    """
    is_colour = model.image_shape[-1] == 3
    num_rows = IMAGES if is_colour else _SHOWN
    seed_q, seed_p, seed_x = random.split(seed, 3, salt="rows of pictures")
    images = tf.convert_to_tensor(images)[:num_rows]
    latents = {
        "samples_by_latents": model.sample_prior(num_rows, seed=seed_p),
        "reconstructions_by_image": model.encode(images, seed=seed_q),
    }
    for name, values in latents.items():
        values = tf.nest.map_structure(lambda v: tf.repeat(v, _IN_ROW, axis=0), values)
        rows = model.decode(values, seed=seed_x).numpy().reshape(-1, _IN_ROW, *model.image_shape)
        firsts = images.numpy()[:, np.newaxis] if name == "reconstructions_by_image" else None
        if is_colour:
            order = np.argsort(energy_distances(rows, firsts), kind="stable")
            shown = np.concatenate([order[: _SHOWN // 2], order[-(_SHOWN // 2) :]])
        else:
            shown = np.arange(len(rows))
        if firsts is not None:
            rows = np.concatenate([firsts, rows], axis=1)
        half = len(shown) // 2
        panels = np.stack([rows[shown[:half]], rows[shown[half : 2 * half]]], axis=1)
        grid = panels.reshape(-1, *model.image_shape)
        save_grid(directory / f"{name}.png", grid, columns=2 * rows.shape[1], vmax=model.max_pixel)


def energy_distances(rows, images=None) -> np.ndarray:
    """The energy distance of each row of images from one image; without these, its part within the row.

        2 E|X - y| - E|X - X'|,    or    E|X - X'|,    with Euclidean distances

    Args:
      rows: `[rows, n, height, width, channels]`, n samples each.
      images: `[rows, 1, height, width, channels]`.

    Returns:
      `[rows]`, in the units of the pixels.
    """
    rows = np.float64(rows).reshape(*rows.shape[:2], -1)
    n = rows.shape[1]
    within = np.linalg.norm(rows[:, :, np.newaxis] - rows[:, np.newaxis], axis=-1).sum(axis=(1, 2))
    within /= n * (n - 1)  # pairs of different samples
    if images is None:
        return within
    images = np.float64(images).reshape(len(rows), 1, -1)
    return 2.0 * np.linalg.norm(rows - images, axis=-1).mean(axis=1) - within


def save_grid(path, images, columns: int, vmax: float = 1.0) -> None:
    """Writes images row by row, with thin rules between them.

    Args:
      path: the PNG file; its directory is made if need be.
      images: `[n, height, width, channels]`, 1 or 3 channels, values in `[0, vmax]`.
      columns: images in a row. The picture is `2 * (columns * (width + 1) + 1)` pixels wide, and likewise
        for the height.
      vmax: the value that is shown as white.
    """
    images = np.clip(np.asarray(images) / vmax, 0.0, 1.0)
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    canvas = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 0.5)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        canvas[top : top + height, left : left + width] = image
    canvas = np.kron(canvas, np.ones((_SCALE, _SCALE, 1)))
    canvas = canvas[..., 0] if channels == 1 else canvas
    write_atomically(
        path,
        lambda name: matplotlib.image.imsave(name, canvas, cmap="gray", vmin=0.0, vmax=1.0, format="png"),
    )
