"""A machine of its own under the callbacks: logs, checkpoints, chain health, divergence."""

import csv

import keras
import numpy as np
import pytest

from tfdvae import callbacks
from tfdvae.boltzmann import RBMTrainer, RestrictedBoltzmannMachine


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 2, (40, 5)).astype("float32")


def make(learning_rate=0.1):
    trainer = RBMTrainer(RestrictedBoltzmannMachine(5, 3, name="rbm"), num_chains=6)
    trainer.compile(keras.optimizers.SGD(learning_rate))
    return trainer


def fit(trainer, x, folder, epochs, monitor="val_log_likelihood", probe=True, **kwargs):
    checkpoint = callbacks.TrainingCheckpoint(folder, monitor=monitor)
    logs = callbacks.MetricsLog(folder / "metrics.csv", folder / "events")
    trainer.fit(
        x,
        batch_size=10,
        shuffle=False,
        epochs=epochs,
        verbose=0,
        callbacks=[callbacks.ChainHealthProbe(num_sweeps=20)] * probe + [logs, checkpoint],
        **kwargs,
    )
    return checkpoint


def read_rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_logs_and_checkpoints(x, tmp_path):
    trainer = make()
    checkpoint = fit(trainer, x, tmp_path, epochs=2, validation_data=(x,))
    rows = read_rows(tmp_path)
    assert [row["step"] for row in rows] == ["4", "8"]
    assert {"pseudo_log_likelihood", "val_log_likelihood", "chains_flip_rate"} <= set(rows[0])
    assert float(rows[1]["log_partition_estimate"]) == trainer.log_partition.value
    assert checkpoint.load_best(make())["val_log_likelihood"] == max(
        float(row["val_log_likelihood"]) for row in rows
    )
    copy = make()
    assert checkpoint.restore(copy) == 8
    for got, want in zip(copy.variables, trainer.variables, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=want.path)


def test_without_validation_no_log_z_is_needed(x, tmp_path):
    fit(make(), x, tmp_path, epochs=2)
    assert [row["log_partition_estimate"] for row in read_rows(tmp_path)] == ["nan", "nan"]


def test_a_monitor_that_is_not_there_is_named(x, tmp_path, caplog):
    fit(make(), x, tmp_path, epochs=2, monitor="val_elbo", validation_data=(x,))
    (warning,) = [r.getMessage() for r in caplog.records if "monitor" in r.getMessage()]
    assert "'val_elbo'" in warning
    assert "'val_log_likelihood'" in warning


def test_a_state_that_diverged_is_not_saved(x, tmp_path):
    trainer = make()
    checkpoint = fit(trainer, x, tmp_path, epochs=2)
    trainer.optimizer.learning_rate.assign(np.inf)
    before = trainer.rbm.get_weights()
    with pytest.raises(ValueError, match=r"diverged: the terms of step 8 are .*, learning_rate of .* inf"):
        fit(trainer, x, tmp_path, epochs=3, initial_epoch=2, probe=False)
    assert checkpoint.restore(make()) == 8
    assert all(np.array_equal(v, w) for v, w in zip(trainer.rbm.get_weights(), before, strict=True))
