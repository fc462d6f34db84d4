"""Estimators of log Z of a restricted Boltzmann machine, all returning `LogPartitionEstimate`."""

from tfdvae.boltzmann.log_partition.annealing import annealed_importance_sampling
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate
from tfdvae.boltzmann.log_partition.exact import exact
from tfdvae.boltzmann.log_partition.stored import StoredLogPartition

__all__ = ["LogPartitionEstimate", "StoredLogPartition", "annealed_importance_sampling", "exact"]
