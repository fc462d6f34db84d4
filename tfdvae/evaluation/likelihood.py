"""Importance-weighted log-likelihood of a data set, with everything needed to judge it."""

import dataclasses
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.log_partition import LogPartitionEstimate
from tfdvae.boltzmann.log_partition.estimate import UPPER_KINDS
from tfdvae.models import DiscreteVAE
from tfdvae.objectives import ImportanceAccumulator

COMPARABLE_GAP = 0.1  # nats: what models of one table are told apart by
ACTIVE_VARIANCE = 0.01  # Burda et al. (2016): a unit is active if Var_x(E[z | x]) exceeds this


@dataclasses.dataclass(frozen=True)
class LikelihoodReport:
    """Means over a data set, in nats an image.

    Attributes:
      log_likelihood: importance-weighted bound on log p(x) with `num_samples` samples.
      standard_error: of `log_likelihood` over images. The error of log Z is common to all images and not
        in it: see `log_partition.standard_error`.
      elbo: the single-sample bound.
      reconstruction: log p(x | z) of one sample.
      kl_per_group: KL of each group (a Boltzmann prior is one group), log Z included.
      active_units: for each latent group, units whose posterior mean varies over images by more than 0.01.
      log_partition: the log Z that was used; what speaks against it are its `warnings`, what its upper side
        is worth its `upper_kind`.
      log_likelihood_lower: `log_likelihood` under the upper bound on log Z, or `None` without one.
      log_likelihood_upper: `log_likelihood` under the lower bound on log Z, or `None` without one. Both
        bounds are those of the estimator: its diagnostics say which are stochastic bounds and which only
        approximations.
      num_examples: images.
      num_samples: importance samples for each image.
      effective_sample_size: mean over images of (sum w)^2 / sum w^2.
      bits_per_dim: -log_likelihood / (log 2 * pixels * channels).
      bound_by_num_samples: value of the bound with 1, 10, 100, ... of the samples.
      limit: `"binary"` or `"smoothed"`; figures of the two are not comparable.
    """

    log_likelihood: float
    standard_error: float
    elbo: float
    reconstruction: float
    kl_per_group: tuple[float, ...]
    active_units: tuple[int, ...]
    log_partition: LogPartitionEstimate
    log_likelihood_lower: float | None
    log_likelihood_upper: float | None
    num_examples: int
    num_samples: int
    effective_sample_size: float
    bits_per_dim: float
    bound_by_num_samples: dict[int, float]
    limit: str

    @property
    def caveat(self) -> str | None:
        """Why the figure is not to be compared with those of other models, or `None`."""
        reasons, estimate = [], self.log_partition
        if self.log_likelihood_lower is None or self.log_likelihood_upper is None:
            missing = "upper" if self.log_likelihood_lower is None else "lower"
            method = estimate.diagnostics.get("method")
            reasons.append(f"log Z has no {missing} bound (method {method!r}): use `log_partition.bracket`")
        else:
            gap = self.log_likelihood_upper - self.log_likelihood_lower
            if gap > COMPARABLE_GAP:
                reasons.append(
                    f"The bracket on log Z leaves {gap:.3f} nats open, more than the {COMPARABLE_GAP} nats "
                    "by which models are told apart: use more temperatures or chains"
                )
        if not estimate.trustworthy:
            worth = estimate.effective_sample_size
            samples = "" if worth is None else f" ({worth:.0f} effective samples)"
            reasons.append(f"log Z is not to be trusted{samples}. {' '.join(estimate.warnings)}".strip())
        if reasons and estimate.upper_kind == UPPER_KINDS[-1]:
            reasons.append(f"Its upper side is an {estimate.upper_kind} and no bound")
        return ". ".join(reason.rstrip(".") for reason in reasons) or None

    def to_dict(self) -> dict:
        """A JSON-able form."""
        report = dataclasses.asdict(dataclasses.replace(self, log_partition=None))
        return {**report, "log_partition": self.log_partition.summary(), "caveat": self.caveat}


def evaluate_likelihood(
    model: DiscreteVAE,
    dataset: Iterable,
    num_samples: int,
    *,
    seed,
    log_partition: LogPartitionEstimate | None = None,
    limit: str = "binary",
    verbose: int = 0,
) -> LikelihoodReport:
    """Evaluates a model on all images of a data set.

    Args:
      model: the model.
      dataset: batches of images (or of tuples that begin with images).
      num_samples: importance samples for each image, at least 1.
      seed: of the evaluation.
      log_partition: log Z of the prior; by default the one stored with the model (an error if stale).
      limit: `"binary"` (the model that the papers report), or `"smoothed"`.
      verbose: 1 shows a progress bar.

    Returns:
      A `LikelihoodReport`.

    Raises:
      ValueError: if there are no images, `num_samples < 1`, or log Z is missing or stale.
    """
    log_partition = model.resolve_log_partition(log_partition)
    checkpoints = _checkpoints(positive_integer("num_samples", num_samples))
    (seed,) = random.split(seed, 1, salt="evaluate")
    log_weights, elbos, ess, terms, means = [], [], [], [], []
    bar = keras.utils.Progbar(_cardinality(dataset), verbose=verbose, unit_name="batch")
    for i, batch in enumerate(dataset):
        x = batch[0] if isinstance(batch, tuple | list) else batch
        seed_weights, seed_terms, seed_means = random.split(random.fold_in(seed, i), 3)
        sums, bounds = ImportanceAccumulator(), []
        for chunk in model.importance_chunks(x, num_samples, seed=seed_weights, limit=limit):
            chunk = chunk.numpy()
            while len(bounds) < len(checkpoints) and checkpoints[len(bounds)] <= sums.num_samples + len(
                chunk
            ):
                head = checkpoints[len(bounds)] - sums.num_samples
                if head:
                    sums.update(chunk[:head])
                bounds.append(sums.log_mean_weight)
                chunk = chunk[head:]
            if len(chunk):
                sums.update(chunk)
        log_weights.append(np.stack(bounds))
        elbos.append(sums.elbo)
        ess.append(sums.effective_sample_size)
        batch_terms = model.elbo_terms(x, seed=seed_terms, limit=limit, log_partition=log_partition)
        terms.append(np.concatenate([batch_terms.reconstruction[np.newaxis], batch_terms.kl_per_group]))
        means.append([m.numpy() for m in model.posterior_means(x, seed=seed_means)])
        bar.update(i + 1, finalize=False)
    if not sum(map(len, elbos)):
        raise ValueError("The data set has no images to evaluate on")
    bar.update(len(elbos), finalize=True)
    bounds = np.concatenate(log_weights, axis=1) - log_partition.value
    log_likelihoods = bounds[-1]
    reconstruction, *kl_per_group = np.concatenate(terms, axis=1).mean(axis=1)
    active = [
        int(np.sum(np.var(np.concatenate(group), axis=0) > ACTIVE_VARIANCE))
        for group in zip(*means, strict=True)
    ]
    count = len(log_likelihoods)
    mean = float(log_likelihoods.mean())
    return LikelihoodReport(
        log_likelihood=mean,
        standard_error=float(log_likelihoods.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        elbo=float(np.mean(np.concatenate(elbos)) - log_partition.value),
        reconstruction=float(reconstruction),
        kl_per_group=tuple(float(k) for k in kl_per_group),
        active_units=tuple(active),
        log_partition=log_partition,
        log_likelihood_lower=_shifted(mean, log_partition, log_partition.upper),
        log_likelihood_upper=_shifted(mean, log_partition, log_partition.lower),
        num_examples=count,
        num_samples=int(num_samples),
        effective_sample_size=float(np.mean(np.concatenate(ess))),
        bits_per_dim=-mean / (np.log(2) * float(np.prod(model.image_shape))),
        bound_by_num_samples={k: float(b) for k, b in zip(checkpoints, bounds.mean(axis=1), strict=True)},
        limit=limit,
    )


def _shifted(log_likelihood, log_partition, bound):
    """The log-likelihood under a bound on log Z in place of its value."""
    return None if bound is None else log_likelihood + log_partition.value - bound


def _checkpoints(num_samples):
    powers = []
    k = 1
    while k < num_samples:
        powers.append(k)
        k *= 10
    return [*powers, num_samples]


def _cardinality(dataset):
    if isinstance(dataset, tf.data.Dataset):
        count = int(dataset.cardinality())
        return count if count >= 0 else None
    return len(dataset) if hasattr(dataset, "__len__") else None
