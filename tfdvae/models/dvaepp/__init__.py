"""DVAE++ (Vahdat et al. (2018), section 6): Boltzmann global latents, convolutional local ones."""

from tfdvae.models.dvaepp.model import DVAEPlusPlus, DVAEPlusPlusLatents

__all__ = ["DVAEPlusPlus", "DVAEPlusPlusLatents"]
