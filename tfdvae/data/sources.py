"""The publishers' files: where they are, and what is in them."""

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfdvae.data import formats, layouts
from tfdvae.data.catalog import DatasetInfo
from tfdvae.data.formats import Examples
from tfdvae.files import user_path

# Any number does: it names one permutation of the digits for good.
_DIGITS_SPLIT_KEY = 1_797


def locate(dataset: DatasetInfo, data_dir: str | os.PathLike | None) -> dict[str, Path] | None:
    """Finds the files of a set in `data_dir/<folder>` or in `data_dir` itself, gzipped or not.

    Returns:
      Paths by file name; `None` if there is none of them (or `data_dir` is `None`). An unpacked
      archive is returned as its members.

    Raises:
      FileNotFoundError: if `data_dir` does not exist, or holds some of the files but not all.
    """
    if not dataset.files:
        return {}
    if data_dir is None:
        return None
    root = user_path(data_dir, "data_dir")
    if not root.is_dir():
        raise FileNotFoundError(f"`data_dir` must be a directory. Received: data_dir={os.fspath(data_dir)!r}")
    wanted = [file.name for file in dataset.files]
    partial = {}
    # All files come from one directory: other sets have files of the same names.
    for folder in (root / dataset.folder, root):
        for directory, names in (
            (folder, wanted),
            (folder / "cifar-10-batches-bin", dataset.unpacked),
            (folder, dataset.unpacked),
        ):
            found = {name: path for name in names if (path := _find(directory, name))}
            if found and len(found) == len(names):
                return found
            partial = partial or found
    if partial:
        raise FileNotFoundError(
            f"Some files of {dataset.name} are missing: found {', '.join(map(str, partial.values()))} only.\n"
            + instructions(dataset, root)
        )
    return None


def _find(directory: Path, name: str) -> Path | None:
    return next((path for file in (name, f"{name}.gz") if (path := directory / file).is_file()), None)


def instructions(dataset: DatasetInfo, searched: Path | None = None) -> str:
    """Which files are needed, where to get and to put them; and what else lies where they were sought."""
    lines = [f"Get {file.name} from {file.url}" for file in dataset.files]
    lines.append(
        f"and put {'them' if len(lines) > 1 else 'it'}, gzipped or not, into DIRECTORY/{dataset.folder}; "
        f"then call load({dataset.name!r}, ..., data_dir=DIRECTORY)."
    )
    found = layouts.describe(dataset, searched) if searched else ""
    return "\n".join([*lines, found] if found else lines)


def fingerprint(paths: Mapping[str, Path]) -> str:
    """A digest of the content of files, as they are on disk."""
    digest = hashlib.sha256()
    for name, path in sorted(paths.items()):
        digest.update(f"{name} {_sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _cached_sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _cached_sha256(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # A changed file is another key.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Contents(NamedTuple):
    """What is in the files of a set.

    Attributes:
      splits: images and labels of "train", "valid" and "test".
      arrays: what `checksums` knows the files by: by name, whole numbers in 0..255 or bytes.
    """

    splits: dict[str, Examples]
    arrays: dict[str, np.ndarray | bytes]


def read(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    """Reads the files of a set.

    Raises:
      ValueError: if a file is truncated, of another format, holds a wrong value or too few images.
    """
    contents = _READERS[dataset.name](dataset, paths)
    sizes = {split: len(examples.images) for split, examples in contents.splits.items()}
    if not all(sizes.values()):
        raise ValueError(
            f"{', '.join(map(str, paths.values()))}: too few images for the three splits of {dataset.name}. "
            f"Found {sizes}"
        )
    return contents


def _carve(dataset: DatasetInfo, training: Examples, test: Examples) -> dict[str, Examples]:
    """Takes the validation split from the end of the training images, in the published proportion."""
    sizes = dataset.split_sizes
    num_valid = len(training.images) * sizes["valid"] // (sizes["train"] + sizes["valid"])
    cut = len(training.images) - num_valid
    return {
        "train": Examples(*(array[:cut] for array in training)),
        "valid": Examples(*(array[cut:] for array in training)),
        "test": test,
    }


def _read_digits(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    del paths
    from sklearn import datasets as sklearn_datasets

    digits = sklearn_datasets.load_digits()
    images = enlarge(digits.images * (255.0 / 16.0), dataset.image_shape[:2])[..., np.newaxis]
    # Raw generator words: unlike NumPy's distributions, they never change between versions.
    words = np.random.Philox(key=_DIGITS_SPLIT_KEY).random_raw(len(images))
    ends = np.cumsum([dataset.split_sizes[split] for split in ("train", "valid")])
    parts = np.split(np.argsort(words, kind="stable"), ends)
    splits = {
        split: Examples(images[part], digits.target[part].astype(np.int64))
        for split, part in zip(dataset.split_sizes, parts, strict=True)
    }
    return Contents(splits, {})


def enlarge(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarges grey images `[n, h, w]` in 0..255 by Catmull-Rom interpolation; uint8 `[n, *size]`."""
    vertical, horizontal = (_catmull_rom(*pair) for pair in zip(images.shape[1:], size, strict=True))
    enlarged = np.einsum("yi,nij,xj->nyx", vertical, images.astype(np.float64), horizontal, optimize=True)
    return np.rint(np.clip(enlarged, 0.0, 255.0)).astype(np.uint8)


def _catmull_rom(old: int, new: int) -> np.ndarray:
    """Interpolation weights `[new, old]` with pixel centres aligned; the border is repeated."""
    position = (np.arange(new) + 0.5) * old / new - 0.5
    base = np.floor(position).astype(int)
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        t = np.abs(position - (base + tap))
        near = 1.0 - 2.5 * t**2 + 1.5 * t**3
        far = 2.0 - 4.0 * t + 2.5 * t**2 - 0.5 * t**3
        column = np.clip(base + tap, 0, old - 1)
        np.add.at(weights, (np.arange(new), column), np.where(t <= 1.0, near, far))
    return weights


def _read_amat(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    arrays = {file.name: formats.read_amat(paths[file.name]) for file in dataset.files}
    splits = [Examples(rows.reshape(-1, *dataset.image_shape)) for rows in arrays.values()]
    return Contents(dict(zip(dataset.split_sizes, splits, strict=True)), arrays)


def _read_idx(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    parts, arrays = [], {}
    for stem in ("train", "t10k"):
        names = [f"{stem}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
        parts.append(formats.read_idx_images(*(paths[name] for name in names)))
        arrays |= dict(zip(names, parts[-1], strict=True))
    return Contents(_carve(dataset, *parts), arrays)


def _read_omniglot(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    (path,) = paths.values()
    parts = [formats.read_omniglot(path, prefix) for prefix in ("", "test")]
    content = formats.read_content(path)
    blob = b"blob %d\0" % len(content) + content  # as Git hashes a file
    return Contents(_carve(dataset, *parts), {"chardata.mat": blob})


def _read_caltech(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    (path,) = paths.values()
    splits, arrays = {}, {}
    for split, prefix in zip(dataset.split_sizes, ("train", "val", "test"), strict=True):
        splits[split] = formats.read_caltech(path, prefix)
        arrays |= dict(zip((f"{prefix}_data", f"{prefix}_labels"), splits[split], strict=True))
    return Contents(splits, arrays)


def _read_cifar(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    archive = paths.get(dataset.files[0].name)
    if archive is None:
        members = {name: formats.read_content(paths[name]) for name in dataset.unpacked}
        places = paths
    else:
        members = formats.read_cifar_archive(archive, dataset.unpacked)
        places = {name: f"{archive}: {name}" for name in dataset.unpacked}
    *training, test = ((str(places[name]), members[name]) for name in dataset.unpacked)
    parts = [formats.parse_cifar(dict(training)), formats.parse_cifar(dict([test]))]
    return Contents(_carve(dataset, *parts), members)


def _read_imagenet64(dataset: DatasetInfo, paths: Mapping[str, Path]) -> Contents:
    batches = formats.NumpyBatches(
        list(paths.values()), dataset.unpacked, dataset.image_shape, dataset.num_classes
    )
    *training, test = dataset.unpacked
    return Contents(_carve(dataset, batches.read(training), batches.read([test])), {})


_READERS = {
    "digits": _read_digits,
    "static_mnist": _read_amat,
    "dynamic_mnist": _read_idx,
    "fashion_mnist": _read_idx,
    "omniglot": _read_omniglot,
    "caltech101_silhouettes": _read_caltech,
    "cifar10": _read_cifar,
    "imagenet64": _read_imagenet64,
}
