"""A machine of its own under the callbacks: logs, checkpoints, chain health, divergence."""

import csv

import keras
import numpy as np
import pytest

from tfdvae import callbacks
from tfdvae.boltzmann import RBMTrainer, RestrictedBoltzmannMachine


def test_callbacks_serve_the_training_of_a_machine(tmp_path):
    x = np.random.default_rng(0).integers(0, 2, (40, 5)).astype("float32")

    def fit(trainer, epochs, initial_epoch=0):
        logs = callbacks.MetricsLog(tmp_path / "metrics.csv", tmp_path / "events")
        checkpoint = callbacks.TrainingCheckpoint(tmp_path, monitor="val_log_likelihood")
        trainer.fit(
            x,
            validation_data=(x,),
            batch_size=10,
            shuffle=False,
            epochs=epochs,
            initial_epoch=initial_epoch,
            verbose=0,
            callbacks=[callbacks.ChainHealthProbe(num_sweeps=20), logs, checkpoint],
        )
        return checkpoint

    trainer = RBMTrainer(RestrictedBoltzmannMachine(5, 3, name="rbm"), num_chains=6)
    trainer.compile(keras.optimizers.SGD(0.1))
    checkpoint = fit(trainer, epochs=2)
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["4", "8"]
    assert {"pseudo_log_likelihood", "val_log_likelihood", "chains_flip_rate"} <= set(rows[0])
    assert float(rows[1]["log_partition_estimate"]) == trainer.log_partition.value

    copy = RBMTrainer(RestrictedBoltzmannMachine(5, 3, name="rbm"), num_chains=6)
    copy.compile(keras.optimizers.SGD(0.1))
    assert checkpoint.restore(copy) == 8
    for got, want in zip(copy.variables, trainer.variables, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=want.path)
    copy.optimizer.learning_rate.assign(np.inf)
    with pytest.raises(ValueError, match=r"`left_bias` must be finite. .* it has diverged"):
        fit(copy, epochs=3, initial_epoch=2)
    assert checkpoint.restore(copy) == 8
