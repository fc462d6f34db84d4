"""The bounds of a model with latent variables: ELBO, importance weights, log-likelihood.

A model writes one pass over its latent groups, `trace`, and what the pixels are given it; see `BoundedModel`.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import integer, positive_count, positive_integer, positive_integers
from tfdvae.boltzmann import MeasuredModel
from tfdvae.latents import Trace, draws
from tfdvae.objectives import ImportanceAccumulator
from tfdvae.objectives.elbo import add_log_partition
from tfdvae.objectives.kl import kl_per_group, log_posterior, log_prior, log_ratios

LIMITS = ("binary", "smoothed")
ROWS_OF_FEATURE_MAPS = 1_024  # for `importance_rows`: feature maps of more at a time only fill the memory
ELBO_ARGUMENTS = ("kl_factor", "kl_balancing", "training_samples")


class ElboTerms(NamedTuple):
    """The terms of the bound, in nats.

    Attributes:
      reconstruction: log p(x | latents), shape `[batch]`.
      kl_per_group: one KL term for each group, `[groups, batch]`; a Boltzmann machine is one, the first.
      log_partition: the log Z that `kl_per_group` contains, a scalar (0 for a normalized prior).
    """

    reconstruction: tf.Tensor
    kl_per_group: tf.Tensor
    log_partition: tf.Tensor

    @property
    def kl(self) -> tf.Tensor:
        """The whole KL, shape `[batch]`."""
        return tf.reduce_sum(self.kl_per_group, axis=0)

    @property
    def elbo(self) -> tf.Tensor:
        """The evidence lower bound without any warm-up factor, shape `[batch]`."""
        return self.reconstruction - self.kl


class BoundedModel(MeasuredModel):
    """What `DiscreteVAE` knows of bounds.

    A model makes all its weights in `__init__`, then calls `_finish_init`, and writes

    - `pixels`: the likelihood of pixels (see `pixels`), and `prior`: a `BoltzmannPrior`, another object with
      `rbm = None`, or `None`;
    - `smoothing`: the layer that smooths binary groups, or `None`, and `bound`: that of smoothed groups
      with a law p of their own, `"joint"` or `"marginal"`;
    - `latent_shapes`: the shapes of the latents without the batch, a named tuple of lists of groups;
    - `trace(x, draw, *, seed=None)`: one pass over the groups; see `tfdvae.latents.trace`. Where `x` is
      `None` no group has a q. A `seed` is that of dropout, and means that the pass is one of a training. A
      Boltzmann machine holds the first groups, as many as `prior.latent_units` has;
    - `log_prob_of_pixels(x, trace)`: log p(x | latents), `[..., batch]`, in nats;
    - `generate(trace, *, seed)`: images given the latents, `Decoded`;
    - `parameter_groups`, where there are more than `"networks"` and `"prior"`, and `get_config`.

    Seeds are an integer, a pair of integers, or one pair for each image, int32 `[batch, 2]`: what becomes of
    an image then depends on its own seed and not on the batch (see `random`).

    Args:
      image_shape: `(height, width, channels)`.
      seed: base seed of everything random in training and evaluation through Keras.
    """

    prior = None
    smoothing = None
    bound = "joint"
    importance_rows = 8_192  # samples times images that `log_likelihood` evaluates at a time, at most
    posterior_samples = 100  # of `posterior_means`, by default
    seed_salt = "latents"  # what keeps the seeds of several fields of latents apart

    def __init__(self, image_shape, seed=0, **kwargs):
        moved = sorted(kwargs.keys() & set(ELBO_ARGUMENTS))
        if moved:
            raise ValueError(
                f"`{moved[0]}` belongs to the objective: model.compile(optimizer, objective="
                f"tfdvae.objectives.Elbo({moved[0]}=...)). Received: {moved[0]}={kwargs[moved[0]]!r}"
            )
        super().__init__(**kwargs)
        self.image_shape = positive_integers("image_shape", image_shape)
        if len(self.image_shape) != 3:
            raise ValueError(
                f"`image_shape` must be (height, width, channels). Received: image_shape={image_shape!r}"
            )
        self.seed = integer("seed", seed)

    def _finish_init(self):
        self._add_step()
        self._log_weights_function = tf.function(self.log_weights, reduce_retracing=True, autograph=False)
        self.built = True

    @property
    def rbm(self):
        """The Boltzmann machine of the prior, or `None` where the prior is normalized."""
        return None if self.prior is None else self.prior.rbm

    @property
    def limits(self) -> tuple[str, ...]:
        """The limits in which the model can be evaluated."""
        return LIMITS if self.smoothing is not None else LIMITS[:1]

    # --- latents ---

    def structured(self, groups):
        """A list of all groups, in their order, in the structure of `latent_shapes`."""
        groups, shapes = iter(groups), self.latent_shapes
        return type(shapes)(*([next(groups) for _ in field] for field in shapes))

    def _flat(self, latents) -> list[tf.Tensor]:
        """The inverse of `structured`, in float32."""
        return [tf.convert_to_tensor(value, tf.float32) for field in latents for value in field]

    def _seeds_of_fields(self, seed, salt) -> list:
        """One seed for each field of `latent_shapes`."""
        count = len(self.latent_shapes)
        return [seed] if count == 1 else random.split(seed, count, salt=salt)

    def _seeds_of_groups(self, seeds) -> list:
        """One seed for each group, from one for each field."""
        fields = [(s, len(field)) for s, field in zip(seeds, self.latent_shapes, strict=True) if field]
        return [s for seed, count in fields for s in random.split(seed, count)]

    def group_seeds(self, seed) -> list:
        """A seed for each group, from one for a pass."""
        return self._seeds_of_groups(self._seeds_of_fields(seed, self.seed_salt))

    @staticmethod
    def _seed_of_samples(seed, num_samples):
        """From a seed for each image, `[batch, 2]`, one for each sample of it; any other seed stays."""
        if num_samples is None or not random.are_row_seeds(seed) or len(seed.shape) > 2:
            return seed
        return random.sample_seeds(seed, num_samples)

    def draw(self, limit, *, seed, num_samples=None) -> draws.Posterior:
        """Draws from q in one of the two limits, `"binary"` or `"smoothed"`, for `trace`."""
        seed = self._seed_of_samples(seed, num_samples)
        if limit == "binary":
            return draws.Posterior(self.group_seeds(seed), num_samples)
        self._check_limit(limit)
        return draws.Smoothed(self.group_seeds(seed), self.smoothing, self.step, num_samples)

    def posterior_trace(self, x, *, seed, num_samples=None) -> Trace:
        """A pass with a sample of q in the binary limit; with `num_samples` values have a new first axis."""
        return self.trace(self._check_images(x), self.draw("binary", seed=seed, num_samples=num_samples))

    def posterior_means(self, x, *, seed, num_samples=None) -> list[tf.Tensor]:
        """E[z_i | x] (or of h_i) of each group, `[batch, variables]`: what `active_units` looks at.

        Averaged over `num_samples` (by default `posterior_samples`) samples of the earlier groups: with one,
        a unit that only repeats the noise of an earlier one would seem to vary with x.
        """
        num_samples = self.posterior_samples if num_samples is None else num_samples
        num_samples = positive_integer("num_samples", num_samples)
        x = self._check_images(x)
        if self.groups_are_independent:
            return self._group_means(self.posterior_trace(x, seed=seed))
        chunk, totals = max(1, self.importance_rows // (x.shape[0] or 1)), None
        of_rows = random.are_row_seeds(seed)
        for i, start in enumerate(range(0, num_samples, chunk)):
            size = min(chunk, num_samples - start)
            if of_rows:
                seed_i = random.sample_seeds(seed, size, first=start)
            else:
                seed_i = seed if i == 0 else random.fold_in(seed, i)
            means = self._group_means(self.posterior_trace(x, seed=seed_i, num_samples=size))
            parts = [mean * (size / num_samples) for mean in means]
            totals = parts if totals is None else [a + b for a, b in zip(totals, parts, strict=True)]
        return totals

    @property
    def groups_are_independent(self) -> bool:
        """Whether q of each group depends on x alone, for `posterior_means`."""
        return sum(map(len, self.latent_shapes)) == 1

    def _group_means(self, trace):
        means = []
        for group in trace.groups:
            mean = group.q.mean
            if mean.shape.rank == group.q.event_ndims + 2:  # the first group depends on x alone
                mean = tf.reduce_mean(mean, axis=0)
            means.append(tf.reshape(mean, [-1, math.prod(mean.shape[1:])]))
        return means

    # --- bounds ---

    def bound_terms(self, x, draw, *, seed=None) -> ElboTerms:
        """The terms of the groups' values that `draw` gives, as if log Z were 0; `seed` as of `trace`."""
        trace = self.trace(x, draw, seed=seed)
        reconstruction = self.log_prob_of_pixels(x, trace)
        no_groups = tf.zeros([0, tf.shape(reconstruction)[0]])
        kl = kl_per_group(self, trace) if trace.groups else no_groups
        return ElboTerms(reconstruction, kl, tf.constant(0.0))

    def elbo_terms(self, x, *, seed, limit="binary", log_partition=None) -> ElboTerms:
        """The terms of the bound from one sample for each image; see `ElboTerms`.

        Args:
          x: images, float32, `[batch, height, width, channels]`.
          seed: of the sample.
          limit: `"binary"`, or `"smoothed"` for the relaxed model (the two are not comparable).
          log_partition: a `LogPartitionEstimate`; by default the one stored with the model.
        """
        x = self._check_images(x)
        self._check_limit(limit)
        estimate = self.resolve_log_partition(log_partition)
        terms = self.bound_terms(x, self.draw(limit, seed=seed))
        log_z = tf.constant(estimate.value, tf.float32)
        if self.rbm is None:
            return terms._replace(log_partition=log_z)
        return terms._replace(kl_per_group=add_log_partition(terms.kl_per_group, log_z), log_partition=log_z)

    def log_weights(self, x, num_samples, *, seed, limit="binary") -> tf.Tensor:
        """Unnormalized log p*(x, z) - log q(z | x) (without log Z), `[num_samples, batch]`, in nats."""
        x = self._check_images(x)
        self._check_limit(limit)
        num_samples = positive_count("num_samples", num_samples)
        seed = self._seed_of_samples(seed, num_samples)
        seed_q, *seeds_z = random.split(seed, 1 + len(self.latent_shapes), salt="log_weights")
        trace = self.trace(x, self.draw(limit, seed=seed_q, num_samples=num_samples))
        ratios = log_ratios(self, trace, seeds=self._seeds_of_groups(seeds_z))
        log_weights = sum(ratios, start=self.log_prob_of_pixels(x, trace))
        if not trace.groups:  # all samples are the same
            log_weights = tf.broadcast_to(log_weights, [num_samples, tf.shape(log_weights)[0]])
        return log_weights

    def log_joint(self, x, latents, *, log_partition=None) -> tf.Tensor:
        """log p(x, z) of the binary model, `[batch]`, in nats; `latents` as `encode` gives them."""
        x, estimate = self._check_images(x), self.resolve_log_partition(log_partition)
        trace = self.trace(x, draws.Given(self._flat(latents)))
        return (
            self.log_prob_of_pixels(x, trace)
            + log_prior(self, trace)
            - tf.constant(estimate.value, tf.float32)
        )

    def log_posterior(self, x, latents) -> tf.Tensor:
        """log q(z | x) of the binary model, `[batch]`, in nats; `latents` as `encode` gives them."""
        return log_posterior(self.trace(self._check_images(x), draws.Given(self._flat(latents))))

    def importance_chunks(self, x, num_samples, *, seed, limit="binary", rows=None):
        """Yields log-weights `[samples, batch]`, about `rows` rows at a time, `num_samples` in all.

        `rows` is `importance_rows` unless given.

        The numbers depend on `rows` (chunks have seeds of their own) but not on `num_samples`; with a seed
        for each image, on neither.
        """
        x = self._check_images(x)
        self._check_limit(limit)
        num_samples = positive_integer("num_samples", num_samples)
        chunk = max(1, (rows or self.importance_rows) // max(1, x.shape[0]))
        (seed,) = random.split(seed, 1, salt="importance_chunks")
        of_rows = random.are_row_seeds(seed)
        for i, start in enumerate(range(0, num_samples, chunk)):
            size = tf.constant(min(chunk, num_samples - start))
            seed_i = random.sample_seeds(seed, size, first=start) if of_rows else random.fold_in(seed, i)
            yield self._log_weights_function(x, size, seed=seed_i, limit=limit)

    def log_likelihood(self, x, num_samples, *, seed, log_partition=None, limit="binary") -> tf.Tensor:
        """Importance-weighted log p(x) (Burda et al., 2016) in bounded memory.

        A lower bound in expectation, up to the error of log Z, which is common to all images.

        Args:
          x: images, float32, `[batch, height, width, channels]`.
          num_samples: samples for each image, at least 1.
          seed: of the samples.
          log_partition: a `LogPartitionEstimate`; by default the one stored with the model (an error
            if it is stale).
          limit: `"binary"`, or `"smoothed"` for the relaxed model.

        Returns:
          Nats, float32, shape `[batch]`.
        """
        estimate = self.resolve_log_partition(log_partition)
        sums = ImportanceAccumulator()
        for chunk in self.importance_chunks(x, num_samples, seed=seed, limit=limit):
            sums.update(chunk)
        return tf.constant(sums.log_mean_weight - estimate.value, tf.float32)

    def _left_of_data(self, x, *, seed):
        trace = self.trace(x, self.draw("binary", seed=random.split(seed, 1, salt="left_of_data")[0]))
        return tf.stop_gradient(self.prior.state([group.value for group in trace.held]).left)

    # --- images ---

    @property
    def example_shape(self) -> tuple[int, int, int]:
        """The shape of an image, for `TrainedModel`."""
        return self.image_shape

    def _checked_input(self, x):
        return self._check_images(x)

    def _is_valid(self, x):
        return self.pixels.are_valid(x)

    @property
    def data_message(self) -> str:
        """What a batch with wrong pixels is told."""
        return self.pixels.data_message

    def _check_limit(self, limit):
        if limit not in LIMITS:
            raise ValueError(f"`limit` must be one of {LIMITS}. Received: limit={limit!r}")
        if limit not in self.limits:
            raise ValueError(
                f'The latents of {type(self).__name__} are not smoothed: evaluate it in the limit "binary", '
                "and train it with an objective of hard samples, such as `tfdvae.objectives.VIMCO`"
            )

    def _check_images(self, x) -> tf.Tensor:
        """Returns images as float32, after checks of shape, dtype and range."""
        x = tf.convert_to_tensor(x)
        if not (x.dtype.is_floating or x.dtype.is_integer or x.dtype == tf.bool):
            raise ValueError(f"Images must be numbers. Received: dtype {x.dtype.name}")
        if x.shape.rank != 4 or tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"Images must have the shape [batch, {', '.join(map(str, self.image_shape))}]. "
                f"Received: {x.shape}"
            )
        x = tf.cast(x, tf.float32)
        if tf.executing_eagerly() and not self._is_valid(x):
            raise ValueError(f"{self.data_message}. Received: values from {np.min(x)} to {np.max(x)}")
        return x

    def get_config(self):
        """Returns the configuration."""
        return {"name": self.name, "image_shape": self.image_shape, "seed": self.seed}
