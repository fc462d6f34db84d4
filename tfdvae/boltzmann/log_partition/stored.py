"""An estimate of log Z kept with a model and stamped with the weights that it was measured on."""

import hashlib
import math

import keras
import numpy as np
import tensorflow as tf

from tfdvae.boltzmann.log_partition.annealing import annealed_importance_sampling
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate, checked_estimate
from tfdvae.boltzmann.log_partition.exact import exact, is_quick


class StoredLogPartition(keras.layers.Layer):
    """Holds a `LogPartitionEstimate` as non-trainable weights, so that it is saved with the model.

    Args:
      rbm: the machine that the estimate belongs to (its weights are not saved here).
    """

    def __init__(self, rbm, **kwargs):
        super().__init__(**kwargs)
        # Behind a function: as an attribute or in a list Keras would count and save the machine twice.
        self._machine = lambda: rbm

        def weight(shape, dtype, initializer, name):
            return self.add_weight(
                shape=shape, dtype=dtype, initializer=initializer, trainable=False, autocast=False, name=name
            )

        # value, standard error, lower, upper; NaN stands for "none".
        self._fields = weight((4,), "float64", keras.initializers.Constant(np.nan), "fields")
        self._stamp = weight((2,), "int64", "zeros", "step_and_fingerprint")
        self._rough = False
        self.built = True

    def store(self, estimate: LogPartitionEstimate, step: int) -> None:
        """Keeps an estimate of log Z for the machine's present weights.

        Raises:
          ValueError: if it is no estimate, or its value is not finite, as that of a bracket that failed.
        """
        estimate = checked_estimate(estimate)
        error = math.inf if math.isnan(estimate.standard_error) else estimate.standard_error
        fields = (estimate.value, error, estimate.lower, estimate.upper)
        self._fields.assign([np.nan if v is None else v for v in fields])
        self._stamp.assign([step, self._fingerprint()])

    def measure(self, step: int, *, seed, num_chains: int, num_temperatures: int) -> LogPartitionEstimate:
        """Stores and returns log Z: exact where that is quick, else by annealed importance sampling."""
        rbm = self._machine()
        if is_quick(rbm):
            estimate = exact(rbm)
        else:
            estimate = annealed_importance_sampling(
                rbm, num_chains=num_chains, num_temperatures=num_temperatures, seed=seed
            )
        self.store(estimate, step)
        self._rough = False
        return estimate

    def measure_roughly(self, step: int, *, seed) -> LogPartitionEstimate:
        """Stores and returns a cheap estimate of log Z, for logs alone."""
        estimate = self.measure(step, seed=seed, num_chains=100, num_temperatures=100)
        self._rough = True
        return estimate

    @property
    def is_rough(self) -> bool:
        """Whether the estimate is one for logs alone."""
        return self._rough

    def _fingerprint(self) -> int:
        digest = hashlib.sha256()
        for weight in self._machine().get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return int.from_bytes(digest.digest()[:8], "little", signed=True)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored yet."""
        return bool(np.isnan(self._fields.numpy()[0]))

    @property
    def is_fresh(self) -> bool:
        """Whether the estimate was measured on the machine's present weights."""
        return not self.is_empty and int(self._stamp.numpy()[1]) == self._fingerprint()

    @property
    def step(self) -> int:
        """The model's step at which the estimate was stored."""
        return int(self._stamp.numpy()[0])

    @property
    def value_tensor(self) -> tf.Tensor:
        """The value as a float32 scalar, whatever its age (NaN if empty): for the logs of training."""
        return tf.cast(self._fields[0], tf.float32)

    @property
    def lower_tensor(self) -> tf.Tensor:
        """The largest known lower bound as a float32 scalar, whatever its age."""
        return tf.cast(self._fields[0], tf.float32)

    @property
    def standard_error_tensor(self) -> tf.Tensor:
        """The standard error as a float32 scalar, whatever its age."""
        return tf.cast(self._fields[1], tf.float32)

    @property
    def estimate(self) -> LogPartitionEstimate:
        """The estimate, whatever its age; its diagnostics hold the step.

        Raises:
          ValueError: if none is stored.
        """
        if self.is_empty:
            raise ValueError("No log Z is stored with the model. Call `model.update_log_partition(seed=...)`")
        value, error, lower, upper = (None if np.isnan(v) else float(v) for v in self._fields.numpy())
        return LogPartitionEstimate(value, error, lower, upper, {"method": "stored", "step": self.step})


class MeasuresLogPartition:
    """What Keras models with a Boltzmann machine share: the step, and log Z measured at some step.

    A mixin, before `keras.Model` among the bases. The model has `rbm`, a machine, or `None` where there is
    nothing to measure; its `__init__` calls `_add_step_and_log_partition` once that is known.
    """

    def _add_step_and_log_partition(self):
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
            None if self.rbm is None else StoredLogPartition(self.rbm, name="log_partition")
        )

    def update_log_partition(
        self,
        estimate: LogPartitionEstimate | None = None,
        *,
        seed=0,
        num_chains: int = 256,
        num_temperatures: int = 500,
    ) -> LogPartitionEstimate:
        """Measures log Z and stores it, stamped with the step and the weights.

        Args:
          estimate: an estimate made elsewhere for the present weights; by default `log_partition.exact` where
            that takes about a second (a side of 20 units beside one of up to 128), else annealed importance
            sampling.
          seed: of the annealing.
          num_chains: of the annealing.
          num_temperatures: of the annealing.

        Returns:
          The `LogPartitionEstimate`.

        Raises:
          ValueError: if there is no machine (the prior of the model is normalized), or `estimate` is none or
            has no finite value.
        """
        if self.rbm is None:
            raise ValueError(f"The prior of {self.name!r} is normalized: it has no log Z to measure")
        step = int(self.step.numpy())
        if estimate is None:
            return self.stored_log_partition.measure(
                step, seed=seed, num_chains=num_chains, num_temperatures=num_temperatures
            )
        self.stored_log_partition.store(estimate, step)
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
                f"The stored log Z was measured at step {self.stored_log_partition.step} for other weights "
                f"of the machine; the model is at step {int(self.step.numpy())}. Call "
                "`model.update_log_partition(seed=...)`, or pass `log_partition=`"
            )
        return estimate
