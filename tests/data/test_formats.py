import gzip

import numpy as np
import pytest
from scipy import sparse

from tfdvae.data import formats


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


@pytest.mark.parametrize("gz", [False, True])
def test_amat(tmp_path, publisher, gz):
    rows = bits(7, 784)
    publisher.amat(tmp_path, gz=gz, train=rows)
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(formats.read_amat(path), rows)


@pytest.mark.parametrize("ending", ["\r\n", "\n\n", " \n", None])
def test_amat_line_ends(tmp_path, ending):
    rows = bits(3, 784)
    lines = [" ".join(map(str, row)) for row in rows.tolist()]
    path = tmp_path / "x.amat"
    # None: no line end after the last line.
    path.write_bytes(("\n".join(lines) if ending is None else "".join(x + ending for x in lines)).encode())
    np.testing.assert_array_equal(formats.read_amat(path), rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0 1 " * 392 + b"\n" + b"0 1 " * 10, "expected 784 values a line, found 20 in line 2 of 2"),
        (b"0 1 " * 393 + b"\n", "expected 784 values a line, found 786 in line 1 of 1"),
        (b"0 1 " * 392 + b"\r\n" + b"0 1 " * 5 + b"0 2 " * 387, "0 and 1: found '2' in line 2, value 12$"),
        (b"0 1 " * 391 + b"0 nan \n", "not a text of values 0 and 1: found 'nan' in line 1, value 784$"),
        (b"1.0 0.0 " * 392, "not a text of values 0 and 1: found '1.0' in line 1, value 1$"),
        (b"0 10 " * 392, "not a text of values 0 and 1: found '10' in line 1, value 2$"),
        (b"\n<html>not here</html>", "not a text of values 0 and 1: found '<html>not' in line 2, value 1$"),
        (b"\x93NUMPY 0 1", "found '\ufffdNUMPY' in line 1, value 1$"),
        (b"", "expected 784 values a line, found no line"),
        (b"\n\n", "expected 784 values a line, found no line"),
    ],
)
def test_amat_malformed(tmp_path, content, message):
    path = tmp_path / "x.amat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        formats.read_amat(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("keep", [10, -20])
def test_truncated_gzip(tmp_path, keep):
    path = tmp_path / "x.amat.gz"
    path.write_bytes(gzip.compress(bits(50, 784).tobytes())[:keep])
    with pytest.raises(ValueError, match=r"x\.amat\.gz is truncated or corrupt: its \d+ bytes do not unzip"):
        formats.read_content(path)


def test_gzip_is_known_by_its_content(tmp_path):
    path = tmp_path / "no-suffix"
    path.write_bytes(gzip.compress(b"content"))
    assert formats.read_content(path) == b"content"


def test_idx(tmp_path, publisher):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5])
    publisher.idx(tmp_path, (images, labels), (images[:2], labels[:2]))
    got = formats.read_idx_images(tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte")
    np.testing.assert_array_equal(got.images, images[..., np.newaxis])
    np.testing.assert_array_equal(got.labels, labels)
    assert got.labels.dtype == np.int64


def test_idx_truncated(tmp_path, publisher):
    path = tmp_path / "images"
    path.write_bytes(publisher.idx_bytes(np.zeros([5, 28, 28]))[:-1])
    with pytest.raises(ValueError, match=r"images is truncated.* 3936 bytes; found 3935"):
        formats.read_idx(path, 3)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\1\0", b"\0\0\x0d\x03" + b"\0" * 12]
)
def test_idx_of_another_kind(tmp_path, content):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images is not an IDX file .* start with 00000803, found"):
        formats.read_idx(path, 3)


def test_idx_pairs_must_match(tmp_path, publisher):
    images, labels, small = tmp_path / "images", tmp_path / "labels", tmp_path / "small"
    images.write_bytes(publisher.idx_bytes(np.zeros([5, 28, 28])))
    labels.write_bytes(publisher.idx_bytes(np.zeros([4])))
    small.write_bytes(publisher.idx_bytes(np.zeros([4, 27, 28])))
    with pytest.raises(ValueError, match=r"images holds 5 images, but .*labels holds 4 labels"):
        formats.read_idx_images(images, labels)
    with pytest.raises(ValueError, match="small must hold images of 28x28 pixels, found 27x28"):
        formats.read_idx_images(small, labels)


def test_idx_labels_out_of_range(tmp_path, publisher):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(publisher.idx_bytes(np.zeros([4, 28, 28])))
    labels.write_bytes(publisher.idx_bytes(np.array([0, 9, 10, 255])))
    with pytest.raises(
        ValueError, match=r"labels must be whole numbers from 0 to 9\. Found 10 at \[2\], and 1 more$"
    ):
        formats.read_idx_images(images, labels)


def asymmetric():
    """An object pixel at row 2, column 5, and a stroke along the top."""
    image = np.zeros([28, 28], np.uint8)
    image[2, 5] = image[0, :9] = 1
    return image


WRITERS = pytest.mark.parametrize("version", ["mat", "mat_7_3"])


@WRITERS
def test_caltech_polarity_and_orientation(tmp_path, publisher, version):
    image = asymmetric()
    # The file: objects 0, background 1; the image's columns one after the other.
    row = (1 - image).flatten(order="F")
    write = getattr(publisher, version)
    path = write(tmp_path / "x.mat", val_data=np.stack([row, 1 - row]), val_labels=[[101], [1]])
    got = formats.read_caltech(path, "val")
    np.testing.assert_array_equal(got.images[..., 0], np.stack([image, 1 - image]))
    np.testing.assert_array_equal(got.labels, [100, 0])


def with_value(array, place, value):
    array = np.array(array, float)
    array[place] = value
    return array


@WRITERS
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"train_data": np.full([2, 784], 7)},
            r"`train_data` must be 0 or 1\. Found 7 at \[0, 0\], and 1567 more",
        ),
        (
            {"train_data": with_value(np.ones([2, 784]), (1, 9), np.nan)},
            r"`train_data` must be 0 or 1\. Found nan at \[1, 9\]$",
        ),
        ({"train_data": np.ones([784, 2])}, r"must be \[n, 784\] and .* \(784, 2\) and \(2, 1\)\.$"),
        (
            {"train_labels": [[1], [2], [3]]},
            r"`train_labels` \[n, 1\], found shapes \(2, 784\) and \(3, 1\)\.$",
        ),
        (
            {"train_labels": [[101], [0]]},
            r"`train_labels` must be whole numbers from 1 to 101\. Found 0 at \[1, 0\]$",
        ),
        ({"train_labels": [[102], [1]]}, r"Found 102 at \[0, 0\]$"),
        ({"train_labels": [[1.5], [1]]}, r"Found 1\.5 at \[0, 0\]$"),
        ({"train_labels": [[1], [np.nan]]}, r"Found nan at \[1, 0\]$"),
        (
            {"train_data": np.full([2, 784], 1j)},
            "`train_data` must be an array of real numbers, found one of ",
        ),
        (
            {"train_data": np.full([2, 784], "x", "S1")},
            "`train_data` must be an array of real numbers, found",
        ),
    ],
)
def test_caltech_malformed(tmp_path, publisher, version, arrays, message):
    write = getattr(publisher, version)
    right = {"train_data": np.ones([2, 784], np.uint8), "train_labels": [[1], [2]]}
    path = write(tmp_path / "x.mat", **right | arrays)
    with pytest.raises(ValueError, match=message) as error:
        formats.read_caltech(path, "train")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(path))
    with pytest.raises(
        ValueError,
        match=r"x\.mat lacks the array\(s\) \['val_data', 'val_labels'\].*\['train_data', 'train_labels'\]",
    ):
        formats.read_caltech(path, "val")


def test_mat_with_what_is_no_plain_array(tmp_path, publisher):
    path = publisher.mat(
        tmp_path / "x.mat", train_data=sparse.csc_matrix(np.ones([2, 784])), train_labels={"a": 1}
    )
    with pytest.raises(ValueError, match="`train_data` must be an array of real numbers, found one of"):
        formats.read_caltech(path, "train")
    # In version 7.3 that is a group of arrays.
    path = publisher.mat_7_3(tmp_path / "y.mat", **{"train_data/ir": [0], "train_labels": [[1]]})
    with pytest.raises(ValueError, match=r"y\.mat: `train_data` must be an array .*, found one of Group"):
        formats.read_caltech(path, "train")


@WRITERS
def test_mat_truncated(tmp_path, publisher, version):
    arrays = {"train_data": bits(20, 784), "train_labels": np.ones([20, 1])}
    content = getattr(publisher, version)(tmp_path / "whole.mat", **arrays).read_bytes()
    path = tmp_path / "x.mat"
    for size in (0, 60, 600, 9_000):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=rf"x\.mat is truncated or no MATLAB file: its {size} bytes"):
            formats.read_caltech(path, "train")
    path.write_bytes(gzip.compress(content))
    np.testing.assert_array_equal(formats.read_mat(path, ["train_data"])["train_data"], arrays["train_data"])


@WRITERS
def test_omniglot_fortran_order(tmp_path, publisher, version):
    image = asymmetric() * np.float32(100 / 255)
    image[27, 0] = 1.0
    data = np.stack([image.flatten(order="F"), np.zeros(784), np.zeros(784)], axis=1)
    target = np.eye(50)[:, [7, 0, 49]]
    path = getattr(publisher, version)(
        tmp_path / "x.mat", data=data, target=target, testdata=data[:, :1], testtarget=target[:, :1]
    )
    got = formats.read_omniglot(path, "")
    np.testing.assert_array_equal(got.images[0, :, :, 0], np.rint(255 * image))
    assert not got.images[1:].any()
    np.testing.assert_array_equal(got.labels, [7, 0, 49])
    assert formats.read_omniglot(path, "test").images.shape == (1, 28, 28, 1)


@WRITERS
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"data": np.full([784, 2], 255.0)},
            r"`data` must be in \[0, 1\]\. Found 255\.0 at \[0, 0\], and 1567 more$",
        ),
        (
            {"data": with_value(np.zeros([784, 2]), (3, 1), np.nan)},
            r"`data` must be in \[0, 1\]\. Found nan at \[3, 1\]$",
        ),
        ({"data": with_value(np.zeros([784, 2]), (3, 1), -0.1)}, r"Found -0\.1 at \[3, 1\]$"),
        ({"data": np.zeros([2, 784])}, r"must be \[784, n\] .*found shapes \(2, 784\) and \(50, 2\)\.$"),
        ({"target": np.eye(51)[:, :2]}, r"`target` \[50, n\], found shapes \(784, 2\) and \(51, 2\)\.$"),
        (
            {"target": with_value(np.eye(50)[:, :2], (7, 1), np.nan)},
            r"`target` must be 0 or 1\. Found nan at \[7, 1\]$",
        ),
        (
            {"target": with_value(np.eye(50)[:, :2], (1, 1), 0)},
            r"a column of `target` must be 1\. Found 0 at \[1\]$",
        ),
        (
            {"target": with_value(np.eye(50)[:, :2], (9, 0), 1)},
            r"a column of `target` must be 1\. Found 2 at \[0\]$",
        ),
    ],
)
def test_omniglot_malformed(tmp_path, publisher, version, arrays, message):
    right = {"data": np.zeros([784, 2]), "target": np.eye(50)[:, :2]}
    path = getattr(publisher, version)(tmp_path / "x.mat", **right | arrays)
    with pytest.raises(ValueError, match=message) as error:
        formats.read_omniglot(path, "")
    assert str(path) in str(error.value)


def test_cifar_channel_order(publisher):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    records = publisher.cifar_record(image, 9) + publisher.cifar_record(image[::-1], 0)
    got = formats.parse_cifar({"a": records, "b": publisher.cifar_record(image.transpose(1, 0, 2), 3)})
    np.testing.assert_array_equal(got.images, [image, image[::-1], image.transpose(1, 0, 2)])
    np.testing.assert_array_equal(got.labels, [9, 0, 3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(3072), "part is truncated or malformed: expected a multiple of 3073 bytes, found 3072"),
        (b"", "part is truncated or malformed: expected a multiple of 3073 bytes, found 0"),
        (
            bytes(3073) + b"\x0a" * 3073,
            r"^The labels in part, .* must be whole numbers from 0 to 9\. Found 10 at \[1\]$",
        ),
    ],
)
def test_cifar_malformed(content, message):
    with pytest.raises(ValueError, match=message):
        formats.parse_cifar({"whole": bytes(3073), "part": content})


def test_cifar_archive_malformed(tmp_path, publisher):
    publisher.cifar(tmp_path, {"data_batch_1.bin": bytes(3073)})
    (path,) = tmp_path.iterdir()
    assert formats.read_cifar_archive(path, ["data_batch_1.bin"]) == {"data_batch_1.bin": bytes(3073)}
    with pytest.raises(ValueError, match=r"lacks \['test_batch.bin'\].*found \['data_batch_1.bin'\]"):
        formats.read_cifar_archive(path, ["data_batch_1.bin", "test_batch.bin"])
    for size in (60, 0):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match=rf"tar\.gz is truncated or no tar archive: its {size} bytes"):
            formats.read_cifar_archive(path, ["data_batch_1.bin"])


def imagenet64(tmp_path, **arrays):
    right = {"data": np.zeros([2, 12_288], np.uint8), "labels": np.array([1, 1_000])}
    path = tmp_path / "val_data.npz"
    np.savez(path, **{k: v for k, v in (right | arrays).items() if v is not None})
    return path


def batches_of(path):
    return formats.NumpyBatches([path], ["val_data.npz"], (64, 64, 3), 1_000)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": np.zeros([2, 3_072], np.uint8)}, r"`data` must be uint8 \[n, 12288\] .* uint8 \(2, 3072\)"),
        ({"data": np.zeros([2, 12_288])}, r"found float64 \(2, 12288\)"),
        ({"labels": np.array([1, 2, 3])}, r"for n = 3 labels, found uint8 \(2, 12288\)"),
        ({"labels": np.array([0, 1])}, r"`labels` must be whole numbers from 1 to 1000\. Found 0 at \[0\]"),
        ({"labels": None}, "no NumPy file with `data` and `labels`"),
        ({"labels": np.array([None, 1])}, "no NumPy file with `data` and `labels`"),
    ],
)
def test_numpy_batches_malformed(tmp_path, arrays, message):
    path = imagenet64(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message) as error:
        batches_of(path).read(["val_data.npz"])
    assert str(path) in str(error.value)


def test_numpy_batches_truncated(tmp_path):
    path = imagenet64(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="truncated or no NumPy file"):
        batches_of(path).read(["val_data.npz"])
    archive = path.rename(tmp_path / "Imagenet64_val_npz.zip")
    with pytest.raises(ValueError, match=r"\['val_data.npz'\] are missing, or the archive is truncated"):
        batches_of(archive)
