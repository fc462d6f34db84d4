"""The bounds of a latent variable model: ELBO, importance-weighted likelihood, log Z and its stamp.

A model supplies, in terms of log-probabilities, `latent_terms` (the terms of its bound) and
`log_weights` (unnormalized importance weights); everything that evaluates them is here.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import integer, positive_integer, positive_integers
from tfdvae.boltzmann.log_partition import LogPartitionEstimate, MeasuresLogPartition
from tfdvae.boltzmann.log_partition.estimate import checked_estimate
from tfdvae.models.pixels import BernoulliPixels
from tfdvae.models.posteriors import LIMITS
from tfdvae.objectives import ImportanceAccumulator
from tfdvae.training import TrainedModel


class Decoded(NamedTuple):
    """Images given latents, `[batch, height, width, channels]`.

    Attributes:
      images: samples of the pixels.
      means: means of the pixels; with a conditional decoder, each given the samples of the coarser scales.
    """

    images: tf.Tensor
    means: tf.Tensor


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


def add_log_partition(kl_per_group, log_z) -> tf.Tensor:
    """Adds log Z to the KL of the Boltzmann machine, which is the first of the groups, `[groups, ...]`."""
    return tf.concat([kl_per_group[:1] + log_z, kl_per_group[1:]], axis=0)


class LatentVariableModel(MeasuresLogPartition, TrainedModel):
    """A model of images with latent variables, whose prior may have an unknown log Z.

    Subclasses build all their weights in `__init__`, then call `_finish_init`, and implement
    `latent_terms`, `log_weights`, `posterior_means`, and for images `latent_shapes`, `posteriors`,
    `sample_prior` and `decoded`. `prior` is a layer with `rbm` (`None` when normalized), or `None`.

    Seeds are an integer, a pair of integers, or one pair for each image, int32 `[batch, 2]`: what becomes of
    an image then depends on its own seed and not on the batch (see `random`).

    Args:
      image_shape: `(height, width, channels)`.
      seed: base seed of everything random in training and evaluation through Keras.
    """

    max_pixel = 1.0  # the value of a white pixel
    importance_rows = 8_192  # samples times images that `log_likelihood` evaluates at a time

    def __init__(self, image_shape, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.image_shape = positive_integers("image_shape", image_shape)
        if len(self.image_shape) != 3:
            raise ValueError(
                f"`image_shape` must be (height, width, channels). Received: image_shape={image_shape!r}"
            )
        self.seed = integer("seed", seed)

    def _finish_init(self):
        self._add_step_and_log_partition()
        self._log_weights_function = tf.function(self.log_weights, reduce_retracing=True, autograph=False)
        self.built = True

    # --- what a subclass supplies ---

    def latent_terms(self, x, *, seed, limit, training) -> ElboTerms:
        """Terms of the bound, with `kl_per_group` and `log_partition` as if log Z were 0."""
        raise TypeError(f"{type(self).__name__} does not implement `latent_terms`")

    def log_weights(self, x, num_samples, *, seed, limit="binary") -> tf.Tensor:
        """Unnormalized log p*(x, z) - log q(z|x) (without log Z), shape `[num_samples, batch]`."""
        raise TypeError(f"{type(self).__name__} does not implement `log_weights`")

    @property
    def latent_shapes(self):
        """The shapes of the latents without the batch, in the structure that `encode` returns."""
        raise TypeError(f"{type(self).__name__} does not implement `latent_shapes`")

    def posteriors(self, x, *, seed, num_samples=None) -> list:
        """The posterior of each group given a sample of those before, in the binary limit."""
        raise TypeError(f"{type(self).__name__} does not implement `posteriors`")

    def encode(self, x, *, seed):
        """One sample of the latents for each image; binary ones in {0, 1}."""
        return self.structured([p.value for p in self.posteriors(x, seed=seed)])

    def structured(self, groups):
        """A list of all groups, in their order, in the structure of `latent_shapes`."""
        groups, shapes = iter(groups), self.latent_shapes
        return type(shapes)(*([next(groups) for _ in field] for field in shapes))

    def sample_prior(self, num_samples, *, seed, num_sweeps=200, chains=None):
        """Latents from the prior.

        With an RBM, Gibbs chains start at random members of `chains` (an object with `left`, states of the
        left side; by default the persistent chains) and run `num_sweeps` sweeps.
        """
        raise TypeError(f"{type(self).__name__} does not implement `sample_prior`")

    def decoded(self, latents, *, seed) -> Decoded:
        """Images given latents: samples, and means of the pixels."""
        raise TypeError(f"{type(self).__name__} does not implement `decoded`")

    @property
    def rbm(self):
        """The Boltzmann machine of the prior, or `None` where the prior is normalized."""
        return None if self.prior is None else self.prior.rbm

    # --- images ---

    def decode(self, latents, *, seed, mean=False) -> tf.Tensor:
        """Images given latents, `[batch, height, width, channels]`: samples, or means of the pixels.

        With a conditional decoder and `mean`, those given samples of the coarser scales.
        """
        decoded = self.decoded(latents, seed=seed)
        return decoded.means if mean else decoded.images

    def sample(self, num_samples, *, seed, mean=False, num_sweeps=200, chains=None) -> tf.Tensor:
        """Images from the prior: samples, or means of the pixels; see `sample_prior` and `decode`."""
        num_samples = positive_integer("num_samples", num_samples)
        num_sweeps = positive_integer("num_sweeps", num_sweeps)
        seed_prior, seed_x = random.split(seed, salt="sample")
        latents = self.sample_prior(num_samples, seed=seed_prior, num_sweeps=num_sweeps, chains=chains)
        return self.decode(latents, seed=seed_x, mean=mean)

    def reconstruct(self, x, *, seed, mean=False) -> tf.Tensor:
        """Images decoded from one posterior sample: samples, or means of the pixels."""
        seed_q, seed_x = random.split(seed, salt="reconstruct")
        return self.decode(self.encode(x, seed=seed_q), seed=seed_x, mean=mean)

    def call(self, x, training=False):
        """Mean reconstructions from one posterior sample, seeded by the model's own seed and the row."""
        del training
        return self.reconstruct(x, seed=self._seeds_of_rows(0, tf.shape(x)[0]), mean=True)

    def _seeds_of_rows(self, first, count) -> tf.Tensor:
        """Seeds of `count` rows of a data set from row `first` on, for `call` and `predict`."""
        seed = tf.broadcast_to(random.split(self.seed, 1, salt="call")[0], [count, 2])
        return random.fold_in(seed, first + tf.range(count))

    # --- log Z ---

    def resolve_log_partition(self, log_partition: LogPartitionEstimate | None) -> LogPartitionEstimate:
        """The given estimate of log Z, or the stored one if `None`.

        Raises:
          ValueError: if it is no `LogPartitionEstimate`, its value is not finite (a bracket that failed), or
            the prior is normalized and it is not 0; where `None` is given, as `log_partition` does.
        """
        if log_partition is None:
            return self.log_partition
        log_partition = checked_estimate(log_partition)
        if self.rbm is None and log_partition.value != 0.0:
            raise ValueError(
                f"The prior of {self.name!r} is normalized: its log Z is 0. Received: "
                f"log_partition={log_partition}"
            )
        return log_partition

    # --- bounds ---

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
        terms = self.latent_terms(x, seed=seed, limit=limit, training=False)
        log_z = tf.constant(estimate.value, tf.float32)
        if self.rbm is None:
            return terms._replace(log_partition=log_z)
        return terms._replace(kl_per_group=add_log_partition(terms.kl_per_group, log_z), log_partition=log_z)

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

    @property
    def example_shape(self) -> tuple[int, int, int]:
        """The shape of an image, for `TrainedModel`."""
        return self.image_shape

    def _checked_input(self, x):
        return self._check_images(x)

    def _is_valid(self, x):
        return self.pixels_are_valid(x)

    @staticmethod
    def _seed_of_samples(seed, num_samples):
        """From a seed for each image, `[batch, 2]`, one for each sample of it; any other seed stays."""
        if num_samples is None or not random.are_row_seeds(seed) or len(seed.shape) > 2:
            return seed
        return random.sample_seeds(seed, num_samples)

    def _check_limit(self, limit):
        if limit not in LIMITS:
            raise ValueError(f"`limit` must be one of {LIMITS}. Received: limit={limit!r}")

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
        if tf.executing_eagerly() and not self.pixels_are_valid(x):
            raise ValueError(f"{self.data_message}. Received: values from {np.min(x)} to {np.max(x)}")
        return x

    data_message = BernoulliPixels.data_message

    def pixels_are_valid(self, x) -> tf.Tensor:
        """Whether the likelihood is defined on all pixels: a boolean scalar, false for NaN."""
        return numerics.is_binary(x)

    def get_config(self):
        """Returns the configuration."""
        return {"name": self.name, "image_shape": self.image_shape, "seed": self.seed}
