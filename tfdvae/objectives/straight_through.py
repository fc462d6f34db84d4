"""Biased gradients of hard samples: straight-through (Bengio et al., 2013) and ReinMax (Liu et al., 2023)."""

import keras

from tfdvae.latents import draws
from tfdvae.objectives.elbo import Elbo


@keras.saving.register_keras_serializable(package="tfdvae")
class StraightThrough(Elbo):
    """The bound of hard samples, whose gradient goes to q as that of the mean: of the first order, biased.

    Args and errors are those of `Elbo`.
    """

    def draw(self, model, *, seed):
        """Hard samples with the gradient of the mean."""
        return draws.StraightThrough(model.group_seeds(seed))


@keras.saving.register_keras_serializable(package="tfdvae")
class ReinMax(Elbo):
    """The bound of hard samples with a gradient of the second order: exact where it is quadratic in a unit.

    Args and errors are those of `Elbo`.
    """

    def draw(self, model, *, seed):
        """Hard samples with the gradient of ReinMax."""
        return draws.ReinMax(model.group_seeds(seed))
