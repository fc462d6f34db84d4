"""Groups of latent variables: their laws, how they are drawn, the pass over them, and their machine."""

from tfdvae.latents import draws
from tfdvae.latents.laws import Bernoulli, Law, Normal, OneHotCategorical
from tfdvae.latents.machine import BoltzmannPrior
from tfdvae.latents.trace import Draw, Group, Trace, Value

__all__ = [
    "Bernoulli",
    "BoltzmannPrior",
    "Draw",
    "Group",
    "Law",
    "Normal",
    "OneHotCategorical",
    "Trace",
    "Value",
    "draws",
]
