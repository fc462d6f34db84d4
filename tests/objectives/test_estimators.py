"""Gradients of the single-sample bound: their means over all draws against the sum over all states."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.objectives import enumeration
from tfdvae.latents import Bernoulli, draws
from tfdvae.models import DVAE, HybridRBM
from tfdvae.objectives import NVIL, REBAR, Concrete, DisARM, LeaveOneOut, MuProp, ReinMax, StraightThrough


@pytest.fixture(scope="module", params=["hybrid", "directed"])
def model(request):
    return getattr(enumeration, request.param)()


@pytest.fixture(scope="module")
def hybrid():
    return enumeration.hybrid()


def test_leave_one_out_is_unbiased(model):
    want = enumeration.gradient(lambda: enumeration.elbo(model), model)
    got = enumeration.mean_gradient(model, LeaveOneOut(2), 2)
    assert enumeration.differences(got, want) < 1e-5


def test_disarm_is_unbiased(hybrid):
    want = enumeration.gradient(lambda: enumeration.elbo(hybrid), hybrid)
    got = enumeration.mean_gradient_of_noise(hybrid, DisARM(), lambda q: (q, 1 - q))
    assert enumeration.differences(got, want) < 1e-5


def test_muprop_is_unbiased(model):
    want = enumeration.gradient(lambda: enumeration.elbo(model), model)
    got = enumeration.mean_gradient(model, MuProp(), 1)
    assert enumeration.differences(got, want) < 1e-5


@pytest.mark.parametrize("normalize", [False, True])
def test_nvil_is_unbiased_up_to_its_scale(model, normalize):
    """The scale is that of the gradient of q alone; the baseline's own gradient is that of its error."""
    objective = NVIL(hidden_units=(3,), normalize=normalize)
    model.compile("adam", objective)
    baseline = model.objective_layer

    def reset():
        baseline.mean.assign(-2.0)
        baseline.variance.assign(4.0)

    def ascended():
        log_joint, log_q = enumeration.log_terms(model)
        q = tf.exp(log_q)
        # The same sum, each side's gradient on its own.
        of_p = tf.reduce_sum(tf.stop_gradient(q) * log_joint)
        of_q = tf.reduce_sum(q * tf.stop_gradient(log_joint - log_q))
        values = tf.stop_gradient(log_joint - log_q) - baseline.network([enumeration.X.reshape(1, 6)])[0]
        error = tf.reduce_sum(tf.stop_gradient(q) * tf.square(values + 2.0))
        return of_p + of_q / (2.0 if normalize else 1.0) - 0.5 * error

    want = enumeration.gradient(ascended, model)
    got = enumeration.mean_gradient(model, objective, 1, reset)
    assert enumeration.differences(got, want) < 1e-5
    assert model.parameter_groups()["objective"] == baseline.trainable_variables
    reset()
    baseline.update(tf.constant([1.0, 3.0]), 0.75)
    np.testing.assert_allclose([baseline.mean, baseline.variance], [0.75 * -2 + 0.25 * 2, 0.75 * 4 + 0.25])
    model.compile("adam", NVIL(hidden_units=(2,)))
    assert len(model.parameter_groups()["objective"]) == 4
    model.compile("adam")
    assert "objective" not in model.parameter_groups()


def test_rebar_is_unbiased(hybrid):
    """Over 200,000 draws, in parts whose means tell the error."""
    want = enumeration.gradient(lambda: enumeration.elbo(hybrid), hybrid)
    objective = REBAR(scale=0.7, temperature=0.8)
    hybrid.compile("adam", objective)
    x = np.repeat(enumeration.X, 10_000, axis=0)
    variables = [v for v in hybrid.trainable_variables if "log_" not in v.name]
    parts = []
    for seed in range(20):
        with tf.GradientTape() as tape:
            loss = objective(hybrid, x, seed=seed, negative=None).loss
        parts.append(np.concatenate([-np.ravel(g) for g in tape.gradient(loss, variables)]))
    want = np.concatenate([np.ravel(g) for g in want])
    error = np.std(parts, axis=0, ddof=1) / np.sqrt(20)
    # Student's t with 19 degrees of freedom, two sides: 6.5 has a probability of 3e-6.
    np.testing.assert_array_less(np.abs(np.mean(parts, axis=0) - want), 6.5 * error + 1e-6)
    assert np.median(error) < 0.01 * np.abs(want).max(), "the test must have power"
    hybrid.compile("adam")


def test_the_scale_of_rebar_descends_the_variance(hybrid):
    """Against finite differences of the mean squared gradient of the logits, with the same noise."""
    objective = REBAR(scale=0.7, temperature=0.8)
    hybrid.compile("adam", objective)
    x, own = np.repeat(enumeration.X, 200, axis=0), hybrid.objective_layer.trainable_variables
    law = Bernoulli.__init__

    def squared():
        # The encoder's last bias adds to the logits: with a copy for each image it gives their gradients.
        shifts = tf.Variable(tf.zeros([200, 2]))

        def shifted(self, logits, event_ndims=1):
            law(self, logits + shifts if logits.shape[0] == 200 else logits, event_ndims)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Bernoulli, "__init__", shifted)
            with tf.GradientTape() as tape:
                loss = objective(hybrid, x, seed=3, negative=None).loss
            return 200 * float(tf.reduce_sum(tf.square(tape.gradient(loss, shifts))))

    with tf.GradientTape() as tape:
        loss = objective(hybrid, x, seed=3, negative=None).loss
    got = [float(g) for g in tape.gradient(loss, own)]
    for variable, slope in zip(own, got, strict=True):
        start = float(variable)
        values = []
        for change in (0.02, -0.02):
            variable.assign(start + change)
            values.append(squared())
        variable.assign(start)
        np.testing.assert_allclose(slope, (values[0] - values[1]) / 0.04, rtol=0.02)
    hybrid.compile("adam")


def test_a_wrong_coefficient_is_found(hybrid, monkeypatch):
    want = enumeration.gradient(lambda: enumeration.elbo(hybrid), hybrid)
    log_prob = Bernoulli.log_prob

    def scaled(self, value):
        score = log_prob(self, value)
        return score + 0.1 * (score - tf.stop_gradient(score))

    monkeypatch.setattr(Bernoulli, "log_prob", scaled)
    assert enumeration.differences(enumeration.mean_gradient(hybrid, LeaveOneOut(2), 2), want) > 1e-3
    monkeypatch.setattr(tf, "sigmoid", lambda x: tf.nn.sigmoid(1.1 * x))
    got = enumeration.mean_gradient_of_noise(hybrid, DisARM(), lambda q: (q, 1 - q))
    assert enumeration.differences(got, want) > 1e-3


@pytest.mark.parametrize(
    ("draw", "is_exact"),
    [(draws.StraightThrough, (True, False, False)), (draws.ReinMax, (True, True, False))],
)
def test_the_order_of_biased_gradients(draw, is_exact, monkeypatch):
    """Of the mean of a function of one unit, by its degree; both intervals of the noise."""
    for degree, exact in enumerate(is_exact, 1):
        logit = tf.Variable([[0.8]])
        q = float(tf.sigmoid(logit)[0, 0])
        mean = 0.0
        for noise, length in (((1 - q) / 2, 1 - q), (1 - q / 2, q)):
            monkeypatch.setattr(Bernoulli, "noise", lambda *_, u=noise, **__: tf.constant([[u]]))
            with tf.GradientTape() as tape:
                value = draw([0])(0, Bernoulli(tf.convert_to_tensor(logit)), None).value
                loss = (value + 0.3) ** degree
            mean += length * float(tape.gradient(loss, logit)[0, 0])
        want = q * (1 - q) * (1.3**degree - 0.3**degree)
        assert (abs(mean - want) < 1e-5) == exact


@pytest.mark.parametrize("objective", [StraightThrough, ReinMax])
def test_the_bias_of_the_bound_is_moderate(hybrid, objective):
    """They point uphill: the cosine with the gradient in the encoder's weights."""
    want = enumeration.gradient(lambda: enumeration.elbo(hybrid), hybrid)
    got = enumeration.mean_gradient_of_noise(hybrid, objective(), lambda q: (1 - q,))
    encoder = {id(v) for v in hybrid.encoder.trainable_variables}
    pairs = [
        (np.ravel(a), np.ravel(b))
        for a, b, v in zip(got, want, hybrid.trainable_variables, strict=True)
        if id(v) in encoder
    ]
    got, want = (np.concatenate(side) for side in zip(*pairs, strict=True))
    assert got @ want > 0.8 * np.linalg.norm(got) * np.linalg.norm(want)


def test_concrete_bounds_tend_to_the_binary_one():
    """The form of the Bernoulli variables does, to that of hard samples; that of densities stays a bound."""
    model, n = enumeration.directed(), 4_000
    x = np.repeat(enumeration.X, n, axis=0)
    elbo = float(enumeration.elbo(model))
    log_p = float(tf.reduce_logsumexp(enumeration.log_terms(model)[0]))
    for kl in ("bernoulli", "density"):
        objective = Concrete(0.02, kl=kl)
        reconstruction, terms = objective.terms(model, x, seed=0, seed_dropout=None)
        values = np.float64(reconstruction - tf.reduce_sum(terms, axis=0))
        error = 6 * values.std() / np.sqrt(n)
        assert values.mean() < log_p + error
        assert abs(values.mean() - elbo) < error + 0.05, kl


def test_concrete_rejects():
    with pytest.raises(ValueError, match=r"`kl` must be one of .* Received: kl='closed'"):
        Concrete(kl="closed")
    with pytest.raises(ValueError, match=r"`temperature` must be in .* Received: temperature=0\.0"):
        Concrete(0.0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"`num_samples` must be at least 2: .* Received: num_samples=1"):
        LeaveOneOut(1)
    with pytest.raises(ValueError, match=r"Antithetic samples are for one group .* group 1, a Bern"):
        DisARM()(enumeration.directed(), enumeration.X, seed=0, negative=None)
    normal = DVAE((2, 3, 1), latent_units=2, network="linear", prior="normal")
    for objective, message in (
        (LeaveOneOut(), "continuous"),
        (DisARM(), "Antithetic samples are for one group of binary .* group 0, a Normal"),
        (MuProp(), r"one of discrete latents alone, and groups \[0\] of"),
        (ReinMax(), "ReinMax is for binary latents here. Received: group 0, a Normal"),
    ):
        with pytest.raises(ValueError, match=message):
            objective(normal, enumeration.X, seed=0, negative=None)


def test_muprop_needs_networks_with_gradients():
    """A decoder of the user's that rounds has none."""

    class Rounded(keras.layers.Layer):
        def call(self, x):
            return tf.round(x)

    decoder = keras.Sequential([keras.layers.Input((2,)), Rounded(), keras.layers.Dense(6)])
    model = HybridRBM((2, 3, 1), latent_units=2, hidden_units=2, network=(3,), decoder=decoder)
    with pytest.raises(ValueError, match=r"MuProp needs gradients .* 'hybrid_rbm.*' p\(x \| z\) has none"):
        model.compile("sgd", MuProp())
