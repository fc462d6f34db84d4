"""What else lies in a directory of data: the same sets in layouts that `load` does not read."""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tfdvae.data.catalog import CATALOG, DatasetInfo

_DEPTH, _MOST_FILES, _MOST_LINES = 3, 10_000, 8
# By the name of a file, the first that fits it whole.
_LAYOUTS = (
    (r"dataset_info\.json|features\.json|.*\.tfrecord.*", "records prepared by TFDS"),
    (r"cifar-10-python.*|(data_batch_[1-5]|test_batch|batches\.meta)", "the Python version of CIFAR-10"),
    (r"cifar-10-matlab.*|(data_batch_[1-5]|test_batch|batches\.meta)\.mat", "the MATLAB version of CIFAR-10"),
    (
        r"(train|valid)_64x64.*|(train|val)_data(_batch_\d+)?",
        "another set of the name ImageNet 64x64, or its pickled version",
    ),
    (r".*idx[13][-.]ubyte(\.gz)?", "IDX, under another name"),
    (r".*\.amat(\.gz)?", "amat text, under another name"),
    (r".*\.mat(\.gz)?", "MATLAB, under another name"),
    (r".*\.np[yz]", "NumPy arrays"),
    (r".*\.(csv|tsv|arff)(\.gz)?", "a table"),
    (r".*\.(parquet|arrow)", "a table of Hugging Face Datasets"),
    (r".*\.(pt|pth)", "tensors of PyTorch"),
    (r".*\.(pkl|pickle)(\.gz)?", "pickled Python objects"),
    (r".*\.(h5|hdf5)", "HDF5"),
    (r".*\.(zip|7z|rar|tar|tgz|tar\.(gz|bz2|xz))", "a packed archive"),
    (r".*\.(png|jpe?g|bmp|gif|tiff?|pgm)", "picture files"),
)
# A path with one of these words is of that set; of several, the first.
_WORDS = ("fashion", "omniglot", "caltech", "cifar", "imagenet", "mnist")


def describe(dataset: DatasetInfo, directory: Path) -> str:
    """One line for each layout and folder in which a set may lie in a directory, with advice; or nothing.

    Args:
      dataset: the facts.
      directory: the user's `data_dir`, which holds the set's files neither directly nor in its folder.
    """
    wanted, others = {}, {}
    for path in _files(directory):
        relative = path.relative_to(directory)
        if _word(str(relative)) not in (None, _word(dataset.name)) or _is_another_sets(dataset, relative):
            continue
        if name := _wanted(dataset, path.name):
            wanted.setdefault(path.parent, set()).add(name)
        elif layout := _layout(path.name):
            others.setdefault((path.parent, layout), []).append(path.name)
    whole = [needed for needed in ({file.name for file in dataset.files}, set(dataset.unpacked)) if needed]
    lines = [
        f"{folder} holds the files: pass data_dir={os.fspath(folder)!r}."
        for folder, names in wanted.items()
        if any(needed <= names for needed in whole)
    ]
    for (folder, layout), names in itertools.islice(others.items(), _MOST_LINES):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"{folder / names[0]}{more}: {layout}, which `load` does not read.")
    if others:
        lines.append("Images that are in memory as NumPy arrays go to `tfdvae.data.from_arrays`.")
    return "\n".join(lines)


def _files(directory: Path) -> Iterator[Path]:
    """Files of a directory and its folders, hidden ones left out, to a depth and a number."""
    count = 0
    for folder, folders, names in os.walk(directory):
        depth = len(Path(folder).relative_to(directory).parts)
        folders[:] = sorted(f for f in folders if f[0] != ".") if depth < _DEPTH else []
        for name in sorted(n for n in names if n[0] != "."):
            count += 1
            if count > _MOST_FILES:
                return
            yield Path(folder, name)


def _word(text: str) -> str | None:
    return next((word for word in _WORDS if word in text.lower()), None)


def _wanted(dataset: DatasetInfo, name: str) -> str | None:
    """The file of the set that has this name, gzipped or not."""
    names = (*(file.name for file in dataset.files), *dataset.unpacked)
    return next((n for n in (name, name.removesuffix(".gz")) if n in names), None)


def _is_another_sets(dataset: DatasetInfo, path: Path) -> bool:
    """Whether a file lies where another set has its files."""
    return any(
        other is not dataset and other.folder in path.parts[:-1] and _wanted(other, path.name)
        for other in CATALOG.values()
    )


def _layout(name: str) -> str | None:
    return next((what for pattern, what in _LAYOUTS if re.fullmatch(pattern, name, re.IGNORECASE)), None)
