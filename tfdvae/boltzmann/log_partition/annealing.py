"""Annealed importance sampling."""

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate, finite_parameters
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine


def annealed_importance_sampling(
    rbm: RestrictedBoltzmannMachine,
    *,
    num_chains: int,
    num_temperatures: int,
    seed,
    base: tuple | None = None,
) -> LogPartitionEstimate:
    """log Z by annealed importance sampling (Neal, 2001; Salakhutdinov and Murray, 2008)."""
    raise NotImplementedError
