"""PixelVAE++ (Sadeghi et al., 2019), and PixelCNN++, its decoder alone."""

from tfdvae.models.pixelvaepp.model import PixelVAELatents, PixelVAEPlusPlus

__all__ = ["PixelVAELatents", "PixelVAEPlusPlus"]
