"""Families of latent groups: how a group is drawn from q, compared with p, and drawn from p.

A family turns the parameters that a network yields into a posterior: an object that holds what the KL terms
need and `value`, a sample, which the next networks see. In the binary limit a binary group's value is
z itself; otherwise it is the smoothed zeta. Continuous variables have one limit.

Parameters have the shape `[batch, ...event]`, or `[samples, batch, ...event]` where they depend on
earlier samples; the event has one axis (units) or three (height, width, channels).
"""

import dataclasses

import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import numerics, random
from tfdvae.layers.smoothing import Smoothing

tfd = tfp.distributions
LIMITS = ("binary", "smoothed")
LOG_SCALE_LIMIT = 5.0  # of normal latents


def _sample_shape(parameters, num_samples, event_ndims):
    """`[num_samples, batch, ...event]`, or the parameters' shape for one sample of each."""
    shape = tf.shape(parameters)
    if num_samples is None:
        return shape
    return tf.concat([[num_samples], shape[-event_ndims - 1 :]], axis=0)


def _event_sum(values, event_ndims):
    return tf.reduce_sum(values, axis=list(range(-event_ndims, 0)))


@dataclasses.dataclass(frozen=True)
class BinaryPosterior:
    """q(z_i | x, zeta_<i), a factorial Bernoulli, and one sample.

    Attributes:
      logits: of z.
      value: what the next networks see: zeta, or z in the binary limit.
      posterior_probs: nu = q(z = 1 | x, zeta_<=i), which is z in the binary limit.
      smoothed: the distribution of zeta, or `None` in the binary limit.
    """

    logits: tf.Tensor
    value: tf.Tensor
    posterior_probs: tf.Tensor
    smoothed: tfd.Distribution | None

    @property
    def mean(self) -> tf.Tensor:
        """mu = q(z = 1 | x, zeta_<i)."""
        return tf.sigmoid(self.logits)

    def draw_binary(self, *, seed) -> tf.Tensor:
        """z ~ q(z | x, zeta): binary variables that go with `value`."""
        return self.value if self.smoothed is None else random.bernoulli(self.posterior_probs, seed=seed)

    def log_prob_binary(self, z) -> tf.Tensor:
        """log q(z_i | x, zeta_<i) of each variable."""
        return numerics.bernoulli_log_prob(z, self.logits)


@dataclasses.dataclass(frozen=True)
class BinaryFamily:
    """Binary groups, smoothed in training.

    Attributes:
      smoothing: the layer that smooths prior and posterior alike.
      bound: against a directed prior, `"joint"` (eq. 4) or `"marginal"` (eq. 5).
      event_ndims: 1 or 3.
    """

    smoothing: Smoothing
    bound: str = "joint"
    event_ndims: int = 1
    parameters_per_unit = 1

    def posterior(self, logits, *, seed, step, limit, num_samples=None) -> BinaryPosterior:
        """Samples a group in one of the two limits."""
        uniform = random.uniform(_sample_shape(logits, num_samples, self.event_ndims), seed=seed)
        if limit == "binary":
            z = tf.cast(uniform > tf.sigmoid(-logits), tf.float32)
            return BinaryPosterior(logits, z, z, None)
        smoothed = self.smoothing.distribution(logits, step=step)
        zeta = smoothed.quantile(uniform)
        probs = smoothed.posterior_probs(zeta) if self.smoothing.has_posterior else None
        return BinaryPosterior(logits, zeta, probs, smoothed)

    def kl(self, posterior, prior_logits, *, step) -> tf.Tensor:
        """Closed form, or the one-sample estimate of the marginal bound (smoothed)."""
        if posterior.smoothed is None or self.bound == "joint":
            return self._sum(numerics.bernoulli_kl(posterior.logits, prior_logits))
        return -self._log_ratio_smoothed(posterior, prior_logits, step)

    def log_ratio(self, posterior, prior_logits, *, step, seed) -> tf.Tensor:
        """log p - log q of z given zeta (joint bound, and binary limit), or of zeta alone (marginal)."""
        if posterior.smoothed is not None and self.bound == "marginal":
            return self._log_ratio_smoothed(posterior, prior_logits, step)
        z = posterior.draw_binary(seed=seed)
        return self._sum(numerics.bernoulli_log_prob(z, prior_logits) - posterior.log_prob_binary(z))

    def _log_ratio_smoothed(self, posterior, prior_logits, step):
        prior, zeta = self.smoothing.distribution(prior_logits, step=step), posterior.value
        return self._sum(prior.log_prob(zeta) - posterior.smoothed.log_prob(zeta))

    def sample(self, prior_logits, *, seed) -> tf.Tensor:
        """Binary variables from the prior."""
        return random.bernoulli(tf.sigmoid(prior_logits), seed=seed)

    def _sum(self, values):
        return _event_sum(values, self.event_ndims)


@dataclasses.dataclass(frozen=True)
class NormalPosterior:
    """q(h_i | x, h_<i), a factorial normal, and one sample `value`."""

    distribution: tfd.Distribution
    value: tf.Tensor

    @property
    def mean(self) -> tf.Tensor:
        """E[h_i | x, h_<i]."""
        return self.distribution.loc


@dataclasses.dataclass(frozen=True)
class NormalFamily:
    """Continuous groups; parameters are means, then logarithms of the scales, along the last axis.

    Log-scales l enter as limit * tanh(l / limit), with the limit `LOG_SCALE_LIMIT`: each group's networks see
    samples of the groups before, and unlimited scales grow from group to group.

    Attributes:
      event_ndims: 1 or 3.
    """

    event_ndims: int = 1
    parameters_per_unit = 2

    def _distribution(self, parameters):
        loc, log_scale = tf.split(parameters, 2, axis=-1)
        return tfd.Normal(loc, tf.exp(LOG_SCALE_LIMIT * tf.tanh(log_scale / LOG_SCALE_LIMIT)))

    def posterior(self, parameters, *, seed, step=None, limit=None, num_samples=None) -> NormalPosterior:
        """Samples a group."""
        del step, limit
        distribution = self._distribution(parameters)
        shape = _sample_shape(distribution.loc, num_samples, self.event_ndims)
        noise = tf.math.ndtri(random.uniform(shape, seed=seed))
        return NormalPosterior(distribution, distribution.loc + distribution.scale * noise)

    def kl(self, posterior, prior_parameters, *, step=None) -> tf.Tensor:
        """Closed form."""
        del step
        return self._sum(posterior.distribution.kl_divergence(self._distribution(prior_parameters)))

    def log_ratio(self, posterior, prior_parameters, *, step=None, seed=None) -> tf.Tensor:
        """log p(h) - log q(h | x) of the sample."""
        del step, seed
        prior, value = self._distribution(prior_parameters), posterior.value
        return self._sum(prior.log_prob(value) - posterior.distribution.log_prob(value))

    def sample(self, prior_parameters, *, seed) -> tf.Tensor:
        """Variables from the prior."""
        prior = self._distribution(prior_parameters)
        return prior.loc + prior.scale * tf.math.ndtri(random.uniform(tf.shape(prior.loc), seed=seed))

    def _sum(self, values):
        return _event_sum(values, self.event_ndims)
