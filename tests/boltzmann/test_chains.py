import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann import (
    ContrastiveDivergence,
    GibbsState,
    NegativeSamples,
    PersistentChains,
    RestrictedBoltzmannMachine,
    TemperedChains,
    gibbs_sweep,
    gibbs_sweeps,
)
from tfdvae.boltzmann.chains import contrastive_samples


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


def test_replicas_have_chains_of_their_own(strategy):
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
def test_every_replica_is_restored_and_continues(inside, tmp_path, strategy):
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


def test_fewer_replicas_take_the_first_chains(tmp_path, strategy):
    with strategy.scope():
        model = built_model()
    advance(strategy, model, [1, 2])
    model.save_weights(tmp_path / "two.weights.h5")
    single = built_model()
    single.load_weights(tmp_path / "two.weights.h5")
    for two, one in zip(stored_states(model.chains), stored_states(single.chains), strict=True):
        np.testing.assert_array_equal(one, two[:1])


def test_more_replicas_take_copies_that_part_ways(tmp_path, strategy):
    single = built_model()
    single.chains.advance(seed=1)
    single.save_weights(tmp_path / "one.weights.h5")
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


# --- contrastive divergence ---


def test_contrastive_divergence_runs_from_the_data(make_machine):
    machine = make_machine(6, 4)
    phase = ContrastiveDivergence(machine, num_sweeps=3)
    assert phase.starts_from_data
    assert not PersistentChains(machine).starts_from_data
    assert not phase.weights
    data = np.random.default_rng(0).integers(0, 2, (9, 6))
    samples = phase.negative_samples(seed=1, left=data)
    start = GibbsState(tf.constant(data, tf.float32), tf.zeros([9, 4]))
    for got, want in zip(samples, gibbs_sweeps(machine.parameters, start, 3, seed=1), strict=False):
        np.testing.assert_array_equal(got, want)
    assert samples.log_weights is None
    copy = ContrastiveDivergence(machine, **phase.get_config())
    assert (copy.num_sweeps, copy.name) == (3, phase.name)


def test_contrastive_divergence_leaves_samples_of_the_machine_samples(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    left, _ = all_states.draw(50_000, np.random.default_rng(0))
    phase = ContrastiveDivergence(machine)
    assert all_states.p_value(*phase.negative_samples(seed=1, left=left)[:2]) > 1e-6
    # From other data one sweep does not get there.
    assert all_states.p_value(*phase.negative_samples(seed=1, left=tf.ones_like(left))[:2]) < 1e-6


def test_contrastive_divergence_takes_batches_of_any_size(make_machine):
    phase = ContrastiveDivergence(make_machine(6, 4))
    run = tf.function(
        lambda left: phase.negative_samples(seed=1, left=left)[:2], input_signature=[tf.TensorSpec([None, 6])]
    )
    for batch in (0, 1, 8):
        assert [tuple(side.shape) for side in run(tf.zeros([batch, 6]))] == [(batch, 6), (batch, 4)]


def test_contrastive_divergence_may_be_told_its_sweeps_by_a_graph(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    left, _ = all_states.draw(50_000, np.random.default_rng(0))
    run = tf.function(lambda left, sweeps: contrastive_samples(machine, left, sweeps, seed=1)[:2])
    for sweeps in (1, 3):
        samples = run(left, tf.constant(sweeps))
        assert all_states.p_value(*samples) > 1e-6
        state = GibbsState(tf.constant(left, tf.float32), None)
        for i in range(sweeps):
            state = gibbs_sweep(machine.parameters, state, seed=random.fold_in(1, i))
        for got, want in zip(samples, state, strict=True):
            np.testing.assert_array_equal(got, want)


# --- tempered chains ---


def separated_machine():
    """Two modes, all off (0.7) and all on (0.3), between which Gibbs sampling hardly moves."""
    coupling = np.full((4, 4), 5.0)
    # Symmetric up to a field on one unit.
    return RestrictedBoltzmannMachine.from_arrays([-10.8, -10.0, -10.0, -10.0], np.full(4, -10.0), coupling)


def test_tempered_chains_reach_the_distribution(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    chains = TemperedChains(machine, num_chains=2000, num_temperatures=3, num_sweeps=4)
    step = tf.function(lambda seed: chains.negative_samples(seed=seed)[:2])
    for i in range(5):
        left, right = step(tf.constant([i, 3]))
        np.testing.assert_array_equal(left, chains.left)
        assert (left.shape, right.shape) == ((2000, 4), (2000, 3))
    assert enumerate_machine(machine).p_value(left, right) > 1e-6
    # The other replicas have laws of their own: at 0 that of fair coins.
    hottest = chains.replicas.numpy()[:, 0]
    assert enumerate_machine(machine).p_value(hottest, right) < 1e-6
    error = 5.5 * 0.5 / np.sqrt(2000)
    np.testing.assert_allclose(hottest.mean(axis=0), np.full(4, 0.5), atol=error)


def test_tempered_chains_change_modes_where_plain_ones_do_not(enumerate_machine):
    machine = separated_machine()
    all_states = enumerate_machine(machine)
    share = all_states.probabilities[all_states.lefts.sum(axis=1) >= 3].sum()
    assert 0.2 < share < 0.4
    plain = PersistentChains(machine, 400, 20)
    tempered = TemperedChains(machine, 400, 8, 20)
    plain.left.assign(np.ones((400, 4)))
    tempered.replicas.assign(np.ones((400, 8, 4)))
    for seed in range(10):
        plain.advance(seed=seed)
        tempered.negative_samples(seed=seed)
    on = [np.mean(c.left.numpy().sum(axis=1) >= 3) for c in (plain, tempered)]
    error = 5.5 * np.sqrt(share * (1 - share) / 400)
    assert abs(on[1] - share) < error < abs(on[0] - share)


def test_tempered_chains_are_state(make_machine, tmp_path):
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.prior = make_machine(6, 4)
            self.chains = TemperedChains(self.prior, 5, 3, 2)
            self.built = True

    first, second = Outer(), Outer()
    assert len(first.chains.weights) == 1
    first.chains.negative_samples(seed=1)
    first.save_weights(tmp_path / "m.weights.h5")
    assert np.any(first.chains.left.numpy() != second.chains.left.numpy())
    second.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(first.chains.replicas, second.chains.replicas)
    after = [m.chains.negative_samples(seed=2) for m in (first, second)]
    for a, b in zip(*after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(first.chains.negative_samples(seed=3).left != after[0].left)
    with pytest.raises(
        ValueError, match=r"No chains `replicas` of the shape \(5, 4, 6\) on each replica are stored"
    ):
        TemperedChains(first.prior, 5, 4, 2).load_own_variables({})


def test_no_gradient_flows_through_other_samples(make_machine):
    machine = make_machine(6, 4)
    for sample in (
        lambda seed: ContrastiveDivergence(machine).negative_samples(seed=seed, left=tf.ones([3, 6])),
        TemperedChains(machine, 3, 2).negative_samples,
    ):
        with tf.GradientTape() as tape:
            total = tf.add_n([tf.reduce_sum(s) for s in sample(seed=1)[:2]])
        assert tape.gradient(total, machine.trainable_variables) == [None] * 3


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"num_chains": 0}, "`num_chains` must be a positive integer. Received: num_chains=0"),
        ({"num_temperatures": 1}, r"`num_temperatures` must be at least 2 .* Received: num_temperatures=1"),
        ({"num_temperatures": 2.0}, "`num_temperatures` must be a positive integer"),
        ({"num_sweeps": 3}, r"`num_sweeps` must be even: .* Received: num_sweeps=3"),
        ({"num_sweeps": 0}, "`num_sweeps` must be a positive integer"),
    ],
)
def test_tempered_chains_reject_numbers(numbers, message, make_machine):
    with pytest.raises(ValueError, match=message):
        TemperedChains(make_machine(4, 3), **numbers)


def test_config_of_tempered_chains(make_machine):
    machine = make_machine(4, 3)
    copy = TemperedChains(machine, **TemperedChains(machine, 7, 5, 4, name="chains").get_config())
    assert (copy.num_chains, copy.num_temperatures, copy.num_sweeps, copy.name) == (7, 5, 4, "chains")
