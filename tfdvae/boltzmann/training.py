"""Maximum likelihood training of a Boltzmann machine of its own, by Keras' `fit`."""

import keras
import numpy as np
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import finite, integer, not_negative
from tfdvae.boltzmann.chains import ContrastiveDivergence, PersistentChains, TemperedChains
from tfdvae.boltzmann.log_partition import LogPartitionEstimate, MeasuresLogPartition
from tfdvae.boltzmann.log_partition.estimate import checked_estimate
from tfdvae.boltzmann.pseudo_likelihood import pseudo_log_likelihood, stochastic_pseudo_log_likelihood
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine
from tfdvae.training import TrainedModel, running_means, update_means

NEGATIVE_PHASES = ("pcd", "cd", "tempered")
_MEAN_MARGIN = 1e-3  # a unit that is always off starts with a bias of -6.9, not of minus infinity


@keras.saving.register_keras_serializable(package="tfdvae")
class RBMTrainer(MeasuresLogPartition, TrainedModel):
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
        (`TemperedChains`), or an object with `negative_samples` as in `chains`. To be saved, it must be a
        registered Keras layer that is made from its machine and its configuration.
      num_chains: persistent chains of one replica, for `"pcd"` and `"tempered"`.
      num_sweeps: Gibbs sweeps of one update, for the three names.
      num_temperatures: inverse temperatures of each chain, for `"tempered"`.
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
        num_temperatures=10,
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
        if negative_phase == "pcd":
            negative_phase = PersistentChains(rbm, num_chains, num_sweeps, name="chains")
        elif negative_phase == "cd":
            negative_phase = ContrastiveDivergence(rbm, num_sweeps, name="chains")
        elif negative_phase == "tempered":
            negative_phase = TemperedChains(rbm, num_chains, num_temperatures, num_sweeps, name="chains")
        elif not hasattr(negative_phase, "negative_samples"):
            raise ValueError(
                f"`negative_phase` must be one of {NEGATIVE_PHASES} or have a method `negative_samples`. "
                f"Received: {negative_phase=}"
            )
        if getattr(negative_phase, "_machine", lambda: rbm)() is not rbm:
            raise ValueError(
                "`negative_phase` samples another machine. Make it with the `rbm` that is trained"
            )
        self.negative_phase = negative_phase
        self._add_step_and_log_partition()
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

    def compile(self, optimizer="sgd", **kwargs):
        """As `TrainedModel.compile`."""
        super().compile(optimizer, **kwargs)

    def _step_objective(self, left):
        """The free energies whose gradient is that of minus the log-likelihood, with the figures of the
        weights before the update.
        """
        context = tf.distribute.get_replica_context()
        seed_samples, seed_units = random.split(self._replica_seed(self.step, "train_step"))
        from_data = getattr(self.negative_phase, "starts_from_data", False)
        start = {"left": left} if from_data else {}
        samples = self.negative_phase.negative_samples(seed=seed_samples, **start)
        dtype = self.rbm.coupling.dtype
        negative = tf.stop_gradient(tf.cast(samples.left, dtype))

        # Each example counts the same in the whole batch, even if the replicas' shares differ; so do chains.
        size = tf.cast(tf.shape(left)[0], dtype)
        num_replicas = context.num_replicas_in_sync
        whole = size if num_replicas == 1 else context.all_reduce(tf.distribute.ReduceOp.SUM, size)
        shares = _shares(samples.log_weights, negative)
        negative_weights = tf.ones_like(shares) / whole if from_data else shares / num_replicas
        weights = tf.concat([tf.ones_like(left[:, 0]) / whole, -negative_weights], axis=0)

        def objective():
            # One call for data and samples: a gradient of two terms does not depend on their order.
            free_energy = self.rbm.free_energy(tf.concat([left, negative], axis=0))
            surrogate = tf.reduce_sum(weights * free_energy)
            if self.weight_decay:
                decay = self.weight_decay * tf.reduce_sum(tf.square(self.rbm.parameters.coupling))
                surrogate += decay / num_replicas  # replicas' gradients are summed
            pseudo = stochastic_pseudo_log_likelihood(self.rbm.parameters, left, seed=seed_units)
            data_energy, sample_energy = tf.split(free_energy, [tf.shape(left)[0], tf.shape(negative)[0]])
            gap = tf.reduce_sum(shares * sample_energy) - numerics.mean_or_zero(data_energy)
            return surrogate, {
                "pseudo_log_likelihood": numerics.mean_or_zero(pseudo),
                "free_energy_gap": gap,
            }

        return objective

    def _logged(self, figures, count):
        return update_means(self._training_means, count, **figures)

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

    def evaluate(self, *args, **kwargs):
        """As `TrainedModel.evaluate`; measures log Z first where the stored estimate is stale."""
        self._refresh_log_partition()
        return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """As `TrainedModel.test_on_batch`; measures log Z first where the stored estimate is stale."""
        self._refresh_log_partition()
        return super().test_on_batch(*args, **kwargs)

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
        estimate = self.log_partition if log_partition is None else checked_estimate(log_partition)
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
        phase = self.negative_phase
        registered = keras.saving.get_registered_name(type(phase))
        if keras.saving.get_registered_object(registered) is not type(phase):
            raise ValueError(
                "To be saved, the negative phase must be a Keras layer with "
                f"`@keras.saving.register_keras_serializable`. Received: a {type(phase).__name__}"
            )
        return {
            "name": self.name,
            "rbm": keras.saving.serialize_keras_object(self.rbm),
            "negative_phase": {"registered_name": registered, "config": phase.get_config()},
            "weight_decay": self.weight_decay,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        config = dict(config)
        rbm = keras.saving.deserialize_keras_object(config.pop("rbm"))
        phase = config.pop("negative_phase")
        phase = keras.saving.get_registered_object(phase["registered_name"])(rbm, **phase["config"])
        return cls(rbm, phase, **config)


def _shares(log_weights, samples) -> tf.Tensor:
    """The weights of `samples [n, left]`, whose sum is 1, `[n]`."""
    if log_weights is None:
        return tf.ones_like(samples[:, 0]) / tf.cast(tf.shape(samples)[0], samples.dtype)
    return tf.stop_gradient(tf.cast(tf.nn.softmax(log_weights), samples.dtype))
