"""Small files in the publishers' formats, no network, and TFDS records that no other test sees."""

import gzip
import io
import tarfile
import urllib.error
import urllib.request
import zipfile
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from scipy import io as scipy_io


@pytest.fixture(scope="session")
def _records_home(tmp_path_factory):
    return tmp_path_factory.mktemp("tensorflow_datasets")


@pytest.fixture(autouse=True)
def records_home(_records_home, monkeypatch):
    """Records are named by a digest of their files, so that tests can share one place for them."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(_records_home))
    return _records_home


@pytest.fixture(autouse=True)
def requested_urls(monkeypatch):
    """No test reaches the network: asking for a file fails, and is recorded."""
    urls = []

    def refuse(request, **kwargs):
        urls.append(request.full_url)
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return urls


@pytest.fixture(autouse=True)
def warned(monkeypatch):
    """The warnings that were logged, as text."""
    from tfdvae.data import checksums

    messages = []
    monkeypatch.setattr(checksums.logging, "warning", lambda text, *args: messages.append(text % args))
    return messages


def _put(path, content: bytes, gz: bool):
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_name(path.name + ".gz") if gz else path
    path.write_bytes(gzip.compress(content) if gz else content)
    return path


def write_amat(folder, gz=False, **splits):
    """`binarized_mnist_<split>.amat` for rows `[n, 784]` of each split."""
    for split, rows in splits.items():
        text = "".join(" ".join(map(str, row)) + " \n" for row in rows.tolist())
        _put(folder / f"binarized_mnist_{split}.amat", text.encode(), gz)


def idx_bytes(array) -> bytes:
    """An array of bytes in IDX format."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder, train, test, gz=False):
    """The four files of MNIST; `train` and `test` are pairs (images `[n, 28, 28]`, labels)."""
    for stem, (images, labels) in {"train": train, "t10k": test}.items():
        _put(folder / f"{stem}-images-idx3-ubyte", idx_bytes(images), gz)
        _put(folder / f"{stem}-labels-idx1-ubyte", idx_bytes(labels), gz)


def write_mat(path, **arrays):
    """A MATLAB file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy_io.savemat(path, arrays)
    return path


def write_mat_7_3(path, **arrays):
    """A MATLAB file of version 7.3: HDF5 behind 512 bytes, the axes of each array in reverse order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
    with path.open("r+b") as file:
        text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Fri Nov 27 2026 HDF5 schema 1.00 ."
        file.write(text.ljust(124) + b"\0\2IM")
    return path


def cifar_record(image, label) -> bytes:
    """The label, then the red, green and blue planes of an image `[32, 32, 3]`."""
    return bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))


def write_cifar(folder, batches, packed=True):
    """`batches` maps "data_batch_1.bin" and so on to their bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    if not packed:
        for name, content in batches.items():
            (folder / name).write_bytes(content)
        return
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_imagenet64(folder, batches, packed=True):
    """`batches` maps "train_data_batch_1.npz" and so on to images `[n, 64, 64, 3]` and labels from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in batches.items():
        rows = np.stack([image.transpose(2, 0, 1).reshape(-1) for image in images])
        np.savez(folder / name, data=rows, labels=np.asarray(labels), mean=np.zeros(12_288))
    if not packed:
        return
    parts = {"train_part1": range(1, 6), "train_part2": range(6, 11)}
    parts = {part: [f"train_data_batch_{i}.npz" for i in numbers] for part, numbers in parts.items()}
    for part, names in {**parts, "val": ["val_data.npz"]}.items():
        with zipfile.ZipFile(folder / f"Imagenet64_{part}_npz.zip", "w") as archive:
            for name in names:
                archive.write(folder / name, f"Imagenet64_{part}_npz/{name}")
                (folder / name).unlink()


@pytest.fixture(scope="session")
def publisher():
    """Writers of the publishers' formats."""
    return SimpleNamespace(
        amat=write_amat,
        idx=write_idx,
        idx_bytes=idx_bytes,
        mat=write_mat,
        mat_7_3=write_mat_7_3,
        cifar=write_cifar,
        cifar_record=cifar_record,
        imagenet64=write_imagenet64,
    )


@pytest.fixture(scope="session")
def numbered_mnist(tmp_path_factory):
    """MNIST files of 60 + 20 grey images; number i has its number in pixels 0 and 1, and as label i % 10.

    Pixels 2 and 3 are white and black, the rest is grey.
    """
    folder = tmp_path_factory.mktemp("numbered")

    def numbered(first, n):
        images = np.full([n, 28, 28], 100, np.uint8)
        numbers = np.arange(first, first + n)
        images[:, 0, 0], images[:, 0, 1], images[:, 0, 2], images[:, 0, 3] = (
            numbers // 16,
            numbers % 16,
            255,
            0,
        )
        return images, numbers % 10

    write_idx(folder / "mnist", numbered(0, 60), numbered(60, 20))
    return folder


@pytest.fixture(scope="session")
def numbers():
    """Reads the numbers off a batch of `numbered_mnist` loaded with `binarization="none"`."""
    return lambda x: (x[:, 0, 0, 0] * 16 + x[:, 0, 1, 0]).numpy().astype(int).tolist()
