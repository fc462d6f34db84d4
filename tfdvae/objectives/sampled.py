"""Hard samples of q, scored by both sides: what objectives of discrete latents are made of."""

from typing import NamedTuple

import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.chains import log_partition_surrogate
from tfdvae.latents import Trace, draws
from tfdvae.objectives.kl import log_posterior, log_prior
from tfdvae.training import StepTerms


class Unscheduled:
    """What objectives share that have nothing that follows a schedule."""

    def scheduled_values(self, step) -> dict[str, float]:
        """Nothing follows a schedule."""
        del step
        return {}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)


def two_or_more(num_samples) -> int:
    """A number of samples of which each has others.

    Raises:
      ValueError: if it is not at least 2.
    """
    num_samples = positive_integer("num_samples", num_samples)
    if num_samples < 2:
        raise ValueError(
            "`num_samples` must be at least 2: the control variate of a sample is made of the others. "
            f"Received: {num_samples=}"
        )
    return num_samples


class ScoredSamples(NamedTuple):
    """Latents and what a model says of them, each `[..., batch]`, in nats, without log Z.

    No gradient goes through discrete values; a score has that of its own parameters.

    Attributes:
      reconstruction: log p(x | z).
      log_prior: log p*(z).
      log_posterior: log q(z | x).
      log_discrete_posterior: the part of it of groups whose samples have no gradient; `None` without any.
    """

    reconstruction: tf.Tensor
    log_prior: tf.Tensor
    log_posterior: tf.Tensor
    log_discrete_posterior: tf.Tensor | None

    @property
    def log_joint(self) -> tf.Tensor:
        """log p*(x, z)."""
        return self.reconstruction + self.log_prior

    @property
    def log_weights(self) -> tf.Tensor:
        """log p*(x, z) - log q(z | x)."""
        return self.log_joint - self.log_posterior

    def figures(self) -> dict[str, tf.Tensor]:
        """The terms of the bound of one sample: means over all samples and examples."""
        kl = self.log_posterior - self.log_prior
        return {
            "reconstruction": numerics.mean_or_zero(tf.reduce_mean(self.reconstruction, axis=0)),
            "kl": numerics.mean_or_zero(tf.reduce_mean(kl, axis=0)),
        }


def scores(model, x, trace: Trace) -> ScoredSamples:
    """The scores of the values of a pass over images."""
    discrete = trace._replace(groups=tuple(g for g in trace.groups if not g.q.reparameterized))
    log_q = log_posterior(trace)
    if len(discrete.groups) == len(trace.groups):
        log_discrete = log_q
    else:
        log_discrete = log_posterior(discrete) if discrete.groups else None
    return ScoredSamples(model.log_prob_of_pixels(x, trace), log_prior(model, trace), log_q, log_discrete)


def scored(model, x, draw, *, seed) -> ScoredSamples:
    """The scores of what a draw gives images, in a pass of a training; `seed` is that of dropout."""
    return scores(model, x, model.trace(x, draw, seed=seed))


def check_discrete(model, trace: Trace) -> None:
    """Checks that the samples of no group have gradients.

    Raises:
      ValueError: if some do.
    """
    continuous = [i for i, group in enumerate(trace.groups) if group.q.reparameterized]
    if continuous:
        raise ValueError(
            f"The objective is one of discrete latents alone, and groups {continuous} of {model.name!r} are "
            "continuous. Train with `tfdvae.objectives.VIMCO` or `Elbo`"
        )


def samples_of_posterior(model, x, num_samples, *, seed, stopped=False) -> ScoredSamples:
    """`num_samples` of q for each image, `[samples, batch]`; `stopped`: continuous ones without gradients."""
    (seed_dropout,) = random.split(seed, 1, salt="dropout")
    draw = model.draw("binary", seed=seed, num_samples=num_samples)
    return scored(model, x, draws.Stopped(draw) if stopped else draw, seed=seed_dropout)


def score_function(model, samples: ScoredSamples) -> tf.Tensor:
    """log q of the discrete groups.

    Raises:
      ValueError: if there are none.
    """
    if samples.log_discrete_posterior is None:
        raise ValueError(
            f"The objective is one of discrete latents, and all those of {model.name!r} are continuous: "
            "their samples have gradients. Train with `tfdvae.objectives.Elbo`"
        )
    return samples.log_discrete_posterior


def step_terms(model, samples: ScoredSamples, loss, value, negative) -> StepTerms:
    """The terms of a step that descends `loss`, whose `value` is what may be logged.

    The gradient of log Z comes from the negative samples.
    """
    common = 0.0 if negative is None else log_partition_surrogate(model.rbm, negative)
    figures = {"loss": value, "log_partition_factor": tf.constant(1.0), **samples.figures()}
    return StepTerms(loss, common, figures)
