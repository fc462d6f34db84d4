import gzip
import hashlib

import numpy as np
import pytest

from tfdvae.data import catalog, checksums, sources, store

FASHION = catalog.info("fashion_mnist")
IMAGES = FASHION.files[0].name


def write_fashion(folder, publisher, seed=0, n=12, gz=False):
    rng = np.random.default_rng(seed)
    train, test = ((rng.integers(0, 256, (k, 28, 28)), rng.integers(0, 10, k)) for k in (n, 3))
    publisher.idx(folder, train, test, gz=gz)
    return sources.locate(FASHION, folder)


@pytest.fixture
def published(tmp_path, publisher, monkeypatch):
    """Small files stand for the published ones of Fashion-MNIST: their paths."""
    paths = write_fashion(tmp_path / "published" / "fashion_mnist", publisher)
    found = checksums.digests(FASHION, sources.read(FASHION, paths).arrays)
    monkeypatch.setitem(checksums.PUBLISHED, "fashion_mnist", found)
    return paths


def warnings_of_content(warned):
    return [message for message in warned if "content" in message]


def load(name, folder):
    return store.read_split(store.locate(name, folder), "train")


@pytest.mark.parametrize("level", [None, 1, 9])
def test_packing_makes_no_difference(published, tmp_path, warned, level):
    folder = tmp_path / "again"
    folder.mkdir()
    for name, path in published.items():
        content = path.read_bytes()
        (folder / name).write_bytes(content if level is None else gzip.compress(content, level))
    load("fashion_mnist", folder)
    assert warnings_of_content(warned) == []
    assert any("images here" in message for message in warned)  # the small set has not the published sizes


@pytest.mark.parametrize("gz", [False, True])
def test_other_content_of_the_same_sizes_is_told(published, tmp_path, publisher, warned, gz):
    paths = write_fashion(tmp_path / "other", publisher, seed=1, gz=gz)
    load("fashion_mnist", tmp_path / "other")
    (message,) = warnings_of_content(warned)
    found = hashlib.sha1(np.random.default_rng(1).integers(0, 256, (12, 28, 28)).astype(np.uint8)).hexdigest()
    others = [file.name for file in FASHION.files[1:]]
    assert message == (
        f"{paths[IMAGES]} of fashion_mnist is not as published: the SHA-1 of its content is {found}, "
        f"expected {checksums.PUBLISHED['fashion_mnist'][IMAGES]}. Nor are {', '.join(others)}. "
        "Figures on it are not comparable with the papers."
    )


def test_one_wrong_file_is_named(published, tmp_path, publisher, warned):
    path = published["t10k-labels-idx1-ubyte"]
    path.write_bytes(publisher.idx_bytes(np.array([1, 2, 3])))
    load("fashion_mnist", path.parents[1])
    (message,) = warnings_of_content(warned)
    assert message.startswith(f"{path} of fashion_mnist is not as published")


def test_files_of_another_set_are_refused(published):
    with pytest.raises(
        ValueError, match=f"{IMAGES}, found for dynamic_mnist, is that of fashion_mnist"
    ) as error:
        load("dynamic_mnist", published[IMAGES].parent)
    assert str(published[IMAGES]) in str(error.value)


def test_an_array_of_a_matlab_file_is_named_with_it(tmp_path, publisher, warned, monkeypatch):
    arrays = {}
    for prefix, n in (("train", 4), ("val", 3), ("test", 2)):
        arrays |= {f"{prefix}_data": np.eye(n, 784), f"{prefix}_labels": np.full([n, 1], n)}
    name = "caltech101_silhouettes"
    facts = catalog.info(name)
    path = publisher.mat(tmp_path / "old" / facts.files[0].name, **arrays)
    found = checksums.digests(facts, sources.read(facts, {path.name: path}).arrays)
    monkeypatch.setitem(checksums.PUBLISHED, name, found)
    # The same arrays, as other numbers in a file of another version.
    path = publisher.mat_7_3(tmp_path / "new" / path.name, **arrays)
    load(name, path.parent)
    assert warnings_of_content(warned) == []
    arrays["val_labels"] = arrays["val_labels"] + 1
    path = publisher.mat_7_3(tmp_path / "changed" / path.name, **arrays)
    load(name, path.parent)
    (message,) = warnings_of_content(warned)
    assert message.startswith(f"val_labels in {path} of caltech101_silhouettes is not as published")


def test_a_file_is_hashed_as_git_does(tmp_path, publisher):
    path = publisher.mat(
        tmp_path / "chardata.mat",
        **{f"{p}data": np.zeros([784, 40]) for p in ("", "test")},
        **{f"{p}target": np.eye(50)[:, :40] for p in ("", "test")},
    )
    facts, content = catalog.info("omniglot"), path.read_bytes()
    blob = hashlib.sha1(f"blob {len(content)}".encode() + b"\0" + content).hexdigest()
    for packed in (content, gzip.compress(content)):
        path.write_bytes(packed)
        arrays = sources.read(facts, {path.name: path}).arrays
        assert checksums.digests(facts, arrays) == {"chardata.mat": blob}


def test_other_numbers_of_images_are_reported(warned):
    checksums.check_published(catalog.info("cifar10"), {}, {"train": 18_000, "valid": 5_000, "test": 10_000})
    assert [m.split(". ")[0] for m in warned] == [
        "The train split of cifar10 has 18000 images here, 45000 as published"
    ]


def test_every_set_with_files_is_on_record():
    for name in catalog.names():
        facts = catalog.info(name)
        known = checksums.PUBLISHED.get(name, {})
        # Of ImageNet 64x64 the publisher names no checksums.
        assert bool(known) == (bool(facts.files) and name != "imagenet64")
        assert all(len(checksum) == 40 for checksum in known.values())
    every = [checksum for known in checksums.PUBLISHED.values() for checksum in known.values()]
    assert len(set(every)) == len(every) == 24
    assert set(checksums.PUBLISHED["cifar10"]) == set(catalog.info("cifar10").unpacked)
