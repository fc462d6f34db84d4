import math

import numpy as np
import pytest
import tensorflow as tf

from tests.boltzmann.log_partition_cases import Ferromagnet
from tests.boltzmann.path_oracle import Marginals
from tfdvae.boltzmann import GibbsState, RestrictedBoltzmannMachine, gibbs_sweeps, log_partition
from tfdvae.boltzmann.log_partition import path

reverse = log_partition.reverse_annealing


BETAS = np.array([0.0, 0.3, 0.6, 1.0])
BASE = (np.array([0.4, -0.3, 0.1]), np.array([-0.2, 0.5]))


def test_the_oracle_knows_the_order_of_the_transitions(make_machine):
    marginals = Marginals(make_machine(3, 2, 1.5), BASE, BETAS)
    right = marginals.identity(marginals.inverse_weights())
    wrong = marginals.identity(marginals.inverse_weights(kernel_of_the_new_temperature=False))
    np.testing.assert_allclose(right, 1, rtol=1e-12)
    assert abs(wrong - 1) > 0.05


def test_weights_are_those_of_the_reversed_path(make_machine):
    machine, num_each = make_machine(3, 2, 1.5), 10_000
    marginals = Marginals(machine, BASE, BETAS)
    starts = np.repeat(marginals.left_states, num_each, axis=0)
    estimate = reverse(machine, num_temperatures=3, schedule=BETAS, base=BASE, samples=starts, seed=1)
    log_weights = estimate.diagnostics["log_weights"] - sum(np.logaddexp(0, b).sum() for b in BASE)
    inverse = np.exp(-log_weights).reshape(-1, num_each)
    # 8 states; 5.5 standard errors each.
    errors = 5.5 * inverse.std(axis=1) / math.sqrt(num_each) + 1e-6
    got, want = inverse.mean(axis=1), marginals.inverse_weights()
    np.testing.assert_array_less(np.abs(got - want), errors)
    wrong = marginals.inverse_weights(kernel_of_the_new_temperature=False)
    assert np.any(np.abs(got - wrong) > 2 * errors)


@pytest.mark.parametrize("num_temperatures", [1, 2, 8])
@pytest.mark.parametrize("base", [None, "zero"])
def test_the_mean_inverse_weight_is_unbiased(num_temperatures, base, make_machine):
    machine = make_machine(6, 5, 0.7)
    want = log_partition.exact(machine).value
    estimate = reverse(machine, num_chains=40_000, num_temperatures=num_temperatures, seed=0, base=base)
    ratios = np.exp(want - estimate.diagnostics["log_weights"])
    # 5 standard errors: a rate of false failures of 6e-7.
    error = np.std(ratios) / math.sqrt(len(ratios))
    assert error < 0.02
    assert abs(np.mean(ratios) - 1) < 5 * error


def test_small_runs_are_unbiased_for_one_over_z_and_high_for_log_z(make_machine):
    machine = make_machine(6, 5, 1.5)
    want = log_partition.exact(machine).value
    # The chains are independent: 1000 runs of 4 chains each are one run of 4000.
    big = reverse(machine, num_chains=4000, num_temperatures=2, seed=5)
    runs = math.log(4) - np.logaddexp.reduce(-big.diagnostics["log_weights"].reshape(1000, 4), axis=1)
    ratios = np.exp(want - runs)
    # 5 standard errors: a rate of false failures of 6e-7.
    assert abs(np.mean(ratios) - 1) < 5 * np.std(ratios, ddof=1) / math.sqrt(1000)
    assert np.mean(runs) - want > 5 * np.std(runs, ddof=1) / math.sqrt(1000)
    assert np.mean(runs < want - 1) < math.exp(-1)


def test_summary_of_the_weights(make_machine):
    machine = make_machine(6, 5)
    estimate = reverse(machine, num_chains=300, num_temperatures=5, seed=4)
    info = estimate.diagnostics
    inverse = np.exp(-info["log_weights"])
    np.testing.assert_allclose(estimate.value, -np.log(np.mean(inverse)), rtol=1e-12)
    np.testing.assert_allclose(
        estimate.standard_error, np.std(inverse, ddof=1) / np.mean(inverse) / math.sqrt(300), rtol=1e-12
    )
    np.testing.assert_allclose(info["effective_sample_size"], inverse.sum() ** 2 / (inverse**2).sum())
    np.testing.assert_allclose(info["log_weights_variance"], np.var(info["log_weights"], ddof=1))
    assert estimate.upper == estimate.value
    assert estimate.lower is None
    assert estimate.failure is None
    assert info["method"] == "reverse_annealing"
    assert info["upper_is_bound"] is True
    assert (info["num_chains"], info["num_temperatures"]) == (300, 5)
    assert info["log_weights"].dtype == np.float64
    assert all(type(v) is float for v in (estimate.value, estimate.standard_error, estimate.upper))


def test_independent_units_are_exact_from_their_own_base():
    rng = np.random.default_rng(0)
    biases = [rng.normal(size=n).astype(np.float32) for n in (30, 12)]
    machine = RestrictedBoltzmannMachine.from_arrays(*biases, np.zeros((30, 12)))
    estimate = reverse(machine, num_temperatures=3, seed=0, base=None)
    want = sum(np.logaddexp(0, b.astype(np.float64)).sum() for b in biases)
    np.testing.assert_allclose(estimate.value, want, rtol=1e-14)
    assert estimate.diagnostics["num_chains"] == 100
    assert estimate.standard_error == 0.0


def test_samples_of_either_kind(make_machine):
    machine = make_machine(6, 5, 0.7)
    drawn = log_partition.exact_samples(machine, 400, seed=9)
    estimates = [
        reverse(machine, num_temperatures=40, seed=2, samples=samples, samples_are_exact=exact)
        for samples, exact in ((drawn, True), (drawn.left, False), (drawn.left.numpy().astype(int), False))
    ]
    assert len({e.value for e in estimates}) == 1
    assert [e.diagnostics["upper_is_bound"] for e in estimates] == [True, False, False]
    assert estimates[0].diagnostics["num_chains"] == 400
    want = log_partition.exact(machine).value
    assert abs(estimates[0].value - want) < 5 * estimates[0].standard_error < 0.1


def test_samples_of_one_mode_measure_that_mode():
    magnet = Ferromagnet()
    rng = np.random.default_rng(0)
    samples = magnet.mode_samples(200, on=False, rng=rng)
    estimate = reverse(magnet.machine(), num_temperatures=300, seed=1, samples=samples, base=None)
    assert estimate.value < magnet.log_z() - 2.5  # far below, where a bound would be above
    assert estimate.standard_error < 0.01
    assert estimate.diagnostics["effective_sample_size"] > 190
    assert estimate.diagnostics["upper_is_bound"] is False
    np.testing.assert_allclose(estimate.value, magnet.log_z() + magnet.log_mode_share(on=False), atol=0.02)


def test_long_chains_are_as_good_as_exact_samples(make_machine):
    machine = make_machine(6, 5, 0.7)
    start = GibbsState(tf.zeros([400, 6]), tf.zeros([400, 5]))
    samples = gibbs_sweeps(machine.parameters, start, 100, seed=3)
    estimate = reverse(machine, num_temperatures=40, seed=2, samples=samples)
    assert abs(estimate.value - log_partition.exact(machine).value) < 5 * estimate.standard_error


def test_is_a_function_of_the_seed(make_machine):
    machine = make_machine(6, 5)
    values = [reverse(machine, num_chains=250, num_temperatures=4, seed=s).value for s in (1, 1, 2)]
    assert values[0] == values[1] != values[2]


def test_up_and_down_share_a_trace(make_machine):
    machine = make_machine(9, 5)
    log_partition.annealed_importance_sampling(machine, num_chains=17, num_temperatures=2, seed=0)
    traces = path._walk.experimental_get_tracing_count()
    reverse(machine, num_chains=17, num_temperatures=5, seed=0, base="zero")
    assert path._walk.experimental_get_tracing_count() == traces


def test_needs_samples_of_a_large_machine():
    machine = RestrictedBoltzmannMachine(30, 26)
    with pytest.raises(ValueError, match=r"needs samples.*at most 25 units.*machine of 30 \+ 26 units"):
        reverse(machine, num_temperatures=3, seed=0)
    samples = np.float32(np.random.default_rng(0).integers(0, 2, (5, 30)))
    assert np.isfinite(reverse(machine, num_temperatures=3, seed=0, samples=samples).value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_chains": 0}, "`num_chains` must be a positive integer. Received: num_chains=0"),
        ({"num_temperatures": 0}, "`num_temperatures` must be a positive integer. Received: num_temp"),
        ({"samples": np.zeros((5, 3))}, r"shape \[rows, 4\], at least one. Received: \(5, 3\)"),
        ({"samples": np.zeros((0, 4))}, r"shape \[rows, 4\], at least one. Received: \(0, 4\)"),
        ({"samples": np.zeros(4)}, r"shape \[rows, 4\], at least one. Received: \(4,\)"),
        ({"samples": np.full((5, 4), 0.5)}, r"`samples` must be binary, 0 or 1. .* such as 0.5"),
        ({"samples": np.full((5, 4), np.nan)}, r"`samples` must be binary, 0 or 1. .* such as nan"),
        ({"samples": np.zeros((5, 4)), "num_chains": 6}, "one chain. Received: num_chains=6 and 5 samples"),
        ({"base": (np.zeros(3), np.zeros(3))}, r"left biases of `base` must have the shape \(4,\)"),
        ({"schedule": [0.0, 0.5, 0.9]}, "must increase strictly from 0 to 1"),
    ],
)
def test_rejects_arguments(arguments, message, make_machine):
    with pytest.raises(ValueError, match=message):
        reverse(make_machine(4, 3), **{"num_temperatures": 2, "seed": 0, **arguments})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rejects_weights_that_are_not_finite(bad, make_machine):
    machine = make_machine(4, 3)
    machine.coupling.assign(np.full((4, 3), bad))
    with pytest.raises(ValueError, match=r"`coupling` must be finite. Received 12 NaN or infinite of 12"):
        reverse(machine, num_temperatures=2, seed=0)
