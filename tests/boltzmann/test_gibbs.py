import numpy as np
import pytest
import tensorflow as tf

from tfdvae.boltzmann import GibbsState, RBMParameters, gibbs_sweep, gibbs_sweeps, row_gibbs_sweeps
from tfdvae.boltzmann.gibbs import draw_units, join_chains, noise_seeds, split_chains, unit_noise

FALSE_FAILURES = 1e-6


def chi_squared_p_value(counts):
    """Of equal probabilities."""
    expected = np.sum(counts) / len(counts)
    statistic = np.sum((counts - expected) ** 2) / expected
    return float(tf.math.igammac(np.float64(len(counts) - 1) / 2, np.float64(statistic) / 2))


def test_a_sweep_leaves_the_distribution_unchanged(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    state = GibbsState(*all_states.draw(50_000, np.random.default_rng(0)))
    assert all_states.p_value(*state) > FALSE_FAILURES
    assert all_states.p_value(*gibbs_sweep(machine.parameters, state, seed=1)) > FALSE_FAILURES


def simultaneous_sweep(parameters, state, seed):
    """Wrong: both sides from the old state, so that the marginals stay and the pairs do not."""
    right = gibbs_sweep(parameters, state, seed=seed).right
    swapped = RBMParameters(parameters.right_bias, parameters.left_bias, tf.transpose(parameters.coupling))
    left = gibbs_sweep(swapped, GibbsState(state.right, state.left), seed=seed + 1).right
    return GibbsState(left, right)


@pytest.mark.parametrize(
    "wrong_sweep",
    [
        simultaneous_sweep,
        lambda p, s, seed: gibbs_sweep(p, s, seed=seed, inverse_temperature=0.9),
        lambda p, s, seed: gibbs_sweep(p._replace(right_bias=p.right_bias + 0.1), s, seed=seed),
    ],
    ids=["simultaneous", "wrong temperature", "wrong bias"],
)
def test_the_chi_squared_test_finds_wrong_kernels(wrong_sweep, make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    state = GibbsState(*all_states.draw(50_000, np.random.default_rng(0)))
    assert all_states.p_value(*wrong_sweep(machine.parameters, state, 1)) < FALSE_FAILURES


@pytest.mark.parametrize("num_chains", [150, 20_000], ids=["whole", "in_parts"])
def test_long_chains_reach_the_distribution(num_chains, make_machine, enumerate_machine):
    machine = make_machine(4, 3, scale=0.8)
    all_states = enumerate_machine(machine)
    run = tf.function(gibbs_sweeps)
    lefts, rights = [], []
    for seed in range(-(-5000 // num_chains)):
        state = GibbsState(tf.zeros([num_chains, 4]), tf.ones([num_chains, 3]))
        left, right = run(machine.parameters, state, 50, seed=tf.constant([seed, 7]))
        lefts.append(left.numpy())
        rights.append(right.numpy())
    left, right = np.concatenate(lefts), np.concatenate(rights)
    assert all_states.p_value(left, right) > FALSE_FAILURES
    samples = np.concatenate([left, right], axis=1)
    states = np.concatenate([all_states.lefts, all_states.rights], axis=1)
    moments = np.einsum("s,si,sj->ij", all_states.probabilities, states, states)
    got = samples.T @ samples / len(samples)
    # Singles on the diagonal and pairs: 28 moments, 5.5 standard errors each (1e-6 together).
    errors = np.sqrt(moments * (1 - moments) / len(samples))
    np.testing.assert_array_less(np.abs(got - moments), 5.5 * errors)


def test_inverse_temperature_scales_the_energy(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    halved = type(machine).from_arrays(*(0.5 * w for w in machine.get_weights()))
    rng = np.random.default_rng(0)
    hot, cold = enumerate_machine(halved), enumerate_machine(machine)
    state = GibbsState(*hot.draw(20_000, rng))
    assert (
        hot.p_value(*gibbs_sweep(machine.parameters, state, seed=1, inverse_temperature=0.5)) > FALSE_FAILURES
    )
    both = GibbsState(*(tf.concat(s, 0) for s in zip(state, cold.draw(20_000, rng), strict=True)))
    betas = tf.constant([[0.5]] * 20_000 + [[1.0]] * 20_000)
    left, right = gibbs_sweep(machine.parameters, both, seed=2, inverse_temperature=betas)
    assert hot.p_value(left[:20_000], right[:20_000]) > FALSE_FAILURES
    assert cold.p_value(left[20_000:], right[20_000:]) > FALSE_FAILURES
    assert cold.p_value(left[:20_000], right[:20_000]) < FALSE_FAILURES


def test_either_side_may_be_drawn_first(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    left, right = all_states.draw(50_000, np.random.default_rng(0))
    after = gibbs_sweep(machine.parameters, GibbsState(left, right), seed=1, first="left")
    assert all_states.p_value(*after) > FALSE_FAILURES
    # Only the side that is not drawn first is read.
    same = gibbs_sweep(machine.parameters, GibbsState(None, right), seed=1, first="left")
    other = gibbs_sweep(machine.parameters, GibbsState(left, None), seed=1)
    for a, b, c in zip(after, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)


def test_the_side_drawn_first_depends_on_the_other_one(make_machine):
    # With couplings this strong the first draw copies the side that it is given, and the second one follows.
    machine = type(make_machine(1, 1)).from_arrays([-200.0], [-200.0], [[400.0]])
    state = GibbsState(tf.constant([[0.0], [1.0]]), tf.constant([[1.0], [0.0]]))
    for first, want in (("right", state.left), ("left", state.right)):
        for side in gibbs_sweep(machine.parameters, state, seed=0, first=first):
            np.testing.assert_array_equal(side, want)


CLAMPED = {
    "left": GibbsState(np.array([True, False, True, False]), None),
    "right": GibbsState(None, np.array([False, True, True])),
    "both": GibbsState(np.array([True, False, False, False]), np.array([False, True, False])),
}


def conditional_draws(all_states, clamped, num_chains):
    """States of a law of their own for the clamped units (fair coins), and the exact law of all units."""
    states = np.concatenate([all_states.lefts, all_states.rights], axis=1)
    sides = [np.zeros(n, bool) if m is None else m for n, m in zip((4, 3), clamped, strict=True)]
    codes = states[:, np.concatenate(sides)] @ (1 << np.arange(sum(map(np.sum, sides))))
    law = all_states.probabilities / np.bincount(codes, all_states.probabilities)[codes] / (codes.max() + 1)
    law = all_states._replace(probabilities=law)
    np.testing.assert_allclose(law.probabilities.sum(), 1)
    return law, GibbsState(*law.draw(num_chains, np.random.default_rng(0)))


@pytest.mark.parametrize("first", ["right", "left"])
@pytest.mark.parametrize("units", CLAMPED)
def test_clamped_units_stay_and_the_others_follow_their_conditional_law(
    units, first, make_machine, enumerate_machine
):
    machine = make_machine(4, 3)
    clamped = CLAMPED[units]
    law, state = conditional_draws(enumerate_machine(machine), clamped, 50_000)
    after = gibbs_sweep(machine.parameters, state, seed=1, first=first, clamped=clamped)
    for mask, old, new in zip(clamped, state, after, strict=True):
        changed = np.any(old.numpy() != new.numpy(), axis=0)
        np.testing.assert_array_equal(changed, np.ones_like(changed) if mask is None else ~mask)
    assert law.p_value(*after) > FALSE_FAILURES
    free = gibbs_sweep(machine.parameters, state, seed=1, first=first)
    assert law.p_value(*free) < FALSE_FAILURES


def late_clamp(parameters, state, num_sweeps, *, seed, clamped):
    """Wrong: samples all units and puts the clamped ones back at the end: the free ones ignore them."""
    after = gibbs_sweeps(parameters, state, num_sweeps, seed=seed)
    return GibbsState(*(tf.where(m, old, new) for m, old, new in zip(clamped, state, after, strict=True)))


@pytest.mark.parametrize(("sweeps", "right"), [(gibbs_sweeps, True), (late_clamp, False)])
def test_clamped_chains_reach_the_conditional_law(sweeps, right, make_machine, enumerate_machine):
    machine = make_machine(4, 3, scale=0.8)
    clamped = CLAMPED["both"]
    law, exact = conditional_draws(enumerate_machine(machine), clamped, 20_000)
    # The free units start anywhere; a mask for each chain, which is split with the chains, is the same.
    state = GibbsState(*(tf.where(m, z, tf.ones_like(z)) for m, z in zip(clamped, exact, strict=True)))
    masks = GibbsState(*(np.tile(m, (20_000, 1)) for m in clamped))
    after = sweeps(machine.parameters, state, 30, seed=2, clamped=clamped)
    again = sweeps(machine.parameters, state, 30, seed=2, clamped=masks)
    for a, b in zip(after, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (law.p_value(*after) > FALSE_FAILURES) == right


def test_masks_and_temperatures_belong_to_their_chains(make_machine):
    # 15,000 chains run in three parts; each chain is clamped, or cold, or neither.
    machine = make_machine(4, 3)
    state = GibbsState(tf.ones([15_000, 4]), tf.ones([15_000, 3]))
    assert len(split_chains(state.left, 4)) == 3
    chains = np.arange(15_000)
    clamped = GibbsState(np.repeat(chains[:, np.newaxis] % 3 == 0, 4, axis=1), None)
    for first in ("right", "left"):
        left, _ = gibbs_sweeps(machine.parameters, state, 5, seed=1, first=first, clamped=clamped)
        assert np.all(left.numpy()[chains % 3 == 0] == 1)
        assert np.mean(left.numpy()[chains % 3 != 0] == 1) < 0.9
    machine.left_bias.assign(np.full(4, 100.0))
    betas = tf.constant((chains % 7 > 0)[:, np.newaxis], tf.float32)
    left, _ = gibbs_sweeps(machine.parameters, state, 5, seed=1, inverse_temperature=betas)
    assert np.all(left.numpy()[chains % 7 > 0] == 1)
    assert 0.3 < np.mean(left.numpy()[chains % 7 == 0]) < 0.7


def test_sweeps_in_a_loop_take_the_options_of_one(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    hot = enumerate_machine(type(machine).from_arrays(*(0.5 * w for w in machine.get_weights())))
    state = GibbsState(*hot.draw(20_000, np.random.default_rng(0)))
    after = gibbs_sweeps(machine.parameters, state, 3, seed=1, inverse_temperature=0.5, first="left")
    assert hot.p_value(*after) > FALSE_FAILURES
    assert hot.p_value(*gibbs_sweeps(machine.parameters, state, 3, seed=1)) < FALSE_FAILURES
    other = gibbs_sweeps(machine.parameters, state, 3, seed=1, inverse_temperature=0.5)
    assert np.any(after.left != other.left)


def test_the_default_stream_does_not_change():
    # A hand-made sweep from the same noise: the numbers that a seed gives are part of the interface.
    rng = np.random.default_rng(0)
    left_bias, right_bias, coupling = (rng.normal(size=s).astype(np.float32) for s in (5, 3, (5, 3)))
    left = rng.integers(0, 2, (7, 5)).astype(np.float32)
    right_seed, left_seed = noise_seeds(4, 1, 2).of_step(0)
    right_noise, left_noise = unit_noise(7, 3, right_seed), unit_noise(7, 5, left_seed)
    want_right = np.floor(1 / (1 + np.exp(-(left @ coupling + right_bias))) + right_noise.numpy())
    want_left = np.floor(1 / (1 + np.exp(-(want_right @ coupling.T + left_bias))) + left_noise.numpy())
    parameters = RBMParameters(*(tf.constant(p) for p in (left_bias, right_bias, coupling)))
    got = gibbs_sweep(parameters, GibbsState(tf.constant(left), None), seed=4)
    np.testing.assert_array_equal(got.right, want_right)
    np.testing.assert_array_equal(got.left, want_left)


@pytest.mark.parametrize("sweep", [gibbs_sweep, lambda p, s, **kw: gibbs_sweeps(p, s, 2, **kw)])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"inverse_temperature": -0.5},
            "must be finite and not negative. Received: inverse_temperature=-0.5",
        ),
        ({"inverse_temperature": np.float32("nan")}, "Received: inverse_temperature=np.float32"),
        ({"inverse_temperature": float("inf")}, "Received: inverse_temperature=inf"),
        ({"first": "visible"}, '`first` must be "left" or "right". Received: first=\'visible\''),
        (
            {"clamped": GibbsState(np.ones(5), None)},
            r"`clamped.left` must be boolean, \[5\] or \[chains, 5\]",
        ),
        ({"clamped": GibbsState(None, np.ones(5, bool))}, r"`clamped.right` must be boolean, \[3\] or"),
        (
            {"clamped": GibbsState(np.ones((4, 5), bool), None)},
            r"a mask of shape \(4, 5\) and a state of shape \(2, 5\)",
        ),
    ],
)
def test_rejects_options(sweep, option, message, make_machine):
    state = GibbsState(tf.zeros([2, 5]), tf.zeros([2, 3]))
    with pytest.raises(ValueError, match=message):
        sweep(make_machine(5, 3).parameters, state, seed=1, **option)


def test_rejects_a_clamped_side_without_values(make_machine):
    clamped = GibbsState(None, np.ones(3, bool))
    with pytest.raises(ValueError, match=r"`clamped.right` keeps the values of `state.right`.*shape None"):
        gibbs_sweep(
            make_machine(5, 3).parameters, GibbsState(tf.zeros([2, 5]), None), seed=1, clamped=clamped
        )


@pytest.mark.parametrize("num_chains", [7, 301])
def test_sweeps_are_a_function_of_the_seed(num_chains, make_machine):
    machine = make_machine(5, 3)
    state = GibbsState(tf.zeros([num_chains, 5]), tf.zeros([num_chains, 3]))

    def run(seed):
        return gibbs_sweeps(machine.parameters, state, 4, seed=seed)

    first, again, other = run(1), tf.function(run)(1), run(2)
    for a, b, c in zip(first, again, other, strict=True):
        assert a.shape == b.shape
        assert a.dtype == tf.float32
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)
        assert 0.1 < np.mean(a) < 0.9
    # Chains with one start do not move together, in particular not those of the two halves.
    assert len(np.unique(np.concatenate(first, axis=1), axis=0)) > min(num_chains, 100) // 2
    assert np.any(first.left[: num_chains // 2] != first.left[-(num_chains // 2) :])


def test_the_number_of_chains_may_be_unknown(make_machine):
    machine = make_machine(5, 3)
    run = tf.function(
        lambda left, right: gibbs_sweeps(machine.parameters, GibbsState(left, right), 3, seed=1),
        input_signature=[tf.TensorSpec([None, 5]), tf.TensorSpec([None, 3])],
    )
    for num_chains in (1, 9):
        left, right = run(np.zeros((num_chains, 5)), np.zeros((num_chains, 3)))
        assert left.shape == (num_chains, 5)
        assert right.shape == (num_chains, 3)
        assert set(np.unique(left)) <= {0.0, 1.0}


@pytest.mark.parametrize("bad", [0, -3, 1.5])
def test_rejects_numbers_of_sweeps(bad, make_machine):
    state = GibbsState(tf.zeros([2, 5]), tf.zeros([2, 3]))
    with pytest.raises(
        ValueError, match=f"`num_sweeps` must be a positive integer. Received: num_sweeps={bad}"
    ):
        gibbs_sweeps(make_machine(5, 3).parameters, state, bad, seed=1)


def test_noise_is_uniform_on_its_grid():
    seeds = [tf.constant([s, 5]) for s in range(1500)]

    @tf.function
    def draw(seed):
        return [unit_noise(3, n, s) for n, s in zip((5, 7), noise_seeds(seed, 1, 2).of_step(0), strict=True)]

    first, second = zip(*(draw(s) for s in seeds), strict=True)
    assert first[0].shape == (3, 5)
    assert second[0].shape == (3, 7)
    for arrays in (first, second):
        cells = np.stack(arrays).astype(np.float64).reshape(len(seeds), -1) * 2**23
        np.testing.assert_array_equal(cells, np.round(cells))
        assert cells.min() >= 0
        assert cells.max() < 2**23
        cells = cells.astype(int)
        # The 7 last bits are common to an array, and uniform; the leading 16 bits are each unit's own.
        assert np.all(cells % 128 == cells[:, :1] % 128)
        assert chi_squared_p_value(np.bincount(cells[:, 0] % 128, minlength=128)) > FALSE_FAILURES
        assert chi_squared_p_value(np.bincount(cells.ravel() >> 15, minlength=256)) > FALSE_FAILURES
        assert chi_squared_p_value(np.bincount((cells.ravel() >> 7) % 256, minlength=256)) > FALSE_FAILURES
    units = np.concatenate([np.stack(a).reshape(len(seeds), -1) for a in (first, second)], axis=1)
    correlations = np.corrcoef(units, rowvar=False) - np.eye(units.shape[1])
    # 630 pairs: 6 standard errors are a rate of 1e-6.
    assert np.abs(correlations).max() < 6 / np.sqrt(len(seeds))


def test_saturated_units_are_exact():
    noise = tf.constant([0.0, 0.5, 1 - 2.0**-23])
    for logit, want in ((-200.0, 0.0), (-np.inf, 0.0), (200.0, 1.0), (np.inf, 1.0)):
        np.testing.assert_array_equal(draw_units(tf.fill([3], logit), noise), np.full(3, want))
    assert np.all(np.isnan(draw_units(tf.fill([3], np.nan), noise)))


def test_units_are_binary_for_every_logit():
    logits = np.linspace(-120, 120, 200_001, dtype=np.float32)
    for noise in (0.0, 2.0**-23, 0.5, 1 - 2.0**-23):
        got = draw_units(tf.constant(logits), tf.fill([len(logits)], np.float32(noise))).numpy()
        assert set(np.unique(got)) <= {0.0, 1.0}
        assert np.all(np.diff(got) >= 0)


def test_parts_join_to_the_whole():
    for num_chains, units, num_parts in (
        (1, 3, 1),
        (8333, 3, 1),
        (8334, 3, 2),
        (1003, 100, 5),
        (1000, 250, 10),
        (1000, 251, 2),
        (1, 10**6, 1),
        (3, 10**5, 3),
    ):
        chains = tf.random.stateless_uniform([num_chains, 3], [1, 2])
        parts = split_chains(chains, units)
        assert len(parts) == num_parts
        assert max(len(p) for p in parts) - min(len(p) for p in parts) <= 1
        np.testing.assert_array_equal(join_chains(parts), chains)


def row_seeds(count, first=0):
    return tf.stack([tf.range(first, first + count), tf.fill([count], 5)], axis=-1)


def test_rows_with_streams_of_their_own_reach_the_distribution(make_machine, enumerate_machine):
    machine = make_machine(4, 3, scale=0.8)
    sweeps = tf.fill([20_000], 50)
    state = row_gibbs_sweeps(machine.parameters, tf.zeros([20_000, 4]), sweeps, seeds=row_seeds(20_000))
    assert enumerate_machine(machine).p_value(*state) > FALSE_FAILURES
    # Too few sweeps from a state that is not of the machine: the test can fail.
    state = row_gibbs_sweeps(machine.parameters, tf.zeros([20_000, 4]), sweeps // 50, seeds=row_seeds(20_000))
    assert enumerate_machine(machine).p_value(*state) < FALSE_FAILURES


def test_a_row_does_not_depend_on_the_others(make_machine):
    machine = make_machine(9, 7)
    left = tf.constant(np.random.default_rng(0).integers(0, 2, (12, 9)), tf.float32)
    sweeps, seeds = tf.constant([1, 2, 3, 50] * 3), row_seeds(12)
    together = row_gibbs_sweeps(machine.parameters, left, sweeps, seeds=seeds)
    assert len({row.tobytes() for row in together.left.numpy()}) > 6
    for i in range(12):
        # Two rows, for a product with one row goes another way in the framework.
        rows = [i, (5 * i + 3) % 12]
        pair = row_gibbs_sweeps(
            machine.parameters, *(tf.gather(v, rows) for v in (left, sweeps)), seeds=tf.gather(seeds, rows)
        )
        np.testing.assert_array_equal(pair.left[0], together.left[i])
        np.testing.assert_array_equal(pair.right[0], together.right[i])


def test_a_row_is_stopped_after_its_own_sweeps(make_machine):
    machine = make_machine(9, 7)
    sweeps = [1, 2, 15, 16, 17, 40]  # their random numbers are drawn for 16 sweeps at a time
    left, seeds = tf.zeros([6, 9]), row_seeds(6)
    mixed = row_gibbs_sweeps(machine.parameters, left, tf.constant(sweeps), seeds=seeds)
    for i, count in enumerate(sweeps):
        same = row_gibbs_sweeps(machine.parameters, left, tf.fill([6], count), seeds=seeds)
        np.testing.assert_array_equal(same.left[i], mixed.left[i])
        np.testing.assert_array_equal(same.right[i], mixed.right[i])
