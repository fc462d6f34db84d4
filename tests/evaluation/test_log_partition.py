"""measure_log_partition: the method that fits the machine, with both sides and its checks."""

import numpy as np
import pytest

from tfdvae.boltzmann import RestrictedBoltzmannMachine, log_partition
from tfdvae.evaluation import measure_log_partition

SETTINGS = {"num_chains": 200, "num_temperatures": 300, "num_ladders": 4, "num_sweeps": 400, "seed": 0}


def machine(left, right, scale=0.3):
    rng = np.random.default_rng(left)
    arrays = rng.normal(size=left), rng.normal(size=right), scale * rng.normal(size=(left, right))
    return RestrictedBoltzmannMachine.from_arrays(*arrays)


def test_a_small_side_is_enumerated():
    rbm = machine(30, 20)
    assert measure_log_partition(rbm, **SETTINGS) == log_partition.exact(rbm)


def test_a_larger_machine_is_bracketed_and_checked_by_tempering():
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


@pytest.mark.parametrize("name", ["num_chains", "num_temperatures", "num_ladders", "num_sweeps"])
def test_numbers_are_checked(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}=0"):
        measure_log_partition(machine(22, 21), **{**SETTINGS, name: 0})
