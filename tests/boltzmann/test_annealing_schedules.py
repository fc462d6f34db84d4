import itertools
import math

import numpy as np
import pytest

from tests.boltzmann.log_partition_cases import Ferromagnet
from tfdvae.boltzmann import log_partition
from tfdvae.boltzmann.log_partition import path, temperatures

ais = log_partition.annealed_importance_sampling


def betas_of(schedule, machine, num_temperatures, seed=0, base=None):
    estimate = ais(
        machine, num_chains=1, num_temperatures=num_temperatures, seed=seed, base=base, schedule=schedule
    )
    return estimate.diagnostics["inverse_temperatures"]


def log_marginals(machine, base, beta):
    """log f_beta of every left state, float64."""
    left_bias, right_bias, coupling = (np.asarray(w, np.float64) for w in machine.get_weights())
    states = np.array(list(np.ndindex(*[2] * len(left_bias))), np.float64)
    left = (1 - beta) * base[0] + beta * left_bias
    right = (1 - beta) * base[1] + beta * (right_bias + states @ coupling)
    return states @ left + np.logaddexp(0, right).sum(axis=1)


def log_cess_fractions(machine, base, betas):
    """log of E(v)^2 / E(v^2) at every step, the ratio v of the two marginals, by enumeration."""
    logs = [log_marginals(machine, base, beta) for beta in betas]
    fractions = []
    for old, new in itertools.pairwise(logs):
        log_z, log_mean, log_square = (np.logaddexp.reduce(x) for x in (old, new, 2 * new - old))
        fractions.append(2 * (log_mean - log_z) - (log_square - log_z))
    return np.array(fractions)


@pytest.mark.parametrize("schedule", ["linear", "sigmoid", "adaptive"])
@pytest.mark.parametrize("num_temperatures", [1, 2, 57, 250])
def test_schedules_increase_from_0_to_1(schedule, num_temperatures, make_machine):
    betas = betas_of(schedule, make_machine(6, 5), num_temperatures)
    assert betas.shape == (num_temperatures + 1,)
    assert betas.dtype == np.float64
    assert (betas[0], betas[-1]) == (0.0, 1.0)
    assert np.all(np.diff(betas) > 0)


def test_formulas(make_machine):
    machine = make_machine(6, 5)
    np.testing.assert_allclose(betas_of("linear", machine, 8), np.linspace(0, 1, 9), rtol=1e-15)

    def logistic(x):
        return 1 / (1 + math.exp(-x))

    low, high = logistic(-4), logistic(4)
    want = [(logistic(4 * (2 * k / 10 - 1)) - low) / (high - low) for k in range(11)]
    np.testing.assert_allclose(betas_of("sigmoid", machine, 10), want, rtol=1e-13, atol=1e-15)
    steps = np.diff(betas_of("sigmoid", machine, 1000))
    assert 13.5 < steps.max() / steps[0] < 14.5
    given = [0.0, 0.1, 0.9, 1.0]
    np.testing.assert_array_equal(betas_of(given, machine, 3), given)


@pytest.mark.parametrize(("coupling", "tilt", "bias"), [(0.6, 0.3, 0.0), (0.4, 0.5, -3.0)])
def test_adaptive_steps_have_equal_effective_sample_sizes(coupling, tilt, bias):
    machine = Ferromagnet(8, coupling, tilt).machine()
    base = np.full(8, bias), np.full(8, bias)

    def spread(schedule):
        lengths = np.sqrt(-log_cess_fractions(machine, base, betas_of(schedule, machine, 20, base=base)))
        return lengths.max() / lengths.mean()

    # The pilot's 100 chains know a length to some 10 percent, and an even share blunts it by another 10:
    # measured over seeds, from 1.05 to 1.16.
    assert spread("adaptive") < 1.35
    assert spread("linear") > 1.5
    assert spread("sigmoid") > 1.5


def test_adaptive_steps_do_not_depend_on_the_seed_by_much(make_machine):
    machine = make_machine(8, 6, 2.0)
    first, again, other = (betas_of("adaptive", machine, 20, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    np.testing.assert_allclose(first, other, atol=0.05)


def test_independent_units_take_even_steps():
    machine = Ferromagnet(units=4, coupling=0.0).machine()
    np.testing.assert_allclose(betas_of("adaptive", machine, 10), np.linspace(0, 1, 11), atol=1e-12)


@pytest.mark.parametrize("schedule", ["sigmoid", "adaptive", [0.0, 0.05, 0.3, 1.0]], ids=str)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_weights_are_unbiased_on_every_path(schedule, direction, make_machine):
    machine = make_machine(6, 5, 0.7)
    want = log_partition.exact(machine).value
    estimator, sign = {"forward": (ais, 1), "reverse": (log_partition.reverse_annealing, -1)}[direction]
    estimate = estimator(machine, num_chains=40_000, num_temperatures=3, seed=1, schedule=schedule)
    ratios = np.exp(sign * (estimate.diagnostics["log_weights"] - want))
    # 5 standard errors: a rate of false failures of 6e-7.
    assert abs(np.mean(ratios) - 1) < 5 * np.std(ratios) / math.sqrt(len(ratios))


def test_a_wrong_path_is_found_out(make_machine):
    # The weights of a path that ends before the machine are those of another machine.
    machine = make_machine(6, 5, 0.7)
    parameters, base = machine.parameters, path.base_biases("zero", machine.parameters)
    left = path.base_samples(base, 40_000, seed=1)
    log_weights = path.walk(
        parameters, base, left, np.array([0.0, 0.3, 0.6, 0.9]), seed=2
    ).log_weights.numpy()
    ratios = np.exp(log_weights + path.base_log_partition(base) - log_partition.exact(machine).value)
    assert abs(np.mean(ratios) - 1) > 5 * np.std(ratios) / math.sqrt(len(ratios))


def test_adaptive_steps_pay_where_the_path_is_uneven(make_machine):
    machine = make_machine(10, 10, 4.0)
    linear, adaptive = (
        ais(machine, num_chains=300, num_temperatures=100, seed=3, base="zero", schedule=s)
        for s in ("linear", "adaptive")
    )
    variances = [e.diagnostics["log_weights_variance"] for e in (linear, adaptive)]
    assert variances[1] < 0.7 * variances[0]


def test_the_pilot_is_not_traced_again(make_machine):
    machine = make_machine(9, 5)
    betas_of("adaptive", machine, 3)
    traces = temperatures._log_cess_fractions.experimental_get_tracing_count()
    betas_of("adaptive", machine, 300, seed=1, base="zero")
    assert temperatures._log_cess_fractions.experimental_get_tracing_count() == traces


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("geometric", r'must be "linear", "sigmoid", "adaptive" or an array.* Received: \'geometric\''),
        ([0.0, 0.5, 0.9], "must increase strictly from 0 to 1. Received: from 0.0 to 0.9"),
        ([0.1, 0.5, 1.0], "must increase strictly from 0 to 1. Received: from 0.1 to 1.0"),
        ([0.0, 1.2, 1.0], "must increase strictly from 0 to 1"),
        ([0.0, 0.0, 1.0], "must increase strictly from 0 to 1. .* smallest step 0.0"),
        ([0.0, np.nan, 1.0], "must increase strictly from 0 to 1"),
        ([1.0, 0.5, 0.0], "must increase strictly from 0 to 1"),
        ([0.0, 1.0], r"must hold num_temperatures \+ 1 = 3 inverse temperatures. Received: shape \(2,\)"),
        ([[0.0, 0.5, 1.0]], r"Received: shape \(1, 3\)"),
        (None, r"Received: shape \(\)"),
    ],
)
def test_rejects_schedules(schedule, message, make_machine):
    with pytest.raises(ValueError, match=message):
        ais(make_machine(4, 3), num_chains=2, num_temperatures=2, seed=0, schedule=schedule)
