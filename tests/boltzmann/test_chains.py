import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann import (
    NegativeSamples,
    PersistentChains,
    RestrictedBoltzmannMachine,
    log_partition_surrogate,
)


@keras.saving.register_keras_serializable(package="test")
class Model(keras.Model):
    """A prior and its chains beside an ordinary layer."""

    def __init__(self, num_chains=5, **kwargs):
        super().__init__(**kwargs)
        self.num_chains = num_chains
        self.prior = RestrictedBoltzmannMachine(6, 4)
        self.chains = PersistentChains(self.prior, num_chains, num_sweeps=3)
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {"num_chains": self.num_chains}

    @tf.function
    def advance(self, seed):
        """Advances the chains of every replica."""

        def replica_step():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return self.chains.advance(seed=random.fold_in(seed, replica))

        return tf.distribute.get_strategy().run(replica_step)


def built_model(num_chains=5):
    model = Model(num_chains)
    model(np.zeros((1, 3)))
    return model


def mirrored():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def advance(strategy, model, seed):
    with strategy.scope():
        return model.advance(tf.constant(seed))


def stored_states(chains):
    """`left [replicas, chains, left]`, `right [replicas, chains, right]`, as they are saved."""
    store = {}
    chains.save_own_variables(store)
    return store["left"], store["right"]


def assert_same(first, second):
    for a, b in zip(stored_states(first.chains), stored_states(second.chains), strict=True):
        np.testing.assert_array_equal(a, b)


def test_advance_moves_and_stores_the_chains(make_machine):
    machine = make_machine(6, 4)
    chains = PersistentChains(machine, num_chains=50, num_sweeps=2)
    before = chains.left.numpy()
    assert set(np.unique(before)) == {0.0, 1.0}
    state = chains.advance(seed=1)
    assert state.left.shape == (50, 6)
    assert state.right.shape == (50, 4)
    np.testing.assert_array_equal(chains.left, state.left)
    np.testing.assert_array_equal(chains.right, state.right)
    assert np.any(before != chains.left.numpy())
    samples = chains.negative_samples(seed=2)
    assert isinstance(samples, NegativeSamples)
    assert samples.log_weights is None
    np.testing.assert_array_equal(chains.left, samples.left)
    assert np.any(samples.left != state.left)


def test_chains_continue_from_the_stored_state_and_the_weights_of_now(make_machine):
    machine = make_machine(6, 4)
    first, second = (PersistentChains(machine, 50, 2) for _ in range(2))
    for chains in (first, second):
        chains.advance(seed=1)
    np.testing.assert_array_equal(first.left, second.left)
    machine.left_bias.assign(np.full(6, 100.0))
    assert np.all(first.advance(seed=2).left == 1)


def test_chains_reach_the_distribution(make_machine, enumerate_machine):
    machine = make_machine(4, 3, 0.8)
    chains = PersistentChains(machine, num_chains=5000, num_sweeps=10)
    step = tf.function(lambda seed: chains.advance(seed=seed))
    for i in range(4):
        state = step(tf.constant([i, 3]))
    assert enumerate_machine(machine).p_value(*state) > 1e-6


def test_no_gradient_flows_through_the_samples(make_machine):
    machine = make_machine(6, 4)
    chains = PersistentChains(machine, 10, 2)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            total = tf.add_n([tf.reduce_sum(s) for s in chains.advance(seed=1)])
        return [g is None for g in tape.gradient(total, machine.trainable_variables)]

    assert all(gradient())


def test_the_machine_belongs_to_the_model():
    model = built_model()
    assert len(model.chains.weights) == 2
    assert not model.chains.trainable_variables
    assert len(model.trainable_variables) == 5
    assert len({w.path for w in model.weights}) == len(model.weights) == 7


def test_an_ordinary_model_round_trips(tmp_path):
    model = built_model()
    model.chains.advance(seed=1)
    model.save_weights(tmp_path / "m.weights.h5")
    other = built_model()
    other.load_weights(tmp_path / "m.weights.h5")
    assert_same(model, other)
    keras.saving.save_model(model, tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert_same(model, loaded)
    for a, b in zip(model.prior.get_weights(), loaded.prior.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_machine_is_saved_once(tmp_path):
    model = built_model()
    path = tmp_path / "m.weights.h5"
    model.save_weights(path)
    sizes = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    assert sum(sizes) == model.count_params()


def test_replicas_have_chains_of_their_own():
    strategy = mirrored()
    with strategy.scope():
        model = built_model()
    start = stored_states(model.chains)
    for side in start:
        np.testing.assert_array_equal(side[0], side[1])
    state = advance(strategy, model, [1, 2])
    for values, side in zip(state, stored_states(model.chains), strict=True):
        assert side.shape[0] == 2
        assert np.any(side[0] != side[1])
        np.testing.assert_array_equal(np.stack(strategy.experimental_local_results(values)), side)


@pytest.mark.parametrize("inside", [True, False], ids=["inside the scope", "outside"])
def test_every_replica_is_restored_and_continues(inside, tmp_path):
    strategy = mirrored()
    path = tmp_path / "m.weights.h5"
    with strategy.scope():
        model, other = built_model(), built_model()
    advance(strategy, model, [1, 2])
    if inside:
        with strategy.scope():
            model.save_weights(path)
            other.load_weights(path)
    else:
        model.save_weights(path)
        other.load_weights(path)
    assert_same(model, other)
    for m in (model, other):
        advance(strategy, m, [3, 4])
    assert_same(model, other)


def test_fewer_replicas_take_the_first_chains(tmp_path):
    strategy = mirrored()
    with strategy.scope():
        model = built_model()
    advance(strategy, model, [1, 2])
    model.save_weights(tmp_path / "two.weights.h5")
    single = built_model()
    single.load_weights(tmp_path / "two.weights.h5")
    for two, one in zip(stored_states(model.chains), stored_states(single.chains), strict=True):
        np.testing.assert_array_equal(one, two[:1])


def test_more_replicas_take_copies_that_part_ways(tmp_path):
    single = built_model()
    single.chains.advance(seed=1)
    single.save_weights(tmp_path / "one.weights.h5")
    strategy = mirrored()
    with strategy.scope():
        model = built_model()
    model.load_weights(tmp_path / "one.weights.h5")
    for two, one in zip(stored_states(model.chains), stored_states(single.chains), strict=True):
        np.testing.assert_array_equal(two, np.concatenate([one, one]))
    advance(strategy, model, [3, 4])
    assert all(np.any(side[0] != side[1]) for side in stored_states(model.chains))


def test_refuses_chains_of_another_number(tmp_path):
    built_model(5).save_weights(tmp_path / "m.weights.h5")
    other = built_model(7)
    with pytest.raises(
        ValueError, match=r"No chains `left` of the shape \(7, 6\) on each replica are stored"
    ):
        other.load_weights(tmp_path / "m.weights.h5")
    with pytest.raises(
        ValueError, match=r"stored chains `left` have the shape \(5, 6\) on each replica, these"
    ):
        other.chains.load_own_variables({"left": np.zeros((1, 5, 6)), "right": np.zeros((1, 5, 4))})


def test_may_be_made_while_a_function_is_traced(make_machine):
    machine = make_machine(6, 4)
    made = []

    @tf.function
    def lazily():
        if not made:
            with tf.init_scope():
                made.append(PersistentChains(machine, 3, 2))
        return made[0].advance(seed=1).left

    want = PersistentChains(machine, 3, 2).advance(seed=1).left
    np.testing.assert_array_equal(lazily(), want)


@pytest.mark.parametrize("name", ["num_chains", "num_sweeps"])
@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_rejects_numbers(name, bad, make_machine):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}={bad}"):
        PersistentChains(make_machine(4, 3), **{name: bad})


def test_config_holds_the_numbers(make_machine):
    machine = make_machine(4, 3)
    config = PersistentChains(machine, 7, 9, name="chains").get_config()
    copy = PersistentChains(machine, **config)
    assert (copy.num_chains, copy.num_sweeps, copy.name) == (7, 9, "chains")


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
