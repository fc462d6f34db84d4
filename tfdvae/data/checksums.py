"""Whether images are the published ones: checksums of what is in the files, however they are packed."""

import hashlib
import os
from collections.abc import Mapping

import numpy as np
from absl import logging

from tfdvae.data.catalog import DatasetInfo

# SHA-1 of the arrays as they are loaded, one byte a value, labels from 0: by set, and by the name of the
# file, of the array in it or of the member of an archive.
PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "static_mnist": {
        "binarized_mnist_train.amat": "91bc4b61903a41458008ac77ecd646860ad7ad12",
        "binarized_mnist_valid.amat": "dd0a808c448d03c9193310afad340485d8c696b3",
        "binarized_mnist_test.amat": "e7d25db32d863d0786f366c69eed2838dcf9ac5d",
    },
    "dynamic_mnist": {
        "train-images-idx3-ubyte": "947fbccb841958f5f4ad314338a75ca7014d67cb",
        "train-labels-idx1-ubyte": "49608e9800ae06810f9c65fd454cdbd1e1986293",
        "t10k-images-idx3-ubyte": "f569c48c14f1c41afc731847222c86900eaeb661",
        "t10k-labels-idx1-ubyte": "d062bdf8484a78d32726ceed568cc5936b6d7d54",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "3bfc8accf88edf1a14183e4b0e5838527ded8c0b",
        "train-labels-idx1-ubyte": "79fc95ee46aa87cd6f38a7ca8a7ebd55687663be",
        "t10k-images-idx3-ubyte": "11bcb9e2e0165fea51ef88518f74ed63fc12a075",
        "t10k-labels-idx1-ubyte": "a6250fb978ff4543cddf9aaa3ecba83bc2a028a5",
    },
    # Not of the arrays, of which no record could be found: the file's blob in the publisher's Git repository.
    "omniglot": {"chardata.mat": "016a3536ffe5e1d38e42563a18d7a78bfaf643ec"},
    "caltech101_silhouettes": {
        "train_data": "3a328d278a90986ba0453e2fe5722c5819000cbb",
        "train_labels": "d45dcae67928287dd3f82e49dc8363b3abc63255",
        "val_data": "de4d57bc5819476bf95247046e243f99b539439e",
        "val_labels": "bd277362fe8e5e5731cb4b48b54e5dbd0d39ffeb",
        "test_data": "822cffb937115b2bea44b014155aa09aa37ede2b",
        "test_labels": "f12aa08c38d3d85041b1162cfcd2177f17ff49c8",
    },
    # Records of a label and an image, as `mxnet.gluon.data.vision.CIFAR10` has them.
    "cifar10": {
        "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
    },
}


def digests(dataset: DatasetInfo, arrays: Mapping[str, np.ndarray | bytes]) -> dict[str, str]:
    """The checksums of the arrays of a set, whole numbers in 0..255 or bytes, by name."""
    found = {}
    for name in PUBLISHED.get(dataset.name, ()):
        values = arrays[name]
        data = values if isinstance(values, bytes) else np.ascontiguousarray(values, np.uint8)
        found[name] = hashlib.sha1(data).hexdigest()
    return found


def check_published(
    dataset: DatasetInfo,
    found: Mapping[str, str],
    sizes: Mapping[str, int],
    paths: Mapping[str, os.PathLike] | None = None,
) -> None:
    """Logs a warning if arrays are not as published, and one for each split of another size.

    Args:
      dataset: the facts.
      found: from `digests`.
      sizes: number of images of each split.
      paths: of the files, by name, as far as they are known.

    Raises:
      ValueError: if an array is one of another benchmark set.
    """
    expected = PUBLISHED.get(dataset.name, {})
    owners = {checksum: name for name, checksums in PUBLISHED.items() for checksum in checksums.values()}
    for name, checksum in found.items():
        owner = owners.get(checksum, dataset.name)
        if owner != dataset.name:
            raise ValueError(f"{_where(name, paths)}, found for {dataset.name}, is that of {owner}")
    others = [name for name, checksum in found.items() if checksum != expected[name]]
    if others:
        logging.warning(
            "%s of %s is not as published: the SHA-1 of its content is %s, expected %s.%s Figures on it are "
            "not comparable with the papers.",
            _where(others[0], paths),
            dataset.name,
            found[others[0]],
            expected[others[0]],
            f" Nor are {', '.join(others[1:])}." if others[1:] else "",
        )
    for split, size in dataset.split_sizes.items():
        if sizes[split] != size:
            logging.warning(
                "The %s split of %s has %d images here, %d as published. Figures on it are not comparable "
                "with the papers.",
                split,
                dataset.name,
                sizes[split],
                size,
            )


def _where(name: str, paths: Mapping[str, os.PathLike] | None) -> str:
    """An array with the file that it is in; that of all, where there is one file."""
    if paths and name in paths:
        return str(paths[name])
    return f"{name} in {next(iter(paths.values()))}" if paths and len(paths) == 1 else name
