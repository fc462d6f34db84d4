"""RAISE as a safety check of a likelihood that rests on log Z.

"Learning deep generative models with discrete latent variables", section 3.3.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.log_partition import LogPartitionEstimate, raise_log_prob
from tfdvae.boltzmann.log_partition.estimate import STANDARD_ERRORS
from tfdvae.models import DiscreteVAE
from tfdvae.objectives import ImportanceAccumulator
from tfdvae.objectives.sampled import scores


@dataclasses.dataclass(frozen=True)
class RaiseCheck:
    """The log-likelihood of some images by log Z, and by RAISE without it, in nats.

    Attributes:
      by_log_partition: importance-weighted, with log Z, `[images]`.
      by_raise: of the same samples, with RAISE's p(z), `[images]`: a lower bound in expectation on log p(x)
        of the annealing model (see `tfdvae.boltzmann.log_partition.raise_log_prob`).
      log_partition: the log Z that was used.
      num_samples: importance samples for each image.
      num_vectors: of them, drawn by their weights, those that RAISE was run for.
      num_temperatures: of RAISE.
    """

    by_log_partition: np.ndarray
    by_raise: np.ndarray
    log_partition: LogPartitionEstimate
    num_samples: int
    num_vectors: int
    num_temperatures: int

    @property
    def difference(self) -> float:
        """The mean of `by_raise` minus that of `by_log_partition`."""
        return float(np.mean(self.by_raise - self.by_log_partition))

    @property
    def standard_error(self) -> float:
        """Of the difference: over images, and of log Z; infinite with one image."""
        differences = self.by_raise - self.by_log_partition
        if len(differences) < 2:
            return float("inf")
        return float(
            np.hypot(differences.std(ddof=1) / len(differences) ** 0.5, self.log_partition.standard_error)
        )

    @property
    def warning(self) -> str | None:
        """What is said if the figures are apart by more than their errors, or `None`."""
        if abs(self.difference) <= STANDARD_ERRORS * self.standard_error:
            return None
        if self.difference < 0:
            side = "below"
            reasons = (
                "log Z is too small and its figure flatters the model, or RAISE has too few temperatures"
            )
        else:
            side = "above"
            reasons = "log Z is too large, or annealing reaches some latents too often"
        return (
            f"The figure of RAISE is {abs(self.difference):.3f} nats {side} that by log Z, more than "
            f"{STANDARD_ERRORS} errors of {self.standard_error:.3f}. Either {reasons}"
        )

    def to_dict(self) -> dict:
        """A JSON-able form, with means over the images."""
        return {
            "num_examples": len(self.by_raise),
            "by_log_partition": float(self.by_log_partition.mean()),
            "by_raise": float(self.by_raise.mean()),
            "difference": self.difference,
            "standard_error": self.standard_error,
            "num_samples": self.num_samples,
            "num_vectors": self.num_vectors,
            "num_temperatures": self.num_temperatures,
            "warning": self.warning,
        }


def check_by_raise(
    model: DiscreteVAE,
    x,
    num_samples: int,
    *,
    seed,
    log_partition: LogPartitionEstimate | None = None,
    num_vectors: int = 16,
    num_temperatures: int = 10_000,
) -> RaiseCheck:
    """Compares the importance-weighted likelihood of images with one that needs no log Z.

    With importance weights w of K samples, p(z) = exp(-F(z)) / Z of the machine is replaced by RAISE's
    unbiased estimate of the annealing model's p(z). That takes chains for each sample; so RAISE is run for
    `num_vectors` of them, drawn with probabilities that are proportional to w: the mean of w times the mean
    of RAISE's p(z) / exp(-F(z)) over these has the expectation of the mean over all K.

    Args:
      model: a model whose prior is a Boltzmann machine.
      x: images, `[batch, height, width, channels]`: some hundred at most, for RAISE is slow.
      num_samples: importance samples K for each image.
      seed: of samples and annealing.
      log_partition: a `LogPartitionEstimate`; by default the one stored with the model.
      num_vectors: samples for each image that RAISE is run for.
      num_temperatures: of RAISE; the annealing model tends to the machine as they are added.

    Returns:
      A `RaiseCheck`.

    Raises:
      ValueError: if the prior is normalized, a number is not a positive integer, or log Z is missing or
        stale.
    """
    if model.rbm is None:
        raise ValueError(f"The prior of {model.name!r} is normalized: RAISE has nothing to check")
    num_samples = positive_integer("num_samples", num_samples)
    num_vectors = positive_integer("num_vectors", num_vectors)
    estimate = model.resolve_log_partition(log_partition)
    x = model._check_images(x)
    seed_samples, seed_raise = random.split(seed, salt="check_by_raise")
    sums, left = _weighted_samples(model, x, num_samples, num_vectors, seed_samples)
    found = raise_log_prob(
        model.rbm,
        tf.reshape(left, [-1, left.shape[-1]]),
        num_chains=1,
        num_temperatures=num_temperatures,
        seed=seed_raise,
    ).value.reshape(-1, num_vectors)
    log_ratios = found + model.rbm.free_energy(left).numpy().astype(np.float64)
    by_log_partition = sums.log_mean_weight - estimate.value
    log_means = np.logaddexp.reduce(log_ratios, axis=1) - np.log(num_vectors)
    return RaiseCheck(
        by_log_partition=by_log_partition,
        by_raise=sums.log_mean_weight + log_means,
        log_partition=estimate,
        num_samples=num_samples,
        num_vectors=num_vectors,
        num_temperatures=int(num_temperatures),
    )


def _weighted_samples(model, x, num_samples, num_vectors, seed):
    """The sums of all importance weights, and left sides drawn by them, `[batch, num_vectors, left]`.

    Of scores log w + Gumbel noise the highest one is a draw by w: one pass in bounded memory.
    """
    chunk = max(1, model.importance_rows // max(1, x.shape[0]))
    sums = ImportanceAccumulator()
    best = tf.fill([x.shape[0], num_vectors], -np.inf)
    left = tf.zeros([x.shape[0], num_vectors, model.rbm.left_units])
    for i, start in enumerate(range(0, num_samples, chunk)):
        size = min(chunk, num_samples - start)
        seed_q, seed_noise = random.split(random.fold_in(seed, i))
        trace = model.trace(x, model.draw("binary", seed=seed_q, num_samples=size))
        log_weights = scores(model, x, trace).log_weights
        sums.update(log_weights)
        uniform = random.uniform([size, x.shape[0], num_vectors], seed=seed_noise)
        keys = log_weights[..., tf.newaxis] - tf.math.log(-tf.math.log(uniform))
        highest = tf.reduce_max(keys, axis=0)
        of_samples = model.prior.state([group.value for group in trace.held]).left
        drawn = tf.gather(tf.transpose(of_samples, [1, 0, 2]), tf.argmax(keys, axis=0), batch_dims=1)
        left = tf.where((highest > best)[..., tf.newaxis], drawn, left)
        best = tf.maximum(highest, best)
    return sums, left
