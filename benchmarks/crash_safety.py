"""Kills `trainers.train` at random moments, runs it again each time, and compares with an uninterrupted run.

    python -m benchmarks.crash_safety [--kills=5] [--seed=0] [--num_steps=1200]

Both runs train the digits config with one seed. The program prints the moments of the kills and whether the
last checkpoint (weights, optimizer, chains, step, log Z), the best one and metrics.csv without its column
of seconds are equal bit for bit; its exit status is 1 if they are not.
"""

import argparse
import csv
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np


def command(workdir, num_steps):
    """The training program, as a user would start it."""
    options = ["--config=trainers/configs/digits.py", f"--config.num_steps={num_steps}"]
    options += ["--config.steps_per_epoch=50", f"--workdir={workdir}", "--noevaluate", "--verbose=0"]
    return [sys.executable, "-m", "trainers.train", *options]


def run(workdir, num_steps, kill_after=None):
    """Runs the program, or kills it (SIGKILL) after some seconds; returns whether it came to its end."""
    with open(workdir.with_suffix(".log"), "a") as log:
        process = subprocess.Popen(command(workdir, num_steps), stdout=log, stderr=log)
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
    if process.returncode:
        sys.exit(f"The training failed; see {workdir.with_suffix('.log')}")
    return True


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


def main():
    """Prints the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--num_steps", type=int, default=1200)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = pathlib.Path(folder, "whole"), pathlib.Path(folder, "killed")
        start = time.monotonic()
        run(whole, arguments.num_steps)
        duration = time.monotonic() - start
        print(f"uninterrupted: {arguments.num_steps} steps in {duration:.0f} s")
        kills = 0
        while kills < arguments.kills:
            # A start takes long before the first step: from a third of the whole duration on, most moments
            # fall into the training, others into the start and into what is written.
            delay = duration * moments.uniform(0.1, 0.6)
            if run(killed, arguments.num_steps, delay):
                break
            kills += 1
            steps = sorted(p.name[5:13] for p in killed.glob("checkpoints/step-*"))
            print(
                f"killed after {delay:.1f} s; the last checkpoint is of step {int(steps[-1]) if steps else 0}"
            )
        run(killed, arguments.num_steps)
        last = f"step-{arguments.num_steps:08d}.weights.h5"
        verdict = {
            "last checkpoint": same_arrays(*(w / "checkpoints" / last for w in (whole, killed))),
            "best checkpoint": same_arrays(*(w / "checkpoints" / "best.weights.h5" for w in (whole, killed))),
            "metrics.csv": rows(whole / "metrics.csv") == rows(killed / "metrics.csv"),
        }
    print(f"{kills} kills")
    for name, equal in verdict.items():
        print(f"{name}: {'equal, bit for bit' if equal else 'DIFFERENT'}")
    sys.exit(0 if all(verdict.values()) else 1)


if __name__ == "__main__":
    main()
