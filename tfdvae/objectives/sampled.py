"""Hard samples of q, scored by both sides: what objectives of discrete latents are made of."""

from typing import NamedTuple

import tensorflow as tf

from tfdvae import numerics, random
from tfdvae.latents import Trace, draws
from tfdvae.objectives.kl import log_posterior, log_prior


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
    return ScoredSamples(
        model.log_prob_of_pixels(x, trace),
        log_prior(model, trace),
        log_posterior(trace),
        log_posterior(discrete) if discrete.groups else None,
    )


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
