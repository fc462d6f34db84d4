"""measure_log_partition: the method that fits the machine, with both sides and its checks."""

import numpy as np
import pytest

from tests.boltzmann.hard_machines import ferromagnet, glass, hidden_pattern, hopfield
from tfdvae.boltzmann import RestrictedBoltzmannMachine, log_partition
from tfdvae.evaluation import log_partition as report
from tfdvae.evaluation import measure_log_partition

SETTINGS = {"num_chains": 200, "num_temperatures": 300, "num_ladders": 4, "num_sweeps": 300, "seed": 0}


def machine(left, right, scale=0.3):
    rng = np.random.default_rng(left)
    arrays = rng.normal(size=left), rng.normal(size=right), scale * rng.normal(size=(left, right))
    return RestrictedBoltzmannMachine.from_arrays(*arrays)


def test_a_small_side_is_enumerated():
    rbm = machine(30, 20)
    assert measure_log_partition(rbm, **SETTINGS) == log_partition.exact(rbm)


def test_a_larger_machine_is_bracketed_and_checked_by_tempering(without_enumeration):
    rbm = machine(22, 21)
    estimate = measure_log_partition(rbm, **SETTINGS)
    exact = log_partition.exact(rbm).value
    assert estimate.diagnostics["method"] == "bracket"
    assert estimate.failure is None
    assert estimate.diagnostics["trustworthy"]
    assert estimate.diagnostics["upper_kind"] == "approximation from chains"
    assert abs(estimate.value - exact) < 5 * estimate.standard_error
    assert estimate.lower <= estimate.value <= estimate.upper
    tempering = estimate.diagnostics["tempering_value"]
    assert abs(tempering - exact) < 5 * estimate.diagnostics["tempering_standard_error"]
    assert measure_log_partition(rbm, **SETTINGS) == estimate


@pytest.fixture
def without_enumeration(monkeypatch):
    monkeypatch.setattr(report, "is_quick", lambda *_: False)


HARD = {
    "pattern": lambda: hidden_pattern(14, 14),
    "pattern, strong fields": lambda: hidden_pattern(14, 14, field=4.0),
    "ferromagnet": lambda: ferromagnet(14, 14, 3.6, 0.03),
    "Hopfield": lambda: hopfield(14, 14, (12.0, 11.0, 10.0), 0.1, seed=1),
    "normal": lambda: glass(14, 20, 5.0, 2.0, seed=0),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_machines_are_right_or_say_that_they_are_not(name, without_enumeration):
    rbm = HARD[name]()
    exact = log_partition.exact(rbm).value
    estimate = measure_log_partition(rbm, **SETTINGS)
    if estimate.failure:
        assert np.isnan(estimate.value)
    elif estimate.trustworthy:
        assert abs(estimate.value - exact) < 5 * estimate.standard_error
        assert estimate.lower < exact < estimate.upper
    else:
        assert estimate.warnings


def test_what_all_three_estimators_miss_is_found_by_others(without_enumeration, monkeypatch):
    """On the path from the base "centered" tempering and both directions agree, 6 nats too low."""
    monkeypatch.setattr(report, "_BASE", "centered")
    rbm = hidden_pattern(14, 14, field=4.0)
    exact = log_partition.exact(rbm).value
    estimate = measure_log_partition(rbm, **SETTINGS)
    for name in ("forward", "reverse", "other_base"):
        assert (
            exact - estimate.diagnostics[f"{name}_value"] > 5 > estimate.diagnostics[f"{name}_standard_error"]
        )
    assert "The bracket has missed a part of the distribution" in estimate.failure
    assert np.isnan(estimate.value)
    assert not estimate.trustworthy
    assert estimate.lower == pytest.approx(exact, abs=0.5)


def test_chains_of_the_training_contradict_the_bracket(without_enumeration, monkeypatch):
    """Chains in the mode that the bracket has missed make it a failure, the other way round a warning."""
    rbm = hidden_pattern(14, 14, field=4.0)
    fields, pattern = np.ones((50, 14)), np.tile(np.arange(14) % 2, (50, 1))
    estimate = measure_log_partition(rbm, **SETTINGS, chains=fields)
    assert estimate.failure is None
    assert any("chains have stayed in a part of the distribution" in w for w in estimate.warnings)
    assert not estimate.trustworthy

    monkeypatch.setattr(report, "_BASE", "centered")
    monkeypatch.setattr(report, "_checked_by_others", lambda rbm, estimate, starts, seed: estimate)
    assert measure_log_partition(rbm, **SETTINGS, chains=fields).trustworthy
    estimate = measure_log_partition(rbm, **SETTINGS, chains=pattern)
    assert any("chains, worth 1.0, confirm nothing" in w for w in estimate.warnings)
    estimate = measure_log_partition(hidden_pattern(8, 8, field=6.0), **SETTINGS, chains=pattern[:, :8])
    assert "The training's chains are where the bracket's chains hardly arrive" in estimate.failure
    assert np.isnan(estimate.value)


def test_chains_of_the_training_that_agree_change_nothing(without_enumeration):
    rbm = machine(14, 12)
    chains = log_partition.exact_samples(rbm, 200, seed=1)
    without = measure_log_partition(rbm, **SETTINGS)
    estimate = measure_log_partition(rbm, **SETTINGS, chains=chains)
    assert estimate == without
    assert estimate.trustworthy
    exact = log_partition.exact(rbm).value
    error = estimate.diagnostics["chains_standard_error"]
    assert abs(estimate.diagnostics["chains_value"] - exact) < 5 * error


@pytest.mark.parametrize("name", ["num_chains", "num_temperatures", "num_ladders", "num_sweeps"])
def test_numbers_are_checked(name, without_enumeration):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}=0"):
        measure_log_partition(machine(22, 21), **{**SETTINGS, name: 0})
