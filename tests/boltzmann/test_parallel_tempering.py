import math

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.boltzmann import RestrictedBoltzmannMachine
from tfdvae.boltzmann.gibbs import GibbsState
from tfdvae.boltzmann.log_partition import parallel_tempering, tempering
from tfdvae.boltzmann.log_partition.path import centered_base


def draw_machine(i):
    """3 to 20 units on the smaller side, weights of scale 0.1 to 5, biases of scale 0.5 to 5."""
    rng = np.random.default_rng([i, 7])
    sides = [rng.integers(3, 15), rng.integers(15, 40)] if i % 6 else [20, 20]
    left, right = sides if i % 2 else sides[::-1]
    coupling = 0.1 * 50 ** (i / 23) * rng.normal(size=(left, right))
    biases = [(0.5, 2.0, 5.0)[i % 3] * rng.normal(size=n) for n in (left, right)]
    if i % 4 == 0:  # fields that nearly cancel in units of -1 and 1: the coldest of all
        biases = [b / 4 - coupling.sum(axis) / 2 for b, axis in zip(biases, (1, 0), strict=True)]
    return [np.float32(w) for w in (*biases, coupling)]


def draw_ferromagnet(units=12, strength=1.8, tilt=0.1):
    """All units on, or all off; below the critical temperature of mean field, `strength` = 1."""
    coupling = np.full((units, units), 4 * strength / units, np.float32)
    bias = np.full(units, tilt, np.float32) - coupling.sum(0) / 2
    return [bias, bias, coupling]


MACHINES = [draw_machine(i) for i in (1, 3, 5, 8, 10, 12, 14, 16, 19, 21, 23)] + [draw_ferromagnet()]


def log_z(left_bias, right_bias, coupling):
    """By a sum over the states of the smaller side in float64."""
    weights = [np.asarray(w, np.float64) for w in (left_bias, right_bias, coupling)]
    if len(left_bias) > len(right_bias):
        weights = [weights[1], weights[0], weights[2].T]
    bias, other_bias, coupling = weights
    total = -math.inf
    for block in np.array_split(np.arange(2 ** len(bias)), max(1, 2 ** len(bias) // 2**14)):
        states = (block[:, np.newaxis] >> np.arange(len(bias))) % 2
        terms = states @ bias + np.logaddexp(0, states @ coupling + other_bias).sum(axis=1)
        total = np.logaddexp(total, np.logaddexp.reduce(terms))
    return total


@pytest.fixture(scope="module")
def runs():
    """Estimates of all machines beside the truth."""
    estimates = [
        parallel_tempering(
            RestrictedBoltzmannMachine.from_arrays(*weights), num_ladders=12, num_sweeps=400, seed=i
        )
        for i, weights in enumerate(MACHINES)
    ]
    return [(e, log_z(*weights)) for e, weights in zip(estimates, MACHINES, strict=True)]


def test_the_truth_lies_within_three_standard_errors(runs):
    scores = np.array([(e.value - want) / e.standard_error for e, want in runs])
    assert np.count_nonzero(np.abs(scores) < 3) >= 11
    # The errors are not so wide either that anything would do: chi-squared of 12, but for 1e-5 on each side.
    assert 1.2 < np.sum(scores**2) < 46


def test_the_estimates_are_accurate(runs):
    errors = np.array([abs(e.value - want) for e, want in runs])
    assert np.count_nonzero(errors < 0.05) >= 10
    assert np.max([e.standard_error for e, _ in runs]) < 0.1


def test_another_machine_is_found_out(runs):
    far = 0
    for (estimate, _), (left_bias, right_bias, coupling) in zip(runs, MACHINES, strict=True):
        far += (
            abs(estimate.value - log_z(left_bias, right_bias, 1.1 * coupling)) > 3 * estimate.standard_error
        )
    assert far >= 10


def test_what_the_runs_say_of_themselves(runs):
    for estimate, _ in runs:
        info = estimate.diagnostics
        betas, acceptance = info["inverse_temperatures"], info["swap_acceptance"]
        assert betas[0] == 0
        assert betas[-1] == 1
        assert np.all(np.diff(betas) > 0)
        assert acceptance.shape == info["log_partitions"][1:].shape == betas[1:].shape
        assert info["log_partitions"][-1] == estimate.value
        # Adapted to even acceptance, at or above the target of one half.
        assert acceptance.min() > 0.4
        assert np.ptp(acceptance) < 0.25
        assert info["round_trips"].shape == (12,)
        assert info["autocorrelation_time"] > 1.5
        assert info["effective_sample_size"] > 50
        assert info["warnings"] == ()
        assert info["trustworthy"] is True
        assert estimate.lower is estimate.upper is None
        assert type(estimate.value) is type(estimate.standard_error) is float
        assert (info["method"], info["num_ladders"], info["num_sweeps"]) == ("parallel_tempering", 12, 400)


def test_samples_have_the_moments_of_the_machine(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    samples = parallel_tempering(machine, num_ladders=50, num_sweeps=500, seed=0).diagnostics["samples"]
    assert isinstance(samples, GibbsState)
    all_states = enumerate_machine(machine)
    states = np.concatenate([all_states.lefts, all_states.rights], axis=1)
    want = np.einsum("s,si,sj->ij", all_states.probabilities, states, states)
    spins = np.concatenate(samples, axis=1)
    num_times = len(spins) // 50
    assert 50 <= num_times <= 64
    # Means over each of 50 independent ladders give the errors; Student's t of 49 at 1e-6 / 28.
    products = np.einsum("nli,nlj->lij", *[spins.reshape(num_times, 50, 7)] * 2) / num_times
    errors = np.std(products, axis=0, ddof=1) / math.sqrt(50)
    np.testing.assert_array_less(np.abs(products.mean(0) - want), 7 * errors + 1e-12)
    wrong = np.einsum("s,si,sj->ij", np.full(128, 1 / 128), states, states)
    assert np.any(np.abs(products.mean(0) - wrong) > 7 * errors)


@pytest.mark.slow
def test_the_standard_error_is_that_of_repeated_runs():
    machine = RestrictedBoltzmannMachine.from_arrays(*draw_ferromagnet(6, 1.5))
    runs = [parallel_tempering(machine, num_ladders=6, num_sweeps=100, seed=s) for s in range(40)]
    got = math.sqrt(np.mean([r.standard_error**2 for r in runs]))
    want = np.std([r.value for r in runs], ddof=1)
    # The deviation of 40 values is known to 1 / sqrt(78) = 11 percent: 5 of those, and more above, as the
    # larger of two errors is taken.
    assert 0.64 < got / want < 2.5


def test_correlated_samples_need_the_autocorrelation_time():
    rng = np.random.default_rng(0)
    noise, series = rng.normal(size=(2000, 10)), np.zeros((2000, 10))
    for t in range(1, 2000):
        series[t] = 0.9 * series[t - 1] + noise[t]
    error, time = tempering._standard_error(series)
    # Of an autoregression: (1 + 0.9) / (1 - 0.9) = 19, and the mean's deviation 1 / (1 - 0.9) / sqrt(20000).
    assert 14 < time < 26
    assert 0.8 < error / (10 / math.sqrt(20_000)) < 1.4
    assert np.std(series) / math.sqrt(20_000) < 0.3 * error
    # Ladders that stay apart count once each.
    stuck = np.repeat(rng.normal(size=(1, 10)), 500, axis=0) + 0.01 * rng.normal(size=(500, 10))
    error, time = tempering._standard_error(stuck)
    assert time > 100
    assert error > 0.8 * np.std(stuck[0]) / math.sqrt(10)
    assert tempering._standard_error(np.zeros((10, 2))) == (0.0, 1.0)
    assert tempering._standard_error(np.ones((3, 1)) * [[1], [2], [3]])[0] == math.inf
    assert tempering._standard_error(series[:5, :1])[0] == math.inf


def test_bennett_against_normals_of_known_ratio():
    # log p_1 / p_0 = x - 1 / 2 + d of N(0, 1) and N(1, 1), unnormalized with log Z_1 - log Z_0 = d = 3.
    rng = np.random.default_rng(0)
    up, down = rng.normal(size=20_000) - 0.5 + 3, -(rng.normal(size=20_000) + 1 - 0.5 + 3)
    # The variance of either side's estimate by importance sampling is (e - 1) / n; Bennett's is below.
    assert abs(tempering._bennett_root(up, down) - 3) < 5 * math.sqrt((math.e - 1) / 20_000)
    grid = np.linspace(2.8, 3.2, 400_001)
    wanted = [
        np.mean(1 / (1 + np.exp(d - up))) - np.mean(1 / (1 + np.exp(-d - down))) for d in grid[::20_000]
    ]
    assert np.interp(0, wanted[::-1], grid[::20_000][::-1]) == pytest.approx(
        tempering._bennett_root(up, down), abs=1e-4
    )
    # Without overlap the root stays between the two.
    assert 10 <= tempering._bennett_root(np.full(5, 10.0), np.full(5, -30.0)) <= 30
    assert tempering._bennett_root(np.full(5, -960.0), np.full(5, 240.0)) == -600
    assert tempering._bennett_root(np.full(5, 2.0), np.full(5, -2.0)) == 2


def test_independent_units_are_exact():
    rng = np.random.default_rng(0)
    biases = [rng.normal(size=n).astype(np.float32) for n in (30, 40)]
    machine = RestrictedBoltzmannMachine.from_arrays(*biases, np.zeros((30, 40)))
    estimate = parallel_tempering(machine, num_sweeps=20, base="centered", seed=0)
    want = sum(np.logaddexp(0, b.astype(np.float64)).sum() for b in biases)
    np.testing.assert_allclose(estimate.value, want, rtol=1e-12)
    assert estimate.standard_error == 0


def test_the_ladder_grows_where_exchanges_are_refused():
    machine = RestrictedBoltzmannMachine.from_arrays(*draw_machine(20))
    estimate = parallel_tempering(
        machine, num_ladders=8, num_temperatures=2, num_sweeps=200, num_burn_in=300, seed=0
    )
    info = estimate.diagnostics
    assert len(info["inverse_temperatures"]) > 4
    assert info["swap_acceptance"].min() > 0.3
    assert abs(estimate.value - log_z(*draw_machine(20))) < 4 * estimate.standard_error < 1
    short = parallel_tempering(
        machine, num_ladders=8, num_temperatures=2, max_temperatures=3, num_sweeps=200, seed=0
    ).diagnostics
    assert len(short["inverse_temperatures"]) == 3


def test_warns_when_exchanges_stop():
    # All units on at one end and off at the other: the two share no state.
    base = (np.full(30, 12.0), np.full(20, 12.0))
    machine = RestrictedBoltzmannMachine.from_arrays(-base[0], -base[1], np.full((30, 20), 0.1))
    estimate = parallel_tempering(
        machine, num_ladders=4, num_temperatures=2, max_temperatures=2, num_sweeps=40, seed=0, base=base
    )
    info = estimate.diagnostics
    assert info["trustworthy"] is False
    assert "Exchanges stop between beta = 0.0000 and 1.0000" in info["warnings"][0]
    assert "0 round trips" in info["warnings"][1]
    assert "worth 1 independent ones" in info["warnings"][2]
    assert estimate.standard_error == math.inf


def test_the_default_base_keeps_both_modes_in_reach():
    weights = draw_ferromagnet(16, 3.0, tilt=0.05)
    machine, want = RestrictedBoltzmannMachine.from_arrays(*weights), log_z(*weights)
    arguments = {"num_ladders": 8, "num_sweeps": 300, "seed": 0}
    for base in ("centered", "zero"):
        estimate = parallel_tempering(machine, base=base, **arguments)
        assert abs(estimate.value - want) < 3 * estimate.standard_error < 0.4
    # The machine's own biases keep the replicas in the mode in which all is off.
    estimate = parallel_tempering(machine, base=None, **arguments)
    assert estimate.value < want - 1


def test_the_centered_base_has_the_fields_of_the_machine(make_machine):
    parameters = make_machine(4, 3).parameters
    base = centered_base(parameters)
    # In s = 2 z - 1 a unit's field is half of its bias and a quarter of its couplings.
    left, right, coupling = (np.asarray(p, np.float64) for p in parameters)
    np.testing.assert_allclose(np.asarray(base.left) / 2, left / 2 + coupling.sum(1) / 4, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(base.right) / 2, right / 2 + coupling.sum(0) / 4, rtol=1e-5)


def test_thinned_records_serve_as_well(monkeypatch):
    machine, want = RestrictedBoltzmannMachine.from_arrays(*MACHINES[10]), log_z(*MACHINES[10])
    monkeypatch.setattr(tempering, "_MAX_STORED", 12 * 16 * 100)
    path = {}
    run = tempering._run

    def kept(*args, **kwargs):
        path["run"] = run(*args, **kwargs)
        return path["run"]

    monkeypatch.setattr(tempering, "_run", kept)
    estimate = parallel_tempering(machine, num_ladders=12, num_sweeps=700, seed=0)
    assert path["run"].stride > 1
    assert len(path["run"].log_ratios) <= 700 / path["run"].stride + 2 * 64
    assert len(path["run"].ends) == 700
    assert estimate.diagnostics["autocorrelation_time"] >= 2 * path["run"].stride * 0.8
    assert abs(estimate.value - want) < 4 * estimate.standard_error < 0.4


def test_is_a_function_of_the_seed(make_machine):
    machine = make_machine(6, 5)
    values = [
        parallel_tempering(machine, num_ladders=3, num_sweeps=20, seed=s).value for s in (1, 1, 2, (1, 5))
    ]
    assert values[0] == values[1]
    assert len(set(values)) == 3


def test_odd_numbers_of_sweeps_are_rounded_up(make_machine):
    estimate = parallel_tempering(make_machine(4, 3), num_ladders=2, num_sweeps=1, num_burn_in=1, seed=0)
    assert estimate.diagnostics["num_sweeps"] == 2
    assert estimate.standard_error == math.inf
    assert estimate.diagnostics["trustworthy"] is False


@pytest.mark.parametrize(
    "name", ["num_ladders", "num_temperatures", "num_sweeps", "num_burn_in", "max_temperatures"]
)
@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_rejects_numbers(name, bad, make_machine):
    arguments = {"num_sweeps": 2, name: bad}
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}={bad}"):
        parallel_tempering(make_machine(4, 3), seed=0, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_temperatures": 1}, "`num_temperatures` must lie between 2 and `max_temperatures`"),
        ({"num_temperatures": 9, "max_temperatures": 8}, "num_temperatures=9, max_temperatures=8"),
        ({"target_acceptance": 0.0}, r"`target_acceptance` must lie in \(0, 1\). Received: .*=0.0"),
        ({"target_acceptance": 1.0}, r"`target_acceptance` must lie in \(0, 1\). Received: .*=1.0"),
        ({"target_acceptance": math.nan}, r"`target_acceptance` must lie in \(0, 1\). Received: .*=nan"),
        ({"base": (np.zeros(3), np.zeros(3))}, r"left biases of `base` must have the shape \(4,\)"),
        ({"base": (np.zeros(4), np.full(3, np.nan))}, r"must be finite. Received 3 NaN"),
        ({"base": "nonsense"}, "`base` must be"),
    ],
)
def test_rejects_ladders_and_bases(arguments, message, make_machine):
    with pytest.raises(ValueError, match=message):
        parallel_tempering(make_machine(4, 3), num_sweeps=2, seed=0, **arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rejects_weights_that_are_not_finite(bad, make_machine):
    machine = make_machine(4, 3)
    machine.coupling.assign(tf.fill([4, 3], bad))
    with pytest.raises(ValueError, match=r"`coupling` must be finite. Received 12 NaN or infinite"):
        parallel_tempering(machine, num_sweeps=2, seed=0)
