import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.boltzmann import chi_squared
from tfdvae.boltzmann import RestrictedBoltzmannMachine, replica_exchange
from tfdvae.boltzmann.replica_exchange import (
    TemperedPath,
    TemperingState,
    samples_at,
    tempering_start,
    tempering_sweeps,
)

FALSE_FAILURES = 1e-6
BETAS = np.array([0.0, 0.4, 1.0])


@pytest.fixture
def path():
    # Both on and both off are likely, and seldom what lies between.
    machine = RestrictedBoltzmannMachine.from_arrays([-2.0, -1.5], [-1.5, -2.2], [[3.0, 1.0], [1.0, 2.5]])
    base = (tf.constant([0.5, -0.3]), tf.constant([-0.4, 0.2]))
    return TemperedPath(machine.parameters, *base, tf.constant(BETAS, tf.float32))


def marginals(path):
    """p_k(left) of every temperature `[K + 1, 2**left]` by loops in float64; also p_k(right)."""
    (a, b, w), base_a, base_b, betas = (
        [np.asarray(x, np.float64) for x in p] if isinstance(p, tuple) else np.asarray(p, np.float64)
        for p in path
    )
    states = list(itertools.product((0, 1), repeat=2))
    tables = []
    for beta in betas:
        table = np.zeros((4, 4))
        for (i, left), (j, right) in itertools.product(enumerate(states), enumerate(states)):
            minus_energy = a @ left + b @ right + left @ w @ right
            table[i, j] = np.exp((1 - beta) * (base_a @ left + base_b @ right) + beta * minus_energy)
        tables.append(table / table.sum())
    return np.array(tables)


def codes(units):
    """The number of each state of two units."""
    return np.asarray(units, int) @ [2, 1]


def by_slot(state):
    """`left [ladders, slots, left]`, sorted by temperature."""
    replicas = np.argsort(state.slot.numpy(), axis=1)
    return np.take_along_axis(state.left.numpy(), replicas[..., np.newaxis], axis=1)


def p_value(counts, probabilities):
    return chi_squared.p_value(counts, np.sum(counts) * np.asarray(probabilities))


def ladder_p_value(path, state):
    """Of the chi-squared test that the left sides of a ladder are independent samples of all p_k."""
    tables = marginals(path).sum(axis=2)
    law = np.einsum("i,j,k->ijk", *tables)
    number = codes(by_slot(state)) @ [16, 4, 1]
    return p_value(np.bincount(number, minlength=64), law)


def exact_state(path, num_ladders, seed=0):
    """Independent samples of every p_k(left), with the replicas in random slots."""
    rng = np.random.default_rng(seed)
    tables = marginals(path).sum(axis=2)
    numbers = np.stack([rng.choice(4, num_ladders, p=t) for t in tables], axis=1)
    left = np.stack([numbers // 2, numbers % 2], axis=-1)
    slot = rng.permuted(np.tile(np.arange(3), (num_ladders, 1)), axis=1)
    left = np.take_along_axis(left, slot[..., np.newaxis], axis=1)
    return TemperingState(tf.constant(left, tf.float32), tf.constant(slot, tf.int32))


def test_the_helpers_agree(path):
    state = exact_state(path, 1000)
    assert ladder_p_value(path, state) > FALSE_FAILURES
    shifted = state._replace(slot=(state.slot + 1) % 3)
    assert ladder_p_value(path, shifted) < FALSE_FAILURES


# Fewer rows than those that are halved, and more.
@pytest.mark.parametrize("num_ladders", [60, 40_000], ids=["whole", "halved"])
@pytest.mark.parametrize("num_sweeps", [1, 2])
def test_leaves_the_joint_law_of_the_ladder_unchanged(num_ladders, num_sweeps, path):
    repeats = max(1, 3000 // num_ladders)
    lefts, slots = [], []
    for i in range(repeats):
        state, _ = tempering_sweeps(path, exact_state(path, num_ladders, seed=i), num_sweeps, seed=i)
        np.testing.assert_array_equal(np.sort(state.slot, axis=1), np.tile(np.arange(3), (num_ladders, 1)))
        lefts.append(state.left)
        slots.append(state.slot)
    assert ladder_p_value(path, TemperingState(tf.concat(lefts, 0), tf.concat(slots, 0))) > FALSE_FAILURES


@pytest.fixture
def untraced(monkeypatch):
    """Runs the kernel without the traces made before, so that it can be replaced in part."""
    monkeypatch.setattr(
        replica_exchange,
        "_sweeps",
        lambda path, state, n, seed, num_parts: replica_exchange._run(path, state, n, seed),
    )
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("_accepted", lambda ratio, partners, seed: tf.ones_like(ratio, tf.bool)),
        (
            "_accepted",
            lambda ratio, partners, seed: ratio + tf.gather(ratio, partners, axis=1) > 0,
        ),
        # The two of a pair decide on their own: some slots become doubly used and others empty.
        ("_partners", lambda slots, parity: tf.minimum(tf.range(slots) + 1, slots - 1)),
    ],
    ids=["always", "never uphill", "no pairs"],
)
def test_wrong_exchanges_are_found(name, wrong, path, untraced):
    untraced.setattr(replica_exchange, name, wrong)
    state = exact_state(path, 40_000)
    if name == "_partners":
        with pytest.raises(tf.errors.InvalidArgumentError):
            tempering_sweeps(path, state, 2, seed=0)
        return
    # A Gibbs step hides most of the fault, so it takes the exchange alone.
    untraced.setattr(replica_exchange, "draw_units", lambda logits, noise: tf.zeros_like(logits))
    new, _ = tempering_sweeps(path, state, 1, seed=0)
    assert ladder_p_value(path, TemperingState(state.left, new.slot)) < FALSE_FAILURES


def test_exchanges_alone_leave_the_law_unchanged(path, untraced):
    untraced.setattr(replica_exchange, "draw_units", lambda logits, noise: tf.zeros_like(logits))
    state = exact_state(path, 40_000)
    new, _ = tempering_sweeps(path, state, 1, seed=0)
    assert 0.05 < np.mean(new.slot != state.slot) < 0.95
    assert ladder_p_value(path, TemperingState(state.left, new.slot)) > FALSE_FAILURES


def test_long_runs_reach_the_distribution_from_the_base_model(path):
    state = tempering_start(path, 20_000, seed=0)
    tables = marginals(path)
    assert p_value(np.bincount(codes(by_slot(state))[:, 0], minlength=4), tables[0].sum(1)) > FALSE_FAILURES
    assert p_value(np.bincount(codes(by_slot(state))[:, 2], minlength=4), tables[2].sum(1)) < FALSE_FAILURES
    state, _ = tempering_sweeps(path, state, 40, seed=1)
    assert ladder_p_value(path, state) > FALSE_FAILURES
    for slot in (0, 1, -1):
        left, right = samples_at(path, state, slot, seed=2)
        assert left.shape == right.shape == (20_000, 2)
        counts = np.bincount(codes(left) * 4 + codes(right), minlength=16)
        assert p_value(counts, tables[slot]) > FALSE_FAILURES
        # Pair moments, by 5.5 standard errors: 16 of them at each temperature.
        spins = np.concatenate([left, right], axis=1)
        states = np.array(list(itertools.product((0, 1), repeat=4)))
        want = np.einsum("s,si,sj->ij", tables[slot].ravel(), states, states)
        errors = np.sqrt(want * (1 - want) / len(spins))
        np.testing.assert_array_less(np.abs(spins.T @ spins / len(spins) - want), 5.5 * errors)
    assert p_value(counts, tables[1]) < FALSE_FAILURES


def test_the_base_model_is_drawn_afresh_at_every_sweep(path):
    state, _ = tempering_sweeps(path, exact_state(path, 40_000), 1, seed=0)
    new, _ = tempering_sweeps(path, state, 1, seed=1)
    first, second = (codes(by_slot(s))[:, 0] for s in (state, new))
    law = marginals(path)[0].sum(axis=1)
    assert p_value(np.bincount(first * 4 + second, minlength=16), np.outer(law, law)) > FALSE_FAILURES
    first, second = (codes(by_slot(s))[:, 2] for s in (state, new))
    law = marginals(path)[2].sum(axis=1)
    assert p_value(np.bincount(first * 4 + second, minlength=16), np.outer(law, law)) < FALSE_FAILURES


def test_the_trace_against_loops(path):
    state = exact_state(path, 50)
    tables = marginals(path).sum(axis=2)
    # p_k are normalized here: the unnormalized ratios differ by one constant for each pair and direction.
    for num_sweeps in (1, 2):
        after, trace = tempering_sweeps(path, state, num_sweeps, seed=4)
        assert trace.log_ratios.shape == (num_sweeps, 50, 3)
        assert trace.ends.shape == (num_sweeps, 50, 2)
        for ladder in range(50):
            end = [list(after.slot[ladder].numpy()).index(s) for s in (0, 2)]
            np.testing.assert_array_equal(trace.ends[-1, ladder], end)
    number = codes(by_slot(state))
    first = trace.log_ratios[0].numpy()
    for k, other in ((0, 1), (1, 0)):
        want = np.log(tables[other][number[:, k]]) - np.log(tables[k][number[:, k]])
        np.testing.assert_allclose(np.ptp(first[:, k] - want), 0, atol=1e-5)
    np.testing.assert_array_equal(first[:, 2], 0)
    np.testing.assert_array_equal(trace.log_ratios[1, :, 0], 0)
    assert np.ptp(trace.log_ratios[1, :, 2]) > 0.1


@pytest.mark.parametrize("num_ladders", [3, 100])
def test_is_a_function_of_the_seed(num_ladders, path):
    start = tempering_start(path, num_ladders, seed=0)
    first, again, other = (tempering_sweeps(path, start, 5, seed=s) for s in (1, 1, 2))
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(first[0].left != other[0].left)
    assert np.any(first[1].log_ratios != other[1].log_ratios)
    half = num_ladders // 2
    assert np.any(first[1].log_ratios[:, :half] != first[1].log_ratios[:, -half:])


def test_another_machine_and_ladder_do_not_trace_again(path, make_machine):
    kernels = (replica_exchange._sweeps_in_one_part, replica_exchange._sweeps_in_two_parts)

    def traces():
        return np.array([k.experimental_get_tracing_count() for k in kernels])

    before = traces()  # other tests of the process may have traced them for graphs of their own
    for n in (2, 100):
        tempering_sweeps(path, tempering_start(path, n, seed=0), 2, seed=0)
    once = traces()
    assert np.all(once >= 1)
    assert np.all(once - before <= 1)
    parameters = make_machine(5, 4).parameters
    other = TemperedPath(parameters, *parameters[:2], tf.linspace(0.0, 1.0, 7))
    for n in (3, 60):
        tempering_sweeps(other, tempering_start(other, n, seed=0), 9, seed=0)
    np.testing.assert_array_equal(traces(), once)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_rejects_numbers(bad, path):
    with pytest.raises(ValueError, match=f"`num_ladders` must be a positive integer. Received: .*={bad}"):
        tempering_start(path, bad, seed=0)
    with pytest.raises(ValueError, match=f"`num_sweeps` must be a positive integer. Received: .*={bad}"):
        tempering_sweeps(path, tempering_start(path, 2, seed=0), bad, seed=0)


@pytest.mark.parametrize(
    ("betas", "received"),
    [
        ([0.0, 0.5, 0.5, 1.0], r"from 0.0 to 1.0, smallest step 0.0"),
        ([0.0, 0.6, 0.5, 1.0], r"from 0.0 to 1.0"),
        ([-0.5, 0.5, 1.0], r"from -0.5 to 1.0"),
        ([0.1, 1.0], r"from 0.1"),
        ([0.0, 0.75], r"to 0.75"),
        ([0.0, np.nan, 1.0], r"smallest step nan"),
        ([1.0], "a ladder of the shape"),
    ],
)
def test_rejects_ladders_that_do_not_increase_from_0_to_1(betas, received, path):
    with pytest.raises(ValueError, match=f"`inverse_temperatures` must .*{received}"):
        tempering_start(path._replace(inverse_temperatures=tf.constant(betas, tf.float32)), 2, seed=0)


def test_rejects_a_base_that_does_not_fit(path):
    with pytest.raises(ValueError, match=r"base model must have the biases \[2\] and \[2\]"):
        tempering_start(path._replace(base_right=tf.zeros([3])), 2, seed=0)
