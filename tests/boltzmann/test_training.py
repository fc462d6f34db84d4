import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae.boltzmann import (
    GibbsState,
    NegativeSamples,
    PersistentChains,
    RBMTrainer,
    RestrictedBoltzmannMachine,
    gibbs_sweeps,
    log_partition,
)
from tfdvae.boltzmann.chains import random_members
from tfdvae.boltzmann.pseudo_likelihood import stochastic_pseudo_log_likelihood

LEFT, RIGHT = 5, 3
STATES = np.array(list(itertools.product((0, 1), repeat=LEFT)), np.float32)


def log_probabilities(weights):
    """log p(left) of all `STATES`, by a sum over all states of the right side, in float64."""
    left_bias, right_bias, coupling = (np.asarray(w, np.float64) for w in weights)
    rights = np.array(list(itertools.product((0, 1), repeat=len(right_bias))))
    lefts = STATES.astype(np.float64)
    log_joint = (lefts @ left_bias)[:, None] + rights @ right_bias + lefts @ coupling @ rights.T
    log_marginal = np.logaddexp.reduce(log_joint, axis=1)
    return log_marginal - np.logaddexp.reduce(log_marginal)


def index(x):
    """The place of vectors in `STATES`."""
    return np.asarray(x).astype(int) @ (1 << np.arange(LEFT)[::-1])


def draw(machine, count, seed=0):
    probabilities = np.exp(log_probabilities(machine.get_weights()))
    rows = np.random.default_rng(seed).choice(len(STATES), count, p=probabilities / probabilities.sum())
    return STATES[rows]


def gradient_by_differences(weights, x, step=1e-5):
    """Of the mean of log p(x) over `x`, by central differences in float64."""
    weights = [np.asarray(w, np.float64) for w in weights]
    gradients = []
    for i, weight in enumerate(weights):
        gradient = np.zeros_like(weight)
        for place in np.ndindex(weight.shape):
            ends = []
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[i][place] += sign * step
                ends.append(log_probabilities(moved)[index(x)].mean())
            gradient[place] = (ends[0] - ends[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


@keras.saving.register_keras_serializable(package="test")
class AllStates(keras.layers.Layer):
    """A negative phase without any error: all left states with their exact weights."""

    def __init__(self, rbm, **kwargs):
        super().__init__(**kwargs)
        self._machine = lambda: rbm

    def get_config(self):
        return {"name": self.name}

    starts_from_data = False

    def start(self, num_samples, *, seed):
        return random_members(STATES, num_samples, seed=seed)

    def negative_samples(self, *, seed, left=None):
        right = tf.zeros([len(STATES), self._machine().right_units])
        return NegativeSamples(tf.constant(STATES), right, 7.0 - self._machine().free_energy(STATES))


class Hot(PersistentChains):
    """Wrong: chains at another temperature."""

    def negative_samples(self, *, seed, left=None):
        state = GibbsState(tf.convert_to_tensor(self.left), tf.convert_to_tensor(self.right))
        state = gibbs_sweeps(self._parameters, state, self.num_sweeps, seed=seed, inverse_temperature=0.7)
        return NegativeSamples(*state)


def step_of(trainer, x):
    """What one update with rate 1 changes, a list of arrays."""
    before = trainer.rbm.get_weights()
    trainer.optimizer.learning_rate = 1.0
    trainer.fit(x, batch_size=len(x), epochs=1, shuffle=False, verbose=0)
    return [after - b for after, b in zip(trainer.rbm.get_weights(), before, strict=True)]


def compiled(rbm, negative_phase, optimizer=None, steps_per_execution=1, **kwargs):
    trainer = RBMTrainer(rbm, negative_phase, **kwargs)
    trainer.compile(optimizer or keras.optimizers.SGD(0.0), steps_per_execution=steps_per_execution)
    return trainer


# --- the gradient ---


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_a_step_is_the_gradient_of_the_exact_log_likelihood(weight_decay, make_machine):
    machine = make_machine(LEFT, RIGHT)
    x = np.random.default_rng(1).integers(0, 2, (37, LEFT)).astype(np.float32)
    want = gradient_by_differences(machine.get_weights(), x)
    want[2] = want[2] - 2 * weight_decay * machine.coupling.numpy()
    got = step_of(compiled(machine, AllStates(machine), weight_decay=weight_decay), x)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
        assert np.abs(b).max() > 0.05


def largest_error(machine, phase, num_samples, warm_up, want=None, **kwargs):
    """Of the components of a step, in standard errors of `num_samples` binary samples."""
    trainer = compiled(machine, phase, **kwargs)
    x = STATES[:20]
    trainer.fit(x, batch_size=20, epochs=warm_up, verbose=0)  # with rate 0
    probabilities = np.exp(log_probabilities(machine.get_weights()))
    right = 1 / (1 + np.exp(-(STATES @ machine.coupling.numpy() + machine.right_bias.numpy())))
    moments = probabilities @ STATES, probabilities @ right, STATES.T @ (probabilities[:, None] * right)
    want = gradient_by_differences(machine.get_weights(), x)
    errors = []
    for got, exact, moment in zip(step_of(trainer, x), want, moments, strict=True):
        # Without the sum over the right side the variance of a component is that of a binary value.
        errors.append(np.abs(got - exact) / np.sqrt(moment * (1 - moment) / num_samples))
    return max(np.max(e) for e in errors)


@pytest.mark.parametrize(
    ("phase", "numbers"),
    [
        ("pcd", dict(num_chains=20_000, num_sweeps=10)),
        ("tempered", dict(num_chains=4000, num_sweeps=6, num_temperatures=3)),
    ],
)
def test_persistent_chains_give_the_gradient_within_their_error(phase, numbers, make_machine):
    machine = make_machine(LEFT, RIGHT, 0.8)
    # 23 components at 5.5 standard errors: a rate of false failures of 1e-6.
    assert largest_error(machine, phase, numbers["num_chains"], 4, **numbers) < 5.5


def test_chains_at_another_temperature_are_found_out(make_machine):
    machine = make_machine(LEFT, RIGHT, 0.8)
    assert largest_error(machine, Hot(machine, 20_000, 10), 20_000, 4) > 5.5


def test_contrastive_divergence_has_the_mean_of_its_definition(make_machine):
    machine = make_machine(LEFT, RIGHT)
    left_bias, right_bias, coupling = (w.astype(np.float64) for w in machine.get_weights())
    rights = np.array(list(itertools.product((0, 1), repeat=RIGHT)))

    def bernoulli(values, logits):
        return np.prod(np.where(values == 1, 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits))), axis=-1)

    # p(left' | left) over all states, of one sweep.
    to_right = bernoulli(rights[None], (STATES @ coupling + right_bias)[:, None])
    to_left = bernoulli(STATES[None], (rights @ coupling.T + left_bias)[:, None])
    data = np.ones(len(STATES)) / len(STATES)
    after = data @ to_right @ to_left
    right = 1 / (1 + np.exp(-(STATES @ coupling + right_bias)))
    difference = data - after
    want = difference @ STATES, difference @ right, STATES.T @ (difference[:, None] * right)
    copies = 2000
    trainer = compiled(machine, "cd", num_sweeps=1)
    got = step_of(trainer, np.tile(STATES, (copies, 1)))
    exact = gradient_by_differences(machine.get_weights(), STATES)
    for a, b, c in zip(got, want, exact, strict=True):
        # Binary values or less have a variance of 1/4 at most.
        error = 0.5 / np.sqrt(copies * len(STATES))
        assert np.abs(a - b).max() < 5.5 * error
        assert np.abs(a - c).max() > 5.5 * error  # it is another gradient than that of the likelihood


# --- training ---


@pytest.fixture(scope="module")
def teacher():
    """A machine whose units depend on one another, and samples of it."""
    rng = np.random.default_rng(5)
    coupling = 2.0 * rng.normal(size=(LEFT, RIGHT))
    left_bias, right_bias = -coupling.sum(axis=1) / 2, -coupling.sum(axis=0) / 2
    machine = RestrictedBoltzmannMachine.from_arrays(left_bias, right_bias, coupling)
    return machine, draw(machine, 1000)


def divergence(teacher, student):
    """KL(teacher || student), exactly: what the student lacks of the teacher's own mean log-likelihood."""
    logs = [log_probabilities(m.get_weights()) for m in (teacher, student)]
    return np.sum(np.exp(logs[0]) * (logs[0] - logs[1]))


# Of the best fit to N samples, 2 N KL follows a chi-squared law with at most as many degrees as there are
# parameters (Wilks): for 5 + 3 + 15 of them, 75.1 has a probability of 2e-7, which leaves room for the noise
# of the gradients.
TOLERANCE = 75.1 / (2 * 1000)


def fit_teacher(x, phase, steps=1000, **kwargs):
    keras.utils.set_random_seed(0)
    trainer = RBMTrainer.from_data_mean(x.mean(axis=0), RIGHT, negative_phase=phase, **kwargs)
    rate = keras.optimizers.schedules.PolynomialDecay(0.4, steps, end_learning_rate=0.0)
    trainer.compile(keras.optimizers.SGD(rate, momentum=0.5), steps_per_execution=100)
    history = trainer.fit(x, batch_size=100, epochs=steps // 10, verbose=0).history
    return trainer, history


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["pcd", pytest.param("tempered", marks=pytest.mark.slow)])
def test_maximum_likelihood_finds_the_teacher(phase, teacher):
    machine, x = teacher
    start = RBMTrainer.from_data_mean(x.mean(axis=0), RIGHT).rbm
    assert divergence(machine, start) > 4 * TOLERANCE
    trainer, history = fit_teacher(x, phase, num_chains=100, num_sweeps=2, num_temperatures=4)
    assert divergence(machine, trainer.rbm) < TOLERANCE
    assert np.isfinite(history["free_energy_gap"]).all()
    assert history["pseudo_log_likelihood"][-1] > history["pseudo_log_likelihood"][0]


@pytest.mark.slow
def test_contrastive_divergence_comes_near(teacher):
    # It is biased: no more is asked than most of the way.
    machine, x = teacher
    start = RBMTrainer.from_data_mean(x.mean(axis=0), RIGHT).rbm
    trainer, _ = fit_teacher(x, "cd", steps=500, num_sweeps=3)
    assert divergence(machine, trainer.rbm) < 0.4 * divergence(machine, start)


@pytest.mark.slow
def test_a_teacher_is_not_found_without_a_negative_phase_of_its_own(teacher):
    machine, x = teacher

    class Coins(AllStates):
        def negative_samples(self, *, seed, left=None):
            left = tf.cast(tf.random.stateless_uniform([100, LEFT], seed) < 0.5, tf.float32)
            return NegativeSamples(left, left[:, :RIGHT])

    trainer, _ = fit_teacher(x, Coins, steps=300)
    assert divergence(machine, trainer.rbm) > TOLERANCE


def test_the_log_odds_of_the_data_are_the_start():
    mean = np.array([0.5, 0.2, 0.0, 1.0])
    trainer = RBMTrainer.from_data_mean(mean, 7, seed=4)
    np.testing.assert_allclose(tf.sigmoid(trainer.rbm.left_bias), [0.5, 0.2, 0.001, 0.999], rtol=1e-5)
    assert (trainer.rbm.left_units, trainer.rbm.right_units, trainer.seed) == (4, 7, 4)
    np.testing.assert_array_equal(trainer.rbm.right_bias, np.zeros(7))


# --- what is measured ---


def test_log_likelihood_is_normalized(make_machine):
    machine = make_machine(LEFT, RIGHT)
    trainer = RBMTrainer(machine)
    with pytest.raises(ValueError, match="No log Z is stored"):
        trainer.log_likelihood(STATES)
    assert trainer.update_log_partition().standard_error == 0
    want = log_probabilities(machine.get_weights())
    np.testing.assert_allclose(trainer.log_likelihood(STATES), want, atol=1e-5)
    np.testing.assert_allclose(trainer.log_likelihood(STATES, log_partition.exact(machine)), want, atol=1e-5)
    machine.left_bias.assign(np.ones(LEFT))
    with pytest.raises(ValueError, match=r"at step 0 for other weights of the machine; .* is at step 0"):
        trainer.log_likelihood(STATES)
    with pytest.raises(ValueError, match=r"must be a `LogPartitionEstimate`. Received: float 3.0"):
        trainer.log_likelihood(STATES, 3.0)
    failed = log_partition.LogPartitionEstimate(np.nan, np.nan, diagnostics={"failure": "inverted"})
    with pytest.raises(ValueError, match=r"has no finite value: inverted. Received: value=nan"):
        trainer.log_likelihood(STATES, failed)
    estimate = log_partition.LogPartitionEstimate(1.0, 0.1)
    assert trainer.update_log_partition(estimate) is estimate
    np.testing.assert_allclose(trainer.log_likelihood(STATES), -machine.free_energy(STATES) - 1, atol=1e-5)


def test_large_machines_are_annealed():
    trainer = RBMTrainer(RestrictedBoltzmannMachine(129, 20))  # with 128 it would be enumerated
    estimate = trainer.update_log_partition(seed=1, num_chains=10, num_temperatures=4)
    assert estimate.diagnostics["method"] == "adaptive_annealing"
    assert (estimate.diagnostics["num_chains"], estimate.diagnostics["num_temperatures"]) == (10, 4)
    assert trainer.log_partition.value == estimate.value


def test_pseudo_log_likelihood_against_enumeration(make_machine):
    machine = make_machine(LEFT, RIGHT)
    logs = log_probabilities(machine.get_weights())
    want = np.zeros(len(STATES))
    for unit in range(LEFT):
        flipped = STATES.copy()
        flipped[:, unit] = 1 - flipped[:, unit]
        want += logs - np.logaddexp(logs, logs[index(flipped)])
    trainer = RBMTrainer(machine)
    np.testing.assert_allclose(trainer.pseudo_log_likelihood(STATES), want, rtol=1e-5)
    seeds = 4000
    copies = np.tile(STATES, (seeds, 1))
    draws = stochastic_pseudo_log_likelihood(machine.parameters, tf.constant(copies), seed=3).numpy()
    draws = draws.reshape(seeds, -1).astype(np.float64)
    # 32 means at 5.5 standard errors; a sum over all units but one would not pass.
    errors = 5.5 * draws.std(axis=0) / np.sqrt(seeds)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - want), errors)
    assert np.any(np.abs(draws.mean(axis=0) * (LEFT - 1) / LEFT - want) > errors)


@pytest.mark.slow
def test_metrics_are_what_their_names_say(make_machine):
    machine = make_machine(LEFT, RIGHT)
    x = draw(machine, 64, seed=5)
    trainer = compiled(machine, "pcd", num_chains=50)
    history = trainer.fit(x, batch_size=16, epochs=1, validation_data=(x[:10], None), verbose=0).history
    assert set(history) == {
        "pseudo_log_likelihood",
        "free_energy_gap",
        "val_log_likelihood",
        "val_pseudo_log_likelihood",
    }
    logs = log_probabilities(machine.get_weights())[index(x)]
    np.testing.assert_allclose(history["val_log_likelihood"], logs[:10].mean(), rtol=1e-5)
    pseudo = trainer.pseudo_log_likelihood(x).numpy()
    np.testing.assert_allclose(history["val_pseudo_log_likelihood"], pseudo[:10].mean(), rtol=1e-5)
    result = trainer.evaluate(x, batch_size=24, verbose=0, return_dict=True)  # the last batch has 16
    np.testing.assert_allclose(result["log_likelihood"], logs.mean(), rtol=1e-5)
    np.testing.assert_allclose(result["pseudo_log_likelihood"], pseudo.mean(), rtol=1e-5)
    np.testing.assert_allclose(trainer.predict(x, verbose=0), machine.free_energy(x), rtol=1e-5)
    # One batch, whose chains are the ones that are stored.
    history = trainer.fit(x, batch_size=64, verbose=0).history
    gap = np.mean(machine.free_energy(trainer.negative_phase.left)) - np.mean(machine.free_energy(x))
    np.testing.assert_allclose(history["free_energy_gap"], gap, rtol=1e-4)


def test_evaluation_measures_log_z_again_when_it_is_stale(make_machine):
    machine = make_machine(LEFT, RIGHT)
    trainer = compiled(machine, "cd", keras.optimizers.SGD(0.1))
    trainer.fit(STATES, verbose=0)
    trainer.evaluate(STATES, verbose=0)
    first = trainer.log_partition
    trainer.fit(STATES, verbose=0)
    with pytest.raises(ValueError, match=r"at step 1 for other weights of the machine; .* is at step 2"):
        _ = trainer.log_partition
    trainer.evaluate(STATES, verbose=0)
    assert trainer.log_partition.value != first.value


# --- state ---

PHASES = {
    "pcd": dict(negative_phase="pcd", num_chains=6),
    "cd": dict(negative_phase="cd", num_sweeps=1),
    "tempered": dict(negative_phase="tempered", num_chains=4, num_temperatures=3),
    "object": dict(negative_phase=AllStates),
}


def build(phase, steps_per_execution=1):
    machine = RestrictedBoltzmannMachine(LEFT, RIGHT, name="rbm")
    arguments = dict(PHASES[phase])
    if phase == "object":
        arguments["negative_phase"] = AllStates(machine)
    rate = keras.optimizers.schedules.PolynomialDecay(0.5, 12, end_learning_rate=0.0)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    return compiled(
        machine, optimizer=optimizer, steps_per_execution=steps_per_execution, seed=5, **arguments
    )


def train(trainer):
    """Six steps."""
    trainer.fit(STATES[:24], batch_size=4, shuffle=False, verbose=0)


def everything(trainer):
    variables = [*trainer.weights, *trainer.optimizer.variables, trainer.step]
    return [v.numpy().tobytes() for v in variables]


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_saved_training_goes_on_bit_for_bit(phase, tmp_path):
    trainer = build(phase)
    train(trainer)
    trainer.update_log_partition()
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert type(loaded.negative_phase) is type(trainer.negative_phase)
    assert loaded.get_config() == trainer.get_config()
    assert everything(loaded) == everything(trainer)
    np.testing.assert_array_equal(loaded.log_likelihood(STATES), trainer.log_likelihood(STATES))
    for other in (trainer, loaded):
        train(other)
    assert int(trainer.step.numpy()) == 12
    assert everything(loaded) == everything(trainer)


def test_weights_alone_restore_the_training_state(tmp_path):
    trainer, restored = build("pcd"), build("pcd")
    train(trainer)
    trainer.save_weights(tmp_path / "trainer.weights.h5")
    assert everything(restored) != everything(trainer)
    restored.load_weights(tmp_path / "trainer.weights.h5")
    assert everything(restored) == everything(trainer)


@pytest.mark.slow
def test_steps_in_one_execution_are_the_same_steps():
    one, several = build("pcd"), build("pcd", steps_per_execution=3)
    for trainer in (one, several):
        train(trainer)
    assert everything(one) == everything(several)
    other = build("pcd")
    other.seed = 6
    train(other)
    assert everything(one) != everything(other)


def test_a_negative_phase_that_cannot_be_saved_says_so(make_machine):
    class Plain:
        starts_from_data = False
        start = negative_samples = None

    trainer = RBMTrainer(make_machine(LEFT, RIGHT), Plain())
    with pytest.raises(ValueError, match=r"the negative phase must be a Keras layer .* Received: a Plain"):
        trainer.get_config()


# --- replicas ---


def replicas(variable):
    strategy = variable.value.distribute_strategy
    return [value.numpy() for value in strategy.experimental_local_results(variable.value)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [7, 1], ids="{} vectors".format)
def test_a_step_on_replicas_is_that_of_the_whole_batch(count, strategy):
    batch = tf.data.Dataset.from_tensor_slices(STATES[5 : 5 + count]).batch(10)
    steps, logs = [], []
    for scope in (tf.distribute.get_strategy(), strategy):
        with scope.scope():
            machine = RestrictedBoltzmannMachine(LEFT, RIGHT, keras.initializers.RandomNormal(seed=1))
            trainer = compiled(machine, AllStates(machine), keras.optimizers.SGD(1.0), weight_decay=0.1)
        before = machine.get_weights()
        logs.append(trainer.fit(batch, verbose=0).history["free_energy_gap"])
        steps.append([after - b for after, b in zip(machine.get_weights(), before, strict=True)])
    for one, two in zip(*steps, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
        assert np.any(one != 0)
    np.testing.assert_allclose(*logs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_replicas_have_chains_of_their_own(strategy):
    with strategy.scope():
        trainer = build("tempered")
    trainer.fit(tf.data.Dataset.from_tensor_slices(STATES[:10]).batch(10), verbose=0)
    first, second = replicas(trainer.negative_phase.replicas)
    assert np.any(first != second)
    weights = replicas(trainer.rbm.coupling)
    np.testing.assert_array_equal(*weights)
    with strategy.scope():
        trainer = build("cd")
    # Five vectors and three: those of the data count alike.
    trainer.fit(tf.data.Dataset.from_tensor_slices(STATES[:7]).batch(10), verbose=0)
    assert np.all(np.isfinite(trainer.rbm.coupling))
    with strategy.scope(), pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
        build("cd", steps_per_execution=2)


# --- what comes in ---


@pytest.mark.slow
def test_all_kinds_of_numbers_are_data():
    want = build("cd")
    want.fit(STATES, batch_size=8, shuffle=False, verbose=0)
    for dtype in (bool, np.uint8, np.float64):
        got = build("cd")
        got.fit(tf.data.Dataset.from_tensor_slices(STATES.astype(dtype)).batch(8), verbose=0)
        assert everything(want) == everything(got)


def with_value(value):
    x = STATES.copy()
    x[9, 2] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (with_value(0.5), "The data must be binary: other values than 0 and 1"),
        (with_value(np.nan), "The data must be binary: other values than 0 and 1"),
        (with_value(255.0), "The data must be binary: other values than 0 and 1"),
        (STATES[:, :4], rf"must be vectors \[batch, {LEFT}\].* Received: the shape \(.*, 4\)"),
        (STATES.reshape(-1, 1, LEFT), rf"must be vectors \[batch, {LEFT}\]"),
        (STATES.astype(str), "The data must be numbers. Received: dtype string"),
    ],
)
def test_other_data_is_refused_and_changes_nothing(x, message):
    trainer = build("pcd")
    before = everything(trainer)
    with pytest.raises(ValueError, match=message):
        trainer.fit(tf.data.Dataset.from_tensor_slices(x).batch(32), verbose=0)
    assert everything(trainer) == before
    with pytest.raises(ValueError, match=message):
        trainer.pseudo_log_likelihood(x)
    with pytest.raises(ValueError, match=message):
        trainer.log_likelihood(x)


def test_rejects_arguments(make_machine):
    machine = make_machine(LEFT, RIGHT)
    for bad in ("persistent", None, 3):
        with pytest.raises(ValueError, match=r"must be one of \('pcd', 'cd', 'tempered', 'annealed'\), or"):
            RBMTrainer(machine, bad)
    with pytest.raises(ValueError, match="samples another machine"):
        RBMTrainer(machine, PersistentChains(make_machine(LEFT, RIGHT)))
    with pytest.raises(ValueError, match=r"`rbm` must be a `RestrictedBoltzmannMachine`. Received: rbm=5"):
        RBMTrainer(5)
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="`weight_decay` must be finite and not negative"):
            RBMTrainer(machine, weight_decay=bad)
    with pytest.raises(ValueError, match=r"brings its own objective. Received: loss='mse'"):
        RBMTrainer(machine).compile(loss="mse")
    with pytest.raises(ValueError, match="`num_sweeps` must be even"):
        RBMTrainer(machine, "tempered", num_sweeps=3)


@pytest.mark.parametrize("bad", [[0.1, -0.1], [0.5, 1.1], [[0.5]]])
def test_rejects_means(bad):
    with pytest.raises(ValueError, match=r"`data_mean` must be a vector of means in \[0, 1\]"):
        RBMTrainer.from_data_mean(bad, 3)
    with pytest.raises(ValueError, match="`data_mean` must be finite"):
        RBMTrainer.from_data_mean([0.5, np.nan], 3)
