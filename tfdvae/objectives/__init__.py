"""What a step of a training descends, bounds as functions of log-probabilities, and schedules of the step."""

from tfdvae.objectives import schedules
from tfdvae.objectives.boltzmann_kl import GroupMoments, expected_energy, unnormalized_boltzmann_kl
from tfdvae.objectives.elbo import Elbo
from tfdvae.objectives.importance import ImportanceAccumulator
from tfdvae.objectives.kl import kl_per_group, log_ratios
from tfdvae.objectives.kl_balancing import balancing_coefficients
from tfdvae.training import Objective, StepTerms

__all__ = [
    "Elbo",
    "GroupMoments",
    "ImportanceAccumulator",
    "Objective",
    "StepTerms",
    "balancing_coefficients",
    "expected_energy",
    "kl_per_group",
    "log_ratios",
    "schedules",
    "unnormalized_boltzmann_kl",
]
