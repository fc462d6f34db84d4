"""Grids of images as PNG files."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from tfdvae.callbacks import write_atomically  # noqa: E402


def save_grid(path, images, columns: int, vmax: float = 1.0) -> None:
    """Writes `[n, height, width, channels]` images row by row, `columns` in a row, with thin rules."""
    images = np.asarray(images) / vmax
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    canvas = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 0.5)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        canvas[top : top + height, left : left + width] = image
    canvas = np.kron(canvas, np.ones((2, 2, 1)))
    canvas = canvas[..., 0] if channels == 1 else canvas
    write_atomically(
        path, lambda name: plt.imsave(name, canvas, cmap="gray", vmin=0.0, vmax=1.0, format="png")
    )
