"""Honest likelihoods of whole data sets."""

from tfdvae.evaluation.likelihood import LikelihoodReport, evaluate_likelihood
from tfdvae.evaluation.log_partition import measure_log_partition
from tfdvae.evaluation.raise_check import RaiseCheck, check_by_raise

__all__ = [
    "LikelihoodReport",
    "RaiseCheck",
    "check_by_raise",
    "evaluate_likelihood",
    "measure_log_partition",
]
