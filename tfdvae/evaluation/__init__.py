"""Honest likelihoods of whole data sets."""

from tfdvae.evaluation.likelihood import LikelihoodReport, evaluate_likelihood

__all__ = ["LikelihoodReport", "evaluate_likelihood"]
