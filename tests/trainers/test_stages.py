"""A training in stages: their order, an interruption in each, and configs that are refused."""

import json
import shutil

import keras
import numpy as np
import pytest

from tests.trainers.experiments import assert_same_run, metrics
from tfdvae import callbacks, data
from tfdvae.layers import PreActivationBlock
from trainers import evaluate, experiment, stages, train
from trainers.configs import hybrid, hybrid_cifar10_small, hybrid_digits


def tiny_config():
    """Epochs of two steps: one of the autoencoder, two of the machine, two of VIMCO."""
    config = hybrid_digits.get_config()
    config.num_steps, config.steps_per_epoch, config.steps_per_execution = 10, 2, 2
    config.data.batch_size = 50
    config.model.latent_units, config.model.hidden_units, config.model.network = 4, 3, (8,)
    config.model.num_chains, config.model.num_sweeps = 5, 2
    config.autoencoding.fraction = config.contrastive.fraction = config.persistent.fraction = 0.2
    config.vimco.fraction = 0.4
    config.vimco.arguments.num_samples = 2
    config.evaluation.image_epochs = 10
    return config.lock()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("stages") / "run"
    train.train(tiny_config(), workdir, verbose=0)
    return workdir


def test_stages_follow_one_another(finished):
    assert stages.of(tiny_config()) == [
        *(("autoencoding", 0, 2), ("contrastive", 2, 4), ("persistent", 4, 6), ("vimco", 6, 10))
    ]
    assert [stages.at(tiny_config(), step).name for step in (0, 2, 3, 4, 5, 7, 10)] == [
        *("autoencoding", "autoencoding", "contrastive", "contrastive", "persistent", "vimco", "vimco")
    ]
    rows = metrics(finished)
    assert [row["step"] for row in rows] == ["2", "4", "6", "8", "10"]
    # Of the autoencoder and of the machine there is no bound; that of the validation is there throughout.
    for name, there in (("loss", 5), ("reconstruction", 3), ("elbo", 2), ("kl", 2), ("val_elbo", 5)):
        assert sum(row[name] != "" for row in rows) == there, name
    best = json.loads((finished / "checkpoints" / "best.json").read_text())
    assert best["step"] in (8, 10)  # of the last stage
    bound = "val_multi_sample_bound"  # what is trained then
    assert best[bound] == max(float(row[bound]) for row in rows[3:])
    assert all(float(row["val_elbo"]) < float(row[bound]) for row in rows[3:])
    assert all(row[bound] == "" for row in rows[:3])


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1, 2, 3, 4])
def test_a_training_that_is_interrupted_in_a_stage_ends_as_without(finished, tmp_path, epoch, monkeypatch):
    """Before the state of an epoch is saved."""
    save = callbacks.TrainingCheckpoint.on_epoch_end

    def stop(self, number, logs=None):
        if number == epoch:
            raise KeyboardInterrupt
        save(self, number, logs)

    monkeypatch.setattr(callbacks.TrainingCheckpoint, "on_epoch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        train.train(tiny_config(), tmp_path, verbose=0)
    monkeypatch.setattr(callbacks.TrainingCheckpoint, "on_epoch_end", save)
    train.train(tiny_config(), tmp_path, verbose=0)
    assert_same_run(finished, tmp_path, last_step=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "part", "last"),
    [
        ("autoencoding", "networks", None),
        ("persistent", "prior", 4),
        ("vimco", "networks", 6),
    ],
)
def test_a_stage_that_diverges_keeps_what_was_trained(tmp_path, stage, part, last):
    config = tiny_config().unlock()
    config[stage][part].learning_rate = 1e38
    with pytest.raises(ValueError, match=r"The training has diverged: .*The last good checkpoint: ") as error:
        train.train(config, tmp_path, verbose=0)
    states = sorted((tmp_path / "checkpoints").glob("step-*.weights.h5"))
    assert str(error.value).endswith(str(states[-1] if states else None))
    assert [int(path.name[5:13]) for path in states[-1:]] == ([last] if last else [])


def test_a_report_has_both_figures(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    config, model = evaluate.load_model(tmp_path / "run")
    config.evaluation.update(
        dict(num_samples=4, raise_images=60, raise_samples=20, raise_temperatures=5),
        log_partition_temperatures=20,
        tempering_sweeps=20,
    )
    evaluate.evaluate(config, model, tmp_path / "run", verbose=0)
    found = json.loads((tmp_path / "run" / "report.json").read_text())["raise"]
    assert (found["num_examples"], found["num_samples"], found["num_temperatures"]) == (60, 20, 5)
    assert np.isfinite([found["by_raise"], found["by_log_partition"]]).all()
    printed = capsys.readouterr().out
    assert f"RAISE           {found['by_raise']:9.3f} on 60 images, by log Z " in printed
    assert ("nats below that by log Z" in printed) == (found["warning"] is not None)


def test_each_stage_has_its_objective_and_optimizers():
    config = tiny_config()
    model = experiment.model(config, data_dir=False)
    kinds, sweeps = [], []
    for stage in stages.of(config):
        experiment.compile_model(model, config, stage)
        kinds.append(type(model.objective).__name__)
        values = [model.objective.scheduled_values(step) for step in (stage.start, stage.stop - 1)]
        sweeps += [value["contrastive_sweeps"] for value in values if value]
        assert isinstance(model.optimizer, keras.optimizers.Adam)
        assert isinstance(model.group_optimizers["prior"], keras.optimizers.SGD)
    assert kinds == ["Autoencoding", "MachineOnCodes", "MachineOnCodes", "VIMCO"]
    assert sweeps == [1.0, 25.0]
    assert model.objective.num_samples == 2
    # The boundaries are fractions of the stage: 0.6 and 0.8 of four steps.
    rates = [float(model.optimizer._learning_rate(step)) for step in (0, 2, 3, 4)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 3e-4, 3e-5], rtol=1e-5)
    experiment.compile_model(model, config)
    assert type(model.objective).__name__ == "VIMCO"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"stages": ("warmup",)},
            r"names 'warmup', but the config has the stages \['autoencoding', 'contrastive', ",
        ),
        ({"vimco.objective": "IWAE"}, r"`config.vimco.objective` must be a class .*Received: 'IWAE'"),
        ({"vimco.objective": "schedules"}, r"`config.vimco.objective` must be a class .*Received: 'sched"),
        (
            {"persistent.prior.name": "lion"},
            r"`config.persistent.prior.name` must be one of .* Received: 'lion'",
        ),
        (
            {"vimco.fraction": 0.9},
            r"must add up to 1\. Received: \{'autoencoding': 0\.2, 'contrastive': 0\.2",
        ),
        ({"steps_per_epoch": 8}, r"The stages \['autoencoding', 'contrastive'\] have no epoch of 8 steps"),
    ],
)
def test_stages_are_checked(change, message):
    config = tiny_config().unlock()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        experiment.check(config)


def test_the_configs_are_right(monkeypatch):
    def training_mean(name, *_):
        return np.full(data.info(name).image_shape, 120.0 if name in ("cifar10", "imagenet64") else 0.3)

    monkeypatch.setattr(data, "training_mean", training_mean)
    for config in (hybrid_digits.get_config(), hybrid_cifar10_small.get_config()):
        experiment.check(config)
        experiment.model(config)
    for name in hybrid.MODELS:
        config = hybrid.get_config(name)
        experiment.check(config)
        model = experiment.model(config)
        colour = name in ("cifar10", "imagenet64")
        assert (model.latent_units, model.hidden_units) == ((1_024, 2_048) if colour else (200, 400))
        # A mixture of 10 logistics for 3 channels: 100 parameters a pixel.
        assert model.pixels.num_parameters == (100 if colour else 1)
        layers = model.encoder.network.layers
        blocks = [layer for layer in layers if isinstance(layer, PreActivationBlock)]
        assert (
            len(blocks) == {"static_mnist": 0, "static_mnist_resnet": 6, "cifar10": 8, "imagenet64": 5}[name]
        )
        # Colour has no fully connected layer: 2 x 2 x 256 features are the logits.
        assert any(isinstance(layer, keras.layers.Dense) for layer in layers) != colour
    with pytest.raises(ValueError, match=r"'mnist' in 'mnist' must be one of static_mnist, "):
        hybrid.get_config("mnist")
