import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.boltzmann import log_partition_cases as cases
from tests.boltzmann.log_partition_cases import Ferromagnet, each_case
from tfdvae.boltzmann import RestrictedBoltzmannMachine, gibbs_sweeps, log_partition
from tfdvae.boltzmann.gibbs import GibbsState

REFERENCES = json.loads(Path(__file__).parents[1].joinpath("reference.json").read_text())["rbms"]


MODULE = importlib.import_module("tfdvae.boltzmann.log_partition.exact")  # the name is the function's


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
    assert estimate.diagnostics == {"method": "exact", "num_states": 2**units, "trustworthy": True}
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


@each_case
def test_log_z_against_numpy(case):
    np.testing.assert_allclose(log_partition.exact(case.machine()).value, case.log_z(), rtol=1e-13)


def test_the_oracle_is_that_of_pairs(make_machine, enumerate_machine):
    machine = make_machine(5, 4)
    np.testing.assert_allclose(
        cases.log_z(*machine.get_weights()), enumerate_machine(machine).log_z, rtol=1e-13
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
    monkeypatch.setattr(MODULE, "_BLOCK_ELEMENTS", elements)
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


def test_the_number_of_blocks_is_bounded(make_machine, monkeypatch):
    monkeypatch.setattr(MODULE, "_BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(MODULE, "_MAX_BLOCK_BITS", 4)
    machine = make_machine(9, 10)
    sides = MODULE._sides(machine, "")
    assert MODULE._block_log_sums(*sides).shape == (16,)
    np.testing.assert_allclose(
        log_partition.exact(machine).value, cases.log_z(*machine.get_weights()), rtol=1e-13
    )


@pytest.mark.parametrize(("left_units", "right_units"), [(5, 3), (3, 5), (1, 2)])
@pytest.mark.parametrize("elements", [4, 2**18], ids=["blocks", "one block"])
def test_exact_samples_follow_the_distribution(
    left_units, right_units, elements, make_machine, enumerate_machine, monkeypatch
):
    monkeypatch.setattr(MODULE, "_BLOCK_ELEMENTS", elements)
    machine = make_machine(left_units, right_units)
    samples = log_partition.exact_samples(machine, 20_000, seed=3)
    assert isinstance(samples, GibbsState)
    assert samples.left.shape == (20_000, left_units)
    assert samples.right.shape == (20_000, right_units)
    assert samples.left.dtype == samples.right.dtype == tf.float32
    assert enumerate_machine(machine).p_value(*samples) > 1e-6


def test_exact_samples_of_another_machine_are_found_out(make_machine, enumerate_machine):
    machine = make_machine(5, 3)
    left_bias, right_bias, coupling = machine.get_weights()
    wrong = RestrictedBoltzmannMachine.from_arrays(left_bias, right_bias, 0.9 * coupling)
    assert enumerate_machine(machine).p_value(*log_partition.exact_samples(wrong, 20_000, seed=3)) < 1e-6


def test_exact_samples_are_in_random_order_and_a_function_of_the_seed(make_machine, monkeypatch):
    monkeypatch.setattr(MODULE, "_BLOCK_ELEMENTS", 16)
    machine = make_machine(8, 6, 0.5)
    first, again, other = (log_partition.exact_samples(machine, 4000, seed=s) for s in (1, 1, (1, 2)))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)
        # The halves have the same means: 14 units, 6 standard errors each.
        halves = np.mean(np.reshape(a, (2, 2000, -1)), axis=1)
        assert np.max(np.abs(halves[0] - halves[1])) < 6 * math.sqrt(0.25 * 2 / 2000)
        # Neighbours are independent, which sorted samples would not be.
        centred = a - np.mean(a, axis=0)
        lag = np.mean(centred[1:] * centred[:-1], axis=0) / np.var(a, axis=0)
        assert np.max(np.abs(lag)) < 6 / math.sqrt(4000)


def test_exact_samples_know_both_modes_of_a_ferromagnet():
    magnet = Ferromagnet()
    left, right = log_partition.exact_samples(magnet.machine(), 20_000, seed=0)
    want = math.exp(magnet.log_mode_share(on=False))
    for side in (left, right):
        got = np.mean(np.sum(side, axis=1) < magnet.units / 2)
        assert abs(got - want) < 5 * math.sqrt(want * (1 - want) / 20_000)


def test_states_without_weight_are_never_drawn():
    machine = RestrictedBoltzmannMachine.from_arrays([900.0, -900.0], [-900.0, 900.0, 0.0], np.zeros((2, 3)))
    left, right = log_partition.exact_samples(machine, 1000, seed=0)
    np.testing.assert_array_equal(left, np.tile([1.0, 0.0], (1000, 1)))
    np.testing.assert_array_equal(right[:, :2], np.tile([0.0, 1.0], (1000, 1)))
    assert 0.3 < np.mean(right[:, 2]) < 0.7


@pytest.mark.slow
@pytest.mark.parametrize(("left_units", "right_units"), [(25, 25), (20, 800)])
def test_large_enumerations_fit(left_units, right_units, make_machine):
    machine = make_machine(left_units, right_units, 0.05)
    samples = log_partition.exact_samples(machine, 100, seed=0)
    assert samples.left.shape == (100, left_units)
    assert 0.2 < np.mean(samples.left) < 0.8
    assert np.isfinite(log_partition.exact(machine).value)


def test_exact_samples_refuse(make_machine):
    with pytest.raises(
        ValueError, match=r"at most 25 units to be enumerated. Received a machine of 30 \+ 26"
    ):
        log_partition.exact_samples(RestrictedBoltzmannMachine(30, 26), 10, seed=0)
    with pytest.raises(
        ValueError, match=r"`num_samples` must be a positive integer. Received: num_samples=0"
    ):
        log_partition.exact_samples(make_machine(4, 3), 0, seed=0)
    machine = make_machine(4, 3)
    machine.left_bias.assign([0.0, np.inf, 0.0, 0.0])
    with pytest.raises(ValueError, match="`left_bias` must be finite"):
        log_partition.exact_samples(machine, 10, seed=0)


@pytest.mark.parametrize(
    ("units", "quick"), [((20, 128), True), ((129, 20), False), ((25, 4), True), ((26, 26), False)]
)
def test_what_is_quick_depends_on_both_sides(units, quick):
    assert MODULE.is_quick(RestrictedBoltzmannMachine(*units)) == quick
