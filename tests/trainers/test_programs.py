"""The programs' command lines, inside this process: flags, errors and exit statuses."""

import errno
import json
import logging
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from absl import logging as absl_logging
from matplotlib import image

import trainers
from tests.trainers.experiments import assert_same_run, killed_at_step_2, metrics
from tfdvae.models import PixelVAEPlusPlus
from trainers import evaluate, pictures, program, sample, train

# ml_collections 1.1 loads config files with it.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method is deprecated:DeprecationWarning")

ROOT = pathlib.Path(__file__).resolve().parents[2]


CONFIG = "--config=trainers/configs/digits.py"
SECTION = "--config=trainers/configs/section_7_2.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [CONFIG, "--config.num_step=5"],
            "The config has no such field: num_step. Did you mean num_steps instead of num_step?",
        ),
        ([CONFIG, "--config.model.foo=5"], "The config has no such field: foo"),
        ([CONFIG, "--config.num_steps.foo=5"], "The config has no such field: "),
        ([CONFIG, "--config.num_steps=1.5"], "flag --config.num_steps=1.5: invalid literal"),
        ([CONFIG, "--config.model=5"], "flag --config.model=5: "),
        (["--config.seed=1", CONFIG], "Found --config.seed=1 in argv before a value for --config"),
        (
            ["--config=trainers/configs/nowhere.py"],
            "No such file or directory: 'trainers/configs/nowhere.py'",
        ),
        ([SECTION + ":mnist-1-linear-rbm"], "'mnist' in 'mnist-1-linear-rbm' must be one of static_mnist, "),
        ([SECTION + ":omniglot"], "The experiment must have 4 parts, joined by '-'. Received: 'omniglot'"),
        ([CONFIG, "--strategy=horovod"], "flag --strategy=horovod: value should be one of <single|mirrored>"),
        ([CONFIG, "--logical_cpus=0"], "flag --logical_cpus=0: "),
        ([CONFIG, "--work_dir=x"], "Unknown command line flag 'work_dir'. Did you mean: workdir ?"),
        ([CONFIG, "resume"], "Unknown arguments: resume"),
    ],
)
def test_wrong_command_line(run, tmp_path, arguments, message):
    status, out, err = run(train, f"--workdir={tmp_path}", *arguments)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (train, "Flag --workdir must have a value"),
        (evaluate, "Flag --workdir must have a value"),
        (sample, "Give either --workdir or --generator"),
    ],
)
def test_workdir_is_required(run, module, message):
    status, out, err = run(module)
    assert (status, out) == (2, "")
    assert message in err


def test_config_that_fits_no_model(run, tmp_path):
    status, out, err = run(
        train, CONFIG, f"--workdir={tmp_path}", "--config.model.network=deep", "--verbose=0"
    )
    assert (status, out) == (2, "")
    assert "error: `network` must be one of" in err
    assert "Traceback" not in err


def test_workdir_of_another_config(run, finished):
    status, _, err = run(train, CONFIG, f"--workdir={finished}", "--config.seed=5")
    assert status == 2
    assert f"error: {finished} was made with another config: " in err
    assert "config.seed is 0 there and 5 here" in err


@pytest.mark.parametrize("name", ["file", "file/run", "/proc/run"])
def test_workdir_that_cannot_be_made(run, tmp_path, name):
    (tmp_path / "file").write_text("not a directory")
    status, _, err = run(train, CONFIG, f"--workdir={tmp_path / name}", "--verbose=0")
    assert status == 2
    assert err.startswith("error: ")
    assert str(tmp_path / name) in err
    assert "Traceback" not in err


def test_the_home_directory_is_known(run, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").symlink_to(finished)
    (tmp_path / "own.py").write_text((ROOT / "trainers" / "configs" / "digits.py").read_text())
    status, _, errors = run(train, "--config=~/own.py", "--workdir=~/run", "--config.seed=5")
    assert status == 2
    assert f"error: {tmp_path / 'run'} was made with another config: " in errors
    assert "config.seed is 0 there and 5 here" in errors
    status, *_ = run(sample, "--workdir=~/run", "--num_samples=1", "--out=~/samples.png")
    assert status == 0
    assert (tmp_path / "samples.png").is_file()


@pytest.mark.parametrize("module", [evaluate, sample])
def test_workdir_without_a_training(run, tmp_path, finished, module):
    for workdir in (tmp_path, tmp_path / "missing"):
        status, _, err = run(module, f"--workdir={workdir}")
        assert (status, err) == (
            2,
            f"error: {workdir}/config.json does not exist. Give the --workdir of a training run\n",
        )
    (tmp_path / "config.json").write_text((finished / "config.json").read_text())
    status, _, err = run(module, f"--workdir={tmp_path}")
    assert status == 2
    assert f"error: There is no checkpoint in {tmp_path}/checkpoints. Train first\n" in err
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("count", [5, 9])
def test_sample_writes_a_picture(run, finished, tmp_path, count):
    out = tmp_path / "new" / "samples.png"
    status, *_ = run(sample, f"--workdir={finished}", f"--num_samples={count}", f"--out={out}", "--nomean")
    assert status == 0
    rows = {5: 2, 9: 3}[count]
    assert image.imread(out).shape[:2] == (2 * (29 * rows + 1), 2 * (29 * 3 + 1))


def test_sample_takes_a_number_of_sweeps(run, finished, tmp_path):
    pictures = []
    for sweeps in (1, 1, 3):
        out = tmp_path / f"{len(pictures)}.png"
        run(sample, f"--workdir={finished}", "--num_samples=4", f"--out={out}", f"--num_sweeps={sweeps}")
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_sample_of_figure_4_is_for_dvaepp(run, finished, tmp_path):
    out = tmp_path / "samples.png"
    status, _, err = run(sample, f"--workdir={finished}", "--per_global=5", f"--out={out}")
    assert (status, out.exists()) == (2, False)
    assert "error: `--per_global` is for models with global latents beside others, such as DVAE++" in err


def test_sample_refuses_a_device(run, finished):
    status, _, err = run(sample, f"--workdir={finished}", "--out=/dev/full")
    assert status == 2
    assert "error: A file can only be written in place of a regular file" in err


def test_evaluate_program_and_a_full_disk(run, finished, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text((finished / "config.json").read_text())
    (tmp_path / "checkpoints").symlink_to(finished / "checkpoints")
    status, out, _ = run(evaluate, f"--workdir={tmp_path}", "--num_samples=5", "--verbose=0")
    assert status == 0
    assert out.startswith(
        "digits, test split, 250 images, 5 importance samples, binary limit (nats an image)"
    )
    old = (tmp_path / "report.json").read_text()
    assert json.loads(old) == json.loads((finished / "report.json").read_text())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tfdvae.callbacks.logs.os.fsync", full)
    status, _, err = run(evaluate, f"--workdir={tmp_path}", "--num_samples=3")
    assert status == 2
    assert "error: [Errno 28] No space left on device" in err
    assert (tmp_path / "report.json").read_text() == old
    assert not list(tmp_path.glob(".writing*"))


def test_errors_that_are_no_users_pass(monkeypatch):
    def fail(error):
        raise error

    with pytest.raises(TypeError):
        program.guarded(lambda: fail(TypeError("a bug")))
    assert program.guarded(lambda: fail(ValueError("x"))) == program.USER_ERROR
    # --verbosity=1 shows where an error comes from.
    monkeypatch.setattr(absl_logging, "get_verbosity", lambda: 1)
    with pytest.raises(ValueError, match="x"):
        program.guarded(lambda: fail(ValueError("x")))


@pytest.mark.parametrize(
    ("path", "level", "expected"),
    [
        ("site-packages/tensorflow_datasets/core/reader.py", logging.INFO, False),
        ("site-packages/tensorflow_datasets/core/reader.py", logging.WARNING, True),
        ("trainers/train.py", logging.INFO, True),
    ],
)
def test_logs_of_tfds_are_dropped(path, level, expected):
    record = logging.LogRecord("absl", level, path, 1, "message", (), None)
    assert program._is_of_interest(record) == expected


def test_notices_at_the_start_are_shown_only_where_it_fails(capfd):
    @trainers._held_back()
    def start(notice, error=None):
        os.write(2, notice)
        if error:
            raise error

    start(b"a notice\n")
    with pytest.raises(ImportError):
        start(b"the reason\n", ImportError())
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "the reason\nlater\n"


def test_grid_of_colour_images(tmp_path):
    colours = np.zeros([2, 3, 4, 3])
    colours[0, ..., 0] = 255.0
    colours[1, ..., 2] = 300.0  # clipped
    pictures.save_grid(tmp_path / "a.png", colours, columns=2, vmax=255.0)
    picture = image.imread(tmp_path / "a.png")
    assert picture.shape[:2] == (2 * (3 + 2), 2 * (2 * 5 + 1))
    np.testing.assert_allclose(picture[4, 4, :3], [1, 0, 0])
    np.testing.assert_allclose(picture[4, 16, :3], [0, 0, 1])


def test_rows_of_a_model_that_draws_pixel_by_pixel(tmp_path):
    """Two panels of eight rows; in one picture the image is first in its row."""
    images = np.float32(np.random.default_rng(0).random([20, 2, 3, 1]) < 0.5)
    model = PixelVAEPlusPlus((2, 3, 1), filters=2, residual_layers=1, num_sizes=1, concatenated_units=2)
    pictures.save_all(tmp_path, model, images, seed=0)
    assert image.imread(tmp_path / "samples_by_latents.png").shape[:2] == (2 * (3 * 8 + 1), 2 * (4 * 16 + 1))
    rows = image.imread(tmp_path / "reconstructions_by_image.png")[..., 0]
    assert rows.shape == (2 * (3 * 8 + 1), 2 * (4 * 18 + 1))
    for i in range(16):
        top, left = 2 * (3 * (i % 8) + 1), 2 * (4 * 9 * (i // 8) + 1)
        shown = rows[top : top + 4 : 2, left : left + 6 : 2]
        np.testing.assert_allclose(shown, images[i, ..., 0], atol=0.01)
    assert not (tmp_path / "samples_by_global.png").exists()


def test_energy_distances():
    rows = np.zeros([2, 3, 1, 2, 1])
    rows[1, :, 0, 0, 0] = [0.0, 3.0, 6.0]
    rows[1, :, 0, 1, 0] = [0.0, 4.0, 8.0]  # 0, 5 and 10 from the first
    np.testing.assert_allclose(pictures.energy_distances(rows), [0.0, 20 / 3])
    images = np.zeros([2, 1, 1, 2, 1])
    images[0] = 1.0
    np.testing.assert_allclose(pictures.energy_distances(rows, images), [2 * np.sqrt(2), 10.0 - 20 / 3])


def test_rows_of_colour_images_are_sorted(tmp_path):
    """The left panel has the rows nearest to each other, the right one the others."""

    class Colours(PixelVAEPlusPlus):
        """Pictures whose noise is a latent variable."""

        def decode(self, latents, *, seed, mean=False):
            amplitude = 255.0 * latents[0][0][:, 0]
            noise = tf.random.stateless_uniform([amplitude.shape[0], 2, 2, 3], seed)
            return amplitude[:, None, None, None] * noise

    model = Colours((2, 2, 3), "discretized_logistic_mixture", filters=2, num_sizes=1, concatenated_units=2)
    images = np.zeros([128, 2, 2, 3], np.float32)
    pictures.save_all(tmp_path, model, images, seed=0)
    picture = image.imread(tmp_path / "samples_by_latents.png")[..., :3]
    assert picture[:, :49].max() < 0.51  # the grey of the rules
    assert picture[:, 49:].max() > 0.9


# The embedded images have 28 x 28 pixels; features have 14 x 14.
SMALLEST_DVAEPP = {
    "num_steps": 2,
    "steps_per_epoch": 1,
    "data.batch_size": 50,
    "model.global_units": "(2, 2)",
    "model.local_groups": 1,
    "model.local_channels": 1,
    "model.down1": "2down",
    "model.down2": "2",
    "model.upsample": "2up 2up 2up 2up",
    "model.q_h": "",
    "model.p_h": "",
    "model.context": "2up",
    "model.decoder": "()",
    "model.base_scale": 0,
    "model.num_chains": 5,
    "model.num_sweeps": 2,
    "optimizer.plateau_patience": 1,
    "optimizer.boundaries": "()",
    "optimizer.factors": "(1.0,)",
    "evaluation.num_samples": 3,
}


@pytest.mark.slow
def test_programs_with_dvaepp(run, tmp_path, monkeypatch):
    """Killed while it writes the state of step 2, run again, evaluated, and its samples drawn."""
    overrides = [f"--config.{name}={value}" for name, value in SMALLEST_DVAEPP.items()]
    config = ["--config=trainers/configs/dvaepp_digits.py", *overrides, "--verbose=0"]
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    killed_at_step_2(monkeypatch, workdir, lambda: run(train, *config, f"--workdir={workdir}"))
    assert not (workdir / "report.json").exists()
    trained = {folder: run(train, *config, f"--workdir={folder}") for folder in (workdir, whole)}
    assert_same_run(workdir, whole, last_step=2)
    assert [row["step"] for row in metrics(workdir)] == ["1", "2"]
    assert all(np.isfinite(float(value)) for row in metrics(workdir) for value in row.values())
    assert trained[workdir][:2] == trained[whole][:2]  # the figures
    status, out, err = trained[workdir]
    assert status == 0, err
    assert "digits, test split, 250 images, 3 importance samples, binary limit (nats an image)" in out

    report = json.loads((workdir / "report.json").read_text())
    assert report["evaluation"]["elbo"] < report["evaluation"]["log_likelihood"] < 0
    assert len(report["evaluation"]["kl_per_group"]) == 2
    assert len(report["evaluation"]["active_units"]) == 3
    (workdir / "report.json").unlink()
    assert run(evaluate, f"--workdir={workdir}", "--num_samples=3")[0] == 0
    assert json.loads((workdir / "report.json").read_text()) == report
    # Figure 4: 16 runs of five, two in a row.
    assert image.imread(workdir / "samples_by_global.png").shape[:2] == (2 * (29 * 8 + 1), 2 * (29 * 10 + 1))

    draw = [f"--workdir={workdir}", "--num_samples=5", "--per_global=3"]
    pictures_of = {}
    for mean in ("--mean", "--nomean"):
        status, _, err = run(sample, *draw, mean, f"--out={tmp_path / 'samples.png'}")
        assert status == 0, err
        pictures_of[mean] = image.imread(tmp_path / "samples.png")[..., 0]
        # Three in a row: the second row lacks one.
        assert pictures_of[mean].shape == (2 * (29 * 2 + 1), 2 * (29 * 3 + 1))
        assert len(np.unique(pictures_of[mean][60:116, 118:174])) == 1
    assert set(np.unique(np.round(pictures_of["--nomean"], 2))) == {0.0, 0.5, 1.0}
    assert len(np.unique(pictures_of["--mean"])) > 3
