"""Wake-sleep: the gradients of its phases against tapes of their own, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from tests.objectives import enumeration
from tfdvae.boltzmann import NegativeSamples
from tfdvae.latents import draws
from tfdvae.objectives import WakeSleep

K, SEED = 3, 5


@pytest.fixture(scope="module", params=["hybrid", "directed"])
def model(request):
    return getattr(enumeration, request.param)()


class Recorded(draws.Posterior):
    """Draws that are kept."""

    def __call__(self, i, q, p):
        value = super().__call__(i, q, p)
        self.values[i] = value.value
        return value


def gradients(model, objective, negative, patch):
    """The gradient of the objective, the samples that it has drawn, and its dreams."""
    drawn, dreams = {}, {}
    generate = type(model).generate

    def draw(self, limit, *, seed, num_samples=None):
        recorded = Recorded(self.group_seeds(seed), num_samples)
        recorded.values = drawn
        return recorded

    def dream(self, trace, *, seed):
        dreams["images"], dreams["latents"] = generate(self, trace, seed=seed).images, trace.values
        return generate(self, trace, seed=seed)

    patch.setattr(type(model), "draw", draw)
    patch.setattr(type(model), "generate", dream)
    with tf.GradientTape() as tape:
        terms = objective(model, enumeration.X, seed=SEED, negative=negative)
        loss = terms.loss
    return tape.gradient(loss, model.trainable_variables), [drawn[i] for i in sorted(drawn)], dreams


def test_each_side_has_its_gradient(model, monkeypatch):
    """Written out from the scores of the same samples and dreams."""
    negative = None
    if model.rbm is not None:
        left = enumeration.STATES[[1, 3, 2, 3, 0]]
        negative = NegativeSamples(tf.constant(left), tf.zeros([5, 2]))
    objective = WakeSleep(K, wake_factor=0.5, sleep_factor=2.0)
    got, values, dreams = gradients(model, objective, negative, monkeypatch)

    def scores(x, values):
        trace = model.trace(x, draws.Given(values))
        log_q = sum(tf.reduce_sum(g.q.log_prob(g.value), axis=-1) for g in trace.groups)
        prior = -model.prior.energy(trace.values) if model.rbm is not None else 0.0
        prior += sum(tf.reduce_sum(g.p().log_prob(g.value), axis=-1) for g in trace.directed)
        return model.log_prob_of_pixels(x, trace) + prior, log_q

    variables = model.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        log_joint, log_q = scores(enumeration.X, values)
        weights = tf.stop_gradient(tf.nn.softmax(log_joint - log_q, axis=0))
        phases = [tf.reduce_sum(weights * score) for score in (log_joint, log_q)]
        phases.append(tf.reduce_mean(scores(dreams["images"], dreams["latents"])[1]))
    of_p, wake, sleep = (
        [np.zeros(v.shape) if g is None else g.numpy() for v, g in zip(variables, gradient, strict=True)]
        for gradient in (tape.gradient(phase, variables) for phase in phases)
    )
    of_q = [0.5 * a + 2.0 * b for a, b in zip(wake, sleep, strict=True)]
    assert all(not np.any(p) or not np.any(q) for p, q in zip(of_p, of_q, strict=True))
    want = [-(p + q) for p, q in zip(of_p, of_q, strict=True)]
    assert enumeration.differences(got, want) < 1e-5
    if negative is not None:
        np.testing.assert_array_equal(dreams["latents"][0], negative.left)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "`num_samples` must be a positive integer. Received: num_samples=0"),
        ({"wake_factor": -1.0}, "`wake_factor` must be finite and not negative. Received: wake_factor=-1.0"),
        ({"wake_factor": 0, "sleep_factor": 0}, "must not both be 0: nothing would train q. Received"),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        WakeSleep(**arguments)
