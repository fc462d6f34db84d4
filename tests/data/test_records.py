import ast
import itertools
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfdvae import data
from tfdvae.data import builders, catalog, sources, store


@pytest.fixture
def private_home(tmp_path, monkeypatch):
    """A place for records that this test alone uses."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "records"))
    return tmp_path / "records"


def write_static_mnist(folder, publisher, seed=0, n=8, gz=False):
    rng = np.random.default_rng(seed)
    rows = {split: rng.integers(0, 2, (n, 784)) for split in ("train", "valid", "test")}
    publisher.amat(folder, gz, **rows)
    return rows


def images(name, split, folder, **kwargs):
    batches = data.load(name, split, 8, folder, shuffle=False, **kwargs)
    return np.concatenate([x.numpy() for x in batches])


@pytest.mark.parametrize("gz", [False, True])
def test_static_mnist(tmp_path, publisher, warned, gz):
    rows = write_static_mnist(tmp_path / "static_mnist", publisher, gz=gz)
    for split, expected in rows.items():
        np.testing.assert_array_equal(
            images("static_mnist", split, tmp_path), expected.reshape(-1, 28, 28, 1).astype(np.float32)
        )
    # Three files and three sizes differ from the published ones, and that is said once.
    assert sum("is not as published" in message for message in warned) == 1
    assert sum("images here" in message for message in warned) == 3
    assert len(warned) == 4


@pytest.mark.parametrize("name", ["dynamic_mnist", "fashion_mnist"])
def test_idx_sets(tmp_path, publisher, name):
    rng = np.random.default_rng(0)
    # More than one batch of the reader: the order must hold across them.
    x, y = rng.integers(0, 256, (2_400, 28, 28), dtype=np.uint8), rng.integers(0, 10, 2_400)
    publisher.idx(tmp_path / catalog.info(name).folder, (x, y), (x[:7], y[:7]), gz=True)
    expected = {"train": slice(0, 2_000), "valid": slice(2_000, 2_400), "test": slice(0, 7)}
    for split, part in expected.items():
        got = store.read_split(store.locate(name, tmp_path), split)
        np.testing.assert_array_equal(got.images[..., 0], x[part])
        np.testing.assert_array_equal(got.labels, y[part])


def test_caltech(tmp_path, publisher):
    image = np.zeros([28, 28], np.uint8)
    image[1, 4:20] = 1
    row = (1 - image).flatten(order="F")
    arrays = {}
    for i, prefix in enumerate(("train", "val", "test")):
        arrays |= {f"{prefix}_data": np.tile(row, (2 + i, 1)), f"{prefix}_labels": np.full([2 + i, 1], 101)}
    publisher.mat(tmp_path / "caltech101_silhouettes_28_split1.mat", **arrays)
    for n, split in enumerate(("train", "valid", "test"), 2):
        np.testing.assert_array_equal(
            images("caltech101_silhouettes", split, tmp_path), [image[..., None]] * n
        )
    _, labels = next(iter(data.load("caltech101_silhouettes", "test", 4, tmp_path, with_labels=True)))
    assert labels.numpy().tolist() == [100] * 4


def test_omniglot(tmp_path, publisher):
    rng = np.random.default_rng(0)
    grey, test = rng.integers(0, 256, (50, 28, 28)), rng.integers(0, 256, (3, 28, 28))
    publisher.mat(
        tmp_path / "omniglot" / "chardata.mat",
        data=(grey / 255).reshape(50, 784, order="F").T,
        target=np.eye(50),
        testdata=(test / 255).reshape(3, 784, order="F").T,
        testtarget=np.eye(50)[:, :3],
    )
    # 50 * 1345 / 24345 = 2.8: the last two are for validation.
    for split, expected in (("train", grey[:48]), ("valid", grey[48:]), ("test", test)):
        np.testing.assert_array_equal(
            images("omniglot", split, tmp_path, binarization="none")[..., 0], expected
        )
        drawn = images("omniglot", split, tmp_path)
        np.testing.assert_array_equal(
            drawn, images("omniglot", split, tmp_path, binarization="static", seed=9)
        )
        np.testing.assert_array_equal(np.unique(drawn), [0, 1])


@pytest.mark.parametrize("packed", [True, False])
def test_cifar(tmp_path, publisher, packed):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, 24)
    records = [publisher.cifar_record(image, label) for image, label in zip(x, y, strict=True)]
    names = catalog.info("cifar10").unpacked
    parts = (
        itertools.batched(records, 4)
        if hasattr(itertools, "batched")
        else (records[i : i + 4] for i in range(0, 24, 4))
    )
    publisher.cifar(
        tmp_path / "cifar10", {name: b"".join(p) for name, p in zip(names, parts, strict=True)}, packed
    )
    for split, part in (("train", slice(0, 18)), ("valid", slice(18, 20)), ("test", slice(20, 24))):
        np.testing.assert_array_equal(images("cifar10", split, tmp_path), x[part])
    batch, labels = next(iter(data.load("cifar10", "test", 4, tmp_path, with_labels=True)))
    assert batch.dtype == np.float32
    assert labels.numpy().tolist() == y[20:].tolist()


@pytest.mark.parametrize("packed", [True, False])
def test_imagenet64(tmp_path, publisher, packed):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (28, 64, 64, 3), dtype=np.uint8), rng.integers(1, 1_001, 28)
    names, parts = catalog.info("imagenet64").unpacked, np.split(np.arange(28), range(2, 22, 2))
    batches = {name: (x[part], y[part]) for name, part in zip(names, parts, strict=True)}
    publisher.imagenet64(tmp_path / "imagenet64", batches, packed)
    # 20 to train: the 50,000 of 1,281,167 that are for validation are none of so few.
    with pytest.raises(ValueError, match=r"too few images for the three splits of imagenet64"):
        images("imagenet64", "train", tmp_path)
    more = np.repeat(x[:1], 40, axis=0), np.repeat(y[:1], 40)
    for path in (tmp_path / "imagenet64").iterdir():
        path.unlink()
    publisher.imagenet64(tmp_path / "imagenet64", {**batches, names[0]: more}, packed)
    train = np.concatenate([more[0], x[2:20]])
    np.testing.assert_array_equal(images("imagenet64", "train", tmp_path), train[:-2])
    np.testing.assert_array_equal(images("imagenet64", "valid", tmp_path), train[-2:])
    batch, labels = next(iter(data.load("imagenet64", "test", 8, tmp_path, with_labels=True)))
    np.testing.assert_array_equal(batch, x[20:])
    assert labels.numpy().tolist() == (y[20:] - 1).tolist()


def test_a_changed_file_is_not_hidden_by_older_records(tmp_path, publisher):
    rows = write_static_mnist(tmp_path, publisher)
    before = images("static_mnist", "train", tmp_path)
    changed = write_static_mnist(tmp_path, publisher, seed=1)
    after = images("static_mnist", "train", tmp_path)
    np.testing.assert_array_equal(before.reshape(-1, 784), rows["train"])
    np.testing.assert_array_equal(after.reshape(-1, 784), changed["train"])


def test_a_truncated_file_is_not_hidden_by_older_records(tmp_path, publisher):
    write_static_mnist(tmp_path, publisher, gz=True)
    images("static_mnist", "train", tmp_path)
    path = tmp_path / "binarized_mnist_valid.amat.gz"
    path.write_bytes(path.read_bytes()[:-30])
    # Even for another split than the damaged one.
    with pytest.raises(ValueError, match=r"binarized_mnist_valid\.amat\.gz is truncated or corrupt"):
        images("static_mnist", "train", tmp_path)


def test_an_interrupted_preparation_is_not_taken_for_complete(tmp_path, publisher, private_home, monkeypatch):
    rows = write_static_mnist(tmp_path, publisher)
    with monkeypatch.context() as patch:

        def interrupted(self, examples):
            yield 0, {"image": examples.images[0]}
            raise KeyboardInterrupt

        patch.setattr(builders.Benchmark, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            images("static_mnist", "train", tmp_path)
    # A process that was killed leaves its directory behind.
    (home,) = private_home.glob("tfdvae/*/static_mnist")
    (home / "1.1.0.incompleteABC123_static_mnist").mkdir()
    np.testing.assert_array_equal(images("static_mnist", "train", tmp_path).reshape(-1, 784), rows["train"])


def test_two_processes_may_prepare_the_same_records(tmp_path, publisher, private_home, monkeypatch):
    rows = write_static_mnist(tmp_path, publisher)
    records = store.locate("static_mnist", tmp_path)
    original = builders.Benchmark._generate_examples
    others = [builders.StaticMnist(paths=dict(records.paths), data_dir=records.root)]

    def overtaken(self, examples):
        yield from original(self, examples)
        if others:
            others.pop().prepare()

    monkeypatch.setattr(builders.Benchmark, "_generate_examples", overtaken)
    np.testing.assert_array_equal(images("static_mnist", "train", tmp_path).reshape(-1, 784), rows["train"])
    assert others == []


def test_damaged_records_are_reported(tmp_path, publisher, private_home):
    write_static_mnist(tmp_path, publisher)
    images("static_mnist", "train", tmp_path)
    (path,) = private_home.glob("tfdvae/*/static_mnist/1.1.0/*validation*.tfrecord*")
    whole = path.read_bytes()
    length = len(whole) // 8
    # Cut within a record, and between two of them.
    for cut in (len(whole) - 5, 3 * length):
        path.write_bytes(whole[:cut])
        with pytest.raises(
            OSError, match=r"static_mnist in .*1\.1\.0 are damaged: expected 8 images of the valid"
        ):
            images("static_mnist", "valid", tmp_path)


def test_records_go_where_tfds_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    assert store.locate("digits").root.parent == tmp_path / "elsewhere" / "tfdvae"
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.locate("digits").root.parent == tmp_path / "tensorflow_datasets" / "tfdvae"


@pytest.mark.parametrize("name", [name for name in catalog.names() if name != "digits"])
def test_missing_files_are_named(tmp_path, requested_urls, private_home, name):
    facts = catalog.info(name)
    for data_dir in (tmp_path, None):
        with pytest.raises(FileNotFoundError, match=f"files of {name} are not at hand") as error:
            data.load(name, "test", 10, data_dir)
        message = str(error.value)
        for file in facts.files:
            assert f"Get {file.name} from {file.url}\n" in message
        assert f"into DIRECTORY/{facts.folder}; then call load('{name}', ..., data_dir=DIRECTORY)." in message
        assert "no network in tests" in message
    assert requested_urls == [facts.files[0].url] * 2
    assert not private_home.exists()


class _Response:
    def close(self):
        pass


def test_files_are_downloaded_by_tfds(tmp_path, publisher, private_home, monkeypatch):
    rows = write_static_mnist(tmp_path, publisher)
    downloads = []

    def download(self, urls):
        downloads.append(urls)
        return {name: tmp_path / name for name in urls}

    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: _Response())
    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    for split in ("train", "test"):
        np.testing.assert_array_equal(images("static_mnist", split, None).reshape(-1, 784), rows[split])
    assert downloads == [{file.name: file.url for file in catalog.info("static_mnist").files}]


def test_a_failed_download_is_one_clear_error(private_home, monkeypatch):
    def download(self, urls):
        raise ConnectionError("cut off")

    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **kwargs: _Response())
    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    with pytest.raises(
        FileNotFoundError, match=r"(?s)omniglot are not at hand.*cut off.*Get chardata\.mat from"
    ):
        data.load("omniglot", "train", 10)


def test_preparation_prints_nothing(private_home, capfd):
    data.num_examples("digits", "train")
    assert capfd.readouterr().out == ""


def test_builders_are_described_and_not_registered():
    assert list(builders.BUILDERS) == catalog.names()
    for name, builder_class in builders.BUILDERS.items():
        assert builder_class.__doc__ is not None
        assert builder_class.name == name
    # TFDS's own set of this name stays its own.
    assert tfds.builder_cls("cifar10") is not builders.Cifar10
    facts = catalog.info("digits")
    info = builders.Digits(paths={}, data_dir=store.locate("digits").root).info
    assert info.homepage == facts.source_url
    assert info.citation == facts.citation
    assert info.features.shape == {"image": (28, 28, 1), "label": ()}


def test_tfds_is_not_imported_with_the_package():
    folder = Path(sources.__file__).parent
    importers = set()
    for path in folder.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            )
            module = getattr(node, "module", None) or ""
            if any(name.startswith(("tensorflow_datasets", "builders")) for name in [module, *names]):
                importers.add(path.name)
    assert importers == {"builders.py"}
