import numpy as np
import pytest

from tests.data.test_sources import IDX, touch
from tfdvae import data
from tfdvae.data import catalog, layouts


def described(name, folder):
    return layouts.describe(catalog.info(name), folder).splitlines()


@pytest.mark.parametrize(
    ("name", "folder", "files", "what"),
    [
        (
            "dynamic_mnist",
            "mnist/3.0.1",
            ["features.json", "mnist-train.tfrecord-00000-of-00001"],
            "prepared by TFDS",
        ),
        ("dynamic_mnist", ".", ["mnist.npz"], "NumPy arrays"),
        ("dynamic_mnist", "mnist", ["train-images.idx3-ubyte"], "IDX, under another name"),
        ("fashion_mnist", "kaggle", ["fashion-mnist_test.csv", "fashion-mnist_train.csv"], "a table"),
        ("fashion_mnist", "FashionMNIST/processed", ["training.pt"], "tensors of PyTorch"),
        ("static_mnist", "hf", ["train-00000-of-00001.parquet"], "a table of Hugging Face Datasets"),
        ("static_mnist", ".", ["mnist.pkl.gz"], "pickled Python objects"),
        ("static_mnist", "static_mnist", ["binarized_mnist.hdf5"], "HDF5"),
        ("static_mnist", "static_mnist", ["train.amat"], "amat text, under another name"),
        ("omniglot", "omniglot-py", ["images_background.zip"], "a packed archive"),
        ("omniglot", "images", ["0709_01.png", "0709_02.png"], "picture files"),
        ("caltech101_silhouettes", ".", ["caltech101_silhouettes_16.mat"], "MATLAB, under another name"),
        ("cifar10", ".", ["cifar-10-python.tar.gz"], "the Python version of CIFAR-10"),
        ("cifar10", "cifar-10-batches-py", ["data_batch_1", "test_batch"], "the Python version of CIFAR-10"),
        ("cifar10", "cifar-10-batches-mat", ["data_batch_1.mat"], "the MATLAB version of CIFAR-10"),
    ],
)
def test_other_layouts_are_named(tmp_path, name, folder, files, what):
    touch(tmp_path / folder, *files, "README.md", ".hidden.npz")
    with pytest.raises(FileNotFoundError) as error:
        data.load(name, "train", 10, tmp_path)
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    *_, line, advice = str(error.value).splitlines()
    assert line.startswith(f"{tmp_path / folder / files[0]}{more}: ")
    assert what in line
    assert line.endswith("which `load` does not read.")
    assert "`tfdvae.data.from_arrays`" in advice


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_right_files_in_another_folder_are_named(tmp_path, suffix):
    raw = tmp_path / "MNIST" / "raw"
    touch(raw, *(name + suffix for name in IDX))
    assert described("dynamic_mnist", tmp_path) == [f"{raw} holds the files: pass data_dir={str(raw)!r}."]
    # Those of Fashion-MNIST have the same names.
    touch(tmp_path / "FashionMNIST" / "raw", *IDX)
    assert len(described("dynamic_mnist", tmp_path)) == 1
    (raw / (IDX[0] + suffix)).unlink()
    assert described("dynamic_mnist", tmp_path) == []
    packed = tmp_path / "sets" / "binary"
    touch(packed, "cifar-10-binary.tar.gz")
    assert described("cifar10", tmp_path) == [f"{packed} holds the files: pass data_dir={str(packed)!r}."]


def test_where_part_of_the_files_is_missing(tmp_path):
    touch(tmp_path / "mnist", *IDX[:2], "t10k-images.idx3-ubyte")
    with pytest.raises(
        FileNotFoundError, match=r"(?s)Some files of dynamic_mnist are missing.*t10k-images\.idx3"
    ):
        data.load("dynamic_mnist", "train", 10, tmp_path)


def test_files_of_other_sets_are_left_out(tmp_path):
    for name in catalog.names():
        facts = catalog.info(name)
        touch(tmp_path / facts.folder, *(file.name for file in facts.files))
    touch(tmp_path / "mnist", "mnist.npz")
    touch(tmp_path / "cifar10", "cifar-10-python.tar.gz")
    for name in ("omniglot", "fashion_mnist", "caltech101_silhouettes"):
        (tmp_path / catalog.info(name).folder / catalog.info(name).files[0].name).unlink()
        assert described(name, tmp_path) == []


def test_deep_and_large_directories_are_not_searched_to_the_end(tmp_path, monkeypatch):
    touch(tmp_path / "a" / "b" / "c", "x.npz")
    touch(tmp_path / "a" / "b" / "c" / "d", "y.npz")
    assert [line.split(":")[0] for line in described("omniglot", tmp_path)][:-1] == [
        str(tmp_path / "a" / "b" / "c" / "x.npz")
    ]
    for i in range(20):
        touch(tmp_path / f"{i:02}", "z.npz")
    lines = described("omniglot", tmp_path)
    assert len(lines) == 9
    assert lines[7].startswith(str(tmp_path / "07"))
    monkeypatch.setattr(layouts, "_MOST_FILES", 3)
    assert len(described("omniglot", tmp_path)) == 4
    np.testing.assert_equal(len(list(layouts._files(tmp_path))), 3)
