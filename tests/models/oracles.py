"""Independent float64 versions of the models: networks, energies and exact sums over all latents, in NumPy.

Everything is computed from the weights of a `DVAE` with few latents; nothing of the library's
mathematics is used. `[B]` images, `[S]` states of all latents.
"""

import itertools

import numpy as np
from scipy.special import log_expit, logsumexp
from scipy.stats import norm


def states(units):
    """All binary vectors, `[2**units, units]`."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=units))).reshape(-1, units)


def bernoulli_log_prob(values, logits):
    return np.sum(values * log_expit(logits) + (1 - values) * log_expit(-logits), axis=-1)


def randomize(model, seed=0, scale=1.0):
    """Gives every weight of the networks and the prior a random value, so that nothing is trivial."""
    rng = np.random.default_rng(seed)
    for layer in (
        *model.encoders,
        model.decoder,
        *model.prior.weights,
        *getattr(model.prior, "networks", ()),
    ):
        for weight in getattr(layer, "weights", [layer]):
            value = scale * rng.normal(size=weight.shape)
            if weight.path.endswith(("gamma", "moving_variance")):
                value = rng.uniform(0.5, 2.0, size=weight.shape)
            weight.assign(value)
    return model


def images(model, count, seed=0):
    """Binary images, float32, `[count, height, width, channels]`."""
    return np.random.default_rng(seed).integers(0, 2, (count, *model.image_shape)).astype(np.float32)


def dense_stack(stack, inputs):
    """The dense stack on the concatenation of its inputs, with the moving averages."""
    x = np.concatenate(inputs, axis=-1) @ np.concatenate([np.float64(i.kernel) for i in stack.input_layers])
    if stack.input_layers[0].bias is not None:
        x = x + np.float64(stack.input_layers[0].bias)
    for normalization, dense in zip(stack.normalizations, stack.hidden_layers, strict=True):
        if stack.batch_normalization:
            gamma, beta, mean, variance = (np.float64(w) for w in normalization.get_weights())
            x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        x = np.tanh(x) @ np.float64(dense.kernel)
        if dense.bias is not None:
            x = x + np.float64(dense.bias)
    return x


def log_partition(machine):
    """log Z by a sum over all states of both sides."""
    left_bias, right_bias, coupling = (np.float64(w) for w in machine.get_weights())
    left, right = states(len(left_bias)), states(len(right_bias))
    return logsumexp(
        (left @ left_bias)[:, None] + (right @ right_bias)[None] + left @ coupling @ right.T, axis=(0, 1)
    )


class EnumeratedDVAE:
    """A DVAE in the binary limit, summed over all latents.

    Attributes (`[B, S]` but for the first):
      log_p: log p(x), `[B]`.
      log_q: log q(z | x).
      log_w: log p(x, z) - log q(z | x), log Z included.
      log_likelihood: log p(x | z).
    """

    def __init__(self, model, x, left_of=None):
        """`left_of`: for each latent whether it is on the machine's left side, in the order of the groups."""
        units = model.latent_units
        z = states(sum(units))
        groups = np.split(z, np.cumsum(units)[:-1], axis=1)
        pixels = np.float64(x).reshape(len(x), -1)
        centred = pixels - np.float64(model.data_mean)
        self.log_q = np.zeros([len(x), len(z)])
        for b, image in enumerate(centred):
            given = [np.tile(image, [len(z), 1])]
            for encoder, group in zip(model.encoders, groups, strict=True):
                self.log_q[b] += bernoulli_log_prob(group, dense_stack(encoder, given))
                given.append(group)
        log_prior = (
            self._boltzmann(model, z, left_of) if model.rbm is not None else self._directed(model, groups)
        )
        logits = dense_stack(model.decoder, groups)
        self.log_likelihood = np.stack([bernoulli_log_prob(image, logits) for image in pixels])
        log_joint = log_prior + self.log_likelihood
        self.log_w = log_joint - self.log_q
        self.log_p = logsumexp(log_joint, axis=1)

    @staticmethod
    def _boltzmann(model, z, left_of):
        left_of = np.array(left_of, bool)
        left_bias, right_bias, coupling = (np.float64(w) for w in model.rbm.get_weights())
        left, right = z[:, left_of], z[:, ~left_of]
        energy = -left @ left_bias - right @ right_bias - np.einsum("si,ij,sj->s", left, coupling, right)
        return -energy - logsumexp(-energy)

    @staticmethod
    def _directed(model, groups):
        total = bernoulli_log_prob(groups[0], np.float64(model.prior.first_logits))
        for i, network in enumerate(model.prior.networks):
            total = total + bernoulli_log_prob(groups[i + 1], dense_stack(network, groups[: i + 1]))
        return total

    @property
    def q(self):
        return np.exp(self.log_q)

    @property
    def elbo(self):
        return np.sum(self.q * self.log_w, axis=1)

    @property
    def reconstruction(self):
        return np.sum(self.q * self.log_likelihood, axis=1)

    @property
    def elbo_deviation(self):
        """Standard deviation of log w under q."""
        return np.sqrt(np.sum(self.q * (self.log_w - self.elbo[:, None]) ** 2, axis=1))

    def relative_error(self, num_samples, failure_rate=1e-6):
        """t with P(|mean_k w_k / p(x) - 1| > t) <= failure_rate, by Bernstein's inequality."""
        ratio = np.exp(self.log_w - self.log_p[:, None])
        variance = np.sum(self.q * (ratio - 1) ** 2, axis=1)
        return bernstein(variance, ratio.max(axis=1), num_samples, failure_rate)


def bernstein(variance, largest, num_samples, failure_rate=1e-6):
    """t with P(|mean - expectation| > t) <= failure_rate for variables at most `largest` from their mean."""
    log_term = np.log(2 / failure_rate)
    linear = largest * log_term / (3 * num_samples)
    return linear + np.sqrt(linear**2 + 2 * variance * log_term / num_samples)


def normal_bound(deviation, num_samples, failure_rate=1e-6):
    """The same for a mean of many variables with this standard deviation, by the normal law."""
    return norm.isf(failure_rate / 2) * deviation / np.sqrt(num_samples)
