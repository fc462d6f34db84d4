"""Importance-weighted bounds (Burda et al., 2016), accumulated in bounded memory."""

import dataclasses

import numpy as np
from scipy.special import logsumexp


@dataclasses.dataclass
class ImportanceAccumulator:
    """Running sums of importance weights for a batch of examples, in float64 and in log space.

    Feed it chunks of log-weights; memory does not grow with the number of samples.

    Attributes:
      num_samples: samples seen so far.
      log_sum: log sum_k w_k, shape `[batch]`.
      log_sum_squares: log sum_k w_k^2, shape `[batch]`.
      sum_log: sum_k log w_k, shape `[batch]`.
    """

    num_samples: int = 0
    log_sum: np.ndarray | float = -np.inf
    log_sum_squares: np.ndarray | float = -np.inf
    sum_log: np.ndarray | float = 0.0

    def update(self, log_weights) -> None:
        """Adds a chunk of log-weights, shape `[samples, batch]`, in nats.

        Raises:
          ValueError: if one is NaN or plus infinity, which no sum survives.
        """
        log_weights = np.asarray(log_weights, np.float64)
        bad = np.count_nonzero(np.isnan(log_weights) | (log_weights == np.inf))
        if bad:
            raise ValueError(
                f"{bad} of {log_weights.size} log-weights are NaN or infinite. The model has diverged: go "
                "back to an earlier checkpoint, and lower the learning rate"
            )
        self.num_samples += len(log_weights)
        self.log_sum = np.logaddexp(self.log_sum, logsumexp(log_weights, axis=0))
        self.log_sum_squares = np.logaddexp(self.log_sum_squares, logsumexp(2 * log_weights, axis=0))
        self.sum_log = self.sum_log + log_weights.sum(axis=0)

    @property
    def log_mean_weight(self) -> np.ndarray:
        """log (1/K sum_k w_k): the K-sample bound on log p(x), shape `[batch]`."""
        return self.log_sum - np.log(self.num_samples)

    @property
    def elbo(self) -> np.ndarray:
        """mean_k log w_k: the single-sample bound, shape `[batch]`."""
        return self.sum_log / self.num_samples

    @property
    def effective_sample_size(self) -> np.ndarray:
        """(sum_k w_k)^2 / sum_k w_k^2, between 1 and K, shape `[batch]`."""
        return np.exp(2 * self.log_sum - self.log_sum_squares)
