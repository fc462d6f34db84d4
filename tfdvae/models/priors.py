"""Priors over latent groups, behind one interface.

Each prior is a Keras layer with
- `rbm`: the Boltzmann machine, or `None` where the prior is normalized;
- `kl_per_group(posteriors, step, training)`: KL terms of one sample, `[groups, ...]`, without log Z;
- `log_ratio(posteriors, step, seed)`: log p*(latents) - log q(latents | x) of that sample;
- `sample(num_samples, seed, ...)`: a list of latents, one array a group.
"""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import numerics, random
from tfdvae.boltzmann import GibbsState, RestrictedBoltzmannMachine, gibbs_sweeps
from tfdvae.layers.dense import DenseStack
from tfdvae.models.posteriors import BinaryPosterior, NormalPosterior
from tfdvae.objectives import GroupMoments, unnormalized_boltzmann_kl

tfd = tfp.distributions
SIDES = ("left", "right", "split")


def default_sides(num_groups: int) -> tuple[str, ...]:
    """One group is split in half; of several, the first half of the groups is the left side."""
    if num_groups == 1:
        return ("split",)
    num_left = num_groups // 2
    return ("left",) * num_left + ("right",) * (num_groups - num_left)


class BoltzmannPrior(keras.layers.Layer):
    """An RBM over all binary groups (Vahdat et al. (2018), section 5).

    Args:
      latent_units: units of each group.
      sides: for each group `"left"`, `"right"` or `"split"` (its first half, rounded down, is left).
    """

    posterior = BinaryPosterior

    def __init__(self, latent_units, sides=None, **kwargs):
        super().__init__(**kwargs)
        self.latent_units = tuple(latent_units)
        self.sides = tuple(sides) if sides is not None else default_sides(len(self.latent_units))
        if len(self.sides) != len(self.latent_units) or set(self.sides) - set(SIDES):
            raise ValueError(
                f"`sides` must give one of {SIDES} for each of the {len(self.latent_units)} groups. "
                f"Received: sides={self.sides}"
            )
        part = {"left": lambda n: n, "right": lambda n: 0, "split": lambda n: n // 2}
        self.left_units = tuple(part[s](n) for s, n in zip(self.sides, self.latent_units, strict=True))
        num_left, num_right = sum(self.left_units), sum(self.latent_units) - sum(self.left_units)
        if not num_left or not num_right:
            raise ValueError(
                f"Both sides of the Boltzmann machine need units. Received: sides={self.sides} for groups of "
                f"{self.latent_units} units, which leaves {num_left} on the left and {num_right} on the right"
            )
        self.rbm = RestrictedBoltzmannMachine(num_left, num_right, name="rbm")
        self.built = True

    def _sides(self, values):
        """Splits each group's `[..., units]` into its left and right parts."""
        parts = [(v[..., :n], v[..., n:]) for v, n in zip(values, self.left_units, strict=True)]
        return [left for left, _ in parts], [right for _, right in parts]

    def energy(self, values) -> tf.Tensor:
        """E(z) of a list of groups, `[..., units]`; returns `[...]`."""
        left, right = self._sides(values)
        return self.rbm.energy(tf.concat(left, axis=-1), tf.concat(right, axis=-1))

    def kl_per_group(self, posteriors, *, step, training=False) -> tf.Tensor:
        """KL(q || p) - log Z, the machine being one group: `[1, batch]`."""
        del step, training
        logits = [p.logits for p in posteriors]
        means = self._sides([tf.sigmoid(x) for x in logits])
        posterior = self._sides([p.posterior_probs for p in posteriors])
        moments = [GroupMoments(*m) for m in zip(*means, *posterior, strict=True)]
        return unnormalized_boltzmann_kl(self.rbm, logits, moments)[tf.newaxis]

    def log_ratio(self, posteriors, *, step, seed) -> tf.Tensor:
        """-E(z) - log q(z | x) for z ~ q(z | x, zeta)."""
        del step
        seeds = random.split(seed, len(posteriors))
        z = [p.draw_binary(seed=s) for p, s in zip(posteriors, seeds, strict=True)]
        return -self.energy(z) - sum(p.log_prob_binary(v) for p, v in zip(posteriors, z, strict=True))

    def sample(self, num_samples, *, seed, chains=None, num_sweeps=100) -> list[tf.Tensor]:
        """Binary groups after `num_sweeps` Gibbs sweeps from random members of `chains`."""
        seed_start, seed_sweeps = random.split(seed)
        if chains is None:
            left = random.bernoulli(tf.fill([num_samples, self.rbm.left_units], 0.5), seed=seed_start)
        else:
            stored = tf.convert_to_tensor(chains.left)
            rows = tf.random.stateless_uniform([num_samples], seed_start, 0, tf.shape(stored)[0], tf.int32)
            left = tf.gather(stored, rows)
        state = GibbsState(left, tf.zeros([num_samples, self.rbm.right_units]))
        left, right = gibbs_sweeps(self.rbm.parameters, state, num_sweeps, seed=seed_sweeps)
        lefts = tf.split(left, self.left_units, axis=-1)
        rights = tf.split(
            right, [n - m for n, m in zip(self.latent_units, self.left_units, strict=True)], axis=-1
        )
        return [tf.concat(parts, axis=-1) for parts in zip(lefts, rights, strict=True)]


class BernoulliPrior(keras.layers.Layer):
    """Directed factorial groups, p(z_i | zeta_<i) (Vahdat et al. (2018), section 4).

    Args:
      latent_units: units of each group.
      bound: `"joint"` (eq. 4) or `"marginal"` (eq. 5).
      smoothing: the layer that smooths prior and posterior alike.
      hidden_units, batch_normalization_momentum, weight_decay: of the networks of p(z_i | zeta_<i).
    """

    posterior = BinaryPosterior
    rbm = None

    def __init__(self, latent_units, bound, smoothing, network, **kwargs):
        super().__init__(**kwargs)
        self.latent_units = tuple(latent_units)
        self.bound = bound
        self.smoothing = smoothing
        self.first_logits = self.add_weight(
            shape=(self.latent_units[0],), initializer="zeros", name="first_logits"
        )
        self.networks = [
            DenseStack(self.latent_units[:i], units, name=f"prior_{i}", **network)
            for i, units in enumerate(self.latent_units)
            if i > 0
        ]
        self.built = True

    def logits(self, values, training) -> list[tf.Tensor]:
        """Logits of every group given the earlier groups' values."""
        later = [net(values[: i + 1], training=training) for i, net in enumerate(self.networks)]
        return [tf.convert_to_tensor(self.first_logits), *later]

    def kl_per_group(self, posteriors, *, step, training=False) -> tf.Tensor:
        """One KL a group, `[groups, batch]`: closed form, or one-sample marginal (smoothed) estimate."""
        logits = self.logits([p.value for p in posteriors], training)
        return tf.stack([self._kl(p, x, step) for p, x in zip(posteriors, logits, strict=True)])

    def _kl(self, posterior, prior_logits, step):
        if posterior.smoothed is None or self.bound == "joint":
            return tf.reduce_sum(numerics.bernoulli_kl(posterior.logits, prior_logits), axis=-1)
        return -self._log_ratio_smoothed(posterior, prior_logits, step)

    def _log_ratio_smoothed(self, posterior, prior_logits, step):
        prior = self.smoothing.distribution(prior_logits, step=step)
        zeta = posterior.value
        return tf.reduce_sum(prior.log_prob(zeta) - posterior.smoothed.log_prob(zeta), axis=-1)

    def log_ratio(self, posteriors, *, step, seed) -> tf.Tensor:
        """log p - log q of z given zeta (joint, and binary limit), or of zeta alone (marginal)."""
        logits = self.logits([p.value for p in posteriors], training=False)
        seeds = random.split(seed, len(posteriors))
        total = 0.0
        for posterior, prior_logits, s in zip(posteriors, logits, seeds, strict=True):
            if posterior.smoothed is not None and self.bound == "marginal":
                total += self._log_ratio_smoothed(posterior, prior_logits, step)
            else:
                z = posterior.draw_binary(seed=s)
                log_prior = tf.reduce_sum(numerics.bernoulli_log_prob(z, prior_logits), axis=-1)
                total += log_prior - posterior.log_prob_binary(z)
        return total

    def sample(self, num_samples, *, seed, chains=None, num_sweeps=None) -> list[tf.Tensor]:
        """Binary groups by ancestral sampling."""
        del chains, num_sweeps
        values = []
        for i, s in enumerate(random.split(seed, len(self.latent_units))):
            logits = self.first_logits if i == 0 else self.networks[i - 1](values, training=False)
            probs = tf.broadcast_to(tf.sigmoid(logits), [num_samples, self.latent_units[i]])
            values.append(random.bernoulli(probs, seed=s))
        return values


class NormalPrior(keras.layers.Layer):
    """Directed continuous groups, p(h_i | h_<i) normal: the baseline without discrete variables.

    Args:
      latent_units: units of each group; the first group is standard normal.
      network: keyword arguments of the `DenseStack`s of p(h_i | h_<i).
    """

    posterior = NormalPosterior
    rbm = None

    def __init__(self, latent_units, network, **kwargs):
        super().__init__(**kwargs)
        self.latent_units = tuple(latent_units)
        self.networks = [
            DenseStack(self.latent_units[:i], 2 * units, name=f"prior_{i}", **network)
            for i, units in enumerate(self.latent_units)
            if i > 0
        ]
        self.built = True

    def _distribution(self, i, values, training):
        if i == 0:
            return tfd.Normal(tf.zeros([self.latent_units[0]]), 1.0)
        loc, log_scale = tf.split(self.networks[i - 1](values[:i], training=training), 2, axis=-1)
        return tfd.Normal(loc, tf.exp(log_scale))

    def kl_per_group(self, posteriors, *, step, training=False) -> tf.Tensor:
        """One closed-form KL a group, `[groups, batch]`."""
        del step
        values = [p.value for p in posteriors]
        return tf.stack(
            [
                tf.reduce_sum(p.distribution.kl_divergence(self._distribution(i, values, training)), axis=-1)
                for i, p in enumerate(posteriors)
            ]
        )

    def log_ratio(self, posteriors, *, step, seed) -> tf.Tensor:
        """log p(h) - log q(h | x) of the sample."""
        del step, seed
        values = [p.value for p in posteriors]
        return sum(
            tf.reduce_sum(
                self._distribution(i, values, False).log_prob(p.value) - p.distribution.log_prob(p.value),
                axis=-1,
            )
            for i, p in enumerate(posteriors)
        )

    def sample(self, num_samples, *, seed, chains=None, num_sweeps=None) -> list[tf.Tensor]:
        """Continuous groups by ancestral sampling."""
        del chains, num_sweeps
        values = []
        for i, s in enumerate(random.split(seed, len(self.latent_units))):
            prior = self._distribution(i, values, False)
            noise = tf.math.ndtri(random.uniform([num_samples, self.latent_units[i]], seed=s))
            values.append(prior.loc + prior.scale * noise)
        return values
