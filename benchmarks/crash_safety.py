"""Kills `trainers.train` again and again, and compares what comes of it with an uninterrupted run.

    python -m benchmarks.crash_safety [--kills=5] [--seed=0] [--num_steps=1200]

The first kills (SIGKILL) are aimed: amidst the preparation of the data, amidst the write of a checkpoint, and
between a row of metrics.csv and the checkpoint that belongs to it. Then come `--kills` at random moments,
and one amidst the evaluation. After each the same command is run again, to the end after the last.

Prints the moments and whether the last checkpoint (weights, optimizer, chains, step, log Z), the best one,
report.json, and metrics.csv without its column of seconds are equal bit for bit; the exit status is 1 if
they are not.
"""

import argparse
import csv
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

POLL_SECONDS = 0.002


class Training:
    """The training program on a workdir, with prepared data sets of its own."""

    def __init__(self, folder, arguments):
        self.workdir = folder / "run"
        self.records = folder / "tensorflow_datasets"
        self.log = folder / "log.txt"
        folder.mkdir(parents=True)
        self.num_steps = arguments.num_steps
        self.command = [
            sys.executable,
            *("-m", "trainers.train", f"--config={arguments.config}", f"--workdir={self.workdir}"),
            *(f"--config.num_steps={self.num_steps}", "--config.steps_per_epoch=50"),
            *("--config.evaluation.num_samples=100", "--verbose=0"),
        ]

    def run(self, moment=lambda seconds: False):
        """Runs the program until its end or until `moment(seconds since the start)`; returns the seconds."""
        start = time.monotonic()
        environment = {**os.environ, "TFDS_DATA_DIR": str(self.records)}
        with open(self.log, "a") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
            while process.poll() is None:
                if moment(time.monotonic() - start):
                    process.kill()
                    process.wait()
                    return time.monotonic() - start
                time.sleep(POLL_SECONDS)
        if process.returncode:
            sys.exit(f"The training failed:\n{self.log.read_text()}")
        return None

    def steps(self):
        """The steps of the checkpoints."""
        return sorted(int(path.name[5:13]) for path in self.workdir.glob("checkpoints/step-*"))

    def metrics_size(self):
        """Bytes of metrics.csv."""
        path = self.workdir / "metrics.csv"
        return path.stat().st_size if path.exists() else 0

    # --- moments ---

    def preparing_data(self, seconds):
        """While TFDS writes records."""
        return any(self.records.glob("**/incomplete.*"))

    def writing_checkpoint(self, seconds):
        """While a checkpoint is written."""
        return any(self.workdir.glob("checkpoints/.writing-step-*"))

    def after_row(self):
        """Right after the first row that this run adds to metrics.csv."""
        size = self.metrics_size()
        return lambda seconds: self.metrics_size() > size

    def evaluating(self, delay):
        """Some seconds after the last checkpoint."""
        seen = []

        def moment(seconds):
            if self.num_steps in self.steps():
                seen.append(seconds)
            return bool(seen) and seconds > seen[0] + delay

        return moment


def arrays(path):
    """All arrays of a checkpoint by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None)
    return found


def same_arrays(path, other):
    """Whether two checkpoints hold the same bits (NaNs included)."""
    a, b = arrays(path), arrays(other)
    return a.keys() == b.keys() and all(np.asarray(a[k]).tobytes() == np.asarray(b[k]).tobytes() for k in a)


def rows(path):
    """metrics.csv without the column of seconds."""
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def watched_run(training):
    """Runs to the end; returns the seconds to the first row of metrics.csv and to the last checkpoint."""
    first, last = [], []

    def watch(seconds):
        if not first and training.metrics_size():
            first.append(seconds)
        if not last and training.num_steps in training.steps():
            last.append(seconds)
        return False

    training.run(watch)
    return first[0], last[0]


def compare(whole, killed):
    """What is equal, by name."""
    last = f"step-{whole.num_steps:08d}.weights.h5"
    a, b = whole.workdir, killed.workdir
    return {
        "last checkpoint": same_arrays(a / "checkpoints" / last, b / "checkpoints" / last),
        "best checkpoint": same_arrays(*(w / "checkpoints" / "best.weights.h5" for w in (a, b))),
        "report.json": (a / "report.json").read_text() == (b / "report.json").read_text(),
        "metrics.csv": rows(a / "metrics.csv") == rows(b / "metrics.csv"),
    }


def kill_and_compare(folder, arguments):
    """Prints the moments of the kills; returns what `compare` does."""
    whole, killed = Training(folder / "whole", arguments), Training(folder / "killed", arguments)
    first, last = watched_run(whole)
    print(
        f"uninterrupted: first row after {first:.0f} s, last checkpoint (step {whole.num_steps}) {last:.0f} s"
    )
    generator = random.Random(arguments.seed)
    # A start takes a while; then each run gets on by up to 1.5 / kills of the training.
    longest = first + 1.5 * (last - first) / max(1, arguments.kills)
    delays = [generator.uniform(0.3 * first, longest) for _ in range(arguments.kills)]
    plan = [
        ("preparing the data", lambda: killed.preparing_data),
        ("writing a checkpoint", lambda: killed.writing_checkpoint),
        ("after a row of metrics.csv", killed.after_row),
        *(("at random", lambda delay=delay: lambda seconds: seconds > delay) for delay in delays),
        ("evaluating", lambda: killed.evaluating(generator.uniform(0.0, 2.0))),
    ]
    kills = 0
    for name, make_moment in plan:
        seconds = killed.run(make_moment())
        kills += seconds is not None
        what = "came to its end before" if seconds is None else f"killed after {seconds:5.1f} s,"
        step = max(killed.steps(), default=0)
        left = len(list(killed.workdir.glob("**/.writing-*")))
        print(f"{what} {name}; checkpoint of step {step}, {left} file(s) half written", flush=True)
    killed.run()
    print(f"{kills} kills")
    return compare(whole, killed)


def main():
    """Prints the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5, help="at random moments, besides the aimed ones")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--num_steps", type=int, default=1200, help="a multiple of 50")
    parser.add_argument("--config", default="trainers/configs/digits.py")
    parser.add_argument("--workdir", help="where to keep both runs; by default they are deleted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        verdict = kill_and_compare(pathlib.Path(arguments.workdir or temporary).expanduser(), arguments)
    for name, equal in verdict.items():
        print(f"{name}: {'equal, bit for bit' if equal else 'DIFFERENT'}")
    sys.exit(0 if all(verdict.values()) else 1)


if __name__ == "__main__":
    main()
