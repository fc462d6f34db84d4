"""VIMCO: its parts against TFP's, and its gradient against the sum over all pairs of samples."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.objectives import enumeration
from tfdvae.models import DVAE
from tfdvae.objectives import VIMCO, LeaveOneOut, WakeSleep, leave_one_out_bounds, multi_sample_bound, vimco


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


def bounds_of_pairs(model):
    """The probability of each pair of samples, and its bound, as if log Z were 0."""
    log_joint, log_q = enumeration.log_terms(model)
    log_weights = log_joint - log_q
    pairs = list(itertools.product(range(4), repeat=2))
    probability = [tf.exp(log_q[i] + log_q[j]) for i, j in pairs]
    bound = [tf.reduce_logsumexp(tf.gather(log_weights, pair)) - np.log(2.0) for pair in pairs]
    return tf.stack(probability), tf.stack(bound)


def bias(model):
    """How far VIMCO's mean gradient over all pairs of samples is from the gradient of the mean bound."""

    def mean_bound():
        probability, bound = bounds_of_pairs(model)
        return tf.reduce_sum(probability * bound)

    want = enumeration.gradient(mean_bound, model)
    return enumeration.differences(enumeration.mean_gradient(model, VIMCO(2), 2), want)


def test_the_gradient_is_unbiased(model):
    assert bias(model) < 1e-5


def test_a_control_variate_that_knows_its_sample_is_found(model, monkeypatch):
    monkeypatch.setattr(vimco, "leave_one_out_bounds", lambda w: multi_sample_bound(0.9 * w))
    assert bias(model) > 1e-3


@pytest.mark.parametrize("objective", [VIMCO(2), WakeSleep(2)])
def test_evaluate_gives_the_bound_that_is_trained(model, objective):
    """Against its mean over all pairs of samples, for many copies of an image."""
    model.compile("sgd", objective)
    x = np.repeat(enumeration.X, 20_000, axis=0)
    logs = model.evaluate(x, batch_size=1_000, verbose=0, return_dict=True)
    probability, bound = (np.float64(x) for x in bounds_of_pairs(model))
    mean = np.sum(probability * bound)
    error = 4.0 * np.sqrt(np.sum(probability * (bound - mean) ** 2) / 20_000)
    log_z = 0.0 if model.rbm is None else model.log_partition.value
    assert abs(logs["multi_sample_bound"] - (mean - log_z)) < error
    assert logs["multi_sample_bound"] - logs["elbo"] > 2 * error, "the test must have power"
    model.compile("sgd", LeaveOneOut(2))  # of the bound of one sample
    assert "multi_sample_bound" not in model.evaluate(enumeration.X, verbose=0, return_dict=True)


def test_what_has_no_score_function_is_refused():
    with pytest.raises(ValueError, match=r"`num_samples` must be at least 2: .* Received: num_samples=1"):
        VIMCO(1)
    model = DVAE(image_shape=(2, 3, 1), latent_units=2, network="linear", prior="normal")
    with pytest.raises(ValueError, match=r"all those of .* are continuous: their samples have gradients"):
        VIMCO(2)(model, enumeration.X, seed=0, negative=None)
