"""Annealed samples against enumeration: weighted means, gradients, and where chains start."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.oracles import normal_bound
from tfdvae.boltzmann import AnnealedSamples, log_partition_surrogate


@pytest.fixture
def sampled(make_machine):
    """With so few temperatures that the weights count."""
    machine = make_machine(4, 3, scale=2.0)
    phase = AnnealedSamples(machine, num_chains=40_000, num_temperatures=2)
    return machine, phase, phase.negative_samples(seed=0)


def error_of_mean(weights, deviations):
    """Of a self-normalized mean (delta method), for `normal_bound` of one sample."""
    return np.sqrt(np.sum((weights[:, None] * deviations) ** 2, axis=0))


def test_weighted_samples_have_the_moments_of_the_machine(sampled, enumerate_machine):
    machine, _, samples = sampled
    exact = enumerate_machine(machine)
    weights = np.exp(samples.log_weights - np.logaddexp.reduce(samples.log_weights))
    for values, states in ((samples.left.numpy(), exact.lefts), (samples.right.numpy(), exact.rights)):
        want = exact.probabilities @ states
        error = normal_bound(error_of_mean(weights, values - want), 1)
        np.testing.assert_array_less(np.abs(weights @ values - want), error)
        assert error.max() < 0.05
    # Without the weights they have not.
    assert np.abs(samples.left.numpy().mean(axis=0) - exact.probabilities @ exact.lefts).max() > 0.05


def test_the_gradient_is_that_of_log_z(sampled, enumerate_machine):
    machine, _, samples = sampled
    exact = enumerate_machine(machine)
    with tf.GradientTape() as tape:
        surrogate = log_partition_surrogate(machine, samples)
    gradients = tape.gradient(surrogate, [machine.left_bias.value, machine.coupling.value])
    pairs = exact.lefts[:, :, None] * exact.rights[:, None, :]
    for got, states in zip(gradients, (exact.lefts, pairs), strict=True):
        np.testing.assert_allclose(got, np.tensordot(exact.probabilities, states, 1), atol=0.03)


def test_chains_start_by_the_weights(sampled, enumerate_machine):
    machine, phase, _ = sampled
    want = enumerate_machine(machine).probabilities @ enumerate_machine(machine).lefts
    starts = phase.start(20_000, seed=1).numpy()
    assert set(np.unique(starts)) == {0.0, 1.0}
    # Drawn from weighted samples: the errors of both.
    np.testing.assert_allclose(starts.mean(axis=0), want, atol=0.05)
    np.testing.assert_array_equal(starts, phase.start(20_000, seed=1))
    with pytest.raises(ValueError, match="Annealed samples have no seeds of rows"):
        phase.start(2, seed=np.zeros([2, 2], np.int32))


def test_rejects_numbers(make_machine):
    for name in ("num_chains", "num_temperatures"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}=0"):
            AnnealedSamples(make_machine(4, 3), **{name: 0})
