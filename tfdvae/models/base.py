"""Training, shared by all models: what a step descends, and what is logged of the bound.

A model supplies `latent_terms` (see `likelihood`); its negative phase supplies the samples that train
the Boltzmann machine of its prior, if it has one.
"""

import keras
import tensorflow as tf
from absl import logging

from tfdvae import numerics, random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.chains import log_partition_surrogate
from tfdvae.models.likelihood import LatentVariableModel, add_log_partition
from tfdvae.objectives import balancing_coefficients, schedules
from tfdvae.training import running_means, update_means

_STEPS_OF_ONE_LOG_Z = 100  # of `train_on_batch`, which knows no epochs
_IMPOSSIBLE = 1.0  # nats: a KL as far below 0 is not the noise of a batch


class DiscreteVAE(LatentVariableModel):
    """Base class of the models: a `LatentVariableModel` that `fit` trains.

    What is logged, in nats an image: `reconstruction`, `kl`, `elbo`, their difference, and `loss`, minus the
    bound with the factor of the KL and the weight decay; in `fit` of the smoothed model, in `evaluate` of the
    binary one. All but the first contain log Z of the Boltzmann machine. It is measured before `fit` and
    `evaluate` and at the end of each epoch, whose figures hold the mean of log Z before and after it; while
    an epoch runs, those of the progress bar hold the one before. `log_partition_error` is its standard error.
    Where log Z could not be measured, these figures are NaN. A KL below 0, which an old or too small log Z
    would give, is logged as 0, and as NaN if it is below -1.

    Args:
      image_shape: `(height, width, channels)`.
      kl_factor: the factor of the KL in training, a number or a schedule of `step`.
      training_samples: samples of the latents that a training step draws for each image. The objective is
        their mean, so that more of them mean the same expectation, less noise and more work.
      kl_balancing: whether the groups' KL terms are balanced while `kl_factor` is below 1.
      seed: base seed of everything random in training and evaluation through Keras.
    """

    def __init__(self, image_shape, kl_factor=1.0, training_samples=1, seed=0, kl_balancing=False, **kwargs):
        super().__init__(image_shape, seed, **kwargs)
        self.kl_factor = schedules.checked("kl_factor", kl_factor, low=0.0)
        self.training_samples = positive_integer("training_samples", training_samples)
        self.kl_balancing = bool(kl_balancing)
        self.negative_phase = None
        self._logs_are_rough = False

    def _finish_init(self):
        super()._finish_init()
        # Without log Z, which is added when they are read.
        self._metric_means = running_means("loss", "elbo", "reconstruction", "kl")
        self._kl_factor_mean = keras.metrics.Mean(name="kl_factor")
        rows = keras.Variable(
            0, dtype="int64", trainable=False, name="predicted_rows", aggregation="only_first_replica"
        )
        self._predicted_rows = lambda: rows  # behind a function, for it is no weight

    def parameter_groups(self) -> dict[str, list]:
        """The trainable variables by name of group: `"prior"` and `"networks"`."""
        prior = [] if self.prior is None else list(self.prior.trainable_variables)
        ids = {id(v) for v in prior}
        return {"networks": [v for v in self.trainable_variables if id(v) not in ids], "prior": prior}

    def scheduled_values(self) -> dict[str, float]:
        """The KL factor at the present step."""
        return {"kl_factor": float(self._kl_factor_now())}

    def _kl_factor_now(self) -> tf.Tensor:
        return schedules.value_at(self.kl_factor, self.step, name="kl_factor", low=0.0)

    def compile(self, optimizer="adam", group_optimizers=None, **kwargs):
        """As `TrainedModel.compile`; the groups are those of `parameter_groups`."""
        super().compile(optimizer, group_optimizers, **kwargs)

    # --- a step ---

    def _step_objective(self, x):
        """The annealed bound of a batch, and what estimates the gradient of log Z.

        The negative phase advances once. The value of `log_partition_surrogate` enters no figure.
        """
        context = tf.distribute.get_replica_context()
        num_replicas = context.num_replicas_in_sync
        seed_bound, seed_chains = random.split(self._replica_seed(self.step, "train_step"))
        kl_factor = self._kl_factor_now()
        samples = None
        if self.negative_phase is not None:
            samples = self.negative_phase.negative_samples(seed=seed_chains)
        # Each example counts the same in the global batch, even if the replicas' shares differ.
        share = 1.0
        if num_replicas > 1:
            local = tf.cast(tf.shape(x)[0], tf.float32)
            share = num_replicas * local / context.all_reduce(tf.distribute.ReduceOp.SUM, local)

        copies = x if self.training_samples == 1 else tf.tile(x, [self.training_samples, 1, 1, 1])

        def objective():
            terms = self.latent_terms(copies, seed=seed_bound, limit="smoothed", training=True)
            reconstruction = numerics.mean_or_zero(terms.reconstruction)
            kl_per_group = numerics.mean_or_zero(terms.kl_per_group)
            factors = kl_factor * self._kl_weights(kl_per_group, kl_factor, share)
            decay = tf.convert_to_tensor(sum(self.losses, start=0.0))
            surrogate = share * (tf.reduce_sum(factors * kl_per_group) - reconstruction) + decay
            if samples is not None:
                surrogate += factors[0] * log_partition_surrogate(self.rbm, samples)
            figures = {
                "reconstruction": reconstruction,
                "kl": tf.reduce_sum(kl_per_group),
                "weight_decay": decay,
                "kl_factor": kl_factor,
            }
            return surrogate / num_replicas, figures  # replicas' gradients are summed

        return objective

    def _kl_weights(self, kl_per_group, kl_factor, share):
        """The factors of the groups besides `kl_factor`, `[groups]`; the Boltzmann machine is group 0."""
        ones = tf.ones_like(kl_per_group)
        if not self.kl_balancing:
            return ones
        if self.rbm is not None:
            # Where no value could be measured, a lower bound: the group only seems cheaper than it is.
            kl_per_group = add_log_partition(kl_per_group, self.stored_log_partition.lower_tensor)
        kl_per_group = tf.stop_gradient(kl_per_group)
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            kl_per_group = context.all_reduce(tf.distribute.ReduceOp.MEAN, share * kl_per_group)
        return tf.where(kl_factor < 1.0, balancing_coefficients(kl_per_group), ones)

    def test_step(self, data):
        """The single-sample bound in the binary limit, without annealing; `loss` is minus the bound."""
        x = self._checked_batch(data)
        # The number of examples seen so far counts the batches: no state of its own.
        counter = tf.cast(self._metric_means["loss"].count, tf.int32)
        seed = self._replica_seed(counter, "test_step")

        def figures(x, seed):
            terms = self.latent_terms(x, seed=seed, limit="binary", training=False)
            reconstruction, kl = numerics.mean_or_zero(terms.reconstruction), numerics.mean_or_zero(terms.kl)
            return {"reconstruction": reconstruction, "kl": kl, "weight_decay": 0.0, "kl_factor": 1.0}

        return self._logged(self._through_xla(figures)(x, seed), tf.shape(x)[0])

    def predict_step(self, data):
        """What `call` makes of the images, whatever the batches that they come in."""
        x = self._checked_batch(data)
        context, rows = tf.distribute.get_replica_context(), self._predicted_rows()
        counts = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, dtype=tf.int64)
        counts = context.all_reduce(tf.distribute.ReduceOp.SUM, counts * tf.shape(x, tf.int64)[0])
        first = rows + tf.cumsum(counts, exclusive=True)[context.replica_id_in_sync_group]
        seeds = self._seeds_of_rows(tf.cast(first, tf.int32), tf.shape(x)[0])
        rows.assign_add(tf.reduce_sum(counts))
        return self._through_xla(lambda x, seeds: self.reconstruct(x, seed=seeds, mean=True))(x, seeds)

    # --- what is logged ---

    @property
    def metrics(self):
        """The running means behind what `fit` and `evaluate` report."""
        return list(self._metric_means.values())

    def reset_metrics(self):
        """Empties the running means."""
        super().reset_metrics()
        self._kl_factor_mean.reset_state()

    def _logged(self, figures, count):
        reconstruction, kl, factor = (figures[name] for name in ("reconstruction", "kl", "kl_factor"))
        update_means(
            self._metric_means,
            count,
            loss=factor * kl - reconstruction + figures["weight_decay"],
            elbo=reconstruction - kl,
            reconstruction=reconstruction,
            kl=kl,
        )
        self._kl_factor_mean.update_state(factor, sample_weight=count)
        return self._means_with(None if self.rbm is None else self.stored_log_partition.value_tensor)

    def _means_with(self, log_z):
        """The running means with log Z in them, `None` for a normalized prior."""
        means = {name: mean.result() for name, mean in self._metric_means.items()}
        if log_z is None:
            return means
        kl = means["kl"] + log_z
        kl = tf.where(kl < 0.0, 0.0, kl)  # NaN stays
        added = kl - means["kl"]
        return {
            "loss": means["loss"] + self._kl_factor_mean.result() * added,
            "elbo": means["elbo"] - added,
            "reconstruction": means["reconstruction"],
            "kl": kl,
            # NaN with them, where there is no log Z to speak of.
            "log_partition_error": self.stored_log_partition.standard_error_tensor + 0.0 * log_z,
        }

    def get_metrics_result(self):
        """What `fit` and `evaluate` report at their end, with log Z of the weights that it is about.

        In an epoch of a training these have moved: log Z is then measured anew, and the mean of the values
        before and after is that of an epoch, to second order.
        """
        if self.rbm is None:
            return self._means_with(None)
        log_z = self.stored_log_partition.value_tensor
        if not self.stored_log_partition.is_fresh:
            self.update_log_partition(seed=self.seed, cheap=self._logs_are_rough)
            new = self.stored_log_partition.value_tensor
            log_z = 0.5 * (log_z + new) if tf.math.is_finite(log_z) else new
        kl = float(self._metric_means["kl"].result() + log_z)
        if kl < -_IMPOSSIBLE:
            logging.warning(
                "Step %d: with log Z = %.3f +- %.3f the KL would be %.3f nats, and a KL is never negative. "
                "The estimate is too small; the bounds are logged as NaN",
                int(self.step.numpy()),
                float(log_z),
                float(self.stored_log_partition.standard_error_tensor),
                kl,
            )
            log_z = tf.constant(float("nan"))
        return self._means_with(log_z)

    def fit(self, *args, **kwargs):
        """As `TrainedModel.fit`; log Z is that of the final weights at its end."""
        arguments = self._checked_arguments(keras.Model.fit, *args, **kwargs)
        self._refresh_log_partition()
        # Validation compares epochs: it wants the better estimate.
        validates = arguments.get("validation_data") is not None or arguments.get("validation_split")
        self._logs_are_rough = not validates
        history = super().fit(**arguments)
        self._refresh_log_partition()
        return history

    def evaluate(self, *args, **kwargs):
        """As `TrainedModel.evaluate`; measures log Z first where the stored estimate is stale."""
        self._refresh_log_partition()
        return super().evaluate(*args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """As `TrainedModel.train_on_batch`; log Z in the logs is measured anew every 100 updates."""
        stored = self.stored_log_partition
        if stored is not None and (
            stored.is_empty or int(self.step.numpy()) >= stored.step + _STEPS_OF_ONE_LOG_Z
        ):
            self.update_log_partition(seed=self.seed, cheap=True)
        return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """As `TrainedModel.test_on_batch`; measures log Z first where the stored estimate is stale."""
        self._refresh_log_partition()
        return super().test_on_batch(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """As `TrainedModel.predict`: row i of the result is that of `model(x)`, whatever `batch_size` is."""
        self._predicted_rows().assign(0)
        return super().predict(*args, **kwargs)

    def predict_on_batch(self, x):
        """As `TrainedModel.predict_on_batch`."""
        self._predicted_rows().assign(0)
        return super().predict_on_batch(x)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "kl_factor": schedules.serialize(self.kl_factor),
            "training_samples": self.training_samples,
            "kl_balancing": self.kl_balancing,
        }
