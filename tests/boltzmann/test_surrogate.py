"""The surrogate of log Z: its gradient has the right mean and a smaller variance; its value means nothing."""

import numpy as np
import tensorflow as tf

from tfdvae.boltzmann import NegativeSamples, log_partition_surrogate


def exact_gradients(machine):
    """d log Z / d weights in float64, by differentiating the sum over all left states."""
    weights = [tf.constant(w, tf.float64) for w in machine.get_weights()]
    states = np.array(np.meshgrid(*[[0.0, 1.0]] * machine.left_units)).reshape(machine.left_units, -1).T
    with tf.GradientTape() as tape:
        tape.watch(weights)
        left_bias, right_bias, coupling = weights
        hidden = tf.reduce_sum(tf.nn.softplus(states @ coupling + right_bias), axis=1)
        log_z = tf.reduce_logsumexp(tf.linalg.matvec(states, left_bias) + hidden)
    return [g.numpy() for g in tape.gradient(log_z, weights)]


def surrogate_gradients(machine, samples):
    with tf.GradientTape() as tape:
        surrogate = log_partition_surrogate(machine, samples)
    return [g.numpy() for g in tape.gradient(surrogate, machine.trainable_variables)]


def test_the_surrogate_has_the_gradient_of_log_z(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    num_samples = 100_000
    samples = NegativeSamples(*enumerate_machine(machine).draw(num_samples, np.random.default_rng(0)))
    for got, want in zip(surrogate_gradients(machine, samples), exact_gradients(machine), strict=True):
        # Each component is a mean of binary values; 19 of them at 5.5 standard errors.
        error = np.sqrt(want * (1 - want) / num_samples)
        np.testing.assert_array_less(np.abs(got - want), 5.5 * error)


def test_weights_correct_samples_of_another_distribution(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    # Every state once, with its unnormalized probability: the weighted gradient is exact.
    samples = NegativeSamples(
        tf.constant(all_states.lefts, tf.float32),
        tf.constant(all_states.rights, tf.float32),
        tf.constant(np.log(all_states.probabilities) + 123.0, tf.float32),
    )
    want = exact_gradients(machine)
    for got, expected in zip(surrogate_gradients(machine, samples), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    unweighted = surrogate_gradients(machine, samples._replace(log_weights=None))
    assert max(np.abs(g - w).max() for g, w in zip(unweighted, want, strict=True)) > 0.1


def test_the_surrogate_stops_gradients_of_samples_and_weights(make_machine):
    machine = make_machine(4, 3)
    values = [tf.random.stateless_uniform([6, n], [n, 1]) for n in (4, 3)]
    log_weights = tf.random.stateless_uniform([6], [1, 1])
    with tf.GradientTape() as tape:
        tape.watch([*values, log_weights])
        surrogate = log_partition_surrogate(machine, NegativeSamples(*values, log_weights))
    assert tape.gradient(surrogate, [*values, log_weights]) == [None] * 3


def test_the_surrogate_varies_less_than_the_energies(make_machine, enumerate_machine):
    machine = make_machine(3, 2, 1.5)
    states = enumerate_machine(machine)
    of_energy, of_surrogate = [], []
    for left, right in zip(states.lefts, states.rights, strict=True):
        samples = NegativeSamples(*(tf.constant([side], tf.float32) for side in (left, right)))
        of_surrogate.append(np.concatenate([g.ravel() for g in surrogate_gradients(machine, samples)]))
        of_energy.append(np.concatenate([left, right, np.outer(left, right).ravel()]))  # of -E

    def moments(gradients):
        mean = states.probabilities @ gradients
        return mean, states.probabilities @ np.square(gradients - mean)

    means, variances = zip(*(moments(np.array(g)) for g in (of_surrogate, of_energy)), strict=True)
    np.testing.assert_allclose(*means, rtol=1e-5)
    assert np.all(variances[0] < 0.999 * variances[1])
    # A bias gets (unit + its mean given the other side) / 2: at least a quarter of the unit's variance.
    assert np.all(variances[0][:5] > 0.249 * variances[1][:5])
    assert np.sum(variances[0]) < 0.7 * np.sum(variances[1])
