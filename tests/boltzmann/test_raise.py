import math

import numpy as np
import pytest

from tests.boltzmann.log_partition_cases import Ferromagnet
from tests.boltzmann.path_oracle import Marginals
from tfdvae.boltzmann import log_partition
from tfdvae.boltzmann.log_partition import raise_estimator

BETAS = np.array([0.0, 0.3, 0.6, 1.0])
BASE = (np.array([0.4, -0.3, 0.1]), np.array([-0.2, 0.5]))


def annealing_model(marginals, *, last_sweep=True):
    """p of the annealing model and p of the machine, for every left state."""
    p = marginals.f[0] / marginals.f[0].sum()
    for kernel in marginals.kernels[1 : None if last_sweep else -1]:
        p = p @ kernel
    return p, marginals.f[-1] / marginals.f[-1].sum()


def test_is_unbiased_for_the_annealing_model_and_not_for_the_machine(make_machine):
    machine, num_chains = make_machine(3, 2, 3.0), 40_000
    marginals = Marginals(machine, BASE, BETAS)
    want, machine_p = annealing_model(marginals)
    estimate = log_partition.raise_log_prob(
        machine,
        marginals.left_states,
        num_chains=num_chains,
        num_temperatures=3,
        schedule=BETAS,
        base=BASE,
        seed=3,
    )
    got = np.exp(estimate.value)
    # 8 states, 5.5 standard errors each: a rate of false failures of 3e-7.
    errors = 5.5 * got * estimate.standard_error
    assert np.all(errors < 0.05 * got)
    np.testing.assert_array_less(np.abs(got - want), errors)
    # The test sees the difference to the machine, and to a model without the last sweep.
    for other in (machine_p, annealing_model(marginals, last_sweep=False)[0]):
        assert np.any(np.abs(got - other) > 2 * errors)


@pytest.mark.slow
def test_single_chains_are_conservative_and_many_temperatures_reach_the_machine(make_machine):
    machine = make_machine(6, 5, 2.0)
    marginals = Marginals(machine, [w.numpy() for w in machine.parameters[:2]], np.linspace(0, 1, 4))
    annealed, exact = (np.log(p) for p in annealing_model(marginals))

    left = np.repeat(marginals.left_states, 400, axis=0)
    single = log_partition.raise_log_prob(machine, left, num_chains=1, num_temperatures=3, seed=0)
    assert np.all(np.isinf(single.standard_error))
    runs = single.value.reshape(64, 400)
    few, error = runs.mean(axis=1), runs.std(axis=1, ddof=1) / math.sqrt(400)
    # 5.5 standard errors for each of 64 states: a rate of false failures of 2e-6.
    assert np.all(few < annealed + 5.5 * error)
    assert np.sum(few < annealed - 5.5 * error) > 32
    # Averaged over samples of the machine, below its own log p.
    assert np.exp(exact) @ few < np.exp(exact) @ annealed < np.exp(exact) @ exact
    many = log_partition.raise_log_prob(
        machine, marginals.left_states, num_chains=50, num_temperatures=300, seed=0
    )
    assert np.mean(np.abs(many.value - exact)) < 0.1 < np.mean(np.abs(few - exact))


def test_a_mode_that_annealing_reaches_too_often_is_overrated():
    magnet = Ferromagnet(tilt=0.3)
    machine = magnet.machine()
    left = np.stack([np.zeros(magnet.units), np.ones(magnet.units)])
    exact = -machine.free_energy(np.float32(left)).numpy() - magnet.log_z()

    # From uniform states both modes are met almost equally often, but the machine prefers one by far.
    run = dict(num_chains=200, num_temperatures=300, seed=0)
    estimate = log_partition.raise_log_prob(machine, left, **run, base="zero")
    assert np.all(estimate.standard_error < 0.2)
    assert estimate.value[0] > exact[0] + 1
    assert estimate.value[1] < exact[1]

    # With the machine's own biases the preferred mode is missed, and RAISE is as wrong as annealing up.
    (off,) = log_partition.raise_log_prob(machine, left[:1], **run, base=None).value
    log_z = log_partition.annealed_importance_sampling(machine, **run, base=None).value
    assert off > exact[0] + 5
    assert abs(off - (exact[0] + magnet.log_z() - log_z)) < 0.1


def test_no_two_vectors_share_their_noise(make_machine, monkeypatch):
    monkeypatch.setattr(raise_estimator, "_MAX_CHAINS", 6)
    left = np.repeat([[0, 1, 1, 0]], 20, axis=0)
    estimate = log_partition.raise_log_prob(
        make_machine(4, 3, 2.0), left, num_chains=2, num_temperatures=5, seed=0
    )
    assert len(np.unique(estimate.value)) == 20


def test_takes_a_state_of_chains(make_machine):
    machine = make_machine(4, 3)
    drawn = log_partition.exact_samples(machine, 5, seed=0)
    run = dict(num_chains=2, num_temperatures=5, seed=0)
    estimates = [log_partition.raise_log_prob(machine, left, **run) for left in (drawn, drawn.left)]
    np.testing.assert_array_equal(*(e.value for e in estimates))


def test_vectors_are_taken_in_blocks(make_machine, monkeypatch):
    machine = make_machine(4, 3)
    left = np.array(list(np.ndindex(2, 2, 2, 2)), int)
    run = dict(num_chains=30, num_temperatures=20, seed=1)
    whole = log_partition.raise_log_prob(machine, left, **run)
    monkeypatch.setattr(raise_estimator, "_MAX_CHAINS", 100)
    parts = log_partition.raise_log_prob(machine, left, **run)
    assert whole.value.shape == parts.value.shape == (16,)
    np.testing.assert_array_less(
        np.abs(whole.value - parts.value), 6 * np.hypot(whole.standard_error, parts.standard_error) + 1e-9
    )
    assert np.all((whole.effective_sample_size >= 1) & (whole.effective_sample_size <= 30))
    again = log_partition.raise_log_prob(machine, left, **run)
    np.testing.assert_array_equal(parts.value, again.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_chains": 0}, "`num_chains` must be a positive integer. Received: num_chains=0"),
        ({"num_temperatures": 0}, "`num_temperatures` must be a positive integer. Received: num_temp"),
        ({"left": np.zeros((5, 3))}, r"`left` must hold .* \[rows, 4\], at least one. Received: \(5, 3\)"),
        ({"left": np.zeros((0, 4))}, r"at least one. Received: \(0, 4\)"),
        ({"left": np.full((5, 4), 0.5)}, r"`left` must be binary, 0 or 1. .* such as 0.5"),
        ({"base": (np.zeros(3), np.zeros(3))}, r"left biases of `base` must have the shape \(4,\)"),
        ({"schedule": [0.0, 0.5, 0.9]}, "must increase strictly from 0 to 1"),
    ],
)
def test_rejects_arguments(arguments, message, make_machine):
    arguments = {"left": np.zeros((2, 4)), "num_chains": 2, "num_temperatures": 2, "seed": 0, **arguments}
    with pytest.raises(ValueError, match=message):
        log_partition.raise_log_prob(make_machine(4, 3), **arguments)


def test_rejects_weights_that_are_not_finite(make_machine):
    machine = make_machine(4, 3)
    machine.coupling.assign(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match=r"`coupling` must be finite"):
        log_partition.raise_log_prob(machine, np.zeros((2, 4)), num_chains=1, num_temperatures=2, seed=0)
