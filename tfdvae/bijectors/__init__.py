"""Cumulative distribution functions of the smoothing mixtures, as bijectors."""

from tfdvae.bijectors.overlapping_exponential_cdf import OverlappingExponentialCDF
from tfdvae.bijectors.overlapping_logistic_cdf import OverlappingLogisticCDF

__all__ = ["OverlappingExponentialCDF", "OverlappingLogisticCDF"]
