import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.boltzmann import PersistentChains, RestrictedBoltzmannMachine, diagnostics
from tfdvae.boltzmann.gibbs import GibbsState


def autoregression(correlation, shape, seed=0):
    """A stationary series of variance 1, of time (1 + correlation) / (1 - correlation)."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=shape)
    for t in range(1, shape[0]):
        series[t] = correlation * series[t - 1] + math.sqrt(1 - correlation**2) * series[t]
    return series


@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("num_chains", [1, 20])
def test_autocorrelation_time_of_an_autoregression(correlation, num_chains):
    series = autoregression(correlation, (40_000 // num_chains, num_chains))
    want = (1 + correlation) / (1 - correlation)
    got = diagnostics.integrated_autocorrelation_time(series)
    # The variance of the time from n values and a window of about 6 times is near 2 (2 window + 1) / n.
    assert abs(got / want - 1) < 5 * math.sqrt(2 * (12 * want + 1) / 40_000)
    np.testing.assert_allclose(diagnostics.effective_sample_size(series), 40_000 / got)
    # As the definition says: the variance of a mean of independent draws, times the autocorrelation time.
    means = autoregression(correlation, (1000, 4000), seed=1).mean(axis=0)
    assert abs(np.var(means) * 1000 / want - 1) < 0.15


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_autocorrelation_time_against_tfp(correlation):
    series = autoregression(correlation, (2000, 20))
    want = tfp.mcmc.effective_sample_size(
        tf.constant(series), filter_beyond_positive_pairs=True, cross_chain_dims=1
    )
    # The two end their sums at different times and take other means.
    np.testing.assert_allclose(diagnostics.effective_sample_size(series), want, rtol=0.1)


def test_chains_that_stay_apart():
    noise = autoregression(0.0, (400, 8))
    apart = noise + 10 * np.arange(8)
    assert diagnostics.integrated_autocorrelation_time(apart) > 100
    assert diagnostics.potential_scale_reduction(apart) > 5
    # Split R-hat squared of independent draws is 1 + O(1 / sqrt(draws)).
    assert abs(diagnostics.potential_scale_reduction(noise) - 1) < 0.02
    drift = noise + np.linspace(0, 10, 400)[:, np.newaxis]
    assert diagnostics.potential_scale_reduction(drift) > 1.5


def test_split_r_hat_against_its_formula():
    series = autoregression(0.8, (60, 5))
    halves = np.concatenate([series[:30], series[30:]], axis=1)
    within, between = np.mean(np.var(halves, axis=0, ddof=1)), 30 * np.var(halves.mean(axis=0), ddof=1)
    want = math.sqrt((29 / 30 * within + between / 30) / within)
    got = diagnostics.potential_scale_reduction(series)
    # TFP's has a correction for the number of chains, of the order of 1 / chains.
    assert abs(got / want - 1) < 0.08
    assert got > 1.05


def test_constant_series():
    assert math.isnan(diagnostics.integrated_autocorrelation_time(np.ones((10, 3))))
    assert math.isnan(diagnostics.effective_sample_size(np.full((10, 3), 0.1)))
    assert math.isnan(diagnostics.potential_scale_reduction(np.ones((10, 3))))
    assert diagnostics.potential_scale_reduction(np.ones((10, 3)) * [1, 2, 3]) == math.inf


@pytest.mark.parametrize("shape", [(10,), (3, 2), (10, 0), (10, 2, 2)])
def test_rejects_series(shape):
    for function in (diagnostics.effective_sample_size, diagnostics.potential_scale_reduction):
        with pytest.raises(ValueError, match=r"`series` must be \[time, chains\]"):
            function(np.zeros(shape))
        with pytest.raises(ValueError, match=r"`series` must be finite. Received 1 NaN"):
            function(np.where(np.arange(20).reshape(10, 2) == 3, np.nan, 1.0))


def test_swap_acceptance_and_ratios_against_loops():
    log_ratios = np.random.default_rng(0).normal(size=(7, 3, 4)).astype(np.float32)
    want = np.zeros((3, 3))
    for pair in range(3):
        for ladder in range(3):
            for sweep in range(6):
                if sweep % 2 == pair % 2:
                    total = log_ratios[sweep, ladder, pair] + log_ratios[sweep, ladder, pair + 1]
                    want[pair, ladder] += min(1.0, math.exp(total)) / 3
    np.testing.assert_allclose(diagnostics.swap_acceptance(log_ratios), want.mean(axis=1), rtol=1e-6)
    up, down = diagnostics.neighbour_ratios(log_ratios, 1)
    np.testing.assert_array_equal(up, log_ratios[[1, 3, 5], :, 1])
    np.testing.assert_array_equal(down, log_ratios[[1, 3, 5], :, 2])
    assert up.dtype == np.float64
    with pytest.raises(ValueError, match=r"at least 2 sweeps. Received: shape \(1, 3, 4\)"):
        diagnostics.swap_acceptance(log_ratios[:1])


def test_round_trips():
    # Replicas 0, 1, 2 of one ladder; at each time who is at the bottom and who at the top.
    ends = [(0, 2), (1, 0), (1, 0), (0, 1), (2, 1), (1, 2), (1, 0), (2, 0), (0, 2)]
    # 0: up at 1, back at 3, and up at 6, back at 8. 1: up at 3, back at 5. 2: starts at the top, which is no
    # beginning; at the bottom at 4, up at 5, back at 7.
    np.testing.assert_array_equal(diagnostics.round_trips(np.reshape(ends, (9, 1, 2)), 3), [4])
    still = np.tile([0, 2], (9, 1, 1))
    ladders = np.concatenate([np.reshape(ends, (9, 1, 2)), still], axis=1)
    np.testing.assert_array_equal(diagnostics.round_trips(ladders, 3), [4, 0])
    with pytest.raises(ValueError, match=r"`ends` must be \[sweeps, ladders, 2\]. Received: \(9, 2\)"):
        diagnostics.round_trips(np.zeros((9, 2)), 3)


@pytest.fixture
def healthy(make_machine):
    machine = make_machine(12, 10, 0.3)
    chains = PersistentChains(machine, num_chains=40, num_sweeps=50)
    return machine, GibbsState(*chains.advance(seed=0))


def test_healthy_chains(healthy):
    machine, state = healthy
    health = diagnostics.chain_health(machine, state, num_sweeps=200, seed=1)
    assert health.warning is None
    assert 1 <= health.autocorrelation_time < 5
    assert 0.98 < health.r_hat < 1.1
    assert 0.1 < health.flip_rate < 0.5
    assert (health.num_chains, health.num_sweeps) == (40, 200)
    np.testing.assert_allclose(health.effective_sample_size, 8000 / health.autocorrelation_time)
    assert health == diagnostics.chain_health(machine, state, num_sweeps=200, seed=1)
    assert health != diagnostics.chain_health(machine, state, num_sweeps=200, seed=2)


def test_mean_energy_and_flip_rate_against_enumeration(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    law = enumerate_machine(machine)
    state = GibbsState(*law.draw(2000, np.random.default_rng(0)))
    health = diagnostics.chain_health(machine, state, num_sweeps=50, seed=0)
    energies = -np.log(law.probabilities) - law.log_z
    mean = law.probabilities @ energies
    deviation = math.sqrt(law.probabilities @ (energies - mean) ** 2)
    error = deviation / math.sqrt(health.effective_sample_size)
    assert abs(health.mean_energy - mean) < 5 * error
    # Two states a sweep apart, by the chain of `left`.
    lefts, numbers = np.unique(law.lefts, axis=0, return_inverse=True)
    joint = np.zeros((16, 8))
    np.add.at(joint, (numbers, np.arange(128) % 8), law.probabilities)
    step = (joint / joint.sum(1, keepdims=True)) @ (joint / joint.sum(0)).T
    flips = np.abs(lefts[:, np.newaxis] - lefts).mean(axis=2)
    want = np.sum(joint.sum(1)[:, np.newaxis] * step * flips)
    # A sweep's share has a deviation below 1/2; chains are independent and sweeps at worst correlated
    # throughout.
    assert abs(health.flip_rate - want) < 5 * 0.5 / math.sqrt(2000)


@pytest.mark.parametrize("seed", [0, 1])
def test_frozen_chains_are_found(seed):
    coupling = np.full((10, 10), 20.0)
    machine = RestrictedBoltzmannMachine.from_arrays(-coupling.sum(1) / 2, -coupling.sum(0) / 2, coupling)
    modes = np.repeat([[0.0], [1.0]], 10, axis=0) * np.ones((1, 10))
    health = diagnostics.chain_health(machine, GibbsState(modes, modes), seed=seed)
    assert health.flip_rate == 0
    assert "The chains are frozen" in health.warning
    assert "learning rate" in health.warning


def test_chains_in_modes_that_do_not_mix_are_found():
    coupling = np.full((12, 12), 1.0)
    machine = RestrictedBoltzmannMachine.from_arrays(
        0.2 - coupling.sum(1) / 2, -coupling.sum(0) / 2, coupling
    )
    modes = np.repeat([[0.0], [1.0]], 20, axis=0) * np.ones((1, 12))
    health = diagnostics.chain_health(machine, GibbsState(modes, modes), seed=0)
    assert health.flip_rate > diagnostics.MIN_FLIP_RATE
    assert health.r_hat > 1.2
    assert "The chains disagree" in health.warning
    # All in one mode: nothing is to be seen within the run.
    ones = np.ones((40, 12))
    alone = diagnostics.chain_health(machine, GibbsState(ones, ones), seed=0)
    assert alone.r_hat < health.r_hat


def test_slow_chains_are_warned_of():
    warn = diagnostics._chain_warning
    health = {"effective_sample_size": 100.0, "r_hat": 1.05, "flip_rate": 0.1, "num_sweeps": 100}
    assert warn(autocorrelation_time=9.0, **health) is None
    assert "correlated over 11 sweeps" in warn(autocorrelation_time=11.0, **health)
    assert "R-hat of the energy is nan" in warn(autocorrelation_time=9.0, **{**health, "r_hat": math.nan})


def test_the_probe_leaves_the_chains_alone(make_machine):
    machine = make_machine(6, 4)
    chains = PersistentChains(machine, num_chains=10, num_sweeps=2)
    before = chains.left.numpy()
    diagnostics.chain_health(machine, GibbsState(chains.left, chains.right), num_sweeps=10, seed=0)
    np.testing.assert_array_equal(chains.left, before)


def test_rejects_chains_and_machines(healthy):
    machine, state = healthy
    for bad in (GibbsState(state.right, state.left), GibbsState(state.left[:3], state.right)):
        with pytest.raises(
            ValueError, match=r"must be left \[chains, 12\], right \[chains, 10\]. Received: "
        ):
            diagnostics.chain_health(machine, bad, seed=0)
    for bad in (0, 1.5):
        with pytest.raises(ValueError, match=f"`num_sweeps` must be a positive integer. Received: .*={bad}"):
            diagnostics.chain_health(machine, state, num_sweeps=bad, seed=0)
    with pytest.raises(ValueError, match=r"at least 10 to see a correlation. Received: 9"):
        diagnostics.chain_health(machine, state, num_sweeps=9, seed=0)
    machine.left_bias.assign(np.full(12, np.nan))
    with pytest.raises(ValueError, match=r"`left_bias` must be finite. Received 12 NaN"):
        diagnostics.chain_health(machine, state, seed=0)
