"""What all models share: one train_step and test_step, the bounds, log Z and its stamp.

A model supplies, in terms of log-probabilities, `latent_terms` (the terms of its bound) and
`log_weights` (unnormalized importance weights); everything that trains and evaluates them is here.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann import log_partition as log_partition_lib
from tfdvae.boltzmann.chains import log_partition_surrogate
from tfdvae.boltzmann.log_partition import LogPartitionEstimate, StoredLogPartition
from tfdvae.objectives import ImportanceAccumulator, schedules

LIMITS = ("binary", "smoothed")
_EXACT_UNITS = 16  # a side that is enumerated in well under a second


class ElboTerms(NamedTuple):
    """The terms of the bound, in nats.

    Attributes:
      reconstruction: log p(x | latents), shape `[batch]`.
      kl_per_group: one KL term for each group (a Boltzmann prior is one group), `[groups, batch]`.
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


class DiscreteVAE(keras.Model):
    """Base class of the models.

    Subclasses build all their weights in `__init__`, then call `_finish_init`, and implement
    `latent_terms`, `log_weights` and `posterior_means`. `prior` is a layer with `rbm` (or `None` when the
    prior is normalized); `negative_phase` supplies the samples that train it.

    Args:
      image_shape: `(height, width, channels)`.
      kl_factor: the factor of the KL in training, a number or a schedule of `step`.
      seed: base seed of everything random in training and evaluation through Keras.
    """

    def __init__(self, image_shape, kl_factor=1.0, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.image_shape = tuple(int(n) for n in image_shape)
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise ValueError(
                f"`image_shape` must be (height, width, channels). Received: image_shape={image_shape!r}"
            )
        self.kl_factor = schedules.deserialize(kl_factor)
        self.seed = int(seed)
        self.negative_phase = None
        self.group_optimizers = {}

    def _finish_init(self):
        self.step = self.add_weight(
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            autocast=False,
            name="step",
            aggregation="only_first_replica",
        )
        self.stored_log_partition = (
            StoredLogPartition(self.rbm, name="log_partition") if self.rbm is not None else None
        )
        self._metric_means = {
            name: keras.metrics.Mean(name=name) for name in ("loss", "elbo", "reconstruction", "kl")
        }
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
    def rbm(self):
        """The Boltzmann machine of the prior, or `None` where the prior is normalized."""
        return self.prior.rbm

    def parameter_groups(self) -> dict[str, list]:
        """The trainable variables by name of group: `"prior"` and `"networks"`."""
        prior = list(self.prior.trainable_variables)
        ids = {id(v) for v in prior}
        return {"networks": [v for v in self.trainable_variables if id(v) not in ids], "prior": prior}

    # --- training ---

    def compile(self, optimizer="adam", group_optimizers=None, jit_compile=False, **kwargs):
        """As `keras.Model.compile`, without a loss.

        Args:
          optimizer: for all parameter groups that `group_optimizers` does not name.
          group_optimizers: optional mapping from a group's name (see `parameter_groups`) to an optimizer.
          jit_compile: off by default: loops of small matrix products are slower under XLA on CPUs.
          **kwargs: passed on (`steps_per_execution`, `run_eagerly`, ...).

        Raises:
          ValueError: if a group is unknown, or a loss is given.
        """
        if kwargs.get("loss") is not None:
            raise ValueError("The models bring their own objective. Received: loss=" + repr(kwargs["loss"]))
        group_optimizers = {k: keras.optimizers.get(v) for k, v in (group_optimizers or {}).items()}
        groups = self.parameter_groups()
        unknown = sorted(set(group_optimizers) - {name for name, variables in groups.items() if variables})
        if unknown:
            raise ValueError(
                f"`group_optimizers` names the groups {unknown}, but the model has "
                f"{sorted(name for name, variables in groups.items() if variables)}"
            )
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self.group_optimizers = group_optimizers
        for group_optimizer, variables in self._optimizers_and_variables():
            group_optimizer.build(variables)

    def get_compile_config(self):
        """Returns the compile configuration with the group optimizers."""
        config = super().get_compile_config()
        if config is not None and self.group_optimizers:
            config["group_optimizers"] = {
                k: keras.optimizers.serialize(v) for k, v in self.group_optimizers.items()
            }
        return config

    def compile_from_config(self, config):
        """Restores the compile configuration."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{k: v for k, v in config.items() if v is not None})

    def _optimizers_and_variables(self):
        shared = []
        for name, variables in self.parameter_groups().items():
            if name in self.group_optimizers:
                yield self.group_optimizers[name], variables
            else:
                shared += variables
        if shared:
            yield self.optimizer, shared

    @property
    def metrics(self):
        """The running means that `fit` and `evaluate` report."""
        return list(self._metric_means.values())

    def _replica_seed(self, counter, salt):
        """The seed of (base seed, purpose, step, replica)."""
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group if context is not None else 0
        seed = random.fold_in(random.split(self.seed, 1, salt=salt)[0], counter)
        return random.fold_in(seed, replica)

    def train_step(self, data):
        """One update: advance the negative phase, then a step on the annealed bound.

        The gradient of log Z comes from `log_partition_surrogate`; its value enters no metric. `loss` is
        minus the annealed bound plus the weight decay, with the stored *estimate* of log Z in it; `elbo`
        and `kl` likewise, without the annealing factor.
        """
        x = self._checked_batch(data)
        context = tf.distribute.get_replica_context()
        num_replicas = context.num_replicas_in_sync
        seed_bound, seed_chains = random.split(self._replica_seed(self.step, "train_step"))
        kl_factor = schedules.value_at(self.kl_factor, self.step)
        samples = None
        if self.negative_phase is not None:
            samples = self.negative_phase.negative_samples(seed=seed_chains)
        # Each example counts the same in the global batch, even if the replicas' shares differ.
        share = 1.0
        if num_replicas > 1:
            local = tf.cast(tf.shape(x)[0], tf.float32)
            share = num_replicas * local / context.all_reduce(tf.distribute.ReduceOp.SUM, local)
        with tf.GradientTape() as tape:
            terms = self.latent_terms(x, seed=seed_bound, limit="smoothed", training=True)
            reconstruction, kl = tf.reduce_mean(terms.reconstruction), tf.reduce_mean(terms.kl)
            decay = tf.add_n(self.losses) if self.losses else 0.0
            objective = share * (kl_factor * kl - reconstruction) + decay
            surrogate = objective
            if samples is not None:
                surrogate += kl_factor * log_partition_surrogate(self.rbm, samples)
            surrogate /= num_replicas  # replicas' gradients are summed
        groups = list(self._optimizers_and_variables())
        gradients = tape.gradient(surrogate, [variables for _, variables in groups])
        for (optimizer, variables), group_gradients in zip(groups, gradients, strict=True):
            optimizer.apply_gradients(zip(group_gradients, variables, strict=True))
        self.step.assign_add(1)
        log_z = self._logged_log_partition()
        return self._update_metrics(
            tf.shape(x)[0],
            loss=kl_factor * (kl + log_z) - reconstruction + decay,
            elbo=reconstruction - kl - log_z,
            reconstruction=reconstruction,
            kl=kl + log_z,
        )

    def test_step(self, data):
        """The single-sample bound in the binary limit, without annealing; `loss` is minus the bound."""
        x = self._checked_batch(data)
        # The number of examples seen so far counts the batches: no state of its own.
        counter = tf.cast(self._metric_means["loss"].count, tf.int32)
        terms = self.latent_terms(
            x, seed=self._replica_seed(counter, "test_step"), limit="binary", training=False
        )
        reconstruction, kl = tf.reduce_mean(terms.reconstruction), tf.reduce_mean(terms.kl)
        kl += self._logged_log_partition()
        return self._update_metrics(
            tf.shape(x)[0],
            loss=kl - reconstruction,
            elbo=reconstruction - kl,
            reconstruction=reconstruction,
            kl=kl,
        )

    def _checked_batch(self, data):
        """The images of a batch from `fit` or `evaluate`, with a check of the values in the graph."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        x = self._check_images(x)
        with tf.control_dependencies(
            [tf.debugging.Assert(self.pixels_are_valid(x), [self.pixel_message], 1)]
        ):
            return tf.identity(x)

    def _logged_log_partition(self):
        """The stored estimate of log Z, whatever its age: for metrics alone."""
        return tf.constant(0.0) if self.rbm is None else self.stored_log_partition.value_tensor

    def _update_metrics(self, batch, **values):
        for name, value in values.items():
            self._metric_means[name].update_state(value, sample_weight=batch)
        return {name: metric.result() for name, metric in self._metric_means.items()}

    def fit(self, x=None, *args, **kwargs):
        """As `keras.Model.fit`; measures log Z first where there is no estimate yet."""
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # a dataset brings its own order
        if self.rbm is not None and self.stored_log_partition.is_empty:
            self.update_log_partition(seed=self.seed)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`; measures log Z first where the stored estimate is stale."""
        if self.rbm is not None and not self.stored_log_partition.is_fresh:
            self.update_log_partition(seed=self.seed)
        return super().evaluate(*args, **kwargs)

    # --- log Z ---

    def update_log_partition(
        self, estimate: LogPartitionEstimate | None = None, *, seed=0, num_chains=256, num_temperatures=500
    ):
        """Measures log Z of the prior and stores it, stamped with the step and the weights.

        Args:
          estimate: an estimate made elsewhere for the present weights; by default `log_partition.exact`
            where a side has at most 16 units, else annealed importance sampling.
          seed: of the annealing.
          num_chains: of the annealing.
          num_temperatures: of the annealing.

        Returns:
          The `LogPartitionEstimate`.
        """
        if self.rbm is None:
            raise ValueError(f"The prior of {self.name!r} is normalized: it has no log Z to measure")
        if estimate is None:
            if min(self.rbm.left_units, self.rbm.right_units) <= _EXACT_UNITS:
                estimate = log_partition_lib.exact(self.rbm)
            else:
                estimate = log_partition_lib.annealed_importance_sampling(
                    self.rbm, num_chains=num_chains, num_temperatures=num_temperatures, seed=seed
                )
        self.stored_log_partition.store(estimate, int(self.step.numpy()))
        return estimate

    @property
    def log_partition(self) -> LogPartitionEstimate:
        """The stored estimate of log Z (zero, exactly, for a normalized prior).

        Raises:
          ValueError: if none is stored, or the weights have changed since it was measured.
        """
        if self.rbm is None:
            return LogPartitionEstimate(0.0, 0.0, 0.0, 0.0, {"method": "normalized prior"})
        estimate = self.stored_log_partition.estimate
        if not self.stored_log_partition.is_fresh:
            raise ValueError(
                f"The stored log Z was measured at step {self.stored_log_partition.step} for other "
                f"weights of the prior; the model is at step {int(self.step.numpy())}. Call "
                "`model.update_log_partition(seed=...)`, or pass `log_partition=`"
            )
        return estimate

    def resolve_log_partition(self, log_partition: LogPartitionEstimate | None) -> LogPartitionEstimate:
        """The given estimate of log Z, or the stored one if `None`.

        Raises:
          ValueError: if it is no `LogPartitionEstimate`, or the prior is normalized and it is not 0; where
            `None` is given, as `log_partition` does.
        """
        if log_partition is None:
            return self.log_partition
        if not isinstance(log_partition, LogPartitionEstimate):
            raise ValueError(
                f"`log_partition` must be a `LogPartitionEstimate`. Received: {type(log_partition).__name__} "
                f"{log_partition!r}"
            )
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
        return terms._replace(kl_per_group=terms.kl_per_group + log_z, log_partition=log_z)

    def importance_chunks(self, x, num_samples, *, seed, limit="binary", rows=8192):
        """Yields log-weights `[samples, batch]`, about `rows` rows at a time, `num_samples` in all.

        The numbers depend on `rows` (chunks have seeds of their own) but not on `num_samples`.
        """
        x = self._check_images(x)
        self._check_limit(limit)
        if isinstance(num_samples, bool) or not isinstance(num_samples, int | np.integer) or num_samples < 1:
            raise ValueError(
                f"`num_samples` must be a positive integer. Received: num_samples={num_samples!r}"
            )
        chunk = max(1, rows // max(1, x.shape[0]))
        seed = random.as_seed(seed)
        for i, start in enumerate(range(0, num_samples, chunk)):
            size = tf.constant(min(chunk, num_samples - start))
            yield self._log_weights_function(x, size, seed=random.fold_in(seed, i), limit=limit)

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
                f"Received: {tuple(x.shape)}"
            )
        x = tf.cast(x, tf.float32)
        if tf.executing_eagerly() and not self.pixels_are_valid(x):
            raise ValueError(f"{self.pixel_message}. Received: values from {np.min(x)} to {np.max(x)}")
        return x

    pixel_message = (
        "A Bernoulli likelihood takes pixels in {0, 1}, and other values (grey or NaN) arrived. Binarize the "
        'images first (`tfdvae.data.load(..., binarization="static")` or "dynamic")'
    )

    def pixels_are_valid(self, x) -> tf.Tensor:
        """Whether the likelihood is defined on all pixels: a boolean scalar, false for NaN."""
        return tf.reduce_all(tf.logical_or(tf.equal(x, 0.0), tf.equal(x, 1.0)))

    def get_config(self):
        """Returns the configuration."""
        return {
            "name": self.name,
            "image_shape": self.image_shape,
            "kl_factor": schedules.serialize(self.kl_factor),
            "seed": self.seed,
        }
