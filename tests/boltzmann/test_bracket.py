import math

import numpy as np
import pytest

from tests.boltzmann.log_partition_cases import CASES, Ferromagnet
from tfdvae.boltzmann import RestrictedBoltzmannMachine, log_partition
from tfdvae.boltzmann.log_partition import LogPartitionEstimate
from tfdvae.boltzmann.log_partition.bracket import acceptance_ratio

bracket = log_partition.bracket


def effective_sample_sizes(estimate):
    return [estimate.diagnostics[f"{d}_effective_sample_size"] for d in ("forward", "reverse")]


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.name)
def test_the_bracket_contains_log_z_or_says_that_it_cannot_be_trusted(case):
    want = case.log_z()
    estimate = bracket(case.machine(), num_chains=150, num_temperatures=400, seed=3, schedule="adaptive")
    info = estimate.diagnostics
    assert estimate.failure is None
    assert estimate.lower <= estimate.value <= estimate.upper
    assert min(effective_sample_sizes(estimate)) > 50
    assert info["trustworthy"]
    assert estimate.warnings == ()
    # Three standard errors, as the docstring of the failure promises, for a fixed seed.
    assert estimate.lower < want + 3 * info["forward_standard_error"]
    assert estimate.upper > want - 3 * info["reverse_standard_error"]
    assert abs(estimate.value - want) < 4 * estimate.standard_error
    assert estimate.upper - estimate.lower < 0.5


def test_a_short_path_cannot_be_trusted(make_machine):
    machine = make_machine(10, 20, 3.0)
    estimate = bracket(machine, num_chains=150, num_temperatures=3, seed=3)
    assert estimate.diagnostics["trustworthy"] is False
    assert min(effective_sample_sizes(estimate)) < 50
    assert estimate.failure is None
    # Nor does it say the contrary of the truth: its bounds hold within three of their errors, which are wide.
    want, info = log_partition.exact(machine).value, estimate.diagnostics
    assert estimate.lower < want + 3 * info["forward_standard_error"]
    assert estimate.upper > want - 3 * info["reverse_standard_error"]
    assert estimate.upper - estimate.lower > 0.5


def test_what_the_result_says(make_machine):
    machine = make_machine(6, 5)
    estimate = bracket(machine, num_chains=60, num_temperatures=5, seed=4)
    info = estimate.diagnostics
    assert info["method"] == "bracket"
    assert info["lower_kind"] == "stochastic lower bound"
    assert info["upper_kind"] == "stochastic upper bound"
    assert info["failure"] is None
    assert (info["num_chains"], info["num_reverse_chains"], info["num_temperatures"]) == (60, 60, 5)
    assert info["inverse_temperatures"].shape == (6,)
    sides = info["forward_value"], estimate.value, info["reverse_value"]
    assert (estimate.lower, estimate.upper) == (min(sides), max(sides))
    assert all(type(v) is float for v in (estimate.value, estimate.standard_error, *sides))
    drawn = log_partition.exact_samples(machine, 70, seed=0)
    for exact, kind in ((True, "stochastic upper bound"), (False, "approximation from chains")):
        other = bracket(
            machine, num_chains=60, num_temperatures=5, seed=4, samples=drawn, samples_are_exact=exact
        )
        assert other.diagnostics["upper_kind"] == kind
        assert other.diagnostics["num_reverse_chains"] == 70
        assert other.diagnostics["forward_value"] == info["forward_value"]


def test_is_a_function_of_the_seed(make_machine):
    machine = make_machine(6, 5)
    values = [
        bracket(machine, num_chains=60, num_temperatures=5, seed=s, schedule="adaptive").value
        for s in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


# The ferromagnet below its critical temperature: two modes, and chains that stay in one of them.


def magnet_bracket(magnet, *, mode_on, **arguments):
    samples = magnet.mode_samples(200, on=mode_on, rng=np.random.default_rng(0))
    return bracket(
        magnet.machine(), num_chains=200, num_temperatures=300, seed=1, samples=samples, **arguments
    )


def assert_failed(estimate, message):
    assert math.isnan(estimate.value)
    assert math.isnan(estimate.standard_error)
    assert estimate.lower is None
    assert estimate.upper is None
    assert estimate.diagnostics["trustworthy"] is False
    assert estimate.failure == estimate.diagnostics["failure"]
    assert message in estimate.failure


def test_samples_of_the_minor_mode_are_found_out():
    magnet = Ferromagnet()
    estimate = magnet_bracket(magnet, mode_on=False, base="zero")
    assert_failed(estimate, "The bracket is inverted")
    assert estimate.diagnostics["reverse_value"] < magnet.log_z() - 1
    assert min(effective_sample_sizes(estimate)) > 50  # which alone would have called it trustworthy


def test_forward_chains_of_the_minor_mode_cannot_be_trusted():
    # From their own biases the forward chains stay where all units are off, and look perfect.
    estimate = magnet_bracket(Ferromagnet(), mode_on=True, base=None)
    assert estimate.diagnostics["forward_effective_sample_size"] > 190
    assert estimate.lower < Ferromagnet().log_z() - 2.5
    assert estimate.upper > Ferromagnet().log_z()
    assert estimate.diagnostics["trustworthy"] is False


def test_samples_of_the_major_mode_are_close():
    magnet = Ferromagnet()
    estimate = magnet_bracket(magnet, mode_on=True, base="zero")
    assert estimate.failure is None
    assert abs(estimate.value - magnet.log_z()) < 0.2


def test_where_both_directions_miss_the_major_mode_tempering_tells():
    magnet = Ferromagnet()
    alone = magnet_bracket(magnet, mode_on=False, base=None)
    # This is why the samples must be exact: a narrow bracket, far from log Z, with the best of figures.
    assert alone.failure is None
    assert alone.upper - alone.lower < 0.1
    assert alone.upper < magnet.log_z() - 2.5
    assert alone.diagnostics["upper_kind"] == "approximation from chains"
    tempering = LogPartitionEstimate(magnet.log_z() + 0.05, 0.1, diagnostics={"method": "stand-in"})
    failed = magnet_bracket(magnet, mode_on=False, base=None, tempering=tempering)
    assert_failed(failed, "above the bracket")


def test_a_tempering_estimate_below_the_bracket_or_inside(make_machine):
    machine = make_machine(6, 5)
    want = log_partition.exact(machine).value

    def estimate(tempering):
        return bracket(machine, num_chains=100, num_temperatures=30, seed=4, tempering=tempering)

    assert_failed(estimate(LogPartitionEstimate(want - 1, 0.1)), "below the bracket")
    assert_failed(estimate(LogPartitionEstimate(want + 1, 0.1)), "above the bracket")
    for value, error in ((want, 0.01), (want - 1, 0.5), (want + 1, 0.5), (want - 9, math.inf)):
        assert estimate(LogPartitionEstimate(value, error)).failure is None


# Bennett's acceptance ratio, on simulated log weights that obey the identity of forward and reverse paths.


def gaussian_weights(log_z, deviation, sizes, rng):
    """Normal log weights of forward and reverse paths: their means are deviation^2 apart."""
    half = 0.5 * deviation**2
    return [rng.normal(log_z + s * half, deviation, n) for s, n in zip((-1, 1), sizes, strict=True)]


@pytest.mark.parametrize("deviation", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("sizes", [(400, 400), (100, 1000)])
def test_acceptance_ratio(deviation, sizes):
    rng = np.random.default_rng(0)
    runs = [acceptance_ratio(*gaussian_weights(123.4, deviation, sizes, rng)) for _ in range(300)]
    values, errors = np.transpose(runs)
    spread = np.std(values, ddof=1)
    # The deviation of 300 values is known to 1 / sqrt(600) = 4 percent; five of those.
    assert abs(np.mean(errors) / spread - 1) < 0.2
    # Its bias is of the order of its variance.
    assert abs(np.mean(values) - 123.4) < 5 * spread / math.sqrt(300) + spread**2
    # Both kinds of weights together know more than either alone.
    forward = np.std(
        [np.log(np.mean(np.exp(gaussian_weights(0, deviation, sizes, rng)[0]))) for _ in range(300)]
    )
    assert spread < forward


def test_acceptance_ratio_minds_the_numbers_of_paths():
    weights = gaussian_weights(5.0, 1.5, (200, 20_000), np.random.default_rng(1))
    value, error = acceptance_ratio(*weights)
    assert abs(value - 5) < 5 * error
    shift = math.log(100)
    wrong, _ = acceptance_ratio(weights[0] - shift, weights[1] - shift)
    assert abs(wrong - 5) > 5 * error


def test_acceptance_ratio_is_the_maximum_of_the_likelihood():
    forward, reverse = gaussian_weights(5.0, 1.5, (30, 50), np.random.default_rng(1))

    def log_likelihood(log_z):
        log_odds = math.log(50 / 30) - log_z
        return -np.sum(np.logaddexp(0, forward + log_odds)) - np.sum(np.logaddexp(0, -reverse - log_odds))

    grid = np.linspace(3, 7, 40_001)
    best = grid[np.argmax([log_likelihood(c) for c in grid])]
    value, _ = acceptance_ratio(forward, reverse)
    assert abs(value - best) < 2e-4


def test_acceptance_ratio_without_overlap():
    value, error = acceptance_ratio(np.full(10, -3.0), np.full(10, 3.0))
    assert abs(value) < 1e-6
    assert error > 0.9
    value, error = acceptance_ratio(np.full(10, -3000.0), np.full(10, 3000.0))
    assert abs(value) < 1e-6
    assert error == math.inf
    value, error = acceptance_ratio(np.full(10, 2.5), np.full(4, 2.5))
    np.testing.assert_allclose(value, 2.5, rtol=1e-12)
    assert error < 1e-7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_chains": 0}, "`num_chains` must be a positive integer"),
        ({"num_temperatures": 0}, "`num_temperatures` must be a positive integer"),
        ({"samples": np.zeros((5, 3))}, r"shape \[rows, 4\]"),
        ({"schedule": [0.0, 0.5, 0.9]}, "must increase strictly from 0 to 1"),
        ({"base": "own"}, '`base` must be None, "centered", "zero" or a pair'),
        ({"tempering": 3.0}, "`tempering` must be a `LogPartitionEstimate`.* Received: tempering=3.0"),
        (
            {"tempering": LogPartitionEstimate(math.nan, math.nan)},
            "with a finite value.* Received: tempering=nan",
        ),
    ],
)
def test_rejects_arguments(arguments, message, make_machine):
    with pytest.raises(ValueError, match=message):
        bracket(make_machine(4, 3), **{"num_chains": 5, "num_temperatures": 2, "seed": 0, **arguments})


def test_rejects_machines(make_machine):
    with pytest.raises(ValueError, match=r"Reverse annealing needs samples.* 30 \+ 26 units"):
        bracket(RestrictedBoltzmannMachine(30, 26), num_chains=5, num_temperatures=2, seed=0)
    machine = make_machine(4, 3)
    machine.left_bias.assign(np.full(4, np.nan))
    with pytest.raises(ValueError, match=r"`left_bias` must be finite. Received 4 NaN or infinite of 4"):
        bracket(machine, num_chains=5, num_temperatures=2, seed=0)
