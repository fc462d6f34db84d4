"""Constructed machines whose log Z estimators miss in silence; of sizes that enumeration can check.

In spins s = 2 z - 1, with fields and couplings: patterns that the couplings hold against the fields (a
discontinuous transition hides them from chains that anneal), ferromagnets, Hopfield patterns, planted
patterns, units that stand for one state of the other side each, and large random weights.
"""

import numpy as np

from tfdvae.boltzmann import RestrictedBoltzmannMachine, ising


def _machine(left_bias, right_bias, coupling):
    return RestrictedBoltzmannMachine.from_arrays(
        *(np.asarray(v, np.float32) for v in (left_bias, right_bias, coupling))
    )


def _spins(left_field, right_field, coupling):
    parameters = ising.IsingParameters(*(np.asarray(v, float) for v in (left_field, right_field, coupling)))
    return _machine(*ising.from_ising(parameters).parameters)


def _signs(rng, size):
    return rng.choice([-1.0, 1.0], size)


def hidden_pattern(left=22, right=22, field=2.5, gap=6.0):
    """Fields for all units on, couplings for every other one, which is `gap` nats more likely or less."""
    patterns = (np.where(np.arange(n) % 2 == 0, 1.0, -1.0) for n in (left, right))
    strength = ((left + right) * field + gap) / (left * right)
    return _spins(np.full(left, field), np.full(right, field), strength * np.outer(*patterns))


def hidden_patterns(left, right, field, gaps, seed):
    """The same with several patterns at random, and fields at random."""
    rng = np.random.default_rng(seed)
    fields = field * _signs(rng, left), field * _signs(rng, right)
    coupling = 0
    for gap in gaps:
        strength = ((left + right) * field + gap) / (left * right)
        coupling = coupling + strength * np.outer(_signs(rng, left), _signs(rng, right))
    return _spins(*fields, coupling)


def hopfield(left, right, strengths, tilt, seed):
    """Patterns and their opposites, in weak random fields."""
    rng = np.random.default_rng(seed)
    coupling = 0
    for strength in strengths:
        pattern = np.outer(_signs(rng, left), _signs(rng, right))
        coupling = coupling + strength / np.sqrt(left * right) * pattern
    return _spins(tilt * rng.normal(size=left), tilt * rng.normal(size=right), coupling)


def ferromagnet(left, right, strength, field):
    """Equal couplings; below the critical temperature where `strength` is above 1."""
    coupling = np.full((left, right), strength / np.sqrt(left * right))
    return _spins(np.full(left, field), np.full(right, field), coupling)


def glass(left, right, coupling_scale, bias_scale, seed):
    """Normal weights."""
    rng = np.random.default_rng(seed)
    biases = (bias_scale * rng.normal(size=n) for n in (left, right))
    return _machine(*biases, coupling_scale * rng.normal(size=(left, right)))


def planted(left, right, strength, noise, field, seed):
    """A pattern of the couplings among noise, against random fields."""
    rng = np.random.default_rng(seed)
    fields = field * _signs(rng, left), field * _signs(rng, right)
    pattern = np.outer(_signs(rng, left), _signs(rng, right)) * strength / np.sqrt(left * right)
    return _spins(*fields, pattern + noise * rng.normal(size=(left, right)))


def templates(left, right, depth, seed):
    """Each unit of the right side is on for one pattern of the left side alone."""
    rng = np.random.default_rng(seed)
    coupling = 6 * np.stack([_signs(rng, left) for _ in range(right)], axis=1)
    bias = -6 * (coupling > 0).sum(axis=0) + np.linspace(depth / 2, depth, right)
    return _machine(np.zeros(left), bias, coupling)


HARD_MACHINES = {
    "pattern 22 + 22, gap 6": hidden_pattern,
    "pattern 21 + 21, gap 12": lambda: hidden_pattern(21, 21, gap=12.0),
    "pattern 22 + 22, gap 0": lambda: hidden_pattern(gap=0.0),
    "pattern 22 + 22, gap -2": lambda: hidden_pattern(gap=-2.0),
    "pattern 22 + 22, weak fields": lambda: hidden_pattern(field=1.0),
    "pattern 22 + 60, strong fields": lambda: hidden_pattern(22, 60, field=8.0, gap=-1.0),
    "two patterns 21 + 30": lambda: hidden_patterns(21, 30, 2.0, (5.0, 5.0), seed=1),
    "three patterns 22 + 22": lambda: hidden_patterns(22, 22, 1.5, (4.0, 2.0, 0.0), seed=0),
    "three patterns 22 + 80": lambda: hidden_patterns(22, 80, 5.0, (3.0, 3.0, 3.0), seed=4),
    "Hopfield 22 + 22, 4 patterns": lambda: hopfield(22, 22, (8.0, 7.0, 6.0, 5.0), 0.05, seed=0),
    "Hopfield 21 + 21, 3 deep ones": lambda: hopfield(21, 21, (20.0, 19.0, 18.0), 0.1, seed=1),
    "ferromagnet 24 + 24": lambda: ferromagnet(24, 24, 3.6, 0.03),
    "ferromagnet 22 + 22, critical": lambda: ferromagnet(22, 22, 1.0, 0.01),
    "ferromagnet 22 + 60, strong": lambda: ferromagnet(22, 60, 5.0, 0.02),
    "ferromagnet 22 + 22, no field": lambda: ferromagnet(22, 22, 3.0, 0.0),
    "normal 22 + 22, scale 2": lambda: glass(22, 22, 2.0, 1.0, seed=1),
    "normal 22 + 22, scale 10": lambda: glass(22, 22, 10.0, 3.0, seed=8),
    "normal 14 + 300, scale 30": lambda: glass(14, 300, 30.0, 30.0, seed=0),
    "planted 22 + 22": lambda: planted(22, 22, 30.0, 0.5, 1.0, seed=0),
    "planted 22 + 22, weak": lambda: planted(22, 22, 12.0, 0.7, 0.5, seed=1),
    "templates 24 + 21": lambda: templates(24, 21, 25.0, seed=0),
    "templates 24 + 21, deep": lambda: templates(24, 21, 60.0, seed=1),
}
