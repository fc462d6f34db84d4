"""Estimators of log Z of a restricted Boltzmann machine, all returning `LogPartitionEstimate`, and RAISE."""

from tfdvae.boltzmann.log_partition.adaptive import adaptive_annealing
from tfdvae.boltzmann.log_partition.annealing import annealed_importance_sampling
from tfdvae.boltzmann.log_partition.bracket import bracket
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate
from tfdvae.boltzmann.log_partition.exact import exact, exact_samples
from tfdvae.boltzmann.log_partition.path import base_from_data_means
from tfdvae.boltzmann.log_partition.raise_estimator import LogProbEstimate, raise_log_prob
from tfdvae.boltzmann.log_partition.reverse_annealing import reverse_annealing
from tfdvae.boltzmann.log_partition.stored import StoredLogPartition
from tfdvae.boltzmann.log_partition.tempering import parallel_tempering

__all__ = [
    "LogPartitionEstimate",
    "LogProbEstimate",
    "StoredLogPartition",
    "adaptive_annealing",
    "annealed_importance_sampling",
    "base_from_data_means",
    "bracket",
    "exact",
    "exact_samples",
    "parallel_tempering",
    "raise_log_prob",
    "reverse_annealing",
]
