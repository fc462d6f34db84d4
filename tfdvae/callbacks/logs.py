"""Logs of a training: a CSV file and TensorBoard."""

import csv
import os
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

from tfdvae.files import user_path, write_atomically


class MetricsLog(keras.callbacks.Callback):
    """One row an epoch in a CSV file, and the same scalars for TensorBoard.

    Columns: epoch, step, the metrics (nats), the schedules' values at that step, the stored log Z
    with its standard error and step, and `seconds` since this object was made; what another objective brings
    later are columns added to the file. `fit` first drops the rows after the model's step and a row that an
    interruption cut off: on resuming, a row is never there twice. (TensorBoard keeps both, equal, points.)

    Args:
      path: the CSV file.
      tensorboard_dir: where to write events, or `None`.
    """

    def __init__(self, path, tensorboard_dir=None):
        super().__init__()
        self.path = user_path(path)
        self.tensorboard_dir = user_path(tensorboard_dir, "tensorboard_dir") if tensorboard_dir else None
        self._start = time.monotonic()
        self._fields = None
        self._writer = None

    def on_train_begin(self, logs=None):
        """Drops the rows that will be written again."""
        self._fields = None
        if self.path.exists():
            lines = _whole_rows(self.path.read_text(), int(self.model.step.numpy()))
            self._fields = next(csv.reader(lines[:1]), None)
            write_atomically(self.path, lambda name: pathlib.Path(name).write_text("".join(lines)))
        if self.tensorboard_dir:
            self._writer = tf.summary.create_file_writer(str(self.tensorboard_dir))

    def on_epoch_end(self, epoch, logs=None):
        """Appends a row."""
        row = {"epoch": epoch + 1, "step": int(self.model.step.numpy()), **self._scalars(logs or {})}
        row["seconds"] = round(time.monotonic() - self._start, 1)
        new = self._fields is None
        self._fields = self._fields or list(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if added := [name for name in row if name not in self._fields]:
            self._widen(added)
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

    def _widen(self, added):
        """Adds columns, of another objective than that of the rows before, which are empty there."""
        self._fields = [*self._fields, *added]
        with open(self.path, newline="") as file:
            rows = list(csv.DictReader(file))

        def write(name):
            with open(name, "w", newline="") as file:
                writer = csv.DictWriter(file, self._fields, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)

        write_atomically(self.path, write)

    def on_train_end(self, logs=None):
        """Closes the event file."""
        if self._writer:
            self._writer.close()
            self._writer = None

    def _scalars(self, logs):
        model = self.model
        row = {name: float(value) for name, value in logs.items()}
        row.update(model.scheduled_values())
        row["learning_rate"] = float(model.optimizer.learning_rate)
        if model.rbm is not None:
            stored = model.stored_log_partition
            estimate = None if stored.is_empty else stored.estimate
            row["log_partition_estimate"] = estimate.value if estimate else np.nan
            row["log_partition_error"] = estimate.standard_error if estimate else np.nan
            row["log_partition_step"] = stored.step
        return row


def _whole_rows(text: str, last_step: int) -> list[str]:
    """The header and the rows up to a step, without what an interruption cut off."""
    header, *rows = [*text.splitlines(keepends=True), ""]
    fields = next(csv.reader([header]), [])
    if not header.endswith("\n") or "step" not in fields:
        return []
    kept = [header]
    for row in rows:
        cells = next(csv.reader([row]), [])
        if not row.endswith("\n") or len(cells) != len(fields):
            break
        step = cells[fields.index("step")]
        if not step.isdecimal() or int(step) > last_step:
            break
        kept.append(row)
    return kept
