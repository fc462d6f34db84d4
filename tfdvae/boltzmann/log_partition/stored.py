"""An estimate of log Z kept with a model and stamped with the weights that it was measured on."""

import dataclasses
import hashlib
import math

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfdvae.boltzmann.log_partition.adaptive import adaptive_annealing
from tfdvae.boltzmann.log_partition.estimate import UPPER_KINDS, LogPartitionEstimate, checked_estimate
from tfdvae.boltzmann.log_partition.exact import exact, is_quick

_NUMBERS = {"num_chains": 256, "num_temperatures": 500}
_CHEAP_NUMBERS = {"num_chains": 100, "num_temperatures": 100}
_CHEAP_STANDARDS = {"min_effective_samples": 10, "confirm": False, "num_starts": 16}
# Seconds that an enumeration may take: in place of any annealing, and of one that would have to be repeated.
_QUICK, _QUICK_IF_CHEAP, _PATIENT = 1.0, 0.05, 10.0
_NONE = -np.inf  # stands for a figure that there is not: two arrays with NaN are never equal
_EMPTY, _FAILED, _DOUBTFUL, _TRUSTED = range(4)  # what is stored


class StoredLogPartition(keras.layers.Layer):
    """Holds a `LogPartitionEstimate` as non-trainable weights, so that it is saved with the model.

    Of a measurement that failed it holds the lower bound and the fact.

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

        # value, standard error, lower, upper, effective sample size
        self._fields = weight((5,), "float64", keras.initializers.Constant(_NONE), "fields")
        # step, fingerprint, what is stored, number of the kind of the upper side in `UPPER_KINDS` (from 1),
        # whether it is rough
        self._stamp = weight((5,), "int64", "zeros", "stamp")
        self.built = True

    def store(self, estimate: LogPartitionEstimate, step: int) -> None:
        """Keeps an estimate of log Z for the machine's present weights.

        Raises:
          ValueError: if it is no estimate, or its value is not finite, as that of a bracket that failed.
        """
        estimate = checked_estimate(estimate)
        if math.isnan(estimate.standard_error):
            estimate = dataclasses.replace(estimate, standard_error=math.inf)
        self._store(estimate, step, _TRUSTED if estimate.trustworthy else _DOUBTFUL)

    def _store(self, estimate, step, status, is_rough=False):
        fields = (
            estimate.value,
            estimate.standard_error,
            estimate.lower,
            estimate.upper,
            estimate.effective_sample_size,
        )
        self._fields.assign([_NONE if v is None or math.isnan(v) else v for v in fields])
        kind = UPPER_KINDS.index(estimate.upper_kind) + 1 if estimate.upper_kind in UPPER_KINDS else 0
        self._stamp.assign([step, self._fingerprint(), status, kind, is_rough])

    def measure(
        self,
        step: int,
        *,
        seed,
        num_chains: int | None = None,
        num_temperatures: int | None = None,
        max_temperatures: int | None = None,
        cheap: bool = False,
    ) -> LogPartitionEstimate:
        """Measures log Z, stores and returns the estimate or its failure; see `update_log_partition`."""
        rbm = self._machine()
        numbers = dict(_CHEAP_NUMBERS if cheap else _NUMBERS)
        given = {"num_chains": num_chains, "num_temperatures": num_temperatures}
        numbers |= {name: number for name, number in given.items() if number is not None}
        can_be_exact = is_quick(rbm, _PATIENT) and not cheap
        if is_quick(rbm, _QUICK_IF_CHEAP if cheap else _QUICK):
            estimate = exact(rbm)
        else:
            if can_be_exact:
                max_temperatures = numbers["num_temperatures"]
            standards = _CHEAP_STANDARDS if cheap else {}
            estimate = adaptive_annealing(
                rbm, **numbers, **standards, max_temperatures=max_temperatures, seed=seed
            )
            if can_be_exact and not estimate.trustworthy:
                estimate = exact(rbm)
        if estimate.failure:
            logging.warning("log Z could not be measured at step %d. %s", step, estimate.failure)
            status = _FAILED
        else:
            status = _TRUSTED if estimate.trustworthy else _DOUBTFUL
        self._store(estimate, step, status, is_rough=cheap and estimate.standard_error != 0)
        return estimate

    def _fingerprint(self) -> int:
        digest = hashlib.sha256()
        for weight in self._machine().get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return int.from_bytes(digest.digest()[:8], "little", signed=True)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was stored yet."""
        return int(self._stamp.numpy()[2]) == _EMPTY

    @property
    def is_fresh(self) -> bool:
        """Whether the estimate, or its failure, was measured on the machine's present weights."""
        return not self.is_empty and int(self._stamp.numpy()[1]) == self._fingerprint()

    @property
    def is_rough(self) -> bool:
        """Whether the estimate was measured cheaply, for logs alone."""
        return bool(self._stamp.numpy()[4])

    @property
    def step(self) -> int:
        """The model's step at which the estimate was stored."""
        return int(self._stamp.numpy()[0])

    @property
    def value_tensor(self) -> tf.Tensor:
        """The value as a float32 scalar, whatever its age (NaN if empty or failed): for logs of training."""
        return self._figure(0)

    @property
    def standard_error_tensor(self) -> tf.Tensor:
        """The standard error as a float32 scalar, whatever its age (NaN if empty or failed)."""
        return self._figure(1)

    def _figure(self, i) -> tf.Tensor:
        return tf.cast(
            tf.where(self._fields[i] == _NONE, tf.constant(np.nan, tf.float64), self._fields[i]), tf.float32
        )

    @property
    def lower_tensor(self) -> tf.Tensor:
        """The lower side as a float32 scalar, also of a measurement that failed; the value where none is."""
        return tf.where(self._fields[2] == _NONE, self._figure(0), self._figure(2))

    @property
    def estimate(self) -> LogPartitionEstimate:
        """The estimate, whatever its age; its diagnostics hold the step.

        Of a measurement that failed the value is NaN, and `failure` says so.

        Raises:
          ValueError: if none is stored.
        """
        if self.is_empty:
            raise ValueError("No log Z is stored with the model. Call `model.update_log_partition(seed=...)`")
        value, error, lower, upper, samples = (None if v == _NONE else float(v) for v in self._fields.numpy())
        step, _, status, kind, _ = (int(n) for n in self._stamp.numpy())
        worth = "" if samples is None else f", worth {samples:.1f} independent samples"
        diagnostics = {
            "method": "stored",
            "step": step,
            "effective_sample_size": samples,
            "upper_kind": UPPER_KINDS[kind - 1] if kind else None,
            "trustworthy": status == _TRUSTED,
        }
        if status == _FAILED:
            diagnostics["failure"] = (
                f"The measurement of log Z at step {step} failed: its chains{worth}, missed a part of the "
                f"distribution; log Z is at least {lower:.3f}. Call `model.update_log_partition(seed=...)` "
                "with more temperatures, or give it an estimate of `tfdvae.evaluation.measure_log_partition`"
            )
            return LogPartitionEstimate(math.nan, math.nan, lower, upper, diagnostics)
        if status == _DOUBTFUL:
            diagnostics["warnings"] = (
                f"The measurement of log Z at step {step}{worth}, had found reason to doubt it",
            )
        return LogPartitionEstimate(value, error, lower, upper, diagnostics)
