"""TFP distributions: continuous relaxations of Bernoulli variables, and a likelihood of pixels."""

from tfdvae.distributions.binary_concrete import BinaryConcrete
from tfdvae.distributions.discretized_logistic_mixture import DiscretizedLogisticMixture
from tfdvae.distributions.overlapping_exponential import OverlappingExponential
from tfdvae.distributions.overlapping_logistic import OverlappingLogistic
from tfdvae.distributions.smoothed_bernoulli import RelaxedBernoulli, SmoothedBernoulli
from tfdvae.distributions.spike_and_exponential import SpikeAndExponential

__all__ = [
    "BinaryConcrete",
    "DiscretizedLogisticMixture",
    "OverlappingExponential",
    "OverlappingLogistic",
    "RelaxedBernoulli",
    "SmoothedBernoulli",
    "SpikeAndExponential",
]
