"""PixelVAE++ (Sadeghi et al., 2019), and PixelCNN++, its decoder alone."""

from tfdvae.models.pixelvaepp.model import PixelVAELatents, PixelVAEPlusPlus
from tfdvae.models.pixelvaepp.pixel_cnn import PixelCNN
from tfdvae.models.pixelvaepp.sampler import draw

__all__ = ["PixelCNN", "PixelVAELatents", "PixelVAEPlusPlus", "draw"]
