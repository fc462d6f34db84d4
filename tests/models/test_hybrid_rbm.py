"""HybridRBM: its probabilities against sums over all states, in float64."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.oracles import normal_bound
from tests.objectives.enumeration import with_weights
from tfdvae.latents import draws
from tfdvae.models import HybridRBM
from tfdvae.objectives import VIMCO, Autoencoding, MachineOnCodes, schedules

EVERY = np.array(list(itertools.product([0.0, 1.0], repeat=6)), np.float32).reshape(64, 2, 3, 1)
STATES = np.array(list(itertools.product([0.0, 1.0], repeat=3)), np.float32)


@pytest.fixture(scope="module")
def model():
    arguments = dict(network=(4,), data_mean=np.linspace(0.2, 0.8, 6), num_chains=8, seed=2)
    model = with_weights(HybridRBM((2, 3, 1), latent_units=3, hidden_units=2, **arguments))
    model.update_log_partition(seed=0)
    return model


def log_prior(model):
    """log p(z) of the eight states: hidden units summed over one by one."""
    left, right, coupling = (np.float64(w) for w in model.rbm.get_weights())
    h = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
    minus_energy = (STATES @ left)[:, None] + h @ right + STATES @ coupling @ h.T
    log_p = np.logaddexp.reduce(minus_energy, axis=1)
    return log_p - np.logaddexp.reduce(log_p)


def log_joint(model):
    """log p(x, z), `[states, 64]`."""
    logits = np.float64(model.decoder.own.network(STATES)).reshape(8, 1, 6)
    x = EVERY.reshape(64, 6)
    return log_prior(model)[:, None] + np.sum(x * logits - np.log1p(np.exp(logits)), axis=-1)


def test_probabilities_are_those_of_the_sum_over_all_states(model):
    joint = log_joint(model)
    np.testing.assert_allclose(np.exp(joint).sum(), 1.0, rtol=1e-6)
    for state, want in zip(STATES, joint, strict=True):
        got = model.log_joint(EVERY, model.structured([np.tile(state, (64, 1))]))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_the_mean_of_colour_images_centres_the_encoder_alone():
    arguments = dict(latent_units=3, hidden_units=2, network=(4,), likelihood="discretized_logistic_mixture")
    mean = np.random.default_rng(0).integers(0, 256, [2, 3, 3]).astype("float32")
    plain, centred = (HybridRBM((2, 3, 3), data_mean=m, seed=1, **arguments) for m in (None, mean))
    trace = centred.trace(mean[None], draws.Means())
    at_zero = centred.encoder([np.zeros([1, 2, 3, 3], "float32")])
    np.testing.assert_allclose(trace.groups[0].q.logits, at_zero, atol=1e-6)
    for a, b in zip(plain.decoder.get_weights(), centred.decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_likelihood_tends_to_the_sum(model):
    log_p = np.logaddexp.reduce(log_joint(model), axis=0)
    weights = np.exp(np.float64(model.log_weights(EVERY, 4_000, seed=0)) - model.log_partition.value - log_p)
    error = normal_bound(weights.std(axis=0), 4_000)
    got = model.log_likelihood(EVERY, 4_000, seed=0)
    np.testing.assert_array_less(np.abs(np.exp(got - log_p) - 1.0), error + 1e-5)
    assert np.median(error) < 0.2, "the test must have power"


def test_the_kl_has_the_mean_of_the_sum(model):
    log_q = np.stack([model.log_posterior(EVERY, [[np.tile(s, (64, 1))]]) for s in np.float32(STATES)])
    np.testing.assert_allclose(np.exp(log_q).sum(axis=0), 1.0, rtol=1e-5)
    want = np.sum(np.exp(log_q) * (log_q - log_prior(model)[:, None]), axis=0)
    terms = [model.bound_terms(EVERY, draws.Given([np.tile(s, (64, 1))])).kl for s in STATES]
    got = np.sum(np.exp(log_q) * np.stack(terms), axis=0) + model.log_partition.value
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_samples_follow_the_prior(model):
    (z,) = model.sample_prior(20_000, seed=1, num_sweeps=50).groups
    assert z.shape == (20_000, 3)
    counts = np.bincount(np.int64(z.numpy() @ [4.0, 2.0, 1.0]), minlength=8) / 20_000
    want = np.exp(log_prior(model))
    error = normal_bound(np.sqrt(want * (1 - want)), 20_000)
    np.testing.assert_array_less(np.abs(counts - want), error + 1e-4)
    held = tf.constant([0.0, 1.0, 1.0])
    (z,) = model.sample_prior(5, seed=1, given=[[held]]).groups
    np.testing.assert_array_equal(z, np.tile(held, (5, 1)))


def test_three_stages_of_training_raise_the_likelihood():
    arguments = dict(network=(16,), num_chains=20, num_sweeps=5, seed=0)
    model = HybridRBM((2, 3, 1), latent_units=3, hidden_units=4, **arguments)
    places = np.random.default_rng(0).choice([0, 7, 56, 63], 400)

    def log_likelihood():
        model.update_log_partition(seed=0)
        return np.logaddexp.reduce(log_joint_of(model), axis=0)[[0, 7, 56, 63]].mean()

    def log_joint_of(model):
        h = np.float64(model.rbm.free_energy(STATES))
        logits = np.float64(model.decoder.own.network(STATES)).reshape(8, 1, 6)
        x = EVERY.reshape(64, 6)
        log_x = np.sum(x * logits - np.logaddexp(0.0, logits), axis=-1)
        return log_x - (h + np.logaddexp.reduce(-h))[:, None]

    start = log_likelihood()
    figures = []
    for objective, optimizer in (
        (Autoencoding(), keras.optimizers.Adam(0.02)),
        (MachineOnCodes(), keras.optimizers.SGD(0.2)),
        (VIMCO(5), keras.optimizers.Adam(0.01)),
    ):
        model.compile(optimizer, objective)
        history = model.fit(EVERY[places], batch_size=50, epochs=15, verbose=0).history
        figures.append(history["loss"])
    assert all(losses[-1] < losses[0] for losses in figures)
    # Four equally likely images: log 4 = 1.39 nats is the best.
    assert start < -3.5
    assert log_likelihood() > -1.9


@pytest.mark.parametrize(
    "objective",
    [Autoencoding(), MachineOnCodes(2), MachineOnCodes(schedules.linear(1.0, 3.0, 4)), MachineOnCodes()],
)
def test_chains_run_only_where_the_objective_uses_them(objective):
    model = HybridRBM((2, 3, 1), latent_units=3, hidden_units=2, network=(4,), num_chains=8)
    model.compile(keras.optimizers.SGD(0.1), objective)
    chains, coupling = model.negative_phase.left.numpy(), model.rbm.coupling.numpy()
    model.fit(EVERY, batch_size=32, verbose=0)
    runs = getattr(objective, "contrastive_sweeps", 0) is None
    assert np.any(model.negative_phase.left.numpy() != chains) == runs
    assert np.any(model.rbm.coupling.numpy() != coupling) == isinstance(objective, MachineOnCodes)


def test_the_sweeps_of_contrastive_divergence_are_checked():
    with pytest.raises(ValueError, match=r"`contrastive_sweeps` must be .* in \[1, inf\]"):
        MachineOnCodes(0)
    objective = MachineOnCodes(schedules.linear(1.0, 3.0, 4))
    values = [objective.scheduled_values(step)["contrastive_sweeps"] for step in range(5)]
    assert values == [1.0, 1.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_codes_that_are_all_equal_are_refused(run_eagerly):
    model = HybridRBM((2, 3, 1), latent_units=3, hidden_units=2, network=(4,), num_chains=8)
    output = model.encoder.network.layers[-2]
    output.kernel.assign(tf.zeros_like(output.kernel))
    output.bias.assign([40.0, -40.0, 40.0])
    before = model.rbm.get_weights()
    model.compile("sgd", MachineOnCodes(), run_eagerly=run_eagerly)
    with pytest.raises(ValueError, match=r"All images of a batch have the same code: .* `Autoencoding`"):
        model.fit(EVERY, verbose=0)
    for old, new in zip(before, model.rbm.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(EVERY[:4], verbose=0)  # a few images may be alike
    output.bias.assign([40.0, -40.0, 4.0])
    model.fit(EVERY, verbose=0)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_codes_are_clipped_logits_with_noise(dropout):
    class Logits:
        logits = tf.fill([20_000, 2], 0.8) * [1.0, 3.0]

        def noise(self, *, seed, num_samples=None):
            return tf.random.stateless_uniform([20_000, 2], seed)

    code = draws.SoftBinarized([[0, 1]], dropout=dropout)(0, Logits(), None).value.numpy()
    # l + u - 1/2 with l = 0.8: uniform on (0.3, 1.3), clipped to 1 with probability 0.3.
    kept = code[:, 0] > 0
    assert abs(kept.mean() - (1 - dropout)) < normal_bound(0.5, 20_000)
    values = code[kept, 0] * (1 - dropout)
    assert abs((values == 1.0).mean() - 0.3) < normal_bound(0.46, kept.sum())
    assert abs(values.mean() - (0.7 * 0.65 + 0.3)) < normal_bound(0.25, kept.sum())
    assert set(np.unique(code[:, 1] * (1 - dropout))) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"encoder": keras.layers.Dense(3)},
            r"`encoder` must yield the logits of q\(z \| x\), 3 numbers for each image",
        ),
        ({"decoder": keras.layers.Dense(3)}, "`decoder` must yield the parameters of all pixels"),
        ({"data_mean": np.full([1, 2, 3], 0.5)}, r"`data_mean` must be .* Received: shape \(1, 2, 3\)"),
        ({"data_mean": []}, r"`data_mean` must be .* Received: shape \(0,\)"),
        ({"data_mean": np.full(6, 2.0)}, r"`data_mean` must be .* values in \[0, 1\]"),
        ({"network": (0,)}, "`network` must be a positive integer. Received: network=0"),
    ],
)
def test_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        HybridRBM((2, 3, 1), latent_units=3, hidden_units=2, **arguments)
