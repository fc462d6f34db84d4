"""A model of two binary latents whose states are summed over, for tests of gradient estimators."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.latents import Bernoulli, draws
from tfdvae.models import DVAE, HybridRBM

X = np.array([[1, 0, 1, 1, 0, 0]], np.float32).reshape(1, 2, 3, 1)
STATES = np.array(list(itertools.product([0.0, 1.0], repeat=2)), np.float32)


def hybrid():
    """With hidden units, one group."""
    return with_weights(
        HybridRBM(image_shape=(2, 3, 1), latent_units=2, hidden_units=2, network=(3,), seed=1)
    )


def directed():
    """A factorial prior, two groups of one unit."""
    arguments = dict(network=(3,), prior="bernoulli", batch_normalization=False, seed=1)
    return with_weights(DVAE(image_shape=(2, 3, 1), latent_units=(1, 1), **arguments))


def with_weights(model):
    """The model with random weights, far from zero."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0.0, 0.7, variable.shape))
    return model


def groups(model, states):
    """States `[..., 2]` as the groups of a model."""
    units = [shape[0] for field in model.latent_shapes for shape in field]
    return np.split(np.asarray(states, np.float32), np.cumsum(units)[:-1], axis=-1)


def log_terms(model, x=X):
    """log p*(x, z) and log q(z | x) of the four states of z."""
    x = np.repeat(x, 4, axis=0)
    latents = model.structured(groups(model, STATES))
    trace = model.trace(x, draws.Given([v for field in latents for v in field]))
    log_prior = -model.prior.energy(trace.values) if model.rbm is not None else 0.0
    for group in trace.directed:
        log_prior += tf.reduce_sum(group.p().log_prob(group.value), axis=-1)
    log_q = sum(tf.reduce_sum(g.q.log_prob(g.value), axis=-1) for g in trace.groups)
    return model.log_prob_of_pixels(x, trace) + log_prior, log_q


def gradient(function, model):
    """The gradient of `function()` in the model's weights."""
    with tf.GradientTape() as tape:
        value = function()
    return tape.gradient(value, model.trainable_variables)


def elbo(model):
    """The bound of one sample: the sum over the four states."""
    log_joint, log_q = log_terms(model)
    return tf.reduce_sum(tf.exp(log_q) * (log_joint - log_q))


def mean_gradient(model, objective, num_samples, reset=None):
    """Minus the gradient of the loss of some samples for an image, summed over all of them with their law.

    `reset()` comes before each.
    """
    total, log_q = [0.0] * len(model.trainable_variables), log_terms(model)[1]
    for places in itertools.product(range(4), repeat=num_samples):
        given = draws.Given(groups(model, STATES[list(places)][:, None]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(model), "draw", lambda *_, given=given, **__: given)
            if reset is not None:
                reset()
            one = gradient(lambda: objective(model, X, seed=0, negative=None).loss, model)
        probability = tf.exp(tf.reduce_sum(tf.gather(log_q, places)))
        total = [a - probability * b for a, b in zip(total, one, strict=True)]
    return total


def mean_gradient_of_noise(model, objective, edges):
    """The same of one group, over intervals of the uniform noise of its units in which nothing changes.

    `edges(q)` are the ends of the intervals of a unit that is 1 with probability q.
    """
    (group,) = model.trace(X, draws.Posterior([0])).groups
    intervals = []
    for q in group.q.mean.numpy()[0]:
        ends = np.unique(np.clip([0.0, *edges(q), 1.0], 0.0, 1.0))
        intervals.append([((a + b) / 2, b - a) for a, b in itertools.pairwise(ends)])
    total = [0.0] * len(model.trainable_variables)
    for combination in itertools.product(*intervals):
        noise, lengths = np.float32(combination).T
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Bernoulli, "noise", lambda *_, noise=noise, **__: tf.constant(noise[None]))
            one = gradient(lambda: objective(model, X, seed=0, negative=None).loss, model)
        total = [a - np.prod(lengths) * (0.0 if b is None else b) for a, b in zip(total, one, strict=True)]
    return total


def differences(got, want):
    """The largest difference of two lists of gradients; `want` must be far from zero."""
    assert max(np.abs(w).max() for w in want) > 0.05, "the test must have power"
    return max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(got, want, strict=True))
