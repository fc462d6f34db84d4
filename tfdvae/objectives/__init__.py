"""Bounds and gradient estimators as functions of log-probabilities; schedules of the step."""

from tfdvae.objectives import schedules
from tfdvae.objectives.boltzmann_kl import GroupMoments, expected_energy, unnormalized_boltzmann_kl
from tfdvae.objectives.importance import ImportanceAccumulator

__all__ = [
    "GroupMoments",
    "ImportanceAccumulator",
    "expected_energy",
    "schedules",
    "unnormalized_boltzmann_kl",
]
