"""Maximum likelihood training of a Boltzmann machine of its own, by Keras' `fit`."""

import keras
import numpy as np
import tensorflow as tf

from tfdvae import numerics
from tfdvae._means import running_means, update_means
from tfdvae._validation import finite, integer, not_negative
from tfdvae.boltzmann.log_partition import LogPartitionEstimate
from tfdvae.boltzmann.measured import MeasuredModel
from tfdvae.boltzmann.negative_phases import make_negative_phase, serialize
from tfdvae.boltzmann.pseudo_likelihood import pseudo_log_likelihood, stochastic_pseudo_log_likelihood
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine
from tfdvae.training import StepTerms

_MEAN_MARGIN = 1e-3  # a unit that is always off starts with a bias of -6.9, not of minus infinity


@keras.saving.register_keras_serializable(package="tfdvae")
class MaximumLikelihood:
    """The mean log p(x) = -F(x) - log Z of a machine's left side, the right side summed out.

    The gradient of the free energy F is exact, that of log Z comes from the negative samples. With them too
    the right side is summed out, which has the same mean and a smaller variance.
    """

    def scheduled_values(self, step) -> dict[str, float]:
        """Nothing follows a schedule."""
        del step
        return {}

    def __call__(self, model, left, *, seed, negative) -> StepTerms:
        """The free energies whose gradient is that of minus the log-likelihood, with the figures of the
        weights before the update.
        """
        rbm = model.rbm
        samples = tf.stop_gradient(tf.cast(negative.left, rbm.coupling.dtype))
        shares = _shares(negative.log_weights, samples)
        # One call for data and samples: a gradient of two terms does not depend on their order.
        free_energy = rbm.free_energy(tf.concat([left, samples], axis=0))
        data_energy, sample_energy = tf.split(free_energy, [tf.shape(left)[0], tf.shape(samples)[0]])
        loss, common = numerics.mean_or_zero(data_energy), 0.0
        if model.negative_phase.starts_from_data:  # a sample for each example
            loss -= numerics.mean_or_zero(sample_energy)
        else:
            common -= tf.reduce_sum(shares * sample_energy)
        if model.weight_decay:
            common += model.weight_decay * tf.reduce_sum(tf.square(rbm.parameters.coupling))
        pseudo = stochastic_pseudo_log_likelihood(rbm.parameters, left, seed=seed)
        gap = tf.reduce_sum(shares * sample_energy) - numerics.mean_or_zero(data_energy)
        figures = {"pseudo_log_likelihood": numerics.mean_or_zero(pseudo), "free_energy_gap": gap}
        return StepTerms(loss, common, figures)

    def get_config(self):
        """There is nothing to configure."""
        return {}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="tfdvae")
class RBMTrainer(MeasuredModel):
    """Fits a machine to binary vectors, its left side, with the right side summed out.

    A step follows the gradient of the mean log p(x) = -F(x) - log Z over a batch: that of the free energy F
    is exact, that of log Z comes from the samples of a negative phase. With them too the right side is
    summed out, which has the same mean and a smaller variance. Momentum and a rate that goes to zero serve
    well, as with any noisy gradient:

        trainer = RBMTrainer.from_data_mean(x.mean(axis=0), right_units=100, negative_phase="pcd")
        rate = keras.optimizers.schedules.PolynomialDecay(0.005, decay_steps=10_000, end_learning_rate=0.0)
        trainer.compile(keras.optimizers.SGD(rate, momentum=0.9), steps_per_execution=50)
        trainer.fit(x, batch_size=100, epochs=100)
        trainer.update_log_partition(seed=0)
        trainer.log_likelihood(x)

    `fit` and `evaluate` take arrays `[examples, left]` of zeros and ones of any numeric or boolean dtype, or
    a `tf.data.Dataset` of batches. Everything random is a function of the seed, the step and the replica.

    In training two metrics are logged, both in nats a vector and at the weights before the update:
    - `pseudo_log_likelihood` (Besag, 1975): sum_i log p(x_i | all other x), of which one unit i, drawn for
      each vector, is taken `left_units` times: an unbiased estimate.
    - `free_energy_gap`: mean F of the negative samples minus mean F of the data. It is no likelihood and no
      bound; far from 0, it tells of chains that have lost the data.
    The quantity whose gradient is followed has no meaning as a value and is not logged: there is no `loss`.
    `evaluate` gives the mean `log_likelihood`, with a log Z for the present weights, and the
    `pseudo_log_likelihood` with all units.

    Args:
      rbm: the machine; its left side is what the data shows.
      negative_phase: `"pcd"` (`PersistentChains`), `"cd"` (`ContrastiveDivergence`), `"tempered"`
        (`TemperedChains`), `"annealed"` (`AnnealedSamples`), or an object as `NegativePhase` says. To be
        saved, it must be a registered Keras layer that is made from its machine and its configuration.
      num_chains: chains of one replica, for all names but `"cd"`.
      num_sweeps: Gibbs sweeps of one update, for all names but `"annealed"`.
      num_temperatures: inverse temperatures of each chain, for `"tempered"` (by default 10) and `"annealed"`
        (by default 100).
      weight_decay: factor of the sum of squares of the coupling, which is added to what is minimized.
      seed: base seed of everything random in training and evaluation.

    Raises:
      ValueError: for a machine, a negative phase or a number that is none.
    """

    def __init__(
        self,
        rbm,
        negative_phase="pcd",
        num_chains=100,
        num_sweeps=2,
        num_temperatures=None,
        weight_decay=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(rbm, RestrictedBoltzmannMachine):
            raise ValueError(f"`rbm` must be a `RestrictedBoltzmannMachine`. Received: rbm={rbm!r}")
        self.rbm = rbm
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.seed = integer("seed", seed)
        self.negative_phase = make_negative_phase(
            negative_phase,
            rbm,
            num_chains=num_chains,
            num_sweeps=num_sweeps,
            num_temperatures=num_temperatures,
        )
        self._add_step()
        self._training_means = running_means("pseudo_log_likelihood", "free_energy_gap")
        self._test_means = running_means("log_likelihood", "pseudo_log_likelihood")
        self.built = True

    @classmethod
    def from_data_mean(cls, data_mean, right_units, **kwargs) -> "RBMTrainer":
        """A new machine whose left biases are the log-odds of the data (Hinton, 2012, section 8).

        Args:
          data_mean: the mean of each unit over the data, in [0, 1], `[left]`; means nearer to 0 or 1 than
            0.001 are taken as that.
          right_units: number of hidden units.
          **kwargs: of `RBMTrainer`.

        Raises:
          ValueError: if a mean is NaN or outside of [0, 1].
        """
        data_mean = np.asarray(data_mean, np.float64)
        finite("data_mean", data_mean)
        if data_mean.ndim != 1 or not np.all((data_mean >= 0) & (data_mean <= 1)):
            raise ValueError(
                f"`data_mean` must be a vector of means in [0, 1]. Received: the shape {data_mean.shape} and "
                f"values from {data_mean.min(initial=np.inf)} to {data_mean.max(initial=-np.inf)}"
            )
        rbm = RestrictedBoltzmannMachine(len(data_mean), right_units, name="rbm")
        rbm.left_bias.assign(numerics.log_odds(data_mean, _MEAN_MARGIN))
        return cls(rbm, **kwargs)

    # --- training ---

    @property
    def default_objective(self) -> "MaximumLikelihood":
        """What `compile` takes where it is given none."""
        return MaximumLikelihood()

    def compile(self, optimizer="sgd", objective=None, **kwargs):
        """As `TrainedModel.compile`."""
        super().compile(optimizer, objective, **kwargs)

    def _seeds_of_step(self):
        seed_samples, seed_units = super()._seeds_of_step()
        return seed_units, seed_samples

    def _left_of_data(self, x, *, seed):
        del seed
        return x

    def _logged(self, figures, count):
        named = {name: figures[name] for name in self._training_means}
        return update_means(self._training_means, count, **named)

    def test_step(self, data):
        """Mean log-likelihood, with the stored log Z, and pseudo-log-likelihood of a batch."""
        left = self._checked_batch(data)
        log_likelihood = (
            -numerics.mean_or_zero(self.rbm.free_energy(left)) - self.stored_log_partition.value_tensor
        )
        return update_means(
            self._test_means,
            tf.shape(left)[0],
            log_likelihood=log_likelihood,
            pseudo_log_likelihood=numerics.mean_or_zero(pseudo_log_likelihood(self.rbm.parameters, left)),
        )

    @property
    def metrics(self):
        """The running means that `fit` and `evaluate` report."""
        return [*self._training_means.values(), *self._test_means.values()]

    def get_metrics_result(self):
        """The means of what has been trained or tested since they were last reset."""
        return {m.name: m.result() for m in self.metrics if m.count.numpy() > 0}

    # --- evaluation ---

    def call(self, left):
        """The free energy F, `[batch]`, in nats; `predict` returns it."""
        return self.rbm.free_energy(left)

    def log_likelihood(self, left, log_partition: LogPartitionEstimate | None = None) -> tf.Tensor:
        """log p(left) = -F(left) - log Z.

        The error of log Z is common to all vectors. An estimate that is too low flatters the machine.

        Args:
          left: vectors of zeros and ones, `[batch, left]`.
          log_partition: the estimate of log Z; by default the stored one (see `update_log_partition`).

        Returns:
          Nats, float32, shape `[batch]`.

        Raises:
          ValueError: for vectors that `fit` would refuse, something else than a `LogPartitionEstimate`, one
            without a finite value (a bracket that failed), or a stored one that is missing or was measured
            on other weights.
        """
        left = self._checked_vectors(left)
        estimate = self.resolve_log_partition(log_partition)
        return tf.cast(-tf.cast(self.rbm.free_energy(left), tf.float64) - estimate.value, tf.float32)

    def pseudo_log_likelihood(self, left) -> tf.Tensor:
        """sum_i log p(left_i | all other left) over all units i (Besag, 1975).

        Costs as much as `left_units` free energies of each vector, in the memory of one.

        Args:
          left: vectors of zeros and ones, `[batch, left]`.

        Returns:
          Nats, float32, shape `[batch]`.
        """
        return pseudo_log_likelihood(self.rbm.parameters, self._checked_vectors(left))

    # --- checks ---

    data_message = "The data must be binary: other values than 0 and 1 (or NaN) arrived. Binarize it first"

    def _checked_shape(self, left) -> tf.Tensor:
        """The vectors in the machine's dtype, after checks of shape and type."""
        left = tf.convert_to_tensor(left)
        if not (left.dtype.is_floating or left.dtype.is_integer or left.dtype == tf.bool):
            raise ValueError(f"The data must be numbers. Received: dtype {left.dtype.name}")
        if left.shape.rank != 2 or left.shape[1] != self.rbm.left_units:
            raise ValueError(
                f"The data must be vectors [batch, {self.rbm.left_units}], a value for each left unit. "
                f"Received: the shape {tuple(left.shape)}"
            )
        return tf.cast(left, self.rbm.coupling.dtype)

    def _checked_vectors(self, left) -> tf.Tensor:
        """The same, with the values, outside of graphs."""
        left = self._checked_shape(left)
        if not numerics.is_binary(left):
            raise ValueError(f"{self.data_message}. Received: values from {np.min(left)} to {np.max(left)}")
        return left

    @property
    def example_shape(self) -> tuple[int]:
        """The shape of a vector, for `TrainedModel`."""
        return (self.rbm.left_units,)

    def _checked_input(self, left):
        return self._checked_shape(left)

    def _is_valid(self, left):
        return numerics.is_binary(left)

    # --- saving ---

    def get_config(self):
        """Returns the configuration, with the machine and the negative phase.

        Raises:
          ValueError: if the negative phase is no registered Keras layer.
        """
        return {
            "name": self.name,
            "rbm": keras.saving.serialize_keras_object(self.rbm),
            "negative_phase": serialize(self.negative_phase),
            "weight_decay": self.weight_decay,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        config = dict(config)
        rbm = keras.saving.deserialize_keras_object(config.pop("rbm"))
        return cls(rbm, **config)


def _shares(log_weights, samples) -> tf.Tensor:
    """The weights of `samples [n, left]`, whose sum is 1, `[n]`."""
    if log_weights is None:
        return tf.ones_like(samples[:, 0]) / tf.cast(tf.shape(samples)[0], samples.dtype)
    return tf.stop_gradient(tf.cast(tf.nn.softmax(log_weights), samples.dtype))
