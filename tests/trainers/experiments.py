"""A training of ten steps on the digits, and how to look at what it leaves behind."""

import csv
import os
import pathlib

import h5py
import numpy as np
import pytest
import tensorflow as tf

from trainers.configs import digits


def tiny_config(**model):
    """Ten steps in epochs of 4, 4 and 2; a small model, every part of the training state in use."""
    config = digits.get_config()
    config.num_steps = 10
    config.steps_per_epoch = 4
    config.steps_per_execution = 4
    config.data.batch_size = 50
    config.model.latent_units = (4, 3)
    config.model.num_chains = 5
    config.model.num_sweeps = 2
    config.evaluation.num_samples = 5
    config.evaluation.image_epochs = 2
    with config.ignore_type():
        config.model.network = (8,)
        config.model.update(model)
    return config.lock()


def weights(path):
    """All arrays of a checkpoint, by path."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if hasattr(item, "dtype") else {}))
    return found


def assert_same_weights(path, other):
    """Compares two checkpoints bit for bit."""
    a, b = weights(path), weights(other)
    assert a.keys() == b.keys()
    assert len(a) > 20
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def metrics(workdir):
    """The rows of metrics.csv without the column that holds times."""
    rows = csv.DictReader((pathlib.Path(workdir) / "metrics.csv").read_text().splitlines())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def killed_at_step_2(monkeypatch, workdir, run):
    """Runs a training with epochs of one step that ends while it writes the state of step 2."""
    replace = os.replace

    def killed(source, target):
        if target.name == "step-00000002.weights.h5":
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            run()
    states = sorted(path.name for path in (workdir / "checkpoints").glob("step-*"))
    assert states == ["step-00000001.weights.h5"]


def assert_same_run(workdir, other, last_step=10):
    """Compares the last states and the metrics of two runs."""
    checkpoint = f"checkpoints/step-{last_step:08d}.weights.h5"
    for name in (checkpoint, "checkpoints/best.weights.h5"):
        assert_same_weights(pathlib.Path(workdir) / name, pathlib.Path(other) / name)
    best = "checkpoints/best.json"
    assert (pathlib.Path(workdir) / best).read_text() == (pathlib.Path(other) / best).read_text()
    assert metrics(workdir) == metrics(other)


def summary_tags(workdir):
    """(plugin, tag, step) of all TensorBoard events."""
    found = set()
    for path in pathlib.Path(workdir).glob("tensorboard/events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found |= {(v.metadata.plugin_data.plugin_name, v.tag, event.step) for v in event.summary.value}
    return found
