"""The search for modes: bounds that hold, modes that enumeration knows, parts of the distribution."""

import numpy as np

from tests.boltzmann.hard_machines import ferromagnet, hidden_pattern, hopfield
from tests.boltzmann.log_partition_cases import CASES
from tfdvae.boltzmann import RestrictedBoltzmannMachine, log_partition
from tfdvae.boltzmann.log_partition.mean_field import find_modes


def modes_of(rbm, **kwargs):
    return find_modes(rbm.parameters, num_starts=16, seed=0, **kwargs)


def test_the_bound_holds_at_every_mode():
    for case in CASES[::2]:
        bounds = modes_of(case.machine()).bounds
        assert np.all(bounds <= case.log_z() + 1e-5), case.name
        assert np.all(np.isfinite(bounds))


def test_independent_units_are_one_mode_and_exact():
    rng = np.random.default_rng(0)
    rbm = RestrictedBoltzmannMachine.from_arrays(rng.normal(size=5), rng.normal(size=7), np.zeros((5, 7)))
    modes = modes_of(rbm)
    np.testing.assert_allclose(modes.bounds, [log_partition.exact(rbm).value], rtol=1e-6)
    np.testing.assert_allclose(modes.scores, modes.bounds)
    np.testing.assert_allclose(modes.left[0], rbm.parameters.left_bias, atol=1e-6)


def test_both_modes_of_a_pattern_that_the_fields_hide():
    """Annealing from a high temperature follows the fields and never meets the pattern."""
    modes = modes_of(hidden_pattern(12, 12))
    pattern = np.arange(12) % 2 == 0
    assert np.array_equal(modes.left[0] > 0, pattern) or np.array_equal(modes.left[0] > 0, ~pattern)
    (uniform,) = (k for k, logits in enumerate(modes.left) if np.all(logits > 0))
    assert modes.bounds[0] - modes.bounds[uniform] > 5  # the pattern is `gap` = 6 nats more likely


def test_all_patterns_of_a_hopfield_machine_and_their_opposites():
    rbm = hopfield(21, 21, (20.0, 19.0, 18.0), 0.1, seed=1)
    rng = np.random.default_rng(1)
    patterns = [(rng.choice([-1.0, 1.0], 21), rng.choice([-1.0, 1.0], 21))[0] for _ in range(3)]
    found = {tuple(logits > 0) for logits in modes_of(rbm).left}
    assert {tuple(sign * p > 0) for p in patterns for sign in (1, -1)} <= found


def test_states_belong_to_the_nearest_mode():
    modes = modes_of(ferromagnet(12, 12, 3.0, 0.01))
    states = np.array([[1] * 12, [0] * 12, [1] * 9 + [0] * 3, [0] * 9 + [1] * 3], np.float32)
    means = modes.left[modes.nearest(states)] > 0
    np.testing.assert_array_equal(means.all(axis=1), [True, False, True, False])
    assert not means[1].any()


def test_known_states_are_climbed_from():
    """Of random patterns that no start leads to, a state of one does."""
    rbm = hidden_pattern(12, 12, gap=-4.0)
    pattern = np.arange(12) % 2 == 0
    modes = modes_of(rbm, left=pattern[np.newaxis])
    assert any(np.array_equal(logits > 0, pattern) for logits in modes.left)


def test_is_a_function_of_the_seed():
    rbm = CASES[-1].machine()
    for one, other in zip(modes_of(rbm), modes_of(rbm), strict=True):
        np.testing.assert_array_equal(one, other)
