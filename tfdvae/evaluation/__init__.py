"""Honest likelihoods of whole data sets."""

from tfdvae.evaluation.likelihood import LikelihoodReport, evaluate_likelihood
from tfdvae.evaluation.log_partition import measure_log_partition

__all__ = ["LikelihoodReport", "evaluate_likelihood", "measure_log_partition"]
