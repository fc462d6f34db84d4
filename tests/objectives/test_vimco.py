"""VIMCO: its parts against TFP's, and its gradient against the sum over all pairs of samples."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.objectives import enumeration
from tfdvae.models import DVAE
from tfdvae.objectives import VIMCO, leave_one_out_bounds, multi_sample_bound, vimco


@pytest.mark.parametrize("shape", [(2, 3), (5, 4), (50, 2)])
def test_the_bounds_are_those_of_tfp(shape):
    log_weights = tf.constant(np.random.default_rng(0).normal(-90.0, 4.0, shape).astype(np.float32))
    baseline, bound = tfp.stats.log_soomean_exp(log_weights, axis=0)
    np.testing.assert_allclose(multi_sample_bound(log_weights), bound, atol=1e-5, rtol=1e-6)
    np.testing.assert_allclose(leave_one_out_bounds(log_weights), baseline, atol=1e-5, rtol=1e-6)


def test_weights_far_apart_stay_finite():
    log_weights = tf.constant([[0.0, -1e4], [-1e4, -1e4], [-2e4, 3e4]])
    for value in (multi_sample_bound(log_weights), leave_one_out_bounds(log_weights)):
        assert np.isfinite(value).all()
    # Without the first sample: the geometric mean of the others is -1.5e4, the best of them -1e4.
    np.testing.assert_allclose(leave_one_out_bounds(log_weights)[0, 0], -1e4 - np.log(3), rtol=1e-6)


@pytest.fixture(scope="module", params=["hybrid", "directed"])
def model(request):
    return getattr(enumeration, request.param)()


def bias(model):
    """How far VIMCO's mean gradient over all pairs of samples is from the gradient of the mean bound."""

    def mean_bound():
        log_joint, log_q = enumeration.log_terms(model)
        return sum(
            tf.exp(log_q[i] + log_q[j])
            * (tf.reduce_logsumexp(tf.gather(log_joint - log_q, [i, j])) - np.log(2.0))
            for i, j in itertools.product(range(4), repeat=2)
        )

    want = enumeration.gradient(mean_bound, model)
    return enumeration.differences(enumeration.mean_gradient(model, VIMCO(2), 2), want)


def test_the_gradient_is_unbiased(model):
    assert bias(model) < 1e-5


def test_a_control_variate_that_knows_its_sample_is_found(model, monkeypatch):
    monkeypatch.setattr(vimco, "leave_one_out_bounds", lambda w: multi_sample_bound(0.9 * w))
    assert bias(model) > 1e-3


def test_what_has_no_score_function_is_refused():
    with pytest.raises(ValueError, match=r"`num_samples` must be at least 2: .* Received: num_samples=1"):
        VIMCO(1)
    model = DVAE(image_shape=(2, 3, 1), latent_units=2, network="linear", prior="normal")
    with pytest.raises(ValueError, match=r"all those of .* are continuous: their samples have gradients"):
        VIMCO(2)(model, enumeration.X, seed=0, negative=None)
