"""The training program as processes of its own: killed and run again, and on two replicas."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from tests.trainers.experiments import assert_same_run, metrics

pytestmark = pytest.mark.slow  # a process imports TensorFlow, trains and evaluates

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Read by the program as its config file. On request the process kills itself amidst the write of a state.
CONFIG = """
import os, signal
from tests.trainers.experiments import tiny_config

replace = os.replace

def replace_or_die(source, target):
    if str(target).endswith("step-00000008.weights.h5"):
        os.truncate(source, 10_000)
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

if "TFDVAE_TEST_KILL" in os.environ:
    os.replace = replace_or_die

def get_config():
    return tiny_config()
"""


def run_training(tmp_path, *arguments, **environment):
    """Runs the program in `tmp_path / "run"`; returns the finished process."""
    (tmp_path / "config.py").write_text(CONFIG)
    # As many threads as in this process: sums are rounded alike.
    environment = {
        **os.environ,
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_NUM_INTEROP_THREADS": "2",
        **environment,
    }
    environment.pop("TF_CPP_MIN_LOG_LEVEL")
    command = [sys.executable, "-m", "trainers.train", f"--config={tmp_path / 'config.py'}", "--verbose=0"]
    return subprocess.run(
        [*command, f"--workdir={tmp_path / 'run'}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def check_output(process):
    """Exit status 0, the figures on the output, and nothing but the program's own lines of log."""
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("digits, test split, 250 images, 5 importance samples")
    assert "log-likelihood" in process.stdout
    lines = process.stderr.splitlines()
    assert all(re.match(r"I\d{4} \S+ +\d+ train\.py:\d+\] ", line) for line in lines), process.stderr
    return "\n".join(lines)


def test_killed_program_ends_like_an_uninterrupted_training(finished, tmp_path):
    workdir = tmp_path / "run"
    killed = run_training(tmp_path, TFDVAE_TEST_KILL="1")
    assert killed.returncode == -signal.SIGKILL
    assert [row["step"] for row in metrics(workdir)] == ["4", "8"]
    leftover = workdir / "checkpoints" / ".writing-step-00000008.weights.h5"
    assert leftover.stat().st_size == 10_000

    resumed = run_training(tmp_path)
    log = check_output(resumed)
    assert "digits: 1297 images to train, 250 to validate, 250 to test" in log
    assert f"Resuming at step 4 of 10 (batches of 50), writing to {workdir}" in log
    assert "trainable parameters on CPU:0" in log
    assert not leftover.exists()
    assert_same_run(workdir, finished)
    figures = [json.loads((folder / "report.json").read_text()) for folder in (workdir, finished)]
    assert figures[0] == figures[1]


def test_program_on_two_replicas(tmp_path):
    log = check_output(run_training(tmp_path, "--strategy=mirrored", "--logical_cpus=2"))
    assert "trainable parameters on CPU:0, CPU:1" in log
    assert [row["step"] for row in metrics(tmp_path / "run")] == ["4", "8", "10"]
    assert json.loads((tmp_path / "run" / "report.json").read_text())["evaluation"]["num_examples"] == 250
