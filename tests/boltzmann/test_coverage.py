"""What annealed chains have missed is found part by part, by chains from other bases."""

import numpy as np
import pytest

from tests.boltzmann.hard_machines import ferromagnet, hidden_pattern
from tfdvae.boltzmann import log_partition
from tfdvae.boltzmann.log_partition.coverage import Population, anneal_from, coverage
from tfdvae.boltzmann.log_partition.estimate import log_mean_exp
from tfdvae.boltzmann.log_partition.path import base_biases

BETAS = np.arange(301) / 300


def anneal(rbm, base, num_chains=200, seed=0):
    return anneal_from(rbm.parameters, [base_biases(base, rbm.parameters)], num_chains, BETAS, seed=seed)[0]


def look(rbm, population, others=()):
    return coverage(
        rbm.parameters, population, list(others), num_chains=200, betas=BETAS, num_starts=16, seed=1
    )


@pytest.fixture(scope="module")
def pattern():
    return hidden_pattern(14, 14, field=4.0)


def test_a_pattern_that_all_chains_have_missed(pattern):
    """They agree with each other to 1e-3, 6 nats below log Z; chains that start at the pattern find it."""
    exact = log_partition.exact(pattern).value
    blind = anneal(pattern, "centered")
    total = log_mean_exp(blind.log_weights)
    assert exact - total.value > 5
    assert total.standard_error < 1e-3
    found = look(pattern, blind)
    assert found.is_significant
    assert found.num_annealed >= 1
    assert total.value + found.missed == pytest.approx(exact, abs=5 * found.standard_error)
    assert found.standard_error < 0.2
    assert found.bound > total.value + 5  # so says mean field, for certain


def test_another_population_is_compared_part_by_part(pattern):
    exact = log_partition.exact(pattern).value
    blind, other = anneal(pattern, "centered"), anneal(pattern, "zero", 2_000)
    found = look(pattern, blind, [other])
    missed = log_mean_exp(blind.log_weights).value + found.missed
    assert missed == pytest.approx(exact, abs=5 * found.standard_error)


def test_a_third_of_the_mass():
    """Chains in one of two modes alone, weighted as unbiased ones would be: totals hardly differ."""
    rbm = ferromagnet(14, 14, 3.0, 0.012)
    exact = log_partition.exact(rbm).value
    states = log_partition.exact_samples(rbm, 4_000, seed=0).left.numpy()
    up = states.mean(axis=1) > 0.5
    share = up.mean()
    assert 0.55 < share < 0.8
    blind = Population(np.full(up.sum(), exact + np.log(share)), states[up])
    found = look(rbm, blind)
    assert found.is_significant
    assert found.missed == pytest.approx(-np.log(share), abs=5 * found.standard_error + 0.01)


def test_chains_that_have_seen_everything_miss_nothing():
    for rbm in (ferromagnet(14, 14, 3.0, 0.012), hidden_pattern(14, 14, gap=0.0)):
        exact = log_partition.exact(rbm).value
        states = log_partition.exact_samples(rbm, 2_000, seed=0).left.numpy()
        complete = Population(np.full(len(states), exact), states)
        found = look(rbm, complete, [anneal(rbm, "zero")])
        assert not found.is_significant
        assert found.missed < 0.2
        assert found.bound <= exact + 1e-5
