"""The approximate posterior of one latent group, together with a sample of it.

A posterior object holds what the KL terms need and `value`, which the next networks see. In the
binary limit a binary group's value is z itself; otherwise it is the smoothed zeta.
"""

import dataclasses

import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import numerics, random

tfd = tfp.distributions


def _sample_shape(parameters, num_samples):
    """The shape of a sample: `[num_samples, batch, units]`, or that of the parameters."""
    shape = tf.shape(parameters)
    return shape if num_samples is None else tf.concat([[num_samples], shape[-2:]], axis=0)


@dataclasses.dataclass(frozen=True)
class BinaryPosterior:
    """q(z_i | x, zeta_<i), a factorial Bernoulli, and one sample.

    Attributes:
      logits: of z, `[batch, units]` or `[samples, batch, units]`.
      value: what the next networks see: zeta, or z in the binary limit.
      posterior_probs: nu = q(z = 1 | x, zeta_<=i), which is z in the binary limit.
      smoothed: the distribution of zeta, or `None` in the binary limit.
    """

    logits: tf.Tensor
    value: tf.Tensor
    posterior_probs: tf.Tensor
    smoothed: tfd.Distribution | None

    @classmethod
    def draw(cls, logits, smoothing, *, seed, step, limit, num_samples=None) -> "BinaryPosterior":
        """Samples a group, smoothed by the `Smoothing` layer or in the binary limit."""
        uniform = random.uniform(_sample_shape(logits, num_samples), seed=seed)
        if limit == "binary":
            z = tf.cast(uniform > tf.sigmoid(-logits), tf.float32)
            return cls(logits, z, z, None)
        smoothed = smoothing.distribution(logits, step=step)
        zeta = smoothed.quantile(uniform)
        probs = smoothed.posterior_probs(zeta) if smoothing.has_posterior else None
        return cls(logits, zeta, probs, smoothed)

    @property
    def mean(self) -> tf.Tensor:
        """mu = q(z = 1 | x, zeta_<i)."""
        return tf.sigmoid(self.logits)

    def draw_binary(self, *, seed) -> tf.Tensor:
        """z ~ q(z | x, zeta): a binary vector that goes with `value`."""
        return self.value if self.smoothed is None else random.bernoulli(self.posterior_probs, seed=seed)

    def log_prob_binary(self, z) -> tf.Tensor:
        """log q(z_i | x, zeta_<i), summed over units."""
        return tf.reduce_sum(numerics.bernoulli_log_prob(z, self.logits), axis=-1)


@dataclasses.dataclass(frozen=True)
class NormalPosterior:
    """q(h_i | x, h_<i), a factorial normal, and one sample `value`."""

    distribution: tfd.Distribution
    value: tf.Tensor

    @classmethod
    def draw(cls, parameters, smoothing=None, *, seed, step=None, limit=None, num_samples=None):
        """Samples a group from `[..., 2 * units]`: means, then logarithms of the scales."""
        del smoothing, step, limit  # continuous variables have one limit
        loc, log_scale = tf.split(parameters, 2, axis=-1)
        distribution = tfd.Normal(loc, tf.exp(log_scale))
        noise = tf.math.ndtri(random.uniform(_sample_shape(loc, num_samples), seed=seed))
        return cls(distribution, loc + distribution.scale * noise)

    @property
    def mean(self) -> tf.Tensor:
        """E[h_i | x, h_<i]."""
        return self.distribution.loc
