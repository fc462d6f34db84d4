import gzip

import numpy as np
import pytest

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
        (b"0 2 " * 392 + b"\n", "found 392 other bytes of 1569"),
        (b"<html>not here</html>", "not a text of values 0 and 1"),
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


def asymmetric():
    """An object pixel at row 2, column 5, and a stroke along the top."""
    image = np.zeros([28, 28], np.uint8)
    image[2, 5] = image[0, :9] = 1
    return image


def test_caltech_polarity_and_orientation(tmp_path, publisher):
    image = asymmetric()
    # The file: objects 0, background 1; the image's columns one after the other.
    row = (1 - image).flatten(order="F")
    path = publisher.mat(tmp_path / "x.mat", val_data=np.stack([row, 1 - row]), val_labels=[[101], [1]])
    got = formats.read_caltech(path, "val")
    np.testing.assert_array_equal(got.images[..., 0], np.stack([image, 1 - image]))
    np.testing.assert_array_equal(got.labels, [100, 0])


def test_caltech_malformed(tmp_path, publisher):
    path = publisher.mat(tmp_path / "x.mat", train_data=np.full([2, 784], 7), train_labels=[[1], [2]])
    with pytest.raises(
        ValueError, match=r"x\.mat: `train_data` must be .*found shape \(2, 784\), values 0\.\.7"
    ):
        formats.read_caltech(path, "train")
    with pytest.raises(
        ValueError, match=r"x\.mat lacks the array\(s\) \['val_data', 'val_labels'\].*train_data"
    ):
        formats.read_caltech(path, "val")


def test_mat_truncated(tmp_path, publisher):
    path = publisher.mat(tmp_path / "x.mat", train_data=bits(20, 784), train_labels=np.ones([20, 1]))
    for size in (0, 60, 9_000):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match=rf"x\.mat is truncated or no MATLAB file: its {size} bytes"):
            formats.read_caltech(path, "train")
        publisher.mat(path, train_data=bits(20, 784), train_labels=np.ones([20, 1]))


def test_omniglot_fortran_order(tmp_path, publisher):
    image = asymmetric() * np.float32(100 / 255)
    image[27, 0] = 1.0
    data = np.stack([image.flatten(order="F"), np.zeros(784), np.zeros(784)], axis=1)
    target = np.eye(50)[:, [7, 0, 49]]
    path = publisher.mat(
        tmp_path / "x.mat", data=data, target=target, testdata=data[:, :1], testtarget=target[:, :1]
    )
    got = formats.read_omniglot(path, "")
    np.testing.assert_array_equal(got.images[0, :, :, 0], np.rint(255 * image))
    assert not got.images[1:].any()
    np.testing.assert_array_equal(got.labels, [7, 0, 49])
    assert formats.read_omniglot(path, "test").images.shape == (1, 28, 28, 1)


def test_omniglot_malformed(tmp_path, publisher):
    path = publisher.mat(tmp_path / "x.mat", data=np.full([784, 2], 255.0), target=np.eye(50)[:, :2])
    with pytest.raises(ValueError, match=r"x\.mat: `data` must lie in \[0, 1\], found 255\.0\.\.255\.0"):
        formats.read_omniglot(path, "")
    path = publisher.mat(tmp_path / "x.mat", data=np.zeros([2, 784]), target=np.eye(50)[:, :2])
    with pytest.raises(ValueError, match=r"must be \[784, n\] .*found shapes \(2, 784\) and \(50, 2\)"):
        formats.read_omniglot(path, "")


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
        (b"\x0a" * 3073, "part'] hold labels up to 10"),
    ],
)
def test_cifar_malformed(content, message):
    with pytest.raises(ValueError, match=message):
        formats.parse_cifar({"part": content})


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
