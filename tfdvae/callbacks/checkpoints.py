"""Training states that survive `kill -9`, and a learning rate that is part of them."""

import json
import pathlib

import h5py
import keras
import numpy as np
from absl import logging

from tfdvae._validation import positive_integer
from tfdvae.files import WRITING, user_path, write_atomically, write_json


class PlateauDecay(keras.callbacks.ReduceLROnPlateau):
    """Lowers the learning rate when the validation bound no longer rises; its state can be checkpointed.

    As `keras.callbacks.ReduceLROnPlateau`, but the state lasts from one `fit` to the next, and
    `TrainingCheckpoint(..., callbacks=[...])` saves and restores it. Put it before the checkpoint.

    Args:
      patience: epochs without a better value after which the learning rate is lowered.
      factor: what it is multiplied by.
      monitor: the metric, larger is better.
    """

    def __init__(self, patience: int, factor: float = 0.5, monitor: str = "val_elbo"):
        super().__init__(monitor, factor, positive_integer("patience", patience), mode="max", min_delta=0.0)

    def on_train_begin(self, logs=None):
        """Keeps the state."""

    def on_epoch_end(self, epoch, logs=None):
        """Lowers the learning rate if it is time."""
        super().on_epoch_end(epoch, logs)
        # Keras takes whatever comes first for the best value, and nothing is better than NaN.
        if self.best is not None and np.isnan(self.best):
            self.best = None

    def state(self) -> dict:
        """The state, JSON-able; the learning rate itself is one of the optimizer's variables."""
        return {"best": None if self.best is None else float(self.best), "wait": self.wait}

    def restore_state(self, state: dict) -> None:
        """The inverse of `state`."""
        self.best, self.wait = state["best"], state["wait"]


class TrainingCheckpoint(keras.callbacks.Callback):
    """Saves the whole training state atomically, and the best weights by a validation metric.

    Files: `step-00001000.weights.h5` (the last `keep`), `best.weights.h5` and `best.json`. The state
    holds weights, optimizers, chains, the step and the stamped log Z; everything random is a function
    of the step, so a resumed run continues bit for bit.

    Args:
      directory: where to write.
      monitor: the metric of `best.weights.h5`, larger is better (for an `RBMTrainer` `"val_log_likelihood"`);
        `None` keeps no best weights, as in a stage of pretraining.
      every_epochs: how often to save.
      keep: how many of the last states to keep.
      callbacks: callbacks whose `state()` is saved, and restored by `restore_state(state)`.

    Raises:
      ValueError: if `every_epochs` or `keep` is not positive.
    """

    def __init__(self, directory, monitor="val_elbo", every_epochs=1, keep=2, callbacks=()):
        super().__init__()
        self.directory = user_path(directory, "directory")
        self.monitor = monitor
        self.every_epochs = positive_integer("every_epochs", every_epochs)
        self.keep = positive_integer("keep", keep)
        self.callbacks = {type(c).__name__: c for c in callbacks}
        self._has_warned = False

    def _states(self) -> list[pathlib.Path]:
        return sorted(self.directory.glob("step-*.weights.h5"), key=_step_of)

    def restore(self, model, prepare=None) -> int:
        """Loads the newest readable state into a compiled model; returns its step (0 if there is none).

        Args:
          model: the model.
          prepare: optional function of a step, called before the state of that step is loaded: it compiles
            the model as it was there.

        Raises:
          OSError: if there are states and none of them can be read.
        """
        for leftover in self.directory.glob(f"{WRITING}*"):
            leftover.unlink()
        states = self._states()
        for path in reversed(states):
            if prepare is not None:
                prepare(_step_of(path))
            try:
                model.load_weights(path)
            except OSError as error:
                logging.warning("Skipping the unreadable checkpoint %s: %s", path, error)
                continue
            self._restore_callbacks(path)
            return int(model.step.numpy())
        if states:
            raise OSError(
                f"None of the checkpoints in {self.directory} can be read: "
                f"{', '.join(path.name for path in states)}. Delete them to start anew"
            )
        return 0

    def load_best(self, model) -> dict:
        """Loads the best weights (the newest state where none was monitored).

        Returns:
          The step and, if it was monitored, the value of the metric.

        Raises:
          FileNotFoundError: if there is no checkpoint.
        """
        if (self.directory / "best.weights.h5").exists():
            model.load_weights(self.directory / "best.weights.h5")
            return self._best() or {"step": int(model.step.numpy())}
        if self.restore(model) == 0:
            raise FileNotFoundError(f"There is no checkpoint in {self.directory}. Train first")
        return {"step": int(model.step.numpy())}

    def last_state(self) -> pathlib.Path | None:
        """The newest state, or `None`."""
        return next(reversed(self._states()), None)

    def _restore_callbacks(self, path):
        with h5py.File(path) as file:
            states = json.loads(file.attrs.get("callbacks", "{}"))
        for name, state in states.items():
            if name in self.callbacks:
                self.callbacks[name].restore_state(state)

    def _save(self, name):
        path = self.directory / name

        def write(temporary):
            self.model.save_weights(temporary)
            with h5py.File(temporary, "a") as file:
                file.attrs["callbacks"] = json.dumps({n: c.state() for n, c in self.callbacks.items()})

        try:
            write_atomically(path, write)
        except RuntimeError as error:  # what h5py makes of a full disk
            raise OSError(f"{path} could not be written. Is the disk full? {error}") from error

    def _best(self) -> dict | None:
        record = self.directory / "best.json"
        return json.loads(record.read_text()) if record.exists() else None

    def on_epoch_end(self, epoch, logs=None):
        """Saves the best weights if they are, then the state.

        Raises:
          ValueError: if a metric of the training is NaN or infinite, and not for want of a log Z: the last
            state before that stays.
          OSError: if a file cannot be written: those before stay.
        """
        step, logs = int(self.model.step.numpy()), logs or {}
        means = {m.name: float(logs[m.name]) for m in self.model.metrics if m.name in logs}
        has_log_partition = not np.isnan(logs.get("log_partition_error", 0.0))
        if has_log_partition and not np.all(np.isfinite(list(means.values()))):
            raise ValueError(
                f"The training has diverged: the means of the epoch that ends at step {step} are {means}. "
                f"The checkpoints in {self.directory} are of earlier steps. Lower the learning rate"
            )
        value = logs.get(self.monitor)
        validated = sorted(name for name in logs if name.startswith("val_"))
        if self.monitor is not None and value is None and validated and not self._has_warned:
            logging.warning("`monitor` names no metric: %r. The logs have %s", self.monitor, validated)
            self._has_warned = True
        if value is not None and np.isfinite(value):
            best = self._best()
            if best is None or value > best[self.monitor]:
                # Should only the first of the two be written, this epoch is run and compared again.
                self._save("best.weights.h5")
                write_json(self.directory / "best.json", {"step": step, self.monitor: float(value)})
        last = self.params.get("epochs") == epoch + 1
        if (epoch + 1) % self.every_epochs == 0 or last:
            self._save(f"step-{step:08d}.weights.h5")
            for old in self._states()[: -self.keep]:
                old.unlink()


def _step_of(path) -> int:
    """The step in the name of a state."""
    return int(path.name.split(".")[0].removeprefix("step-"))
