"""Keras callbacks: logs, checkpoints that survive `kill -9`, pictures, fresh estimates of log Z."""

import csv
import json
import os
import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfdvae.objectives import schedules


def write_atomically(path: pathlib.Path, write) -> None:
    """Calls `write(temporary_path)`, then moves the file into place; a reader never sees a part of it.

    On any error the temporary file is removed and what was at `path` before stays.
    """
    path = pathlib.Path(path)
    suffix = "".join(path.suffixes[-2:])
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix=suffix, dir=path.parent)
    os.close(handle)
    try:
        write(name)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        pathlib.Path(name).unlink(missing_ok=True)
        raise


def write_json(path, value) -> None:
    """Writes JSON atomically."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    write_atomically(path, lambda name: pathlib.Path(name).write_text(text))


class LogPartitionRefresh(keras.callbacks.Callback):
    """Measures log Z of the prior again every `every_epochs` epochs, so that the logs stay near the truth.

    `fit` with validation data does so at each validation; this is for training without any.
    """

    def __init__(self, every_epochs=1, seed=0):
        super().__init__()
        self.every_epochs = every_epochs
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        """Refreshes the estimate."""
        if self.model.rbm is not None and epoch % self.every_epochs == 0:
            self.model.update_log_partition(seed=self.seed)


class MetricsLog(keras.callbacks.Callback):
    """One row an epoch in a CSV file, and the same scalars for TensorBoard.

    Columns: epoch, step, the metrics (nats), the schedules' values at that step, the stored log Z
    with its standard error, and `seconds` since the program's start. On resuming, rows after the
    restored step are dropped, so that a row is never there twice.

    Args:
      path: the CSV file.
      tensorboard_dir: where to write events, or `None`.
    """

    def __init__(self, path, tensorboard_dir=None):
        super().__init__()
        self.path = pathlib.Path(path)
        self.tensorboard_dir = tensorboard_dir

    def on_train_begin(self, logs=None):
        """Drops the rows that will be written again."""
        self._start = time.monotonic()
        self._writer = (
            tf.summary.create_file_writer(str(self.tensorboard_dir)) if self.tensorboard_dir else None
        )
        self._fields = None
        if self.path.exists():
            step = int(self.model.step.numpy())
            # A line without its end was cut off by an interruption.
            lines = [line for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            rows = list(csv.DictReader(lines))
            kept = [row for row in rows if int(row["step"]) <= step]
            if lines:
                self._fields = next(csv.reader(lines[:1]))
                text = "".join(lines[: 1 + len(kept)])
                write_atomically(self.path, lambda name: pathlib.Path(name).write_text(text))

    def on_epoch_end(self, epoch, logs=None):
        """Appends a row."""
        row = {"epoch": epoch + 1, "step": int(self.model.step.numpy()), **self._scalars(logs or {})}
        row["seconds"] = round(time.monotonic() - self._start, 1)
        new = self._fields is None
        self._fields = self._fields or list(row)
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, self._fields, extrasaction="ignore", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())
        if self._writer:
            with self._writer.as_default(step=row["step"]):
                for name, value in row.items():
                    if name not in ("epoch", "step"):
                        tf.summary.scalar(name.replace("val_", "validation/"), value)
            self._writer.flush()

    def _scalars(self, logs):
        model = self.model
        row = {name: float(value) for name, value in logs.items()}
        row["kl_factor"] = float(schedules.value_at(model.kl_factor, model.step))
        for name, value in model.smoothing.parameter(model.step).items():
            row[name] = float(value)
        row["learning_rate"] = float(model.optimizer.learning_rate)
        if model.rbm is not None:
            estimate = model.stored_log_partition.estimate
            row["log_partition_estimate"] = estimate.value
            row["log_partition_error"] = estimate.standard_error
            row["log_partition_step"] = model.stored_log_partition.step
        return row


class TrainingCheckpoint(keras.callbacks.Callback):
    """Saves the whole training state atomically, and the best weights by a validation metric.

    Files: `step-00001000.weights.h5` (the last `keep`), `best.weights.h5` and `best.json`. The state
    holds weights, optimizers, chains, the step and the stamped log Z; everything random is a function
    of the step, so a resumed run continues bit for bit.

    Args:
      directory: where to write.
      monitor: the metric of `best.weights.h5`, larger is better.
      every_epochs: how often to save.
      keep: how many of the last states to keep.
    """

    def __init__(self, directory, monitor="val_elbo", every_epochs=1, keep=2):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.monitor = monitor
        self.every_epochs = every_epochs
        self.keep = keep

    def _states(self):
        return sorted(self.directory.glob("step-*.weights.h5"))

    def restore(self, model) -> int:
        """Loads the newest readable state into a compiled model; returns its step (0 if there is none)."""
        for leftover in self.directory.glob(".writing-*"):
            leftover.unlink()
        for path in reversed(self._states()):
            try:
                model.load_weights(path)
            except OSError as error:
                logging.warning("Skipping the unreadable checkpoint %s: %s", path, error)
                continue
            return int(model.step.numpy())
        return 0

    def load_best(self, model) -> dict:
        """Loads the best weights (the newest state where none was monitored); returns `best.json`."""
        if (self.directory / "best.weights.h5").exists():
            model.load_weights(self.directory / "best.weights.h5")
            return json.loads((self.directory / "best.json").read_text())
        if self.restore(model) == 0:
            raise ValueError(f"No checkpoint in {self.directory}. Train first")
        return {"step": int(model.step.numpy())}

    def on_epoch_end(self, epoch, logs=None):
        """Saves the best weights if they are, then the state."""
        step = int(self.model.step.numpy())
        value = (logs or {}).get(self.monitor)
        if value is not None and np.isfinite(value):
            record = self.directory / "best.json"
            best = json.loads(record.read_text()) if record.exists() else None
            if best is None or value > best[self.monitor]:
                write_atomically(self.directory / "best.weights.h5", self.model.save_weights)
                write_json(record, {"step": step, self.monitor: float(value)})
        last = self.params.get("epochs") == epoch + 1
        if (epoch + 1) % self.every_epochs == 0 or last:
            write_atomically(self.directory / f"step-{step:08d}.weights.h5", self.model.save_weights)
            for old in self._states()[: -self.keep]:
                old.unlink()


class ImageGrids(keras.callbacks.Callback):
    """Shows samples and reconstructions in TensorBoard every `every_epochs` epochs.

    Args:
      tensorboard_dir: where to write events.
      images: a batch of images to reconstruct.
      every_epochs: how often.
      num_images: images in each grid.
    """

    def __init__(self, tensorboard_dir, images, every_epochs=10, num_images=16):
        super().__init__()
        self.tensorboard_dir = str(tensorboard_dir)
        self.images = images[:num_images]
        self.every_epochs = every_epochs
        self.num_images = num_images

    def on_train_begin(self, logs=None):
        """Opens the event file."""
        self._writer = tf.summary.create_file_writer(self.tensorboard_dir)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the grids."""
        if (epoch + 1) % self.every_epochs:
            return
        step = int(self.model.step.numpy())
        with self._writer.as_default(step=step):
            tf.summary.image(
                "samples",
                self.model.sample(self.num_images, seed=step, mean=True),
                max_outputs=self.num_images,
            )
            tf.summary.image(
                "reconstructions",
                tf.concat([self.images, self.model.reconstruct(self.images, seed=step, mean=True)], axis=2),
                max_outputs=self.num_images,
            )
        self._writer.flush()
