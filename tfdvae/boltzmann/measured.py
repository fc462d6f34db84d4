"""Models with a Boltzmann machine: its negative phase in training, and log Z measured at some step."""

from tfdvae.boltzmann.log_partition import LogPartitionEstimate
from tfdvae.boltzmann.log_partition.estimate import checked_estimate
from tfdvae.boltzmann.log_partition.stored import StoredLogPartition
from tfdvae.training import TrainedModel


class MeasuredModel(TrainedModel):
    """A `TrainedModel` whose likelihood may contain the log Z of a Boltzmann machine.

    A subclass has `rbm`, the machine, or `None` where there is nothing to measure, and `negative_phase`,
    which samples it in training (see `chains`), or `None`. At the end of its constructor it calls
    `_add_step`.
    """

    negative_phase = None

    def _add_step(self):
        super()._add_step()
        self.stored_log_partition = (
            None if self.rbm is None else StoredLogPartition(self.rbm, name="log_partition")
        )

    # --- the negative phase ---

    def _negative_samples(self, x, *, seed):
        if self.negative_phase is None or not getattr(self.objective, "samples_machine", True):
            return None
        left = self._left_of_data(x, seed=seed) if self.negative_phase.starts_from_data else None
        return self.negative_phase.negative_samples(seed=seed, left=left)

    def _left_of_data(self, x, *, seed):
        """The left side of the machine for a batch, where a negative phase starts from the data."""
        raise TypeError(f"{type(self).__name__} does not implement `_left_of_data`")

    # --- log Z ---

    def update_log_partition(
        self,
        estimate: LogPartitionEstimate | None = None,
        *,
        seed=0,
        num_chains: int | None = None,
        num_temperatures: int | None = None,
        max_temperatures: int | None = None,
        cheap: bool = False,
    ) -> LogPartitionEstimate:
        """Measures log Z and stores it, stamped with the step and the weights.

        By enumeration where that takes about a second (a side of 20 units beside one of up to 128). Else by
        `log_partition.adaptive_annealing`, which repeats itself with more temperatures until the weights
        suffice; where it would have to and enumeration takes about ten seconds, by enumeration.

        **A failure is stored too**, and logged as a warning: the estimate that is returned has the value NaN,
        a `failure` in words and a lower bound, and `log_partition` raises until it is measured anew.

        Args:
          estimate: an estimate made elsewhere for the present weights, in place of a measurement.
          seed: of the annealing.
          num_chains: of the annealing, at least 2; by default 256.
          num_temperatures: of its first attempt; by default 500.
          max_temperatures: of its last attempt; by default 16 times those of the first one.
          cheap: for the logs of a training: by default 100 chains and 100 temperatures, 10 effective samples
            (an error of about 0.3 nats) suffice, and an enumeration may take 0.05 seconds.

        Returns:
          The `LogPartitionEstimate`, or its failure.

        Raises:
          ValueError: if there is no machine (the prior of the model is normalized), `estimate` is none or
            has no finite value, or a number is not a positive integer.
        """
        if self.rbm is None:
            raise ValueError(f"The prior of {self.name!r} is normalized: it has no log Z to measure")
        step = int(self.step.numpy())
        if estimate is None:
            return self.stored_log_partition.measure(
                step,
                seed=seed,
                num_chains=num_chains,
                num_temperatures=num_temperatures,
                max_temperatures=max_temperatures,
                cheap=cheap,
            )
        self.stored_log_partition.store(estimate, step)
        return estimate

    def _refresh_log_partition(self):
        """Measures log Z, with the seed of the model, where the stored one is rough or of other weights."""
        stored = self.stored_log_partition
        if stored is not None and (stored.is_rough or not stored.is_fresh):
            self.update_log_partition(seed=self.seed)

    @property
    def log_partition(self) -> LogPartitionEstimate:
        """The stored estimate of log Z (zero, exactly, for a normalized prior).

        Raises:
          ValueError: if none is stored, the weights have changed since it was measured, the measurement
            failed, or it was a cheap one.
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
        if self.stored_log_partition.is_rough:
            raise ValueError(
                "The stored log Z is a rough one, for the logs of a training that was interrupted at step "
                f"{self.stored_log_partition.step}. Call `model.update_log_partition(seed=...)`"
            )
        return checked_estimate(estimate)

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

    def evaluate(self, *args, **kwargs):
        """As `TrainedModel.evaluate`; measures log Z first where the stored estimate is stale."""
        self._refresh_log_partition()
        return super().evaluate(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        """As `TrainedModel.test_on_batch`; measures log Z first where the stored estimate is stale."""
        self._refresh_log_partition()
        return super().test_on_batch(*args, **kwargs)
