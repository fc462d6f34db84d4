"""The models: `keras.Model`s with bounds, likelihoods and samples."""

from tfdvae.models.base import DiscreteVAE, ElboTerms
from tfdvae.models.dvae import DVAE, Latents

__all__ = ["DVAE", "DiscreteVAE", "ElboTerms", "Latents"]
