"""Restricted Boltzmann machines: energies, sampling, log partition functions."""

from tfdvae.boltzmann import log_partition
from tfdvae.boltzmann.chains import (
    NegativePhase,
    NegativeSamples,
    PersistentChains,
    log_partition_surrogate,
)
from tfdvae.boltzmann.gibbs import GibbsState, gibbs_sweep, gibbs_sweeps
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine

__all__ = [
    "GibbsState",
    "NegativePhase",
    "NegativeSamples",
    "PersistentChains",
    "RBMParameters",
    "RestrictedBoltzmannMachine",
    "gibbs_sweep",
    "gibbs_sweeps",
    "log_partition",
    "log_partition_surrogate",
]
