"""Restricted Boltzmann machines: energies, sampling, training, log partition functions."""

from tfdvae.boltzmann import log_partition
from tfdvae.boltzmann.annealed_samples import AnnealedSamples
from tfdvae.boltzmann.chains import (
    ContrastiveDivergence,
    NegativePhase,
    NegativeSamples,
    PersistentChains,
    TemperedChains,
    log_partition_surrogate,
)
from tfdvae.boltzmann.gibbs import GibbsState, gibbs_sweep, gibbs_sweeps, row_gibbs_sweeps
from tfdvae.boltzmann.ising import IsingParameters, ShiftedParameters, from_ising, to_dimod, to_ising
from tfdvae.boltzmann.measured import MeasuredModel
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine
from tfdvae.boltzmann.trainer import MaximumLikelihood, RBMTrainer

__all__ = [
    "AnnealedSamples",
    "ContrastiveDivergence",
    "GibbsState",
    "IsingParameters",
    "MaximumLikelihood",
    "MeasuredModel",
    "NegativePhase",
    "NegativeSamples",
    "PersistentChains",
    "RBMParameters",
    "RBMTrainer",
    "RestrictedBoltzmannMachine",
    "ShiftedParameters",
    "TemperedChains",
    "from_ising",
    "gibbs_sweep",
    "gibbs_sweeps",
    "log_partition",
    "log_partition_surrogate",
    "row_gibbs_sweeps",
    "to_dimod",
    "to_ising",
]
