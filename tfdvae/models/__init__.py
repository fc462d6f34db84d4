"""The models: `keras.Model`s with bounds, likelihoods and samples."""

from tfdvae._faults import TrainingDiverged
from tfdvae.models.base import Decoded, DiscreteVAE
from tfdvae.models.bounds import ElboTerms
from tfdvae.models.dvae import DVAE, DVAELatents
from tfdvae.models.dvaepp import DVAEPlusPlus, DVAEPlusPlusLatents
from tfdvae.models.hybrid_rbm import HybridLatents, HybridRBM
from tfdvae.models.pixelvaepp import PixelVAELatents, PixelVAEPlusPlus

__all__ = [
    "DVAE",
    "DVAELatents",
    "DVAEPlusPlus",
    "DVAEPlusPlusLatents",
    "Decoded",
    "DiscreteVAE",
    "ElboTerms",
    "HybridLatents",
    "HybridRBM",
    "PixelVAELatents",
    "PixelVAEPlusPlus",
    "TrainingDiverged",
]
