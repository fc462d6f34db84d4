"""Training, shared by all models: one train_step and one test_step.

A model supplies `latent_terms` (see `likelihood`); its negative phase supplies the samples that train
the Boltzmann machine of its prior, if it has one.
"""

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._objective import OwnObjective, running_means, update_means
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.chains import log_partition_surrogate
from tfdvae.models.likelihood import LatentVariableModel, add_log_partition
from tfdvae.objectives import balancing_coefficients, schedules


class DiscreteVAE(OwnObjective, LatentVariableModel):
    """Base class of the models: a `LatentVariableModel` that `fit` trains.

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
        self.kl_factor = schedules.deserialize(kl_factor)
        self.training_samples = positive_integer("training_samples", training_samples)
        self.kl_balancing = bool(kl_balancing)
        self.negative_phase = None
        self.group_optimizers = {}

    def _finish_init(self):
        super()._finish_init()
        self._metric_means = running_means("loss", "elbo", "reconstruction", "kl")

    def parameter_groups(self) -> dict[str, list]:
        """The trainable variables by name of group: `"prior"` and `"networks"`."""
        prior = [] if self.prior is None else list(self.prior.trainable_variables)
        ids = {id(v) for v in prior}
        return {"networks": [v for v in self.trainable_variables if id(v) not in ids], "prior": prior}

    def scheduled_values(self) -> dict[str, float]:
        """The KL factor at the present step."""
        return {"kl_factor": float(schedules.value_at(self.kl_factor, self.step))}

    def compile(self, optimizer="adam", group_optimizers=None, jit_compile=False, **kwargs):
        """As `keras.Model.compile`, without a loss.

        Args:
          optimizer: for all parameter groups that `group_optimizers` does not name.
          group_optimizers: optional mapping from a group's name (see `parameter_groups`) to an optimizer.
          jit_compile: off by default: loops of small matrix products are slower under XLA on CPUs.
          **kwargs: passed on (`steps_per_execution`, `run_eagerly`, ...).

        Raises:
          ValueError: if a group is unknown, a loss is given, or `steps_per_execution` is not 1 on several
            replicas.
        """
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

    def train_step(self, data):
        """One update: advance the negative phase, then a step on the annealed bound.

        The gradient of log Z comes from `log_partition_surrogate`; its value enters no metric. `loss` is
        minus the annealed bound plus the weight decay, with the stored *estimate* of log Z in it; `elbo`
        and `kl` likewise, without the annealing factor.
        """
        x = self._checked_batch(data)
        # On one device a batch that is refused changes nothing; a replica waits for its own share alone.
        with tf.control_dependencies([x]):
            return self._update(x)

    def _update(self, x):
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
            terms = (reconstruction, tf.reduce_sum(kl_per_group), decay)
            return surrogate / num_replicas, terms  # replicas' gradients are summed

        groups = list(self._optimizers_and_variables())
        (reconstruction, kl, decay), gradients = _terms_and_gradients(
            objective, [v for _, variables in groups for v in variables], pairwise=num_replicas == 1
        )
        # A finite loss may have a gradient that is not.
        norm = tf.linalg.global_norm(gradients)
        finite = self._assert_finite(
            reconstruction=reconstruction, kl=kl, weight_decay=decay, gradient_norm=norm
        )
        gradients = iter(gradients)
        with tf.control_dependencies([finite]):
            for optimizer, variables in groups:
                optimizer.apply_gradients([(next(gradients), v) for v in variables])
        self.step.assign_add(1)
        log_z = self._logged_log_partition()
        return update_means(
            self._metric_means,
            tf.shape(x)[0],
            loss=kl_factor * (kl + log_z) - reconstruction + decay,
            elbo=reconstruction - kl - log_z,
            reconstruction=reconstruction,
            kl=kl + log_z,
        )

    def _kl_weights(self, kl_per_group, kl_factor, share):
        """The factors of the groups besides `kl_factor`, `[groups]`; the Boltzmann machine is group 0."""
        ones = tf.ones_like(kl_per_group)
        if not self.kl_balancing:
            return ones
        if self.rbm is not None:
            kl_per_group = add_log_partition(kl_per_group, self._logged_log_partition())
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
        terms = self.latent_terms(
            x, seed=self._replica_seed(counter, "test_step"), limit="binary", training=False
        )
        reconstruction, kl = numerics.mean_or_zero(terms.reconstruction), numerics.mean_or_zero(terms.kl)
        kl += self._logged_log_partition()
        return update_means(
            self._metric_means,
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
        return self._with_checked_values(x, self.pixels_are_valid(x))

    def _logged_log_partition(self):
        """The stored estimate of log Z, whatever its age: for metrics alone."""
        return tf.constant(0.0) if self.rbm is None else self.stored_log_partition.value_tensor

    def fit(self, x=None, *args, **kwargs):
        """As `keras.Model.fit`; measures log Z first where there is no estimate yet."""
        if self.rbm is not None and self.stored_log_partition.is_empty:
            self.update_log_partition(seed=self.seed)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`; measures log Z first where the stored estimate is stale."""
        if self.rbm is not None and not self.stored_log_partition.is_fresh:
            self.update_log_partition(seed=self.seed)
        return super().evaluate(*args, **kwargs)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "kl_factor": schedules.serialize(self.kl_factor),
            "training_samples": self.training_samples,
            "kl_balancing": self.kl_balancing,
        }


def _terms_and_gradients(objective, variables, pairwise):
    """Calls `objective() -> (scalar, terms)`; returns the terms and the gradients of the scalar.

    A tape adds up three and more terms of a gradient in one operation, which begins with whichever term's
    buffer is free, so that the last bit depends on timing. `pairwise` additions do not; they need a graph
    of their own, in which replicas could not synchronize.
    """
    if tf.executing_eagerly() or not pairwise:
        with tf.GradientTape() as tape:
            scalar, terms = objective()
        return terms, tape.gradient(scalar, variables)

    @tf.function(autograph=False)
    def graph():
        scalar, terms = objective()
        method = tf.AggregationMethod.EXPERIMENTAL_TREE
        return terms, tf.gradients(scalar, [v.value for v in variables], aggregation_method=method)

    return graph()
