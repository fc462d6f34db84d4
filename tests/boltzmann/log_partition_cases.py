"""25 random machines on which the estimators of log Z are tested, with log Z by NumPy alone."""

import functools
from typing import NamedTuple

import numpy as np
import pytest

from tfdvae.boltzmann import RestrictedBoltzmannMachine


class Case(NamedTuple):
    """A machine and where its weights come from; the scales are standard deviations."""

    left_units: int
    right_units: int
    coupling_scale: float
    bias_scale: float
    seed: int

    @property
    def name(self):
        return f"{self.left_units}x{self.right_units}-w{self.coupling_scale}-b{self.bias_scale}-{self.seed}"

    def arrays(self):
        """`left_bias`, `right_bias`, `coupling`, float32."""
        rng = np.random.default_rng([self.left_units, self.right_units, self.seed])
        shapes = (self.left_units,), (self.right_units,), (self.left_units, self.right_units)
        scales = self.bias_scale, self.bias_scale, self.coupling_scale
        return [np.float32(s * rng.normal(size=n)) for s, n in zip(scales, shapes, strict=True)]

    def machine(self):
        return RestrictedBoltzmannMachine.from_arrays(*self.arrays())

    def log_z(self):
        return log_z(*self.arrays())


class Ferromagnet(NamedTuple):
    """Equal couplings below the critical temperature: all units off, or all on, with a barrier between.

    In spins s = 2 z - 1 the coupling is J / 4 and the field `tilt` / 2. In mean field the magnetization m of
    either side obeys m = tanh(units J m / 4): ordered for units J > 4, here 10. A positive tilt favours the
    mode with all units on, by about exp(2 units tilt).
    """

    units: int = 10
    coupling: float = 1.0
    tilt: float = 0.15

    @property
    def name(self):
        return f"ferromagnet-{self.tilt}"

    def arrays(self):
        bias = np.full(self.units, self.tilt - self.coupling * self.units / 2, np.float32)
        return [bias, bias, np.full((self.units, self.units), self.coupling, np.float32)]

    def machine(self):
        return RestrictedBoltzmannMachine.from_arrays(*self.arrays())

    def log_z(self):
        return log_z(*self.arrays())

    def mode_samples(self, num_samples, *, on, rng):
        """Exact samples of one mode, `[num_samples, units]`: more (fewer) than half of the left units on."""
        counts = np.arange(self.units + 1)
        log_weights = self._log_weights(counts)
        log_weights[counts * 2 <= self.units if on else counts * 2 >= self.units] = -np.inf
        weights = np.exp(log_weights - log_weights.max())
        drawn = rng.choice(counts, size=num_samples, p=weights / weights.sum())
        ranks = np.argsort(rng.random((num_samples, self.units)), axis=1)
        return np.float32(ranks < drawn[:, np.newaxis])

    def log_mode_share(self, *, on):
        """log of the probability that more (fewer) than half of the left units are on."""
        counts = np.arange(self.units + 1)
        log_weights = self._log_weights(counts)
        chosen = counts * 2 > self.units if on else counts * 2 < self.units
        return np.logaddexp.reduce(log_weights[chosen]) - np.logaddexp.reduce(log_weights)

    def _log_weights(self, counts):
        # Only the number of left units that are on matters.
        bias = self.tilt - self.coupling * self.units / 2
        log_binomial = np.array([log_choose(self.units, k) for k in counts])
        return log_binomial + bias * counts + self.units * np.logaddexp(0, bias + self.coupling * counts)


# (left, right) -> (coupling scale, bias scale): weak and strong couplings, biases from none to strong.
_SCALES = {
    (3, 5): [(0.1, 1.0), (1.0, 1.0), (2.0, 5.0), (5.0, 1.0)],
    (8, 6): [(0.3, 0.5), (1.0, 3.0), (2.0, 1.0), (5.0, 5.0)],
    (10, 20): [(0.1, 3.0), (0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (5.0, 1.0)],
    (14, 12): [(0.3, 5.0), (0.5, 1.0), (1.0, 1.0), (3.0, 3.0)],
    (40, 15): [(0.1, 0.1), (0.5, 2.0), (1.0, 1.0), (2.0, 1.0)],
    (20, 20): [(0.2, 1.0), (0.7, 2.0), (2.0, 1.0)],
}

CASES = [
    Case(left, right, coupling_scale, bias_scale, seed)
    for (left, right), scales in _SCALES.items()
    for seed, (coupling_scale, bias_scale) in enumerate(scales)
] + [Ferromagnet()]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def log_choose(n, k):
    return float(np.sum(np.log(np.arange(n - k + 1, n + 1))) - np.sum(np.log(np.arange(1, k + 1))))


def log_z(left_bias, right_bias, coupling):
    """log Z in float64, unit by unit of the smaller side: the states of one more unit double the list."""
    return _log_z(*(tuple(map(tuple, np.atleast_2d(a))) for a in (left_bias, right_bias, coupling)))


@functools.cache
def _log_z(left_bias, right_bias, coupling):
    biases = np.float64(left_bias[0]), np.float64(right_bias[0])
    coupling = np.float64(coupling)
    if len(biases[0]) > len(biases[1]):
        biases, coupling = biases[::-1], coupling.T
    return _log_sum(*biases, coupling)


def _log_sum(bias, other_logits, coupling):
    """log of the sum over states of the units of `bias`, given what the units fixed so far add."""
    if len(bias) > 12:
        off = _log_sum(bias[1:], other_logits, coupling[1:])
        return np.logaddexp(off, bias[0] + _log_sum(bias[1:], other_logits + coupling[0], coupling[1:]))
    log_weights, logits = np.zeros(1), other_logits[np.newaxis]
    for unit_bias, row in zip(bias, coupling, strict=True):
        log_weights = np.concatenate([log_weights, log_weights + unit_bias])
        logits = np.concatenate([logits, logits + row])
    softplus = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))
    return np.logaddexp.reduce(log_weights + softplus.sum(axis=1))
