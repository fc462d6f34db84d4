import numpy as np
import pytest
import tensorflow as tf

from tfdvae.boltzmann import GibbsState, RBMParameters, gibbs_sweep, gibbs_sweeps
from tfdvae.boltzmann.gibbs import draw_units, halve_chains, join_chains, unit_noise

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


@pytest.mark.parametrize("num_chains", [150, 5000], ids=["whole", "halved"])
def test_long_chains_reach_the_distribution(num_chains, make_machine, enumerate_machine):
    machine = make_machine(4, 3, scale=0.8)
    all_states = enumerate_machine(machine)
    run = tf.function(gibbs_sweeps)
    lefts, rights = [], []
    for seed in range(5000 // num_chains):
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
    draw = tf.function(lambda seed: unit_noise(3, (5, 7), seed=seed))
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


def test_halves_join_to_the_whole():
    for num_chains in (1, 199, 200, 333):
        chains = tf.random.stateless_uniform([num_chains, 3], [1, 2])
        parts = halve_chains(chains)
        assert len(parts) == (1 if num_chains < 200 else 2)
        np.testing.assert_array_equal(join_chains(parts), chains)
