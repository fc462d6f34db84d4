import errno
import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib import image

import tfdvae
from tests.trainers.experiments import (
    Killed,
    assert_same_run,
    killed_at_step_2,
    metrics,
    summary_tags,
    tiny_config,
    weights,
)
from tfdvae.models import DVAE
from trainers import evaluate, experiment, train
from trainers.configs import pixelvaepp_digits


def test_workdir_of_a_finished_training(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoints",
        "config.json",
        "metrics.csv",
        "reconstructions.png",
        "report.json",
        "samples.png",
        "tensorboard",
    ]
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == [
        "best.json",
        "best.weights.h5",
        "step-00000008.weights.h5",
        "step-00000010.weights.h5",
    ]
    assert json.loads((finished / "config.json").read_text()) == json.loads(tiny_config().to_json())


def test_metrics_of_a_finished_training(finished):
    rows = metrics(finished)
    # `num_steps` is no multiple of `steps_per_epoch`: the last epoch is shorter.
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "4"), ("2", "8"), ("3", "10")]
    names = ["loss", "elbo", "reconstruction", "kl"]
    expected = {"epoch", "step", *names, *(f"val_{name}" for name in names), "kl_factor", "beta"}
    expected |= {"learning_rate", "log_partition_estimate", "log_partition_error", "log_partition_step"}
    expected |= {"val_log_partition_error"}
    expected |= {"chains_autocorrelation_time", "chains_r_hat", "chains_flip_rate"}
    assert set(rows[0]) == expected
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert [float(row["kl_factor"]) for row in rows] == [1.0, 1.0, 1.0]  # a warm-up of 3 steps
    rates = [3e-3, 3e-3 * 0.09, 3e-3 * 0.027]  # the boundaries are at 6, 7 and 9
    np.testing.assert_allclose([float(row["learning_rate"]) for row in rows], rates, rtol=1e-6)
    assert all(row["log_partition_step"] == row["step"] for row in rows)  # fresh at each validation
    best = json.loads((finished / "checkpoints" / "best.json").read_text())
    assert best["val_elbo"] == max(float(row["val_elbo"]) for row in rows)


def test_validation_in_the_logs_is_over_all_images(finished):
    config, model = evaluate.load_model(finished)
    best = json.loads((finished / "checkpoints" / "best.json").read_text())
    assert int(model.step.numpy()) == best["step"]
    for steps_per_execution in (1, 7):
        model.compile(steps_per_execution=steps_per_execution)
        logs = model.evaluate(experiment.load(config, "valid"), verbose=0, return_dict=True)
        np.testing.assert_allclose(logs["elbo"], best["val_elbo"], rtol=1e-6)
    assert model.metrics[0].count.numpy() == 250


def test_tensorboard_has_scalars_and_images(finished):
    tags = summary_tags(finished)
    names = ("elbo", "validation/elbo", "beta", "learning_rate", "log_partition_estimate")
    assert {("scalars", name, step) for name in names for step in (4, 8, 10)} <= tags
    # Every second epoch, and at the end.
    images = {(name, step) for plugin, name, step in tags if plugin == "images"}
    assert images == {(name, step) for name in ("samples", "reconstructions") for step in (8, 10)}


def test_report(finished):
    report = json.loads((finished / "report.json").read_text())
    assert report["config"] == json.loads((finished / "config.json").read_text())
    assert report["seed"] == 0
    assert report["step"] == json.loads((finished / "checkpoints" / "best.json").read_text())["step"]
    assert report["versions"]["tfdvae"] == tfdvae.__version__
    assert report["versions"]["keras"] == keras.__version__
    figures = report["evaluation"]
    assert (figures["num_examples"], figures["num_samples"], figures["limit"]) == (250, 5, "binary")
    assert figures["elbo"] < figures["log_likelihood"] < 0
    assert figures["log_partition"]["method"] == "exact"
    assert "digits" in report["config"]["data"]["name"]
    assert report["data_caveat"]


def test_pictures(finished):
    # 8 x 8 images of 28 pixels with a rule before each and at the end, twice enlarged.
    for name in ("samples.png", "reconstructions.png"):
        picture = image.imread(finished / name)
        assert picture.shape[:2] == (2 * (8 * 29 + 1), 2 * (8 * 29 + 1))
        grey = picture[..., 0]
        assert grey[0, 0] == pytest.approx(0.5, abs=0.01)  # the rules
        assert grey.min() < 0.2
        assert grey.max() > 0.8


def test_finished_workdir_is_evaluated_again_without_a_step(finished, tmp_path, monkeypatch, capsys):
    workdir = tmp_path / "copy"
    shutil.copytree(finished, workdir)
    old = json.loads((workdir / "report.json").read_text())
    for name in ("report.json", "samples.png"):
        (workdir / name).unlink()
    # What does not touch the training may change; the workdir keeps the newest.
    config = tiny_config().unlock()
    config.evaluation.num_samples = 3
    config.steps_per_execution = 1
    monkeypatch.setattr(DVAE, "fit", lambda *_, **__: pytest.fail("a finished training was continued"))
    model = train.train(config, workdir, verbose=0)
    evaluate.evaluate(config, model, workdir, verbose=0)
    new = json.loads((workdir / "report.json").read_text())
    assert new["config"]["evaluation"]["num_samples"] == new["evaluation"]["num_samples"] == 3
    assert new["evaluation"]["kl_per_group"] == old["evaluation"]["kl_per_group"]
    assert (workdir / "samples.png").read_bytes() == (finished / "samples.png").read_bytes()
    assert experiment.read_config(workdir).evaluation.num_samples == 3
    assert metrics(workdir) == metrics(finished)
    assert "250 images, 3 importance samples" in capsys.readouterr().out


@pytest.mark.slow
def test_interrupted_training_ends_like_an_uninterrupted_one(finished, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    replace = os.replace

    def killed(source, target):
        """Ends the program while it writes the first state; the row and the best weights are there."""
        if not target.name.startswith("step-"):
            return replace(source, target)
        os.truncate(source, 1000)
        patch.setattr(pathlib.Path, "unlink", lambda *_, **__: None)  # no time to clear up
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            train.train(tiny_config(), workdir, verbose=0)
    assert [row["step"] for row in metrics(workdir)] == ["4"]
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == [
        ".writing-step-00000004.weights.h5",
        "best.json",
        "best.weights.h5",
    ]

    def full(source, target):
        if target.name == "step-00000008.weights.h5":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            train.train(tiny_config(), workdir, verbose=0)
    assert [row["step"] for row in metrics(workdir)] == ["4", "8"]
    _, model = evaluate.load_model(workdir)  # what was saved before is of use
    assert int(model.step.numpy()) in (4, 8)

    config = tiny_config().unlock()
    config.steps_per_execution = 1  # has no part in the results
    train.train(config, workdir, verbose=0)
    assert_same_run(workdir, finished)


@pytest.mark.slow
def test_interrupted_training_of_pixelvaepp(tmp_path, monkeypatch):
    """What the first batch sets, gains and biases, is part of the state."""
    config = pixelvaepp_digits.get_config()
    config.num_steps, config.steps_per_epoch = 2, 1
    config.model.filters, config.model.num_sizes = 2, 1
    config.model.num_chains, config.model.num_sweeps = 5, 2
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    killed_at_step_2(monkeypatch, workdir, lambda: train.train(config, workdir, verbose=0))
    for folder in (workdir, whole):
        train.train(config, folder, verbose=0)
    assert_same_run(workdir, whole, last_step=2)


@pytest.mark.slow
def test_a_training_that_diverges_names_the_last_good_checkpoint(tmp_path):
    config = tiny_config().unlock()
    config.optimizer.boundaries, config.optimizer.factors = (0.5,), (1.0, 1e38)  # in the second of the epochs
    with pytest.raises(ValueError, match=r"The training has diverged: the terms of step \d are ") as error:
        train.train(config, tmp_path, verbose=0)
    last = tmp_path / "checkpoints" / "step-00000004.weights.h5"
    assert str(error.value).endswith(f"The last good checkpoint: {last}")
    # (Of log Z, an infinity stands for what an exact value does not have.)
    assert all(
        np.isfinite(value).all() for name, value in weights(last).items() if "log_partition" not in name
    )


def test_steps_per_execution_divides_every_epoch():
    one = tf.distribute.get_strategy()
    for num_steps, steps_per_epoch, limit, expected in (
        (6000, 300, 50, 50),
        (350, 300, 50, 50),
        (20, 300, 50, 20),
        (10, 4, 50, 2),
        (7, 300, 50, 1),
        (602, 301, 50, 43),
    ):
        config = tiny_config().unlock()
        config.update(
            {"num_steps": num_steps, "steps_per_epoch": steps_per_epoch, "steps_per_execution": limit}
        )
        assert train._steps_per_execution(config, one) == expected
        assert all(steps % expected == 0 for *_, steps in train._segments(config, 0, num_steps))
