"""ImportanceAccumulator against 60-digit arithmetic, for weights of any size and any chunking."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.objectives import ImportanceAccumulator


def direct(log_weights):
    """log mean weight and effective sample size of each column, in decimal arithmetic."""
    bounds, sizes = [], []
    with localcontext(prec=60):
        for column in np.asarray(log_weights, np.float64).T:
            weights = [Decimal(float(v)).exp() for v in column]
            total, squares = sum(weights), sum(w * w for w in weights)
            bounds.append(float((total / len(weights)).ln()))
            sizes.append(float(total * total / squares))
    return np.array(bounds), np.array(sizes)


def accumulate(log_weights, sizes):
    sums = ImportanceAccumulator()
    for chunk in np.split(log_weights, np.cumsum(sizes)[:-1]):
        sums.update(chunk)
    return sums


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e4])
def test_agrees_with_exact_arithmetic(offset, spread):
    log_weights = offset + spread * np.random.default_rng(0).uniform(-1, 1, size=[12, 5])
    sums = accumulate(log_weights, [12])
    bound, size = direct(log_weights)
    np.testing.assert_allclose(sums.log_mean_weight, bound, rtol=1e-13, atol=1e-12)
    # 2 log sum w - log sum w^2 cancels: of numbers near 2e4, 4e-12 is lost.
    np.testing.assert_allclose(sums.effective_sample_size, size, rtol=1e-10)
    np.testing.assert_allclose(sums.elbo, log_weights.mean(axis=0), rtol=1e-13)
    assert sums.num_samples == 12
    assert (sums.effective_sample_size > 1 - 1e-10).all()
    assert (sums.effective_sample_size < 12 + 1e-9).all()
    assert (sums.elbo <= sums.log_mean_weight + 1e-9).all()


@pytest.mark.parametrize("sizes", [[1] * 12, [5, 7], [1, 10, 1], [11, 1]])
def test_chunking_changes_nothing(sizes):
    log_weights = 1e4 * np.random.default_rng(1).uniform(-1, 1, size=[12, 3])
    log_weights[3, 0] = -np.inf
    one, many = accumulate(log_weights, [12]), accumulate(log_weights, sizes)
    for name in ("log_mean_weight", "effective_sample_size", "elbo"):
        np.testing.assert_allclose(getattr(many, name), getattr(one, name), rtol=1e-10)


def test_the_largest_weight_may_come_last():
    sums = accumulate(np.array([[-1e4], [0.0], [1e4]]), [1, 1, 1])
    np.testing.assert_allclose(sums.log_mean_weight, [1e4 - np.log(3)], rtol=1e-15)
    np.testing.assert_allclose(sums.effective_sample_size, [1.0], rtol=1e-10)


def test_equal_weights_and_a_single_sample():
    sums = accumulate(np.full([1000, 2], -7e3), [400, 600])
    np.testing.assert_allclose(sums.log_mean_weight, -7e3)
    np.testing.assert_allclose(sums.effective_sample_size, 1000.0, rtol=1e-9)
    single = accumulate(np.array([[-3.0, 4.0]]), [1])
    np.testing.assert_allclose(single.log_mean_weight, [-3.0, 4.0])
    np.testing.assert_allclose(single.effective_sample_size, 1.0)


def test_impossible_samples():
    sums = accumulate(np.array([[-np.inf, 1.0], [2.0, 1.0]]), [1, 1])
    np.testing.assert_allclose(sums.log_mean_weight, [2.0 - np.log(2), 1.0])
    np.testing.assert_allclose(sums.elbo, [-np.inf, 1.0])
    never = accumulate(np.full([2, 1], -np.inf), [1, 1])
    assert never.log_mean_weight == -np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_of_a_diverged_model_are_refused(bad):
    sums = accumulate(np.array([[1.0, 2.0]]), [1])
    with pytest.raises(ValueError, match=r"1 of 4 log-weights are NaN or infinite. The model has"):
        sums.update([[0.0, bad], [1.0, 2.0]])
    np.testing.assert_array_equal(sums.log_mean_weight, [1.0, 2.0])


def test_takes_float32_tensors_and_sums_in_float64():
    log_weights = tf.constant(np.random.default_rng(2).normal(size=[20_000, 2]), tf.float32)
    sums = ImportanceAccumulator()
    for chunk in tf.split(log_weights, 200):
        sums.update(chunk)
    want = np.log(np.mean(np.exp(np.float64(log_weights)), axis=0))
    np.testing.assert_allclose(sums.log_mean_weight, want, rtol=1e-12)
    assert sums.log_sum.shape == sums.log_sum_squares.shape == sums.sum_log.shape == (2,)
