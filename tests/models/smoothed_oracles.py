"""Quadrature over smoothed latents in float64 NumPy: laws of zeta, models with a directed prior."""

import itertools

import numpy as np
from scipy.special import expit, log_expit, logsumexp, xlog1py, xlogy

from tests.models.oracles import bernoulli_log_prob, dense_stack, states


def gauss_legendre(low, high, count):
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return low + (high - low) * (nodes + 1) / 2, weights * (high - low) / 2


def trapezoid(low, high, count):
    nodes = np.linspace(low, high, count)
    return nodes, np.full(count, nodes[1] - nodes[0])


class Mixture:
    """zeta ~ sum_z q(z) r(zeta | z), by nodes `zeta`, weights of a measure and densities in it, `[nodes]`."""

    def __init__(self, zeta, weights, log_r0, log_r1):
        self.zeta, self.weights, self.log_r = zeta, weights, (log_r0, log_r1)

    def log_density(self, logits, node):
        """log q(zeta[node]) for the logits of z."""
        return np.logaddexp(log_expit(-logits) + self.log_r[0][node], log_expit(logits) + self.log_r[1][node])


def overlapping_exponential(beta, count=60):
    return overlapping_exponential_at(beta, *gauss_legendre(0.0, 1.0, count))


def overlapping_exponential_at(beta, zeta, weights=None):
    norm = np.log(beta) - np.log(-np.expm1(-beta))
    return Mixture(zeta, weights, norm - beta * zeta, norm - beta * (1 - zeta))


def overlapping_logistic(scale, count=300):
    zeta, weights = trapezoid(-32 * scale, 1 + 32 * scale, count)
    log_r = [
        log_expit((zeta - m) / scale) + log_expit((m - zeta) / scale) - np.log(scale) for m in (0.0, 1.0)
    ]
    return Mixture(zeta, weights, *log_r)


def spike_and_exponential(beta, count=60):
    """The measure is a unit mass at 0 and length on (0, 1]."""
    zeta, weights = gauss_legendre(0.0, 1.0, count)
    slope = np.log(beta) + beta * zeta - np.log(np.expm1(beta))
    return Mixture(
        np.append(0.0, zeta),
        np.append(1.0, weights),
        np.append(0.0, np.full(count, -np.inf)),
        np.append(-np.inf, slope),
    )


class BinaryConcrete:
    """zeta = sigmoid(x), temperature x - logits logistic; the measure is length in x."""

    def __init__(self, temperature, count=240):
        self.temperature = temperature
        self.x, self.weights = trapezoid(-50 / temperature, 50 / temperature, count)
        self.zeta = expit(self.x)

    def log_density(self, logits, node):
        y = self.temperature * self.x[node] - logits
        return np.log(self.temperature) + log_expit(y) + log_expit(-y)


LAWS = {
    "overlapping_exponential": overlapping_exponential,
    "overlapping_logistic": overlapping_logistic,
    "spike_and_exponential": spike_and_exponential,
    "binary_concrete": BinaryConcrete,
}


def bernoulli_kl(logits, prior_logits):
    q, p = expit(logits), expit(prior_logits)
    kl = xlogy(q, q) - xlogy(q, p) + xlog1py(1 - q, -q) - xlog1py(1 - q, -p)
    return kl.sum(axis=-1)


class SmoothedDVAE:
    """A DVAE with smoothed latents, integrated over all zeta: a directed prior, or an RBM.

    Attributes (`[B, S]`, over the nodes of the product grid, or `[S]`):
      log_measure: log of the nodes' weights.
      log_q: log density of q(zeta | x).
      log_likelihood: log p(x | zeta).
      joint_kl: KL(q(z | x, zeta_<) || p(z | zeta_<)) given zeta: what the joint bound subtracts.
      log_p_zeta: log density of the prior.
    """

    def __init__(self, model, x, law):
        units = model.latent_units
        node = np.array(list(itertools.product(range(len(law.zeta)), repeat=sum(units))))
        split = np.cumsum(units)[:-1]
        nodes = np.split(node, split, axis=1)
        groups = [law.zeta[n] for n in nodes]
        self.log_measure = np.log(law.weights)[node].sum(axis=1)
        pixels = np.float64(x).reshape(len(x), -1)
        centred = pixels - np.float64(model.data_mean)
        decoded = dense_stack(model.decoder, groups)
        self.log_likelihood = np.stack([bernoulli_log_prob(image, decoded) for image in pixels])
        logits = []
        for image in centred:
            given = [np.tile(image, [len(node), 1]), *groups]
            logits.append([dense_stack(net, given[: i + 1]) for i, net in enumerate(model.encoders)])
        self.logits = logits
        self.log_q = np.stack([self._density(law, x, nodes) for x in logits])
        if model.rbm is None:
            prior = [np.broadcast_to(np.float64(model.prior.first_logits), groups[0].shape)]
            prior += [dense_stack(net, groups[: i + 1]) for i, net in enumerate(model.prior.networks)]
            self.log_p_zeta = self._density(law, prior, nodes)
            self.joint_kl = np.stack([sum(map(bernoulli_kl, x, prior)) for x in logits])
        else:
            self.joint_kl, self.log_p_zeta = self._boltzmann(model, law, node)

    @staticmethod
    def _density(law, logits, nodes):
        return sum(law.log_density(x, n).sum(axis=1) for x, n in zip(logits, nodes, strict=True))

    def _boltzmann(self, model, law, node):
        """E[log q(z | x, zeta_<) - log p(z) | zeta] and log p(zeta), by sums over z; left units first."""
        left_bias, right_bias, coupling = (np.float64(w) for w in model.rbm.get_weights())
        z = states(node.shape[1])
        left, right = z[:, : len(left_bias)], z[:, len(left_bias) :]
        log_p = left @ left_bias + right @ right_bias + np.einsum("si,ij,sj->s", left, coupling, right)
        log_p -= logsumexp(log_p)
        log_r = np.stack([sum(law.log_r[int(bit)][node[:, i]] for i, bit in enumerate(v)) for v in z])
        kl = np.zeros(self.log_q.shape)
        for b, logits in enumerate(self.logits):
            flat = np.concatenate(logits, axis=1)
            for value, log_prior, log_density in zip(z, log_p, log_r, strict=True):
                log_q_z = bernoulli_log_prob(value, flat)
                # q(z | zeta) = q(z, zeta) / q(zeta)
                kl[b] += np.exp(log_q_z + log_density - self.log_q[b]) * (log_q_z - log_prior)
        return kl, logsumexp(log_p[:, None] + log_r, axis=0)

    def expectation(self, values):
        """E_q(zeta | x) of `values [B, S]`."""
        return np.sum(np.exp(self.log_measure + self.log_q) * values, axis=1)

    @property
    def joint_elbo(self):
        return self.expectation(self.log_likelihood - self.joint_kl)

    @property
    def marginal_elbo(self):
        return self.expectation(self.log_likelihood + self.log_p_zeta - self.log_q)

    @property
    def log_p(self):
        return logsumexp(self.log_measure + self.log_p_zeta + self.log_likelihood, axis=1)
