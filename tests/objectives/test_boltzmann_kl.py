"""KL to a Boltzmann machine: value and gradient against sums over z and quadrature over zeta.

The library averages, over the uniform rho that draws zeta, an expression in mu and nu. The oracle
integrates the definition, sum_z int q(z, zeta) log q(z, zeta) / (p(z) r(zeta | z)), over zeta itself, and
is differentiated by finite differences; the two share no formula and no variable of integration.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, log_expit, logsumexp

from tests.models import smoothed_oracles
from tests.models.oracles import states
from tfdvae.boltzmann import (
    NegativeSamples,
    RestrictedBoltzmannMachine,
    log_partition,
    log_partition_surrogate,
)
from tfdvae.distributions import OverlappingExponential, OverlappingLogistic, SpikeAndExponential
from tfdvae.objectives import GroupMoments, expected_energy, unnormalized_boltzmann_kl

SMOOTHINGS = {
    "overlapping_exponential": (OverlappingExponential, {"beta": 3.0}),
    "overlapping_logistic": (OverlappingLogistic, {"scale": 0.3}),
    "spike_and_exponential": (SpikeAndExponential, {"beta": 2.0}),
}
# Units of each group, and how many of them are on the left side.
STRUCTURES = {
    "one group": ((4,), (2,)),
    "two groups": ((2, 2), (2, 0)),
    "two groups, right side first": ((2, 2), (0, 2)),
    "two split groups": ((2, 2), (1, 1)),
    "two split groups of unequal size": ((2, 3), (1, 1)),
    "three groups": ((1, 1, 2), (1, 0, 1)),
    "four groups": ((1, 1, 1, 1), (1, 1, 0, 0)),
    "four groups, alternating": ((1, 1, 1, 2), (1, 0, 1, 1)),
}
CASES = [
    (smoothing, structure)
    for smoothing, structure in itertools.product(SMOOTHINGS, STRUCTURES)
    # The real line needs too many nodes for three nested integrals.
    if smoothing != "overlapping_logistic" or not structure.startswith("four")
]
NODES = 16


class Problem:
    """A posterior whose groups depend on the earlier zeta, a machine, and their parameters in one list."""

    def __init__(self, smoothing, structure, seed=0):
        rng = np.random.default_rng(seed)
        self.smoothing = smoothing
        self.units, self.left_units = STRUCTURES[structure]
        self.biases = [rng.normal(size=n) for n in self.units]
        self.slopes = [rng.normal(size=[sum(self.units[:i]), n]) * 1.5 for i, n in enumerate(self.units)]
        num_left = sum(self.left_units)
        num_right = sum(self.units) - num_left
        self.machine_weights = [
            rng.normal(size=num_left),
            rng.normal(size=num_right),
            1.2 * rng.normal(size=[num_left, num_right]),
        ]
        on_left = [[j < m for j in range(n)] for n, m in zip(self.units, self.left_units, strict=True)]
        self.on_left = np.array(list(itertools.chain.from_iterable(on_left)))

    @property
    def parameters(self):
        return [*self.biases, *self.slopes, *self.machine_weights]

    def logits(self, parameters, i, zeta, module):
        """Logits of group `i` given the earlier `zeta [S, units]`, in NumPy or TensorFlow."""
        count = len(self.units)
        bias, slope = parameters[i], parameters[count + i]
        return bias + (module.sin(1.7 * zeta) @ slope)

    # --- the oracle ---

    def exact_kl(self, parameters):
        """The definition, with sums over z and quadrature over the zeta of all groups but the last."""
        law = smoothed_oracles.LAWS[self.smoothing](
            *SMOOTHINGS[self.smoothing][1].values(), count=110 if "logistic" in self.smoothing else NODES
        )
        # The last group's zeta enters the ratio through r(zeta | z) alone, which cancels.
        integrated = sum(self.units[:-1])
        node = np.array(list(itertools.product(range(len(law.zeta)), repeat=integrated)), int)
        node = node.reshape(len(law.zeta) ** integrated, integrated)
        zeta, log_measure = law.zeta[node], np.log(law.weights)[node].sum(axis=1)
        ends = np.cumsum(self.units)
        logits = np.concatenate(
            [
                np.broadcast_to(self.logits(parameters, i, zeta[:, : end - n], np), [len(node), n])
                for i, (end, n) in enumerate(zip(ends, self.units, strict=True))
            ],
            axis=1,
        )
        left_bias, right_bias, coupling = parameters[-3:]
        z = states(ends[-1])
        left, right = z[:, self.on_left], z[:, ~self.on_left]
        log_p = left @ left_bias + right @ right_bias + np.einsum("si,ij,sj->s", left, coupling, right)
        log_p -= logsumexp(log_p)
        total = 0.0
        for value, log_prior in zip(z, log_p, strict=True):
            log_q = np.where(value == 1, log_expit(logits), log_expit(-logits)).sum(axis=1)
            log_r = sum(
                (law.log_r[int(value[u])][node[:, u]] for u in range(integrated)), np.zeros(len(node))
            )
            # log of q(z, zeta) / (p(z) r(zeta | z)): r is in both, wherever its density is not 0.
            total += np.sum(np.exp(log_measure + log_q + log_r) * (log_q - log_prior))
        return total

    def exact_gradients(self):
        gradients = []
        for k, parameter in enumerate(self.parameters):
            gradient = np.zeros(parameter.shape)
            for index in np.ndindex(parameter.shape):
                ends = []
                for step in (1e-5, -1e-5):
                    moved = [p.copy() for p in self.parameters]
                    moved[k][index] += step
                    ends.append(self.exact_kl(moved))
                gradient[index] = (ends[0] - ends[1]) / 2e-5
            gradients.append(gradient)
        return gradients

    # --- the library ---

    def _rho(self, logits):
        """Nodes of rho for one unit with logits `[S]`: `rho, weights [S, nodes]`, split at a kink."""
        if self.smoothing == "overlapping_logistic":
            # zeta is unbounded as rho goes to 0 and 1: rho = sigmoid(t), t evenly spaced.
            t, weights = smoothed_oracles.trapezoid(-32.0, 32.0, 240)
            rho, weights = expit(t), weights * expit(t) * expit(-t)
            return np.tile(rho, [len(logits), 1]), np.tile(weights, [len(logits), 1])
        rho, weights = smoothed_oracles.gauss_legendre(0.0, 1.0, NODES)
        if self.smoothing == "overlapping_exponential":
            return np.tile(rho, [len(logits), 1]), np.tile(weights, [len(logits), 1])
        q, p = expit(logits)[:, None], expit(-logits)[:, None]
        return np.concatenate([p / 2, p + q * rho], axis=1), np.concatenate([p, q * weights], axis=1)

    def grid(self):
        """`rho [S, units]` and `weights [S]` for the units of all groups but the last."""
        law, arguments = SMOOTHINGS[self.smoothing]
        zeta, rho, weights = np.zeros([1, 0]), np.zeros([1, 0]), np.ones(1)
        for i, n in enumerate(self.units[:-1]):
            logits = np.broadcast_to(self.logits(self.parameters, i, zeta, np), [len(zeta), n])
            for u in range(n):
                new, new_weights = self._rho(logits[:, u])
                repeat = new.shape[1]
                rho = np.concatenate([np.repeat(rho, repeat, axis=0), new.reshape(-1, 1)], axis=1)
                weights = np.repeat(weights, repeat) * new_weights.reshape(-1)
                logits, zeta = np.repeat(logits, repeat, axis=0), np.repeat(zeta, repeat, axis=0)
            drawn = law(logits=tf.constant(logits), **arguments).quantile(rho[:, -n:]).numpy()
            zeta = np.concatenate([zeta, drawn], axis=1)
        return rho, weights

    def library_kl(
        self, posterior_probs=lambda law, zeta: law.posterior_probs(zeta), roles=lambda mu, nu: (mu, nu)
    ):
        """The value and the gradients in all parameters by automatic differentiation."""
        law_class, arguments = SMOOTHINGS[self.smoothing]
        machine = RestrictedBoltzmannMachine.from_arrays(*self.machine_weights, dtype="float64")
        parameters = [tf.Variable(p) for p in (*self.biases, *self.slopes)]
        rho, weights = self.grid()
        with tf.GradientTape() as tape:
            zeta, logits, moments, start = tf.zeros([len(rho), 0], tf.float64), [], [], 0
            for i, (n, left) in enumerate(zip(self.units, self.left_units, strict=True)):
                group_logits = self.logits(parameters, i, zeta, tf) + tf.zeros([len(rho), n], tf.float64)
                mu = nu = tf.sigmoid(group_logits)
                if i + 1 < len(self.units):
                    law = law_class(logits=group_logits, **arguments)
                    group_zeta = law.quantile(tf.constant(rho[:, start : start + n]))
                    nu = posterior_probs(law, group_zeta)
                    zeta = tf.concat([zeta, group_zeta], axis=1)
                    mu, nu = roles(mu, nu)
                logits.append(group_logits)
                moments.append(GroupMoments(mu[:, :left], mu[:, left:], nu[:, :left], nu[:, left:]))
                start += n
            kl = unnormalized_boltzmann_kl(machine, logits, moments)
            value = tf.reduce_sum(kl * weights)
            objective = value + log_partition_surrogate(machine, every_state(machine))
        gradients = tape.gradient(objective, [*parameters, *machine.trainable_variables])
        return value.numpy() + log_partition.exact(machine).value, [
            np.zeros(p.shape) if g is None else g.numpy()
            for g, p in zip(gradients, self.parameters, strict=True)
        ]


def every_state(machine):
    """All states with their exact weights: the surrogate's gradient is that of log Z, without error."""
    both = tf.constant(states(machine.left_units + machine.right_units))
    left, right = both[:, : machine.left_units], both[:, machine.left_units :]
    return NegativeSamples(left, right, -machine.energy(left, right))


def difference(got, want):
    return max(np.abs(g - w).max() for g, w in zip(got, want, strict=True) if g.size)


@pytest.mark.parametrize(("smoothing", "structure"), CASES)
def test_value_and_gradient_are_those_of_the_definition(smoothing, structure):
    problem = Problem(smoothing, structure)
    value, gradients = problem.library_kl()
    want = problem.exact_kl(problem.parameters)
    assert want > 0.1
    np.testing.assert_allclose(value, want, rtol=1e-7)
    exact = problem.exact_gradients()
    assert difference(gradients, exact) < 2e-6
    assert min(np.abs(g).max() for g in exact if g.size) > 1e-3


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("structure", ["two groups", "two split groups", "three groups"])
def test_roles_of_the_two_moments_matter(smoothing, structure):
    problem = Problem(smoothing, structure)
    value, gradients = problem.library_kl()
    swapped_value, swapped = problem.library_kl(roles=lambda mu, nu: (nu, mu))
    assert abs(swapped_value - value) > 1e-2
    assert difference(swapped, gradients) > 1e-2
    # With mu in both roles the earlier group would not be told its own sample.
    mean_value, mean = problem.library_kl(roles=lambda mu, nu: (mu, mu))
    assert abs(mean_value - value) > 1e-2
    assert difference(mean, gradients) > 1e-2


@pytest.mark.parametrize("structure", ["two groups", "two split groups", "three groups", "four groups"])
def test_a_step_function_loses_the_gradient_of_the_spike(structure):
    # The value is right, and so is the gradient in the machine; the posterior's misses the boundary.
    problem = Problem("spike_and_exponential", structure)
    step_value, step = problem.library_kl(posterior_probs=lambda _, zeta: tf.cast(zeta > 0, tf.float64))
    value, gradients = problem.library_kl()
    np.testing.assert_allclose(step_value, value, rtol=1e-12)
    assert difference(step[-3:], gradients[-3:]) < 1e-12
    assert difference(step[:-3], gradients[:-3]) > 1e-2


def test_binary_limit_is_a_sum_over_states():
    # With nu = z, the mean over z ~ q of the expression is the KL between the binary laws.
    rng = np.random.default_rng(2)
    machine = RestrictedBoltzmannMachine.from_arrays(
        *(rng.normal(size=s) for s in (2, 2, (2, 2))), dtype="float64"
    )
    first = rng.normal(size=2)
    slope, bias = rng.normal(size=[2, 2]), rng.normal(size=2)
    z = states(2)
    second = z @ slope + bias
    probability = np.prod(np.where(z == 1, expit(first), expit(-first)), axis=1)
    logits = [tf.constant(np.tile(first, [4, 1])), tf.constant(second)]
    empty, means = tf.zeros([4, 0], tf.float64), [tf.sigmoid(x) for x in logits]
    moments = [GroupMoments(means[0], empty, z, empty), GroupMoments(empty, means[1], empty, means[1])]
    got = np.sum(probability * unnormalized_boltzmann_kl(machine, logits, moments))
    left_bias, right_bias, coupling = (np.float64(w) for w in machine.get_weights())
    want = 0.0
    for (i, a), b in itertools.product(enumerate(z), z):
        log_q = np.log(probability[i]) + np.sum(np.where(b == 1, log_expit(second[i]), log_expit(-second[i])))
        want += np.exp(log_q) * (log_q - a @ left_bias - b @ right_bias - a @ coupling @ b)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_empty_sides_and_leading_dimensions():
    rng = np.random.default_rng(3)
    machine = RestrictedBoltzmannMachine.from_arrays(*(rng.normal(size=s) for s in (2, 3, (2, 3))))
    values = [rng.uniform(size=[5, 4, n]).astype(np.float32) for n in (2, 1, 2)]
    empty = np.zeros([5, 4, 0], np.float32)
    z = [(v > 0.5).astype(np.float32) for v in values]
    groups = [
        GroupMoments(z[0], empty, z[0], empty),
        GroupMoments(empty, z[1], empty, z[1]),
        GroupMoments(empty, z[2], empty, z[2]),
    ]
    # For states that are certain, mu = nu = z, the expected energy is the energy.
    got = expected_energy(machine, groups)
    assert got.shape == (5, 4)
    np.testing.assert_allclose(got, machine.energy(z[0], np.concatenate(z[1:], axis=-1)), rtol=1e-5)
    # A group with no unit at all changes nothing.
    nothing = GroupMoments(empty, empty, empty, empty)
    for position in range(4):
        padded = [*groups[:position], nothing, *groups[position:]]
        np.testing.assert_array_equal(expected_energy(machine, padded), got)


def test_extreme_logits_are_finite():
    machine = RestrictedBoltzmannMachine.from_arrays([1.0], [2.0], [[3.0]])
    logits = [tf.constant([[-200.0], [-30.0], [0.0], [30.0], [200.0]])] * 2
    with tf.GradientTape() as tape:
        tape.watch(logits[0])
        mean = tf.sigmoid(logits[0])
        empty = tf.zeros([5, 0])
        groups = [GroupMoments(mean, empty, mean, empty), GroupMoments(empty, mean, empty, mean)]
        kl = unnormalized_boltzmann_kl(machine, logits, groups)
    # Both variables are certain at the ends: minus the entropy is 0 and E(z) is 0 or -6.
    np.testing.assert_allclose(kl[::4], [0.0, -6.0], atol=1e-6)
    assert np.isfinite(tape.gradient(kl, logits[0])).all()
