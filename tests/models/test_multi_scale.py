"""MultiScaleFactorization against loops over the pixels."""

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.models.multi_scale import MultiScaleFactorization

# height, width, base scale: strides
CASES = {
    (28, 28, 4): [8, 4, 2, 1],
    (28, 28, 7): [4, 2, 1],
    (28, 28, 1): [32, 16, 8, 4, 2, 1],
    (28, 28, 28): [1],
    (32, 32, 4): [8, 4, 2, 1],
    (32, 32, 1): [32, 16, 8, 4, 2, 1],
    (4, 4, 1): [4, 2, 1],
    (5, 7, 2): [4, 2, 1],
    (5, 7, 1): [8, 4, 2, 1],
    (7, 5, 2): [4, 2, 1],
    (3, 12, 1): [4, 2, 1],
    (12, 3, 2): [8, 4, 2, 1],
    (1, 6, 1): [1],
    (1, 1, 1): [1],
}


@pytest.fixture(params=CASES, ids=lambda case: "{}x{} from {}".format(*case))
def case(request):
    height, width, base_scale = request.param
    return MultiScaleFactorization(*request.param), (height, width), base_scale, CASES[request.param]


def scale_of(row, column, strides):
    """The coarsest scale that has the pixel."""
    return next(i for i, s in enumerate(strides) if row % s == 0 and column % s == 0)


def test_scales(case):
    scales, (height, width), base_scale, strides = case
    assert scales.strides == strides
    assert len(scales) == len(strides) == len(scales.sizes)
    assert scales.sizes[0][0] == base_scale
    assert scales.sizes[-1] == (height, width)
    for size, stride in zip(scales.sizes, strides, strict=True):
        assert size == (len(range(0, height, stride)), len(range(0, width, stride)))


def test_scales_of_the_papers():
    assert MultiScaleFactorization(32, 32, 4).sizes == [(4, 4), (8, 8), (16, 16), (32, 32)]
    assert MultiScaleFactorization(16, 16, 4).sizes == [(4, 4), (8, 8), (16, 16)]
    assert MultiScaleFactorization(28, 28, 4).sizes == [(4, 4), (7, 7), (14, 14), (28, 28)]


def test_every_pixel_is_new_exactly_once(case):
    scales, size, _, strides = case
    found = np.full(size, -1)
    for i, stride in enumerate(strides):
        new = scales.new_pixels(i)
        assert new.dtype == bool
        assert new.shape == scales.sizes[i]
        for row, column in np.argwhere(new) * stride:
            assert found[row, column] == -1
            found[row, column] = i
    want = [[scale_of(row, column, strides) for column in range(size[1])] for row in range(size[0])]
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_log_prob_is_a_sum_over_the_pixels(case, leading):
    scales, (height, width), _, strides = case
    rng = np.random.default_rng(0)
    values = [rng.normal(size=[*leading, *size]) for size in scales.sizes]
    want = np.zeros(leading)
    for row, column in np.ndindex(height, width):
        i = scale_of(row, column, strides)
        want += values[i][..., row // strides[i], column // strides[i]]
    got = scales.log_prob([tf.constant(v) for v in values])
    assert got.dtype == tf.float64
    assert got.shape == leading
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)
    single = scales.log_prob([tf.constant(v, tf.float32) for v in values])
    assert single.dtype == tf.float32


def test_log_prob_of_the_same_values_at_all_scales_is_their_sum(case):
    # Had the scales the same conditional laws, the factorization would not show.
    scales, size, _, _ = case
    values = np.random.default_rng(1).normal(size=[2, *size, 1])
    got = scales.log_prob([scales.at_scale(tf.constant(values), i)[..., 0] for i in range(len(scales))])
    np.testing.assert_allclose(got, values.sum(axis=(1, 2, 3)), rtol=1e-11, atol=1e-11)


def test_log_prob_broadcasts_over_scales():
    # The coarsest pixels may depend on the image alone, the others on a sample besides.
    scales = MultiScaleFactorization(4, 4, 2)
    got = scales.log_prob([tf.ones([5, 2, 2]), tf.zeros([3, 5, 4, 4])])
    np.testing.assert_array_equal(got, np.full([3, 5], 4.0))


@pytest.mark.parametrize("channels", [1, 3])
def test_coarser_pixels_keep_their_place(case, channels):
    scales, (height, width), _, strides = case
    rng = np.random.default_rng(2)
    drawn = [rng.normal(size=[2, *size, channels]) for size in scales.sizes]
    image, coarser = None, []
    for i, values in enumerate(drawn):
        image = scales.fill(image, tf.constant(values), i)
        assert image.shape == values.shape
        coarser.append(image.numpy())
    for row, column in np.ndindex(height, width):
        i = scale_of(row, column, strides)
        want = drawn[i][:, row // strides[i], column // strides[i]]
        np.testing.assert_array_equal(image[:, row, column], want)
    for i, values in enumerate(coarser):
        np.testing.assert_array_equal(scales.at_scale(image, i), values)


def test_at_scale_takes_multiples_of_the_stride():
    scales = MultiScaleFactorization(5, 7, 2)
    image = tf.range(35)
    for leading in ([], [1], [1, 1]):
        found = [scales.at_scale(tf.reshape(image, [*leading, 5, 7, 1]), i)[..., 0].numpy() for i in range(3)]
        np.testing.assert_array_equal(found[0].reshape(2, 2), [[0, 4], [28, 32]])
        np.testing.assert_array_equal(
            found[1].reshape(3, 4), [[0, 2, 4, 6], [14, 16, 18, 20], [28, 30, 32, 34]]
        )
        np.testing.assert_array_equal(found[2].reshape(5, 7), np.arange(35).reshape(5, 7))


def test_unknown_batch():
    scales = MultiScaleFactorization(5, 7, 3)

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 4, 1]), tf.TensorSpec([None, 5, 7, 1])])
    def fill(coarser, drawn):
        return scales.fill(coarser, drawn, 1)

    coarser, drawn = tf.random.stateless_normal([2, 3, 4, 1], [0, 1]), tf.zeros([2, 5, 7, 1])
    np.testing.assert_array_equal(scales.at_scale(fill(coarser, drawn), 0), coarser)
    assert fill.get_concrete_function().outputs[0].shape.as_list() == [None, 5, 7, 1]


@pytest.mark.parametrize("base_scale", [0, 2.5, 3, 5, 8, 29, 56, None, "4"])
def test_wrong_base_scale(base_scale):
    message = r"`base_scale` must be one of \[1, 2, 4, 7, 14, 28\], the heights of 28 rows .* Received: "
    with pytest.raises(ValueError, match=f"{message}base_scale={base_scale}"):
        MultiScaleFactorization(28, 32, base_scale)


def test_wrong_sizes():
    scales = MultiScaleFactorization(28, 28, 7)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        scales.fill(tf.zeros([2, 6, 7, 1]), tf.zeros([2, 14, 14, 1]), 1)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        scales.log_prob([tf.zeros([2, 7, 7]), tf.zeros([2, 14, 13]), tf.zeros([2, 28, 28])])
