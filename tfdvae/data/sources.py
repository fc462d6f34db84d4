"""The publishers' files: where they are, whether they are the published ones, and what is in them."""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from tfdvae.data import formats
from tfdvae.data.catalog import CATALOG, DatasetInfo
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
            + instructions(dataset)
        )
    return None


def _find(directory: Path, name: str) -> Path | None:
    return next((path for file in (name, f"{name}.gz") if (path := directory / file).is_file()), None)


def instructions(dataset: DatasetInfo) -> str:
    """Which files are needed, where to get them and where to put them."""
    lines = [f"Get {file.name} from {file.url}" for file in dataset.files]
    return "\n".join(
        [
            *lines,
            f"and put {'them' if len(lines) > 1 else 'it'}, gzipped or not, into DIRECTORY/{dataset.folder}; "
            f"then call load({dataset.name!r}, ..., data_dir=DIRECTORY).",
        ]
    )


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


def checksums(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, list[str]]:
    """SHA-256 of each of the publisher's files: as it is on disk, and of its content after gunzip."""
    return {
        file.name: [
            _sha256(paths[file.name]),
            hashlib.sha256(formats.read_content(paths[file.name])).hexdigest(),
        ]
        for file in dataset.files
        if file.name in paths
    }


def check_published(
    dataset: DatasetInfo, found: Mapping[str, Sequence[str]], sizes: Mapping[str, int]
) -> None:
    """Logs a warning for each file or split that is not as published.

    Args:
      dataset: the facts.
      found: from `checksums`.
      sizes: number of images of each split.

    Raises:
      ValueError: if a file is one of another benchmark set.
    """
    for other in CATALOG.values():
        for file in other.files:
            for name, sums in found.items():
                if other is not dataset and not {file.sha256, file.archive_sha256}.isdisjoint(sums):
                    raise ValueError(
                        f"The file {name} found for {dataset.name} is that of {other.name}.\n"
                        + instructions(dataset)
                    )
    for file in dataset.files:
        sums = found.get(file.name, ())
        known = [checksum for checksum in (file.sha256, file.archive_sha256) if checksum]
        # Where only that of the gzipped file is on record, a plain file cannot be told.
        comparable = file.sha256 or len(set(sums)) > 1
        if sums and known and comparable and set(sums).isdisjoint(known):
            logging.warning(
                "%s of %s is not the published file: its SHA-256 is %s, expected %s. Figures on it are not "
                "comparable with the papers.",
                file.name,
                dataset.name,
                sums[1] if file.sha256 else sums[0],
                known[0],
            )
    for split, expected in dataset.split_sizes.items():
        if sizes[split] != expected:
            logging.warning(
                "The %s split of %s has %d images here, %d as published. Figures on it are not comparable "
                "with the papers.",
                split,
                dataset.name,
                sizes[split],
                expected,
            )


def read(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, Examples]:
    """Reads the files of a set into its three splits.

    Raises:
      ValueError: if a file is truncated or of another format.
    """
    return _READERS[dataset.name](dataset, paths)


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


def _read_digits(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, Examples]:
    del paths
    from sklearn import datasets as sklearn_datasets

    digits = sklearn_datasets.load_digits()
    images = enlarge(digits.images * (255.0 / 16.0), dataset.image_shape[:2])[..., np.newaxis]
    # Raw generator words: unlike NumPy's distributions, they never change between versions.
    words = np.random.Philox(key=_DIGITS_SPLIT_KEY).random_raw(len(images))
    ends = np.cumsum([dataset.split_sizes[split] for split in ("train", "valid")])
    parts = np.split(np.argsort(words, kind="stable"), ends)
    return {
        split: Examples(images[part], digits.target[part].astype(np.int64))
        for split, part in zip(dataset.split_sizes, parts, strict=True)
    }


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


def _read_amat(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, Examples]:
    return {
        split: Examples(formats.read_amat(paths[file.name]).reshape(-1, *dataset.image_shape))
        for split, file in zip(dataset.split_sizes, dataset.files, strict=True)
    }


def _read_idx(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, Examples]:
    pairs = [
        [paths[f"{stem}-{kind}-ubyte"] for kind in ("images-idx3", "labels-idx1")]
        for stem in ("train", "t10k")
    ]
    return _carve(dataset, *(formats.read_idx_images(*pair) for pair in pairs))


def _read_omniglot(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, Examples]:
    return _carve(dataset, *(formats.read_omniglot(paths["chardata.mat"], prefix) for prefix in ("", "test")))


def _read_caltech(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, Examples]:
    (path,) = paths.values()
    prefixes = ("train", "val", "test")
    return {
        split: formats.read_caltech(path, prefix)
        for split, prefix in zip(dataset.split_sizes, prefixes, strict=True)
    }


def _read_cifar(dataset: DatasetInfo, paths: Mapping[str, Path]) -> dict[str, Examples]:
    archive = paths.get(dataset.files[0].name)
    if archive is None:
        contents = {str(path): formats.read_content(path) for path in paths.values()}
    else:
        members = formats.read_cifar_archive(archive, dataset.unpacked)
        contents = {f"{archive}: {name}": members[name] for name in dataset.unpacked}
    *training, test = contents.items()
    return _carve(dataset, formats.parse_cifar(dict(training)), formats.parse_cifar(dict([test])))


_READERS = {
    "digits": _read_digits,
    "static_mnist": _read_amat,
    "dynamic_mnist": _read_idx,
    "fashion_mnist": _read_idx,
    "omniglot": _read_omniglot,
    "caltech101_silhouettes": _read_caltech,
    "cifar10": _read_cifar,
}
