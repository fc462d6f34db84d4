import numpy as np
import pytest
import tensorflow as tf

from tfdvae.data import catalog, sources


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


IDX = [file.name for file in catalog.info("dynamic_mnist").files]


@pytest.mark.parametrize("folder", ["mnist", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_locate(tmp_path, folder, suffix):
    touch(tmp_path / folder, *(name + suffix for name in IDX))
    found = sources.locate(catalog.info("dynamic_mnist"), str(tmp_path))
    assert found == {name: tmp_path / folder / (name + suffix) for name in IDX}


def test_locate_prefers_the_folder_and_never_mixes(tmp_path):
    fashion = catalog.info("fashion_mnist")
    touch(tmp_path, *IDX)
    touch(tmp_path / "fashion_mnist", *IDX[:3])
    # Three of four files in the folder: the root's set is taken whole.
    assert sources.locate(fashion, tmp_path)[IDX[0]] == tmp_path / IDX[0]
    touch(tmp_path / "fashion_mnist", IDX[3] + ".gz")
    assert {path.parent for path in sources.locate(fashion, tmp_path).values()} == {
        tmp_path / "fashion_mnist"
    }


def test_locate_nothing(tmp_path):
    assert sources.locate(catalog.info("omniglot"), None) is None
    assert sources.locate(catalog.info("omniglot"), tmp_path) is None
    assert sources.locate(catalog.info("digits"), None) == {}


def test_locate_part(tmp_path):
    touch(tmp_path / "mnist", *IDX[:2])
    with pytest.raises(FileNotFoundError, match="Some files of dynamic_mnist are missing") as error:
        sources.locate(catalog.info("dynamic_mnist"), tmp_path)
    assert str(tmp_path / "mnist" / IDX[1]) in str(error.value)
    assert f"Get {IDX[2]} from https://" in str(error.value)


def test_locate_knows_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    touch(tmp_path / "data" / "omniglot", "chardata.mat")
    found = sources.locate(catalog.info("omniglot"), "~/data")
    assert found == {"chardata.mat": tmp_path / "data" / "omniglot" / "chardata.mat"}


def test_locate_needs_a_directory(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`data_dir` must be a directory. Received: data_dir='.*nowhere'"
    ):
        sources.locate(catalog.info("omniglot"), tmp_path / "nowhere")


@pytest.mark.parametrize("folder", ["cifar10/cifar-10-batches-bin", "cifar10", "cifar-10-batches-bin", "."])
def test_locate_unpacked_archive(tmp_path, folder):
    facts = catalog.info("cifar10")
    touch(tmp_path / folder, *facts.unpacked)
    assert sources.locate(facts, tmp_path) == {name: tmp_path / folder / name for name in facts.unpacked}
    (tmp_path / folder / facts.unpacked[2]).unlink()
    with pytest.raises(FileNotFoundError, match="Some files of cifar10 are missing"):
        sources.locate(facts, tmp_path)


def test_fingerprint_tells_contents_apart(tmp_path):
    path = tmp_path / "file"
    prints = set()
    for content in (b"one", b"two", b"on"):
        path.write_bytes(content)
        prints.add(sources.fingerprint({"file": path}))
    assert len(prints) == 3
    path.write_bytes(b"one")
    assert sources.fingerprint({"file": path}) in prints


def test_too_few_images_for_three_splits(tmp_path, publisher):
    images, labels = np.zeros([5, 28, 28]), np.zeros([5])
    publisher.idx(tmp_path, (images, labels), (images[:0], labels[:0]))
    facts = catalog.info("dynamic_mnist")
    with pytest.raises(
        ValueError,
        match=r"t10k-labels-idx1-ubyte: too few images for the three splits of dynamic_mnist\. "
        r"Found \{'train': 5, 'valid': 0, 'test': 0\}",
    ):
        sources.read(facts, sources.locate(facts, tmp_path))


def test_digits_are_split_once_for_all():
    facts = catalog.info("digits")
    splits = sources.read(facts, {}).splits
    assert {split: len(x.images) for split, x in splits.items()} == {
        "train": 1_297,
        "valid": 250,
        "test": 250,
    }
    from sklearn import datasets

    digits = datasets.load_digits()
    whole = sorted(image.tobytes() for image in sources.enlarge(digits.images * (255 / 16), (28, 28)))
    assert sorted(image.tobytes() for x in splits.values() for image in x.images) == whole
    # The labels belong to the images, and the order is no longer scikit-learn's.
    label_of = {
        image.tobytes(): label
        for image, label in zip(
            sources.enlarge(digits.images * (255 / 16), (28, 28)), digits.target, strict=True
        )
    }
    for x in splits.values():
        assert [label_of[image.tobytes()] for image in x.images] == x.labels.tolist()
    # Pinned: another permutation would change every figure on this set.
    assert splits["train"].labels[:10].tolist() == [1, 6, 1, 8, 9, 7, 3, 7, 6, 4]
    assert splits["test"].labels[:10].tolist() == [0, 8, 3, 6, 9, 2, 1, 8, 9, 3]


def test_enlarge_agrees_with_tensorflow_inside():
    small = np.random.default_rng(0).uniform(60, 190, (4, 8, 8))
    # Keys' kernel with a = -1/2 and pixel centres aligned; TensorFlow treats the border otherwise.
    expected = tf.image.resize(small[..., np.newaxis], (28, 28), method="bicubic").numpy()[..., 0]
    got = sources.enlarge(small, (28, 28)).astype(float)
    # Rounding takes half a level, and TensorFlow reads its weights off a table.
    np.testing.assert_allclose(got[:, 6:-6, 6:-6], expected[:, 6:-6, 6:-6], atol=0.6)
    np.testing.assert_array_equal(sources.enlarge(np.full([1, 8, 8], 77.0), (28, 28)), 77)
    np.testing.assert_array_equal(
        sources.enlarge(small[:, ::-1], (28, 28)), sources.enlarge(small, (28, 28))[:, ::-1]
    )


def test_every_set_is_described():
    assert catalog.names() == [
        "digits",
        "static_mnist",
        "dynamic_mnist",
        "fashion_mnist",
        "omniglot",
        "caltech101_silhouettes",
        "cifar10",
        "imagenet64",
    ]
    for name in catalog.names():
        facts = catalog.info(name)
        assert facts.name == name
        assert facts.default_binarization in facts.binarizations
        assert tuple(facts.split_sizes) == catalog.SPLITS
        assert all(
            (facts.title, facts.description, facts.source_url, facts.license, facts.citation, facts.caveat)
        )
        for file in facts.files:
            assert file.url.startswith("http")
    sizes = {name: tuple(catalog.info(name).split_sizes.values()) for name in catalog.names()}
    assert sizes["omniglot"] == (24_345 - 1_345, 1_345, 8_070)
    assert sizes["caltech101_silhouettes"] == (4_100, 2_264, 2_307)
    with pytest.raises(TypeError):
        catalog.info("digits").split_sizes["train"] = 1


def test_unknown_name():
    with pytest.raises(
        ValueError, match=r"`name` must be one of digits, static_mnist, .*Received: name='mnist'"
    ):
        catalog.info("mnist")
