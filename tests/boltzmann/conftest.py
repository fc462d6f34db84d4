import itertools
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.boltzmann import chi_squared
from tfdvae.boltzmann import RestrictedBoltzmannMachine


class Enumeration(NamedTuple):
    """All joint states of a small machine and their probabilities, by loops in float64."""

    lefts: np.ndarray
    rights: np.ndarray
    probabilities: np.ndarray
    log_z: float

    def draw(self, num_samples, rng):
        indices = rng.choice(len(self.probabilities), size=num_samples, p=self.probabilities)
        return tf.constant(self.lefts[indices], tf.float32), tf.constant(self.rights[indices], tf.float32)

    def p_value(self, left, right):
        """Of the chi-squared test that the given samples follow the machine's distribution."""
        spins = np.concatenate([np.asarray(left), np.asarray(right)], axis=1).astype(int)
        codes = spins @ (1 << np.arange(spins.shape[1])[::-1])
        counts = np.bincount(codes, minlength=len(self.probabilities))
        return chi_squared.p_value(counts, len(spins) * self.probabilities)


def energy_by_loops(left_bias, right_bias, coupling, left, right):
    total = 0.0
    for i in range(len(left_bias)):
        total -= left_bias[i] * left[i]
        for j in range(len(right_bias)):
            total -= left[i] * coupling[i, j] * right[j]
    for j in range(len(right_bias)):
        total -= right_bias[j] * right[j]
    return float(total)


@pytest.fixture
def energy():
    return energy_by_loops


@pytest.fixture
def enumerate_machine():
    def enumerate_states(machine):
        weights = [np.asarray(w, np.float64) for w in machine.get_weights()]
        units = machine.left_units + machine.right_units
        states = np.array(list(itertools.product((0, 1), repeat=units)))
        lefts, rights = states[:, : machine.left_units], states[:, machine.left_units :]
        energies = np.array([energy_by_loops(*weights, *s) for s in zip(lefts, rights, strict=True)])
        log_z = np.logaddexp.reduce(-energies)
        return Enumeration(lefts, rights, np.exp(-energies - log_z), float(log_z))

    return enumerate_states


@pytest.fixture
def make_machine():
    def make(left_units, right_units, scale=1.0, seed=0):
        rng = np.random.default_rng(seed)
        shapes = (left_units, right_units, (left_units, right_units))
        arrays = [scale * rng.normal(size=s) for s in shapes]
        return RestrictedBoltzmannMachine.from_arrays(*arrays)

    return make
