"""Grids of images as PNG files."""

import matplotlib.image
import numpy as np

from tfdvae.files import write_atomically

_SCALE = 2  # picture pixels an image pixel


def save_all(directory, model, images, seed) -> None:
    """Writes samples.png, reconstructions.png and, of a model with global latents, samples_by_global.png.

    Args:
      directory: where to write.
      model: the model.
      images: images to reconstruct, each beside its reconstruction.
      seed: of the pictures.
    """
    reconstructions = model.reconstruct(images, seed=seed, mean=True)
    pairs = [image for pair in zip(images, reconstructions, strict=True) for image in pair]
    grids = {"samples": model.sample(64, seed=seed, mean=True), "reconstructions": pairs}
    for name, grid in grids.items():
        save_grid(directory / f"{name}.png", grid, columns=8, vmax=model.max_pixel)
    if model.has_global_latents:
        # As figure 4 of Vahdat et al. (2018): two runs of five in a row.
        rows = model.sample_by_global(16, 5, seed=seed, mean=True)
        save_grid(directory / "samples_by_global.png", rows, columns=10, vmax=model.max_pixel)


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
