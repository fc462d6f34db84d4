"""Readers of the publishers' file formats: bytes in, uint8 images `[n, height, width, channels]` out.

A file that is truncated or of another format raises a ValueError that names it and says what was
expected and what was found. Gzip is recognised by its first bytes, not by the name.
"""

import gzip
import io
import math
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_CIFAR_RECORD = 1 + 32 * 32 * 3


class Examples(NamedTuple):
    """Images, uint8 `[n, height, width, channels]`, and labels, int64 `[n]` or `None`."""

    images: np.ndarray
    labels: np.ndarray | None = None


def read_content(path: Path) -> bytes:
    """The bytes of a file, after gunzip where it is gzipped."""
    data = path.read_bytes()
    if data[:2] != _GZIP_MAGIC:
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path} is truncated or corrupt: its {len(data)} bytes do not unzip ({error}). Get it again."
        ) from error


def read_amat(path: Path, num_pixels: int = 784) -> np.ndarray:
    """Text with one image a line, `num_pixels` values 0 or 1 each; uint8 `[n, num_pixels]`."""
    text = np.frombuffer(read_content(path), np.uint8)
    is_digit = (text | 1) == ord("1")
    num_bytes = np.count_nonzero(is_digit | (text == ord(" ")) | (text == ord("\n")) | (text == ord("\r")))
    if num_bytes != text.size:
        raise ValueError(
            f"{path} is not a text of values 0 and 1: expected digits and spaces only, found "
            f"{text.size - num_bytes} other bytes of {text.size}."
        )
    values = text[is_digit] & 1
    # The digits of a line are those between two line ends: sums over segments, empty lines left out.
    starts = np.concatenate([[0], np.flatnonzero(text == ord("\n")) + 1])
    starts = starts[starts < text.size]
    per_line = np.add.reduceat(is_digit, starts, dtype=np.int32) if starts.size else np.zeros(0, np.int32)
    per_line = per_line[per_line > 0]
    wrong = np.flatnonzero(per_line != num_pixels)
    if wrong.size or not per_line.size:
        found = (
            f"{per_line[wrong[0]]} in line {wrong[0] + 1} of {per_line.size}" if per_line.size else "no line"
        )
        raise ValueError(
            f"{path} is truncated or malformed: expected {num_pixels} values a line, found {found}."
        )
    return values.reshape(-1, num_pixels)


def read_idx(path: Path, rank: int) -> np.ndarray:
    """An IDX file of unsigned bytes with `rank` dimensions (3: images, 1: labels)."""
    data = read_content(path)
    header = 4 + 4 * rank
    magic = bytes([0, 0, 8, rank])
    if len(data) < header or data[:4] != magic:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes with {rank} dimension(s): expected it to start "
            f"with {magic.hex()}, found {data[:4].hex()} in {len(data)} bytes."
        )
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", rank, 4))
    if len(data) != header + math.prod(shape):
        raise ValueError(
            f"{path} is truncated or malformed: its header announces shape {shape}, which takes "
            f"{header + math.prod(shape)} bytes; found {len(data)}."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_idx_images(images: Path, labels: Path) -> Examples:
    """A pair of IDX files, as MNIST and its relatives come."""
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if x.shape[1:] != (28, 28):
        raise ValueError(f"{images} must hold images of 28x28 pixels, found {x.shape[1]}x{x.shape[2]}.")
    if len(x) != len(y):
        raise ValueError(f"{images} holds {len(x)} images, but {labels} holds {len(y)} labels.")
    return Examples(x[..., np.newaxis], y.astype(np.int64))


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of a MATLAB file (version 5)."""
    # SciPy is slow to import and only needed here.
    from scipy import io as scipy_io

    content = read_content(path)
    try:
        arrays = scipy_io.loadmat(io.BytesIO(content))
    except Exception as error:  # SciPy raises whatever the damage leads to.
        raise ValueError(
            f"{path} is truncated or no MATLAB file: its {len(content)} bytes cannot be read ({error}). "
            "Get it again."
        ) from error
    missing = [key for key in keys if key not in arrays]
    if missing:
        found = [key for key in arrays if not key.startswith("__")]
        raise ValueError(f"{path} lacks the array(s) {missing}: expected {list(keys)}, found {found}.")
    return {key: arrays[key] for key in keys}


def read_caltech(path: Path, prefix: str) -> Examples:
    """One split ("train", "val" or "test") of the Caltech-101 silhouettes, object pixels 1."""
    arrays = read_mat(path, [f"{prefix}_data", f"{prefix}_labels"])
    rows, labels = arrays[f"{prefix}_data"], arrays[f"{prefix}_labels"].reshape(-1)
    if rows.ndim != 2 or rows.shape[1] != 784 or len(rows) != len(labels) or not np.isin(rows, (0, 1)).all():
        raise ValueError(
            f"{path}: `{prefix}_data` must be [n, 784] with values 0 and 1 and n labels, found shape "
            f"{rows.shape}, values {rows.min(initial=0)}..{rows.max(initial=0)} and {len(labels)} labels."
        )
    # Rows are column-major, and the file draws objects as 0 on a background of 1.
    images = 1 - rows.astype(np.uint8).reshape(-1, 28, 28).transpose(0, 2, 1)
    return Examples(images[..., np.newaxis], labels.astype(np.int64) - 1)


def read_omniglot(path: Path, prefix: str) -> Examples:
    """One part ("" or "test") of chardata.mat; grey values as round(255 v), labels the alphabets."""
    arrays = read_mat(path, [f"{prefix}data", f"{prefix}target"])
    columns, target = arrays[f"{prefix}data"], arrays[f"{prefix}target"]
    if columns.ndim != 2 or columns.shape[0] != 784 or columns.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"{path}: `{prefix}data` must be [784, n] and `{prefix}target` [alphabets, n], found shapes "
            f"{columns.shape} and {target.shape}."
        )
    if columns.min(initial=0) < 0 or columns.max(initial=0) > 1:
        raise ValueError(
            f"{path}: `{prefix}data` must lie in [0, 1], found {columns.min()}..{columns.max()}."
        )
    # One column an image, in Fortran order: the row of the image varies fastest.
    images = np.rint(255.0 * columns.T).astype(np.uint8).reshape(-1, 28, 28).transpose(0, 2, 1)
    return Examples(images[..., np.newaxis], target.argmax(0).astype(np.int64))


def read_cifar_archive(path: Path, members: Sequence[str]) -> dict[str, bytes]:
    """The named members of a tar archive, wherever they lie in it."""
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isfile() and name in members:
                    found[name] = archive.extractfile(member).read()
    except (EOFError, OSError, tarfile.TarError, zlib.error) as error:
        raise ValueError(
            f"{path} is truncated or no tar archive: its {path.stat().st_size} bytes cannot be "
            f"read ({error}). Get it again."
        ) from error
    missing = [name for name in members if name not in found]
    if missing:
        raise ValueError(f"{path} lacks {missing}: expected {list(members)}, found {sorted(found)}.")
    return found


def parse_cifar(contents: Mapping[str, bytes]) -> Examples:
    """CIFAR-10 records: a label byte, then the red, green and blue planes, row by row."""
    for name, content in contents.items():
        if not content or len(content) % _CIFAR_RECORD:
            raise ValueError(
                f"{name} is truncated or malformed: expected a multiple of {_CIFAR_RECORD} bytes, found "
                f"{len(content)}."
            )
    records = np.concatenate(
        [np.frombuffer(c, np.uint8).reshape(-1, _CIFAR_RECORD) for c in contents.values()]
    )
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise ValueError(
            f"{list(contents)} hold labels up to {labels.max()}, expected 0..9: not CIFAR-10 records."
        )
    return Examples(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels)
