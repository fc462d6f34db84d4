"""The models: `keras.Model`s with bounds, likelihoods and samples."""

from tfdvae.models.base import DiscreteVAE
from tfdvae.models.dvae import DVAE, Latents
from tfdvae.models.dvaepp import DVAEPlusPlus
from tfdvae.models.likelihood import ElboTerms
from tfdvae.training import TrainingDiverged

__all__ = ["DVAE", "DVAEPlusPlus", "DiscreteVAE", "ElboTerms", "Latents", "TrainingDiverged"]
