"""One train_step against the exact gradient of the annealed bound, by quadrature and finite differences."""

import keras
import numpy as np
import pytest
from scipy.stats import t as student

from tests.graphs import slow_but
from tests.models import oracles, smoothed_oracles
from tfdvae.boltzmann import NegativeSamples
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE
from tfdvae.objectives import Elbo, schedules

KL_FACTOR, WEIGHT_DECAY = 0.7, 0.05
IMAGES, REPEATS, STEPS = 2, 5000, 12
CASES = {
    "rbm, exponential": ("rbm", "joint", "overlapping_exponential", {"beta": 3.0}, 30),
    "rbm, logistic": ("rbm", "joint", "overlapping_logistic", {"scale": 0.3}, 90),
    "rbm, spike": ("rbm", "joint", "spike_and_exponential", {"beta": 2.0}, 30),
    "bernoulli, joint": ("bernoulli", "joint", "overlapping_exponential", {"beta": 3.0}, 30),
    "bernoulli, marginal": ("bernoulli", "marginal", "overlapping_exponential", {"beta": 3.0}, 30),
    "bernoulli, marginal, concrete": ("bernoulli", "marginal", "binary_concrete", {"temperature": 0.7}, 100),
}


class EveryState:
    """A negative phase without error: all states, with their weights."""

    def __init__(self, machine):
        self.machine = machine
        z = oracles.states(machine.left_units + machine.right_units).astype(np.float32)
        self.left, self.right = z[:, : machine.left_units], z[:, machine.left_units :]

    starts_from_data = False

    def negative_samples(self, *, seed, left=None):
        return NegativeSamples(self.left, self.right, -self.machine.energy(self.left, self.right))


def build(case, optimizer, **kwargs):
    prior, bound, smoothing, parameters, count = CASES[case]
    model = DVAE(
        image_shape=(1, 2, 1),
        latent_units=(1, 1),
        network=(3,),
        prior=prior,
        bound=bound,
        smoothing=Smoothing(smoothing, **parameters),
        batch_normalization=False,
        weight_decay=WEIGHT_DECAY,
        data_mean=np.full([1, 2, 1], 0.6),
    )
    oracles.randomize(model, seed=4)
    if model.rbm is not None:
        model.negative_phase = EveryState(model.rbm)
        model.update_log_partition()
    model.compile(optimizer, Elbo(**{"kl_factor": KL_FACTOR, **kwargs}))
    law = smoothed_oracles.LAWS[smoothing](*parameters.values(), count=count)
    return model, law, oracles.images(model, IMAGES, seed=1)


def exact_terms(model, law, x):
    """(reconstruction, KL with log Z, weight decay), means over the images."""
    exact = smoothed_oracles.SmoothedDVAE(model, x, law)
    kl = exact.joint_kl
    if model.rbm is None and model.bound == "marginal":
        kl = exact.log_q - exact.log_p_zeta
    kernels = [w for w in model.trainable_variables if w.path.endswith("kernel")]
    decay = WEIGHT_DECAY * sum(np.sum(np.float64(w) ** 2) for w in kernels)
    return exact.expectation(exact.log_likelihood).mean(), exact.expectation(kl).mean(), decay


def exact_gradients(model, law, x):
    def objective():
        reconstruction, kl, decay = exact_terms(model, law, x)
        return KL_FACTOR * kl - reconstruction + decay

    gradients = []
    for variable in model.trainable_variables:
        start = variable.numpy()
        gradient = np.zeros(start.shape)
        for index in np.ndindex(start.shape):
            values, places = [], []
            for step in (1e-3, -1e-3):
                moved = start.copy()
                moved[index] += step
                variable.assign(moved)
                values.append(objective())
                places.append(np.float64(moved[index]))
            gradient[index] = (values[0] - values[1]) / (places[0] - places[1])
        variable.assign(start)
        gradients.append(gradient)
    return gradients


FAST = [("rbm, exponential", 1), ("rbm, spike", 1), ("bernoulli, joint", 1), ("bernoulli, marginal", 1)]


@pytest.mark.parametrize(
    ("case", "training_samples"),
    slow_but(FAST, [*((case, 1) for case in CASES), ("rbm, exponential", 3)]),
)
def test_update_is_the_gradient_of_the_annealed_bound(case, training_samples):
    model, law, x = build(case, keras.optimizers.SGD(1.0), training_samples=training_samples)
    start = [v.numpy() for v in model.trainable_variables]
    exact = exact_gradients(model, law, x)
    reconstruction, kl, decay = exact_terms(model, law, x)
    batch = np.repeat(x, REPEATS, axis=0)
    updates, logs = [], []
    for _ in range(STEPS):
        for variable, value in zip(model.trainable_variables, start, strict=True):
            variable.assign(value)
        model.reset_metrics()
        logs.append(model.train_on_batch(batch, return_dict=True))
        updates.append([a - v.numpy() for a, v in zip(start, model.trainable_variables, strict=True)])
    assert int(model.step.numpy()) == STEPS
    # Student's law, with a false-failure rate of 1e-6 shared by all entries.
    entries = sum(v.size for v in start)
    factor = student.isf(1e-6 / (2 * entries), STEPS - 1) / np.sqrt(STEPS)
    largest = max(np.abs(g).max() for g in exact)
    for variable, gradient, *samples in zip(model.trainable_variables, exact, *updates, strict=True):
        samples = np.float64(samples)
        tolerance = factor * samples.std(axis=0, ddof=1) + 1e-5 * largest
        assert (np.abs(samples.mean(axis=0) - gradient) < tolerance).all(), variable.path
        assert tolerance.max() < 0.1 * largest, "the test must have power"
        assert np.abs(gradient).max() > 1e-3, "the gradient must not be trivial"
    # The logs are of the bound: without annealing in `elbo` and `kl`, and with log Z, never the surrogate.
    wanted = {
        "reconstruction": reconstruction,
        "kl": kl,
        "elbo": reconstruction - kl,
        "loss": KL_FACTOR * kl - reconstruction + decay,
    }
    for name, want in wanted.items():
        values = np.float64([log[name] for log in logs])
        tolerance = factor * values.std(ddof=1) + 1e-5
        assert abs(values.mean() - want) < tolerance < 0.05, name


@pytest.mark.slow
def test_logs_contain_the_stored_log_partition_and_nothing_of_the_surrogate():
    model, _, x = build("rbm, exponential", keras.optimizers.SGD(0.0))
    batch = np.repeat(x, 10, axis=0)

    def logs():
        model.step.assign(0)  # the same random numbers
        model.reset_metrics()
        return model.train_on_batch(batch, return_dict=True)

    first = logs()
    exact = model.log_partition
    model.update_log_partition(type(exact)(exact.value + 50.0, 0.0))
    second = logs()
    for name, change in {"loss": KL_FACTOR * 50, "elbo": -50, "kl": 50, "reconstruction": 0}.items():
        np.testing.assert_allclose(second[name] - first[name], change, atol=2e-5)
    # Other negative samples give the surrogate another value, and leave every log as it was.
    phase = model.negative_phase
    phase.left, phase.right = phase.left[:1] + 100.0, phase.right[:1] + 100.0
    model.make_train_function(force=True)
    assert logs() == second


def test_surrogate_follows_the_kl_factor_and_the_prior_alone():
    # With a KL factor of 0 the machine and its log Z do not count at all.
    model, _, x = build("rbm, exponential", keras.optimizers.SGD(1.0), kl_factor=0.0)
    before = model.rbm.get_weights()
    model.train_on_batch(x)
    for a, b in zip(before, model.rbm.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_schedules_are_of_the_models_own_step():
    beta = schedules.linear(2.0, 6.0, 4)
    model = DVAE(
        image_shape=(1, 2, 1),
        latent_units=(2,),
        network="linear",
        prior="bernoulli",
        bound="marginal",
        smoothing=Smoothing("overlapping_exponential", beta=beta),
    )
    oracles.randomize(model)
    warmup = Elbo(kl_factor=schedules.linear(0.0, 1.0, 4))
    model.compile(keras.optimizers.SGD(0.0), warmup, steps_per_execution=2)
    x = oracles.images(model, 4)
    law = smoothed_oracles.LAWS["overlapping_exponential"]
    log_p = []
    for step in range(0, 8, 2):
        now = min(2.0 + step, 6.0)
        exact = smoothed_oracles.SmoothedDVAE(model, x, law(now))
        log_w = np.float64(model.log_likelihood(x, 20_000, seed=step, limit="smoothed"))
        np.testing.assert_allclose(log_w, exact.log_p, atol=0.05)
        log_p.append(exact.log_p)
        model.reset_metrics()
        model.fit(x, batch_size=2, verbose=0)
        assert int(model.step.numpy()) == step + 2
    assert np.abs(log_p[0] - log_p[2]).max() > 0.1
    # At the last step the KL counts in full.
    values = model.fit(x, batch_size=4, verbose=0).history
    np.testing.assert_allclose(values["loss"], -np.array(values["elbo"]), rtol=1e-5)


@pytest.mark.slow
def test_more_samples_of_the_latents_mean_less_noise():
    """Of updates by one small batch without error in the machine's gradient."""

    def variance(training_samples):
        model, _, x = build("rbm, exponential", keras.optimizers.SGD(1.0), training_samples=training_samples)
        start, updates = [v.numpy() for v in model.trainable_variables], []
        for _ in range(150):
            for variable, value in zip(model.trainable_variables, start, strict=True):
                variable.assign(value)
            model.train_on_batch(x)
            updates.append(np.concatenate([np.ravel(v) for v in model.trainable_variables]))
        return np.var(updates, axis=0, ddof=1).sum()

    # 4 in expectation. Estimates from 150 updates are within 60 % of that (more than 5 standard errors for
    # sums of normal variables, of which a single one has the error 0.163).
    assert 4 / 1.6**2 < variance(1) / variance(4) < 4 * 1.6**2
