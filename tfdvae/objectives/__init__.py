"""Bounds and gradient estimators as functions of log-probabilities; schedules of the step."""

from tfdvae.objectives import schedules
from tfdvae.objectives.boltzmann_kl import GroupMoments, expected_energy, unnormalized_boltzmann_kl
from tfdvae.objectives.importance import ImportanceAccumulator
from tfdvae.objectives.kl_balancing import balancing_coefficients

__all__ = [
    "GroupMoments",
    "ImportanceAccumulator",
    "balancing_coefficients",
    "expected_energy",
    "schedules",
    "unnormalized_boltzmann_kl",
]
