import csv
import errno
import json
import os

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae import callbacks
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE
from tfdvae.objectives import Elbo, schedules


def make_model(prior="rbm", seed=0, objective=None, **kwargs):
    keras.utils.set_random_seed(seed)
    model = DVAE(
        image_shape=(2, 2, 1), latent_units=(3, 2), network=(4,), prior=prior, num_chains=3, **kwargs
    )
    model.compile(keras.optimizers.SGD(0.1), objective)
    if model.rbm is not None:
        model.update_log_partition()
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(autouse=True)
def _step_zero(model):
    model.step.assign(0)


def attach(callback, model, epochs=100):
    callback.set_model(model)
    callback.set_params({"epochs": epochs})
    return callback


def end_epoch(callback, epoch, steps_per_epoch=10, **logs):
    """Ends epoch `epoch` (counted from 0) of the callback's model, at the step where it ends."""
    callback.model.step.assign((epoch + 1) * steps_per_epoch)
    callback.on_epoch_end(epoch, {"loss": 1.0, **logs})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- metrics ---


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_metrics_log_columns(tmp_path, model):
    log = attach(callbacks.MetricsLog(tmp_path / "sub" / "metrics.csv"), model)
    log.on_train_begin()
    end_epoch(log, 0, elbo=np.float32(-3.25), val_elbo=-4.0)
    end_epoch(log, 1, elbo=-3.0, val_elbo=-4.5)
    first, second = rows_of(log.path)
    expected = ["epoch", "step", "loss", "elbo", "val_elbo", "kl_factor", "beta", "learning_rate"]
    expected += ["log_partition_estimate", "log_partition_error", "log_partition_step", "seconds"]
    assert list(first) == expected
    assert (first["epoch"], first["step"], first["elbo"], first["val_elbo"]) == ("1", "10", "-3.25", "-4.0")
    assert (second["epoch"], second["step"]) == ("2", "20")
    assert float(first["log_partition_estimate"]) == model.stored_log_partition.estimate.value
    assert float(first["learning_rate"]) == np.float32(0.1)
    assert float(second["seconds"]) >= float(first["seconds"]) >= 0


def test_metrics_log_gives_the_schedules_at_the_step(tmp_path):
    model = make_model(
        prior="bernoulli",
        objective=Elbo(kl_factor=schedules.linear(0.0, 1.0, 40)),
        smoothing=Smoothing("overlapping_exponential", beta=schedules.linear(6.0, 16.0, 100)),
    )
    log = attach(callbacks.MetricsLog(tmp_path / "metrics.csv"), model)
    log.on_train_begin()
    end_epoch(log, 0)
    (row,) = rows_of(log.path)
    assert (float(row["kl_factor"]), float(row["beta"])) == (0.25, 7.0)
    assert not any("log_partition" in name for name in row)


def whole_log(path, model, epochs=range(4)):
    log = attach(callbacks.MetricsLog(path), model)
    log.on_train_begin()
    for epoch in epochs:
        end_epoch(log, epoch, elbo=-1.0 - epoch)
    return log


def without_seconds(path):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(path)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text,
        lambda text: text[:-1],  # the end of the line is missing
        lambda text: text[: text.rindex("\n3,") + 9],  # a row that was cut off
        lambda text: text + "9,50,1.0\n",  # a row of another length
        lambda text: text.replace("\n3,30", "\n3,\0\0"),  # blocks that never reached the disk
        lambda text: text + "\0\0\0\0",
    ],
)
def test_resumed_metrics_are_those_of_an_uninterrupted_run(tmp_path, model, damage):
    whole_log(tmp_path / "whole.csv", model)
    model.step.assign(0)
    path = whole_log(tmp_path / "cut.csv", model).path
    path.write_text(damage(path.read_text()))
    model.step.assign(20)  # the last state is older than the last row
    whole_log(path, model, epochs=range(2, 4))
    assert without_seconds(path) == without_seconds(tmp_path / "whole.csv")
    assert [row["step"] for row in rows_of(path)] == ["10", "20", "30", "40"]


@pytest.mark.parametrize("text", ["", "epoch,st", "epoch,step,loss", "no columns of ours\n1\n"])
def test_metrics_log_starts_anew_where_the_header_is_cut_off(tmp_path, model, text):
    (tmp_path / "metrics.csv").write_text(text)
    whole_log(tmp_path / "metrics.csv", model)
    assert [row["step"] for row in rows_of(tmp_path / "metrics.csv")] == ["10", "20", "30", "40"]


def test_full_disk_while_a_row_is_written(tmp_path, model, monkeypatch):
    whole_log(tmp_path / "whole.csv", model)
    model.step.assign(0)
    path = whole_log(tmp_path / "full.csv", model, epochs=range(2)).path
    log = attach(callbacks.MetricsLog(path), model)
    log.on_train_begin()

    def full(handle):
        os.ftruncate(handle, os.fstat(handle).st_size - 7)  # only a part found place
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            end_epoch(log, 2, elbo=-3.0)
    assert len(path.read_text().splitlines()) == 4
    model.step.assign(20)
    whole_log(path, model, epochs=range(2, 4))
    assert without_seconds(path) == without_seconds(tmp_path / "whole.csv")


def summaries(folder):
    """(step, tag, plugin, value) of all TensorBoard events below a folder."""
    found = []
    for path in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                found.append((event.step, value.tag, plugin, tf.make_ndarray(value.tensor)))
    return found


def test_metrics_log_writes_scalars_for_tensorboard(tmp_path, model):
    log = attach(callbacks.MetricsLog(tmp_path / "metrics.csv", tmp_path / "tb"), model)
    log.on_train_begin()
    end_epoch(log, 0, elbo=-2.0, val_elbo=-3.0)
    end_epoch(log, 1, elbo=-1.0, val_elbo=-2.5)
    log.on_train_end()
    found = summaries(tmp_path / "tb")
    values = {(step, tag): float(value) for step, tag, _, value in found}
    assert {plugin for _, _, plugin, _ in found} == {"scalars"}
    assert values[10, "elbo"] == -2.0
    assert values[20, "validation/elbo"] == -2.5
    assert (20, "beta") in values
    assert not {"epoch", "step"} & {tag for _, tag, _, _ in found}


# --- checkpoints ---


def state(model):
    """All that training changes, as arrays."""
    optimizers = [model.optimizer, *model.group_optimizers.values()]
    return [v.numpy() for v in (*model.weights, *(v for o in optimizers for v in o.variables))]


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def shake(model, seed):
    """Gives every variable another value, without a training."""
    rng = np.random.default_rng(seed)
    optimizers = [model.optimizer, *model.group_optimizers.values()]
    for variable in (*model.trainable_variables, *(v for o in optimizers for v in o.variables)):
        if "float" in variable.dtype:
            variable.assign(variable + rng.normal(size=variable.shape).astype("float32"))
    for optimizer in optimizers:
        optimizer.iterations.assign(seed)


def test_checkpoint_restores_the_whole_state(tmp_path):
    images = np.random.default_rng(0).integers(0, 2, (8, 2, 2, 1)).astype("float32")

    def make(seed):
        model = make_model(seed=seed)
        model.compile(keras.optimizers.Adam(1e-2), group_optimizers={"prior": keras.optimizers.Adam(1e-3)})
        return model

    trained = make(seed=1)
    trained.fit(images, batch_size=4, epochs=2, verbose=0, callbacks=[callbacks.TrainingCheckpoint(tmp_path)])
    assert names(tmp_path) == ["step-00000002.weights.h5", "step-00000004.weights.h5"]
    fresh = make(seed=2)
    differing = [not np.array_equal(a, b) for a, b in zip(state(fresh), state(trained), strict=True)]
    assert sum(differing) > len(differing) / 2
    assert callbacks.TrainingCheckpoint(tmp_path).restore(fresh) == 4
    assert_same(state(fresh), state(trained))
    assert int(fresh.group_optimizers["prior"].iterations) == 4
    assert np.any(trained.negative_phase.left.numpy() != make(seed=3).negative_phase.left.numpy())


def test_checkpoint_keeps_the_last_states_and_the_best(tmp_path, model):
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path, keep=2), model)
    states = []
    for epoch, value in enumerate([-3.0, -1.0, np.nan, -2.0]):
        shake(model, epoch)
        end_epoch(checkpoint, epoch, val_elbo=value)
        states.append(state(model))
    assert names(tmp_path) == [
        "best.json",
        "best.weights.h5",
        "step-00000030.weights.h5",
        "step-00000040.weights.h5",
    ]
    shake(model, 9)
    assert checkpoint.load_best(model) == {"step": 20, "val_elbo": -1.0}
    assert_same(state(model), states[1])
    assert checkpoint.restore(model) == 40
    assert_same(state(model), states[3])


def test_checkpoint_every_epochs_and_at_the_end(tmp_path, model):
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path, every_epochs=2, keep=9), model, epochs=5)
    for epoch in range(5):
        end_epoch(checkpoint, epoch)
    assert names(tmp_path) == [f"step-000000{n}0.weights.h5" for n in (2, 4, 5)]


def test_states_are_ordered_by_step_beyond_eight_digits(tmp_path, model):
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path, keep=1), model)
    end_epoch(checkpoint, 0, steps_per_epoch=99_999_999)
    end_epoch(checkpoint, 0, steps_per_epoch=100_000_000)
    assert names(tmp_path) == ["step-100000000.weights.h5"]
    assert checkpoint.restore(model) == 100_000_000


def test_restore_of_nothing(tmp_path, model):
    before = state(model)
    checkpoint = callbacks.TrainingCheckpoint(tmp_path / "none")
    assert checkpoint.restore(model) == 0
    assert_same(state(model), before)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*none. Train first"):
        checkpoint.load_best(model)
    assert not (tmp_path / "none").exists()


def test_restore_skips_an_unreadable_state_and_clears_what_was_left_behind(tmp_path, model, caplog):
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path), model)
    end_epoch(checkpoint, 0)
    expected = state(model)
    shake(model, 1)
    end_epoch(checkpoint, 1)
    newest = tmp_path / "step-00000020.weights.h5"
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    (tmp_path / ".writing-step-00000030.weights.h5").write_bytes(content[:100])
    assert checkpoint.restore(model) == 10
    assert_same(state(model), expected)
    assert "unreadable" in caplog.text
    assert names(tmp_path) == ["step-00000010.weights.h5", newest.name]
    (tmp_path / "step-00000010.weights.h5").write_bytes(b"")
    with pytest.raises(OSError, match=r"None of the checkpoints .* can be read: step-00000010"):
        checkpoint.restore(model)


def test_best_weights_without_their_record(tmp_path, model):
    # An interruption between the two: the state is that of the epoch before, and the epoch is run again.
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path), model)
    end_epoch(checkpoint, 0, val_elbo=-1.0)
    (tmp_path / "best.json").unlink()
    assert checkpoint.load_best(model) == {"step": 10}
    end_epoch(checkpoint, 0, val_elbo=-1.0)
    assert checkpoint.load_best(model) == {"step": 10, "val_elbo": -1.0}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("errno = 28")])
def test_full_disk_while_a_state_is_written(tmp_path, model, monkeypatch, error):
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path), model)
    end_epoch(checkpoint, 0, val_elbo=-3.0)
    before, files = state(model), names(tmp_path)

    def save_weights(name):
        with open(name, "wb") as file:
            file.write(b"half")
        raise error

    shake(model, 5)
    monkeypatch.setattr(model, "save_weights", save_weights)
    for value in (-1.0, -5.0):  # while the best weights are written, and while the state is
        with pytest.raises(OSError, match=r"No space left|Is the disk full"):
            end_epoch(checkpoint, 1, val_elbo=value)
    assert names(tmp_path) == files
    assert checkpoint.load_best(model) == {"step": 10, "val_elbo": -3.0}
    assert checkpoint.restore(model) == 10
    assert_same(state(model), before)


@pytest.mark.parametrize("logs", [{"loss": np.nan}, {"loss": np.inf}, {"kl": np.nan}])
def test_diverged_state_is_not_saved(tmp_path, model, logs):
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path), model)
    end_epoch(checkpoint, 0, val_elbo=np.nan)  # without a log Z, say
    ((name, value),) = logs.items()
    with pytest.raises(ValueError, match=f"diverged: .* at step 20 are .*'{name}': {value}"):
        end_epoch(checkpoint, 1, **logs)
    assert names(tmp_path) == ["step-00000010.weights.h5"]


@pytest.mark.parametrize("arguments", [{"keep": 0}, {"every_epochs": 0}])
def test_checkpoint_rejects_counts_that_are_not_positive(tmp_path, arguments):
    with pytest.raises(ValueError, match="must be a positive integer"):
        callbacks.TrainingCheckpoint(tmp_path, **arguments)


def test_the_last_state_is_that_of_the_largest_step(tmp_path, model):
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path), model)
    assert checkpoint.last_state() is None
    end_epoch(checkpoint, 0, steps_per_epoch=99_999_999)
    assert checkpoint.last_state() == tmp_path / "step-99999999.weights.h5"
    end_epoch(checkpoint, 0, steps_per_epoch=100_000_000)
    assert checkpoint.last_state() == tmp_path / "step-100000000.weights.h5"


# --- the plateau ---


@pytest.fixture
def decayed():
    """A model of which only the learning rate matters."""
    return make_model(prior="bernoulli")


def rates_of(plateau, model, values, first_epoch=0):
    """The learning rate after each epoch of the given validation bounds."""
    rates = []
    for epoch, value in enumerate(values, first_epoch):
        end_epoch(attach(plateau, model), epoch, val_elbo=value)
        rates.append(float(model.optimizer.learning_rate))
    return rates


def test_plateau_lowers_the_learning_rate_after_patience_epochs_without_a_better_value(decayed):
    plateau = callbacks.PlateauDecay(patience=2, factor=0.25)
    values = [-9.0, -8.0, -8.0, -8.5, -7.9, -8.0, -7.5, -7.6, -7.7, -7.8, -7.5, -7.4]
    rates = [0.1, 0.1, 0.1, 0.025, 0.025, 0.025, 0.025, 0.025, 0.00625, 0.00625, 0.0015625, 0.0015625]
    np.testing.assert_allclose(rates_of(plateau, decayed, values), rates, rtol=1e-6)
    assert plateau.state() == {"best": -7.4, "wait": 0}


def test_plateau_takes_the_smallest_improvement_for_one(decayed):
    rates = rates_of(callbacks.PlateauDecay(patience=1), decayed, [-8.0, -7.99999, -7.99998, -7.99998])
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.05])


def test_plateau_of_another_metric(decayed):
    plateau = attach(callbacks.PlateauDecay(patience=1, monitor="val_log_likelihood"), decayed)
    for epoch in range(2):  # larger is better, whatever the metric is called
        end_epoch(plateau, epoch, val_elbo=-1.0, val_log_likelihood=-10.0 + epoch)
    np.testing.assert_allclose(decayed.optimizer.learning_rate, 0.1)
    end_epoch(plateau, 2, val_elbo=0.0, val_log_likelihood=-9.5)
    np.testing.assert_allclose(decayed.optimizer.learning_rate, 0.05)


def test_plateau_goes_on_in_the_next_fit(decayed):
    plateau = attach(callbacks.PlateauDecay(patience=3), decayed)
    rates = []
    for epoch, value in enumerate([-1.0, -2.0, -2.0, -1.5, -3.0]):
        plateau.on_train_begin()
        rates += rates_of(plateau, decayed, [value], epoch)
        plateau.on_train_end()
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.05, 0.05])


@pytest.mark.parametrize("undefined", [np.nan, -np.inf])
def test_plateau_is_not_blinded_by_an_undefined_value(decayed, undefined):
    # Nothing is larger than NaN: were it kept as the best value, the rate would fall for ever.
    plateau = callbacks.PlateauDecay(patience=2)
    rates = rates_of(plateau, decayed, [undefined, undefined, -5.0, -4.0, -3.0, undefined, -2.0, -2.5, -2.5])
    np.testing.assert_allclose(rates[2:-1], rates[1])
    np.testing.assert_allclose(rates[-1], 0.5 * rates[1])
    assert plateau.state() == {"best": -2.0, "wait": 0}


def test_plateau_state_is_json(decayed):
    plateau = callbacks.PlateauDecay(patience=5)
    states = [plateau.state()]
    for epoch, value in enumerate([np.float32(-1.3), -2.0]):
        rates_of(plateau, decayed, [value], epoch)
        states.append(plateau.state())
    assert states == [
        {"best": None, "wait": 0},
        {"best": float(np.float32(-1.3)), "wait": 0},
        {"best": float(np.float32(-1.3)), "wait": 1},
    ]
    for state in states:
        other = callbacks.PlateauDecay(patience=5)
        other.restore_state(json.loads(json.dumps(state)))
        assert other.state() == state


BOUNDS = [-9.0, -8.0, -8.5, -8.2, -8.1, -7.0, -7.5, -7.2, -7.1]


def fit_with_plateau(folder, first_epoch, last_epoch, seed, restores_plateau=True):
    """Trains new objects from the last checkpoint on, under the validation bounds above.

    Returns the model, the plateau and the learning rate after each epoch.
    """
    model = make_model(prior="bernoulli", seed=seed)
    images = np.random.default_rng(0).integers(0, 2, (4, 2, 2, 1)).astype("float32")
    plateau = callbacks.PlateauDecay(patience=2)
    checkpoint = callbacks.TrainingCheckpoint(folder, callbacks=[plateau] if restores_plateau else [])
    assert checkpoint.restore(model) == first_epoch
    rates = []
    bounds = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(val_elbo=BOUNDS[epoch])
    )
    log = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    model.fit(
        images,
        batch_size=4,
        shuffle=False,
        initial_epoch=first_epoch,
        epochs=last_epoch,
        verbose=0,
        callbacks=[bounds, plateau, checkpoint, log],
    )
    return model, plateau, rates


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return fit_with_plateau(tmp_path_factory.mktemp("whole"), 0, len(BOUNDS), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 7])
def test_interrupted_plateau_goes_on_as_the_uninterrupted_one(tmp_path, uninterrupted, stop):
    model, plateau, rates = uninterrupted
    assert len(set(rates)) == 3
    *_, first = fit_with_plateau(tmp_path, 0, stop, seed=1)
    resumed, other, second = fit_with_plateau(tmp_path, stop, len(BOUNDS), seed=2)
    assert [*first, *second] == rates
    assert other.state() == plateau.state() == {"best": -7.0, "wait": 1}
    assert_same(state(resumed), state(model))


@pytest.mark.slow
def test_without_its_state_the_plateau_would_not_go_on(tmp_path, uninterrupted):
    # What the test above can see: in the midst of a wait, another best value and another wait.
    model, _, rates = uninterrupted
    *_, first = fit_with_plateau(tmp_path, 0, 3, seed=1)
    resumed, _, second = fit_with_plateau(tmp_path, 3, len(BOUNDS), seed=2, restores_plateau=False)
    assert [*first, *second] != rates
    assert any(np.any(a != b) for a, b in zip(state(resumed), state(model), strict=True))


def test_states_without_a_plateau_can_be_loaded_and_the_reverse(tmp_path, decayed):
    plain = attach(callbacks.TrainingCheckpoint(tmp_path / "plain"), decayed)
    end_epoch(plain, 0)
    older = attach(callbacks.TrainingCheckpoint(tmp_path / "older"), decayed)
    end_epoch(older, 0)
    with h5py.File(older.last_state(), "a") as file:
        del file.attrs["callbacks"]  # as before there were any
    for folder in ("plain", "older"):
        plateau = callbacks.PlateauDecay(patience=2)
        checkpoint = callbacks.TrainingCheckpoint(tmp_path / folder, callbacks=[plateau])
        shake(decayed, 1)
        assert checkpoint.restore(decayed) == 10
        assert plateau.state() == {"best": None, "wait": 0}
    plateau.restore_state({"best": -1.0, "wait": 1})
    recorded = attach(callbacks.TrainingCheckpoint(tmp_path / "new", callbacks=[plateau]), decayed)
    end_epoch(recorded, 0)
    expected = state(decayed)
    shake(decayed, 2)
    assert callbacks.TrainingCheckpoint(tmp_path / "new").restore(decayed) == 10
    assert_same(state(decayed), expected)


def test_the_plateau_is_that_of_the_state_that_could_be_read(tmp_path, decayed):
    plateau = callbacks.PlateauDecay(patience=5)
    checkpoint = attach(callbacks.TrainingCheckpoint(tmp_path, callbacks=[plateau]), decayed)
    for epoch, value in enumerate([-1.0, -2.0]):
        rates_of(plateau, decayed, [value], epoch)
        end_epoch(checkpoint, epoch, val_elbo=value)
    checkpoint.last_state().write_bytes(b"cut off")
    plateau.restore_state({"best": None, "wait": 4})
    assert checkpoint.restore(decayed) == 10
    assert plateau.state() == {"best": -1.0, "wait": 0}


# --- chains and pictures ---


def test_chain_health_probe(model, caplog):
    probe = attach(callbacks.ChainHealthProbe(num_sweeps=1000), model)
    chains, coupling = model.negative_phase, model.rbm.coupling.numpy()
    before = [chains.left.numpy(), chains.right.numpy()]
    logs = [{}, {}, {}]
    caplog.set_level("WARNING")
    for epoch, scale in enumerate((1.0, 1e4, 1e4)):
        model.rbm.coupling.assign(scale * (coupling + 0.1))  # frozen at the large scale
        probe.on_epoch_end(epoch, logs[epoch])
    model.rbm.coupling.assign(coupling)
    assert set(logs[0]) == {"chains_autocorrelation_time", "chains_r_hat", "chains_flip_rate"}
    assert logs[0]["chains_flip_rate"] > 0.1
    assert logs[1]["chains_flip_rate"] < 1e-3
    # The trouble is reported once, and probing is no training.
    assert [record.message for record in caplog.records if "chains are frozen" in record.message][1:] == []
    assert "Step 0: The chains are frozen" in caplog.text
    for a, b in zip(before, (chains.left, chains.right), strict=True):
        np.testing.assert_array_equal(a, b)
    attach(callbacks.ChainHealthProbe(), make_model(prior="bernoulli")).on_epoch_end(0, logs[0])


def test_image_grids(tmp_path, model):
    images = tf.zeros([9, 2, 2, 1])
    grids = attach(callbacks.ImageGrids(tmp_path, images, every_epochs=2, num_images=3), model, epochs=5)
    grids.on_train_begin()
    for epoch in range(5):
        end_epoch(grids, epoch)
    grids.on_train_end()
    found = {(step, tag): value for step, tag, plugin, value in summaries(tmp_path) if plugin == "images"}
    assert set(found) == {(step, tag) for step in (20, 40, 50) for tag in ("samples", "reconstructions")}
    for (_, tag), value in found.items():
        width, height, *pictures = value
        assert (int(width), int(height), len(pictures)) == (4 if tag == "reconstructions" else 2, 2, 3)
        assert all(picture.startswith(b"\x89PNG") for picture in pictures)
