import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfdvae.boltzmann import RestrictedBoltzmannMachine, gibbs_sweeps, log_partition
from tfdvae.boltzmann.gibbs import GibbsState

REFERENCES = json.loads(Path(__file__).parents[1].joinpath("reference.json").read_text())["rbms"]


def machine_of(reference):
    return RestrictedBoltzmannMachine.from_arrays(
        reference["left_bias"], reference["right_bias"], reference["weights"]
    )


@pytest.mark.parametrize(
    "reference", REFERENCES, ids=lambda r: f"{len(r['left_bias'])}x{len(r['right_bias'])}"
)
def test_log_z_against_the_reference(reference):
    estimate = log_partition.exact(machine_of(reference))
    np.testing.assert_allclose(estimate.value, reference["log_z"], rtol=1e-13)
    assert estimate.value == estimate.lower == estimate.upper
    assert estimate.standard_error == 0.0
    units = min(len(reference["left_bias"]), len(reference["right_bias"]))
    assert estimate.diagnostics == {"method": "exact", "num_states": 2**units}
    assert all(type(v) is float for v in (estimate.value, estimate.standard_error))


@pytest.mark.parametrize("reference", REFERENCES[:2], ids=["small", "medium"])
def test_long_chains_reach_the_reference_means(reference):
    machine = machine_of(reference)
    num_chains = 4000
    start = GibbsState(
        tf.zeros([num_chains, machine.left_units]), tf.zeros([num_chains, machine.right_units])
    )
    left = tf.function(gibbs_sweeps)(machine.parameters, start, 300, seed=1).left
    want = np.array(reference["mean_left"])
    errors = np.sqrt(want * (1 - want) / num_chains)
    # 5.5 standard errors: a rate of false failures of 4e-8 a unit.
    np.testing.assert_array_less(np.abs(np.mean(left, axis=0) - want), 5.5 * errors)


@pytest.mark.parametrize(("left_units", "right_units"), [(1, 1), (3, 5), (5, 3), (1, 6)])
def test_log_z_against_enumeration_of_pairs(left_units, right_units, make_machine, enumerate_machine):
    machine = make_machine(left_units, right_units)
    np.testing.assert_allclose(
        log_partition.exact(machine).value, enumerate_machine(machine).log_z, rtol=1e-13
    )


def test_the_two_sides_may_be_exchanged(make_machine):
    machine = make_machine(12, 7)
    left_bias, right_bias, coupling = machine.get_weights()
    swapped = RestrictedBoltzmannMachine.from_arrays(right_bias, left_bias, coupling.T)
    np.testing.assert_allclose(
        log_partition.exact(swapped).value, log_partition.exact(machine).value, rtol=1e-14
    )


@pytest.mark.parametrize("elements", [1, 12, 100, 2**18])
def test_the_size_of_the_blocks_does_not_matter(elements, make_machine, monkeypatch):
    machine = make_machine(12, 10)
    want = log_partition.exact(machine).value
    module = importlib.import_module("tfdvae.boltzmann.log_partition.exact")  # the name is the function's
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", elements)
    np.testing.assert_allclose(log_partition.exact(machine).value, want, rtol=1e-14)


def test_independent_units_have_a_closed_form():
    rng = np.random.default_rng(3)
    left_bias, right_bias = (rng.normal(size=n).astype(np.float32) * 5 for n in (18, 200))
    machine = RestrictedBoltzmannMachine.from_arrays(left_bias, right_bias, np.zeros((18, 200)))
    want = (
        np.logaddexp(0, left_bias.astype(np.float64)).sum()
        + np.logaddexp(0, right_bias.astype(np.float64)).sum()
    )
    np.testing.assert_allclose(log_partition.exact(machine).value, want, rtol=1e-13)


def test_large_energies_do_not_overflow():
    machine = RestrictedBoltzmannMachine.from_arrays([2000.0, -3000.0], [500.0], [[1000.0], [0.0]])
    np.testing.assert_allclose(log_partition.exact(machine).value, 3500.0, rtol=1e-14)


def test_refuses_a_machine_too_large_to_enumerate():
    machine = RestrictedBoltzmannMachine(26, 30)
    with pytest.raises(
        ValueError, match=r"at most 25 units to be enumerated. Received a machine of 26 \+ 30"
    ):
        log_partition.exact(machine)


def test_refuses_weights_that_are_not_finite(make_machine):
    machine = make_machine(4, 3)
    machine.coupling.assign(np.full((4, 3), np.nan))
    with pytest.raises(
        ValueError, match=r"`coupling` must be finite. Received 12 NaN or infinite of 12 values"
    ):
        log_partition.exact(machine)
