"""Readers of the publishers' file formats: bytes in, uint8 images `[n, height, width, channels]` out.

A file that is truncated, of another format or holds a wrong value raises a ValueError of one line: it names
the file, says what was expected, and quotes what was found and where. Gzip is recognised by its first bytes,
not by the name.
"""

import contextlib
import gzip
import io
import math
import re
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfdvae._validation import first_wrong

_GZIP_MAGIC = b"\x1f\x8b"
_MATLAB_7_3 = b"MATLAB 7.3 MAT-file"
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


def _check(where: str, values: np.ndarray, are_right: np.ndarray, expected: str) -> None:
    """Refuses values of which one is not right: quotes the first and its place."""
    if found := first_wrong(values, are_right):
        raise ValueError(f"{where} must be {expected}. Found {found}")


def _check_labels(where: str, labels: np.ndarray, low: int, high: int) -> None:
    """Refuses labels that are not whole numbers from `low` to `high`."""
    right = (labels >= low) & (labels <= high) & (labels == np.floor(labels))
    _check(where, labels, right, f"whole numbers from {low} to {high}")


def read_amat(path: Path, num_pixels: int = 784) -> np.ndarray:
    """Text with one image a line, `num_pixels` values 0 or 1 each; uint8 `[n, num_pixels]`."""
    content = read_content(path)
    text = np.frombuffer(content, np.uint8)
    is_digit = (text | 1) == ord("1")
    is_wrong = ~(is_digit | (text == ord(" ")) | (text == ord("\n")) | (text == ord("\r")))
    is_wrong[1:] |= is_digit[1:] & is_digit[:-1]  # 10 is no value
    if is_wrong.any():
        raise ValueError(
            f"{path} is not a text of values 0 and 1: found {_word_at(content, is_wrong.argmax())}"
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


def _word_at(content: bytes, place: int) -> str:
    """The word around a byte, and where it stands."""
    line_start = content.rfind(b"\n", 0, place) + 1
    before = re.split(rb"[ \r]+", content[line_start:place])
    word = re.match(rb"[^ \r\n]{1,20}", content[place - len(before[-1]) :])[0].decode(errors="replace")
    line, number = content.count(b"\n", 0, place) + 1, len(before)
    return f"{word!r} in line {line}, value {number}"


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


def read_idx_images(images: Path, labels: Path, num_classes: int = 10) -> Examples:
    """A pair of IDX files, as MNIST and its relatives come."""
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if x.shape[1:] != (28, 28):
        raise ValueError(f"{images} must hold images of 28x28 pixels, found {x.shape[1]}x{x.shape[2]}.")
    if len(x) != len(y):
        raise ValueError(f"{images} holds {len(x)} images, but {labels} holds {len(y)} labels.")
    _check_labels(f"The labels in {labels}", y, 0, num_classes - 1)
    return Examples(x[..., np.newaxis], y.astype(np.int64))


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of numbers in a MATLAB file, of version 7.3 or an earlier one."""
    content = read_content(path)
    try:
        arrays = (_read_mat_7_3 if content.startswith(_MATLAB_7_3) else _read_mat_5)(content, keys)
    except Exception as error:  # SciPy and h5py raise whatever the damage leads to.
        raise ValueError(
            f"{path} is truncated or no MATLAB file: its {len(content)} bytes cannot be read ({error}). "
            "Get it again."
        ) from error
    missing = [key for key in keys if key not in arrays]
    if missing:
        found = sorted(key for key in arrays if not key.startswith(("__", "#")))
        raise ValueError(f"{path} lacks the array(s) {missing}: expected {list(keys)}, found {found}.")
    for key in keys:
        if not isinstance(arrays[key], np.ndarray) or arrays[key].dtype.kind not in "buif":
            kind = getattr(arrays[key], "dtype", type(arrays[key]).__name__)
            raise ValueError(f"{path}: `{key}` must be an array of real numbers, found one of {kind}.")
    return {key: arrays[key] for key in keys}


def _read_mat_5(content: bytes, keys: Sequence[str]) -> dict:
    # SciPy is slow to import and only needed here.
    from scipy import io as scipy_io

    del keys
    return scipy_io.loadmat(io.BytesIO(content))


def _read_mat_7_3(content: bytes, keys: Sequence[str]) -> dict:
    """Version 7.3 is HDF5 behind a header of 512 bytes; MATLAB's first axis is the last one there."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        return {
            name: item[()].T if name in keys and isinstance(item, h5py.Dataset) else item
            for name, item in file.items()
        }


def read_caltech(path: Path, prefix: str) -> Examples:
    """One split ("train", "val" or "test") of the Caltech-101 silhouettes, object pixels 1."""
    arrays = read_mat(path, [f"{prefix}_data", f"{prefix}_labels"])
    rows, labels = arrays[f"{prefix}_data"], arrays[f"{prefix}_labels"]
    if rows.ndim != 2 or rows.shape[1] != 784 or len(rows) != labels.size:
        raise ValueError(
            f"{path}: `{prefix}_data` must be [n, 784] and `{prefix}_labels` [n, 1], found shapes "
            f"{rows.shape} and {labels.shape}."
        )
    _check(f"{path}: `{prefix}_data`", rows, (rows == 0) | (rows == 1), "0 or 1")
    _check_labels(f"{path}: `{prefix}_labels`", labels, 1, 101)
    # Rows are column-major, and the file draws objects as 0 on a background of 1.
    images = 1 - rows.astype(np.uint8).reshape(-1, 28, 28).transpose(0, 2, 1)
    return Examples(images[..., np.newaxis], labels.reshape(-1).astype(np.int64) - 1)


def read_omniglot(path: Path, prefix: str) -> Examples:
    """One part ("" or "test") of chardata.mat; grey values as round(255 v), labels the alphabets."""
    arrays = read_mat(path, [f"{prefix}data", f"{prefix}target"])
    columns, target = arrays[f"{prefix}data"], arrays[f"{prefix}target"]
    if columns.ndim != 2 or columns.shape[0] != 784 or target.shape != (50, columns.shape[1]):
        raise ValueError(
            f"{path}: `{prefix}data` must be [784, n] and `{prefix}target` [50, n], found shapes "
            f"{columns.shape} and {target.shape}."
        )
    _check(f"{path}: `{prefix}data`", columns, (columns >= 0) & (columns <= 1), "in [0, 1]")
    _check(f"{path}: `{prefix}target`", target, (target == 0) | (target == 1), "0 or 1")
    count = np.count_nonzero(target, axis=0)
    _check(f"{path}: the number of ones in a column of `{prefix}target`", count, count == 1, "1")
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
    parts = {name: np.frombuffer(c, np.uint8).reshape(-1, _CIFAR_RECORD) for name, c in contents.items()}
    for name, part in parts.items():
        _check_labels(f"The labels in {name}, the first of each {_CIFAR_RECORD} bytes,", part[:, 0], 0, 9)
    records = np.concatenate(list(parts.values()))
    return Examples(
        records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0].astype(np.int64)
    )


class NumpyBatches:
    """NumPy files of `data` (uint8, one row of red, green and blue planes an image) and `labels` (from 1).

    Args:
      paths: archives (zip) that hold the files, or the files themselves.
      members: the names of the files.
      image_shape: `(height, width, channels)`.
      num_classes: number of labels.

    Raises:
      ValueError: if one is missing, truncated, or holds other arrays.
    """

    def __init__(self, paths: Sequence[Path], members: Sequence[str], image_shape, num_classes: int):
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self._places, found = {}, []
        for path in paths:
            if not zipfile.is_zipfile(path) or path.name in members:  # an .npz is a zip itself
                self._places[path.name] = (path, None)
                continue
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    found.append(Path(member).name)
                    self._places[Path(member).name] = (path, member)
        missing = [name for name in members if name not in self._places]
        if missing:
            raise ValueError(
                f"{', '.join(map(str, paths))}: {missing} are missing, or the archive is truncated. Found "
                f"{sorted(found)}. Get it again."
            )

    def read(self, names: Sequence[str]) -> Examples:
        """The images and labels of some files, one after the other."""
        labels = [self._array(name, "labels") for name in names]
        images = np.empty([sum(map(len, labels)), *self.image_shape], np.uint8)
        first = 0
        height, width, channels = self.image_shape
        for name, part in zip(names, labels, strict=True):
            rows = self._array(name, "data")
            if rows.dtype != np.uint8 or rows.shape != (len(part), math.prod(self.image_shape)):
                raise ValueError(
                    f"{self._words(name)}: `data` must be uint8 [n, {math.prod(self.image_shape)}] for n = "
                    f"{len(part)} labels, found {rows.dtype} {rows.shape}."
                )
            _check_labels(f"{self._words(name)}: `labels`", part, 1, self.num_classes)
            planes = rows.reshape(-1, channels, height, width)
            images[first : first + len(part)] = planes.transpose(0, 2, 3, 1)
            first += len(part)
        return Examples(images, np.concatenate(labels).astype(np.int64) - 1)

    def _words(self, name):
        path, member = self._places[name]
        return f"{path}" if member is None else f"{path}: {name}"

    def _array(self, name, key):
        path, member = self._places[name]
        try:
            with contextlib.ExitStack() as stack:
                if member is None:
                    file = stack.enter_context(path.open("rb"))
                else:
                    file = stack.enter_context(zipfile.ZipFile(path)).open(member)
                    stack.enter_context(file)
                arrays = stack.enter_context(np.load(file))  # no pickled objects
                return arrays[key]
        except (EOFError, OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(
                f"{self._words(name)} is truncated or no NumPy file with `data` and `labels` ({error}). Get "
                "it again."
            ) from error
