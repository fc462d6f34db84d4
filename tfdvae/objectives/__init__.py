"""What a step of a training descends, bounds as functions of log-probabilities, and schedules of the step."""

from tfdvae.objectives import schedules
from tfdvae.objectives.boltzmann_kl import GroupMoments, expected_energy, unnormalized_boltzmann_kl
from tfdvae.objectives.concrete import Concrete
from tfdvae.objectives.elbo import Elbo
from tfdvae.objectives.importance import ImportanceAccumulator
from tfdvae.objectives.kl import kl_per_group, log_ratios
from tfdvae.objectives.kl_balancing import balancing_coefficients
from tfdvae.objectives.muprop import MuProp
from tfdvae.objectives.nvil import NVIL
from tfdvae.objectives.pretraining import Autoencoding, MachineOnCodes
from tfdvae.objectives.rebar import REBAR
from tfdvae.objectives.score_function import DisARM, LeaveOneOut
from tfdvae.objectives.straight_through import ReinMax, StraightThrough
from tfdvae.objectives.vimco import VIMCO, leave_one_out_bounds, multi_sample_bound
from tfdvae.objectives.wake_sleep import WakeSleep
from tfdvae.training import Objective, StepTerms

__all__ = [
    "NVIL",
    "REBAR",
    "VIMCO",
    "Autoencoding",
    "Concrete",
    "DisARM",
    "Elbo",
    "GroupMoments",
    "ImportanceAccumulator",
    "LeaveOneOut",
    "MachineOnCodes",
    "MuProp",
    "Objective",
    "ReinMax",
    "StepTerms",
    "StraightThrough",
    "WakeSleep",
    "balancing_coefficients",
    "expected_energy",
    "kl_per_group",
    "leave_one_out_bounds",
    "log_ratios",
    "multi_sample_bound",
    "schedules",
    "unnormalized_boltzmann_kl",
]
