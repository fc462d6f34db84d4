"""The evidence lower bound as the objective of a training (Vahdat et al. (2018), sections 3 to 6)."""

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.chains import log_partition_surrogate
from tfdvae.objectives import schedules
from tfdvae.objectives.kl_balancing import balancing_coefficients
from tfdvae.training import StepTerms, share_of_batch


def add_log_partition(kl_per_group, log_z) -> tf.Tensor:
    """Adds log Z to the KL of the Boltzmann machine, which is the first of the groups, `[groups, ...]`."""
    return tf.concat([kl_per_group[:1] + log_z, kl_per_group[1:]], axis=0)


@keras.saving.register_keras_serializable(package="tfdvae")
class Elbo:
    """The bound of the smoothed model, with a factor of its KL that may rise in the beginning.

        minus the objective = E_q log p(x | zeta) - kl_factor * sum_i alpha_i KL_i

    Args:
      kl_factor: the factor, a number or a schedule of the model's step; not negative.
      kl_balancing: whether the groups' KL terms are balanced by the alpha_i while the factor is below 1
        (appendix H); otherwise all of these are 1.
      training_samples: samples of the latents for each image. The objective is their mean, so that more of
        them mean the same expectation, less noise and more work.

    Raises:
      ValueError: if a factor is negative or the number of samples is not positive.
    """

    def __init__(self, kl_factor=1.0, kl_balancing=False, training_samples=1):
        self.kl_factor = schedules.checked("kl_factor", kl_factor, low=0.0)
        self.kl_balancing = bool(kl_balancing)
        self.training_samples = positive_integer("training_samples", training_samples)

    def scheduled_values(self, step) -> dict[str, float]:
        """The KL factor at a step."""
        return {"kl_factor": float(self._factor(step))}

    def _factor(self, step) -> tf.Tensor:
        return schedules.value_at(self.kl_factor, step, name="kl_factor", low=0.0)

    def draw(self, model, *, seed):
        """How the groups get their values."""
        return model.draw("smoothed", seed=seed)

    def terms(self, model, x, *, seed, seed_dropout) -> tuple[tf.Tensor, tf.Tensor]:
        """log p(x | latents), `[batch]`, and the KL without log Z, `[groups, batch]`."""
        terms = model.bound_terms(x, self.draw(model, seed=seed), seed=seed_dropout)
        return terms.reconstruction, terms.kl_per_group

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        kl_factor = self._factor(model.step)
        copies = x if self.training_samples == 1 else tf.tile(x, [self.training_samples, 1, 1, 1])
        (seed_dropout,) = random.split(seed, 1, salt="dropout")
        terms = self.terms(model, copies, seed=seed, seed_dropout=seed_dropout)
        reconstruction, kl_per_group = map(numerics.mean_or_zero, terms)
        factors = kl_factor * self._kl_weights(model, x, kl_per_group, kl_factor)
        common = 0.0
        if negative is not None:
            common = factors[0] * log_partition_surrogate(model.rbm, negative)
        kl = tf.reduce_sum(kl_per_group)
        figures = {
            "loss": kl_factor * kl - reconstruction,
            "log_partition_factor": kl_factor,
            "reconstruction": reconstruction,
            "kl": kl,
        }
        return StepTerms(tf.reduce_sum(factors * kl_per_group) - reconstruction, common, figures)

    def _kl_weights(self, model, x, kl_per_group, kl_factor):
        """The factors of the groups besides `kl_factor`, `[groups]`; the Boltzmann machine is group 0."""
        ones = tf.ones_like(kl_per_group)
        if not self.kl_balancing:
            return ones
        if model.rbm is not None:
            # Where no value could be measured, a lower bound: the group only seems cheaper than it is.
            kl_per_group = add_log_partition(kl_per_group, model.stored_log_partition.lower_tensor)
        kl_per_group = tf.stop_gradient(kl_per_group)
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            kl_per_group = context.all_reduce(tf.distribute.ReduceOp.MEAN, share_of_batch(x) * kl_per_group)
        return tf.where(kl_factor < 1.0, balancing_coefficients(kl_per_group), ones)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "kl_factor": schedules.serialize(self.kl_factor),
            "kl_balancing": self.kl_balancing,
            "training_samples": self.training_samples,
        }

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)
