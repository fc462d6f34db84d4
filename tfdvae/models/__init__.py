"""The models: `keras.Model`s with bounds, likelihoods and samples."""

from tfdvae.models.base import DiscreteVAE
from tfdvae.models.dvae import DVAE, Latents
from tfdvae.models.likelihood import ElboTerms

__all__ = ["DVAE", "DiscreteVAE", "ElboTerms", "Latents"]
