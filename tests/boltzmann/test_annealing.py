import math

import numpy as np
import pytest

from tests.boltzmann.log_partition_cases import Ferromagnet
from tfdvae.boltzmann import RestrictedBoltzmannMachine, log_partition
from tfdvae.boltzmann.log_partition import path

ais = log_partition.annealed_importance_sampling


@pytest.mark.parametrize(
    ("left_units", "right_units", "scale", "num_temperatures"),
    [(8, 6, 0.5, 50), (6, 20, 0.5, 100), (15, 9, 1.0, 300), (12, 12, 0.1, 10)],
)
@pytest.mark.parametrize("num_chains", [150, 400], ids=["whole", "halved"])
def test_within_four_standard_errors_of_the_exact_value(
    left_units, right_units, scale, num_temperatures, num_chains, make_machine
):
    machine = make_machine(left_units, right_units, scale)
    estimate = ais(machine, num_chains=num_chains, num_temperatures=num_temperatures, seed=1)
    want = log_partition.exact(machine).value
    assert 0 < estimate.standard_error < 0.1
    assert abs(estimate.value - want) < 4 * estimate.standard_error


@pytest.mark.parametrize("num_temperatures", [1, 2, 8])
@pytest.mark.parametrize("base", [None, "zero", (np.full(6, 0.3), np.full(5, -0.2))], ids=str)
def test_the_mean_weight_is_unbiased(num_temperatures, base, make_machine):
    machine = make_machine(6, 5, 0.7)
    want = log_partition.exact(machine).value
    estimate = ais(machine, num_chains=40_000, num_temperatures=num_temperatures, seed=0, base=base)
    ratios = np.exp(estimate.diagnostics["log_weights"] - want)
    # 5 standard errors: a rate of false failures of 6e-7.
    error = np.std(ratios) / math.sqrt(len(ratios))
    assert error < 0.02
    assert abs(np.mean(ratios) - 1) < 5 * error


def test_small_runs_are_unbiased_for_z_and_low_for_log_z(make_machine):
    machine = make_machine(6, 5, 1.5)
    want = log_partition.exact(machine).value
    # The chains are independent: 1000 runs of 4 chains each are one run of 4000.
    big = ais(machine, num_chains=4000, num_temperatures=2, seed=5)
    runs = np.logaddexp.reduce(big.diagnostics["log_weights"].reshape(1000, 4), axis=1) - math.log(4)
    ratios = np.exp(runs - want)
    # 5 standard errors: a rate of false failures of 6e-7.
    assert abs(np.mean(ratios) - 1) < 5 * np.std(ratios, ddof=1) / math.sqrt(1000)
    assert np.mean(runs) - want < -5 * np.std(runs, ddof=1) / math.sqrt(1000)
    # Markov's inequality, for the Z of runs: the share that is too high by a factor e is below 1 / e.
    assert np.mean(runs > want + 1) < math.exp(-1)


def test_a_base_at_the_data_means():
    rng = np.random.default_rng(0)
    data = np.float32(rng.random((500, 4)) < [0.3, 0.5, 0.0, 1.0])
    base = log_partition.base_from_data_means(data.mean(axis=0), 3)
    means = data.mean(axis=0, dtype=np.float64)
    want = [math.log(means[i] / (1 - means[i])) for i in (0, 1)] + [math.log(0.02 / 0.98), math.log(49)]
    np.testing.assert_allclose(base.left, want, rtol=1e-5)
    np.testing.assert_array_equal(base.right, np.zeros(3))
    # Visible units of those means, and no coupling: one step of importance sampling has no variance.
    machine = RestrictedBoltzmannMachine.from_arrays(base.left, np.zeros(3), np.zeros((4, 3)))
    estimate = ais(machine, num_chains=5, num_temperatures=1, seed=0, base=base)
    assert estimate.standard_error == 0.0
    np.testing.assert_allclose(estimate.value, log_partition.exact(machine).value, rtol=1e-14)


@pytest.mark.parametrize("means", [[0.5, 1.2], [-0.1, 0.5], [0.5, np.nan], [[0.5]], 0.5], ids=str)
def test_rejects_data_means(means):
    with pytest.raises(ValueError, match=r"`left_means` must be a vector of means in \[0, 1\]"):
        log_partition.base_from_data_means(means, 3)


@pytest.mark.parametrize("margin", [0.0, 0.5, -1.0, np.nan])
def test_rejects_margins(margin):
    with pytest.raises(ValueError, match=r"`margin` must lie in \(0, 0.5\). Received: margin="):
        log_partition.base_from_data_means([0.5], 3, margin=margin)


def test_a_base_away_from_the_mode_finds_what_the_own_biases_miss():
    machine, want = Ferromagnet().machine(), Ferromagnet().log_z()
    own, zero = (ais(machine, num_chains=100, num_temperatures=200, seed=1, base=b) for b in (None, "zero"))
    # From its own biases every chain stays where all units are off, with weights that look perfect.
    assert own.value < want - 2.5
    assert own.standard_error < 0.01
    assert abs(zero.value - want) < 5 * zero.standard_error < 1


def test_an_estimate_without_the_coupling_is_found_out(make_machine):
    machine = make_machine(6, 5, 0.7)
    left_bias, right_bias, coupling = machine.get_weights()
    wrong = RestrictedBoltzmannMachine.from_arrays(left_bias, right_bias, 0.8 * coupling)
    estimate = ais(wrong, num_chains=400, num_temperatures=50, seed=1)
    assert abs(estimate.value - log_partition.exact(machine).value) > 4 * estimate.standard_error


def test_independent_units_are_exact_from_their_own_base():
    rng = np.random.default_rng(0)
    biases = [rng.normal(size=n).astype(np.float32) for n in (30, 40)]
    machine = RestrictedBoltzmannMachine.from_arrays(*biases, np.zeros((30, 40)))
    estimate = ais(machine, num_chains=10, num_temperatures=3, seed=0, base=None)
    want = sum(np.logaddexp(0, b.astype(np.float64)).sum() for b in biases)
    np.testing.assert_allclose(estimate.value, want, rtol=1e-14)
    assert estimate.standard_error == 0.0


def test_rounding_of_many_temperatures_does_not_add_up():
    # Two units of one state each: the path has no noise, and what is left is the sum of the changes.
    machine = RestrictedBoltzmannMachine.from_arrays(
        np.full(50, 60.0), np.full(80, 0.3), np.full((50, 80), 0.07)
    )
    estimate = ais(machine, num_chains=5, num_temperatures=3000, seed=0, base=None)
    want = 50 * 60.0 + 80 * np.logaddexp(0, np.float64(np.float32(0.3)) + 50 * np.float64(np.float32(0.07)))
    assert abs(estimate.value - want) < 1e-3


def test_summary_of_the_weights(make_machine):
    machine = make_machine(6, 5)
    estimate = ais(machine, num_chains=300, num_temperatures=5, seed=4)
    info = estimate.diagnostics
    weights = np.exp(info["log_weights"])
    assert info["log_weights"].shape == (300,)
    assert info["log_weights"].dtype == np.float64
    np.testing.assert_allclose(estimate.value, np.log(np.mean(weights)), rtol=1e-12)
    np.testing.assert_allclose(
        estimate.standard_error, np.std(weights, ddof=1) / np.mean(weights) / math.sqrt(300), rtol=1e-12
    )
    np.testing.assert_allclose(info["effective_sample_size"], weights.sum() ** 2 / (weights**2).sum())
    np.testing.assert_allclose(info["log_weights_variance"], np.var(info["log_weights"], ddof=1))
    assert estimate.lower == estimate.value
    assert estimate.upper is None
    assert info["method"] == "annealed_importance_sampling"
    assert (info["num_chains"], info["num_temperatures"]) == (300, 5)
    assert all(type(v) is float for v in (estimate.value, estimate.standard_error, estimate.lower))


@pytest.mark.slow
def test_the_standard_error_is_that_of_repeated_runs(make_machine):
    machine = make_machine(6, 5, 0.7)
    runs = [ais(machine, num_chains=500, num_temperatures=10, seed=s) for s in range(200)]
    got = np.mean([r.standard_error for r in runs])
    want = np.std([r.value for r in runs], ddof=1)
    # The deviation of 200 values is itself known to 1 / sqrt(400) = 5 percent; five of those.
    assert abs(got / want - 1) < 0.25


def test_weights_too_large_to_be_exponentiated():
    machine = RestrictedBoltzmannMachine.from_arrays([900.0, 900.0], [900.0], [[-5.0], [5.0]])
    estimate = ais(machine, num_chains=20, num_temperatures=10, seed=0, base=None)
    np.testing.assert_allclose(estimate.value, 2700.0, rtol=1e-6)


def test_one_chain_has_no_standard_error(make_machine):
    estimate = ais(make_machine(4, 3), num_chains=1, num_temperatures=5, seed=0)
    assert estimate.standard_error == math.inf
    assert math.isnan(estimate.diagnostics["log_weights_variance"])


def test_is_a_function_of_the_seed(make_machine):
    machine = make_machine(6, 5)
    values = [ais(machine, num_chains=250, num_temperatures=4, seed=s).value for s in (1, 1, 2, (1, 5))]
    assert values[0] == values[1]
    assert len(set(values)) == 3


def test_new_weights_and_temperatures_do_not_trace_again(make_machine):
    first = make_machine(9, 5, seed=0)
    ais(first, num_chains=17, num_temperatures=2, seed=0)
    traces = path._walk.experimental_get_tracing_count()
    ais(first, num_chains=17, num_temperatures=3, seed=1)
    ais(make_machine(9, 5, seed=1), num_chains=17, num_temperatures=9, seed=2, base=(np.zeros(9), np.ones(5)))
    assert path._walk.experimental_get_tracing_count() == traces


@pytest.mark.parametrize("name", ["num_chains", "num_temperatures"])
@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_rejects_numbers(name, bad, make_machine):
    arguments = {"num_chains": 2, "num_temperatures": 2, name: bad}
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}={bad}"):
        ais(make_machine(4, 3), seed=0, **arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rejects_weights_that_are_not_finite(bad, make_machine):
    machine = make_machine(4, 3)
    machine.right_bias.assign([0.0, bad, 0.0])
    with pytest.raises(
        ValueError, match=r"`right_bias` must be finite. Received 1 NaN or infinite of 3 values"
    ):
        ais(machine, num_chains=2, num_temperatures=2, seed=0)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ((np.zeros(4),), r"must be a pair \(left, right\) of biases. Received 1 items"),
        ("own", r'must be None, "centered", "zero" or a pair \(left, right\) of biases. Received: \'own\''),
        ((np.zeros(3), np.zeros(3)), r"left biases of `base` must have the shape \(4,\). Received: \(3,\)"),
        ((np.zeros(4), np.zeros(4)), r"right biases of `base` must have the shape \(3,\). Received: \(4,\)"),
        ((np.zeros(4), np.full(3, np.nan)), r"`base \(right\)` must be finite. Received 3 NaN"),
    ],
)
def test_rejects_a_base_that_does_not_fit(base, message, make_machine):
    with pytest.raises(ValueError, match=message):
        ais(make_machine(4, 3), num_chains=2, num_temperatures=2, seed=0, base=base)
