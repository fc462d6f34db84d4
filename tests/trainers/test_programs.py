"""The programs' command lines, inside this process: flags, errors and exit statuses."""

import errno
import json
import logging
import os
import pathlib
import sys

import numpy as np
import pytest
from absl import flags
from absl import logging as absl_logging
from matplotlib import image

import trainers
from trainers import evaluate, pictures, program, sample, train

# ml_collections 1.1 loads config files with it.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method is deprecated:DeprecationWarning")

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a program as from the checkout; returns its exit status, output and errors."""
    monkeypatch.chdir(ROOT)

    def run_program(module, *arguments):
        argv = ["program", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        values = flags.FlagValues()
        try:
            program.parse(module.define_flags, values, argv)
            status = program.guarded(lambda: module.main(values))
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    yield run_program
    absl_logging.get_absl_handler().removeFilter(program._is_of_interest)


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


@pytest.mark.parametrize("module", [train, evaluate, sample])
def test_workdir_is_required(run, module):
    status, out, err = run(module)
    assert (status, out) == (2, "")
    assert "Flag --workdir must have a value" in err


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


def test_sample_refuses_a_device(run, finished):
    status, _, err = run(sample, f"--workdir={finished}", "--out=/dev/full")
    assert status == 2
    assert "error: A file can only be written in place of a regular file" in err


def test_evaluate_program_and_a_full_disk(run, finished, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text((finished / "config.json").read_text())
    (tmp_path / "checkpoints").symlink_to(finished / "checkpoints")
    status, out, _ = run(evaluate, f"--workdir={tmp_path}", "--num_samples=5")
    assert status == 0
    assert "digits, test split, 250 images, 5 importance samples, binary limit (nats an image)" in out
    old = (tmp_path / "report.json").read_text()
    assert json.loads(old) == json.loads((finished / "report.json").read_text())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tfdvae.callbacks.os.fsync", full)
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
