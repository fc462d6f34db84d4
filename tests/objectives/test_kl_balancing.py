"""The balancing coefficients of appendix H, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.objectives import balancing_coefficients


def test_coefficients_by_hand():
    # alpha_hat = 2, 0.5, 0.1; their sum is 2.6.
    got = balancing_coefficients(tf.constant([1.9, 0.4, 0.0]))
    np.testing.assert_allclose(got, [6 / 2.6, 1.5 / 2.6, 0.3 / 2.6], rtol=1e-6)
    assert got.dtype == tf.float32


def test_epsilon_softens():
    got = balancing_coefficients(tf.constant([3.0, 0.0], tf.float64), epsilon=1.0)
    np.testing.assert_allclose(got, [1.6, 0.4], rtol=1e-12)
    assert got.dtype == tf.float64


def test_a_negative_kl_counts_as_zero():
    got = balancing_coefficients(tf.constant([-70.0, 0.0, 0.7]))
    np.testing.assert_allclose(got, [0.3, 0.3, 2.4], rtol=1e-5)
    np.testing.assert_allclose(balancing_coefficients(tf.constant([-1.0, -5.0])), [1.0, 1.0])


@pytest.mark.parametrize("groups", [1, 2, 7, 40])
def test_they_sum_to_the_number_of_groups_and_order_as_the_kl(groups):
    kl = np.random.default_rng(groups).exponential(10.0, size=groups)
    got = balancing_coefficients(tf.constant(kl)).numpy()
    np.testing.assert_allclose(got.sum(), groups, rtol=1e-12)
    np.testing.assert_array_equal(np.argsort(got), np.argsort(kl))
    np.testing.assert_allclose(got / got[0], (kl + 0.1) / (kl[0] + 0.1), rtol=1e-12)


def test_equal_kls_are_left_alone():
    for kl in (0.0, 1e-3, 5.0, 1e6):
        np.testing.assert_allclose(balancing_coefficients(tf.fill([5], kl)), np.ones(5), rtol=1e-6)


def test_no_gradient_flows():
    kl = tf.Variable([3.0, 0.5, 0.1])
    with tf.GradientTape() as tape:
        coefficients = balancing_coefficients(kl)
        value = tf.reduce_sum(coefficients * kl)
    # That of the coefficients as constants.
    np.testing.assert_array_equal(tape.gradient(value, kl), coefficients)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(balancing_coefficients(kl) ** 2)
    assert tape.gradient(value, kl) is None


def test_unknown_number_of_groups():
    graph = tf.function(balancing_coefficients, input_signature=[tf.TensorSpec([None])])
    np.testing.assert_allclose(
        graph(tf.constant([1.9, 0.4, 0.0])), [6 / 2.6, 1.5 / 2.6, 0.3 / 2.6], rtol=1e-6
    )
