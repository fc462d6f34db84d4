"""DVAE++ and the fully connected DVAE on the embedded digits, trained for the same wall-clock time.

    python -m benchmarks.digits_comparison [--workdir=runs/comparison]

Trains `dvaepp_digits`, then `digits` with as many steps as fit into the same time (its schedules scale with
them; the checkpoint is the best one on the validation images), and prints the test log-likelihood of both.
"""

import argparse
import csv
import itertools
import pathlib
import statistics
import tempfile
import time

from tfdvae.files import user_path
from trainers import evaluate, train
from trainers.configs import digits, dvaepp_digits

_TIMED_STEPS = 200


def timed_training(config, workdir):
    """Trains; returns the best model and the seconds."""
    start = time.monotonic()
    model = train.train(config, workdir, verbose=0)
    return model, time.monotonic() - start


def steps_in(seconds) -> int:
    """How many steps of the fully connected model take that long, in epochs of its config."""
    config = digits.get_config()
    config.steps_per_epoch = _TIMED_STEPS
    config.num_steps = 6 * _TIMED_STEPS
    with tempfile.TemporaryDirectory() as workdir:
        train.train(config, workdir, verbose=0)
        with open(pathlib.Path(workdir, "metrics.csv"), newline="") as file:
            times = [float(row["seconds"]) for row in csv.DictReader(file)]  # since the start
    # The median, as other programs may disturb an epoch.
    an_epoch = statistics.median(b - a for a, b in itertools.pairwise(times))
    once = times[0] - an_epoch
    epoch = digits.get_config().steps_per_epoch
    return max(1, round((seconds - once) / an_epoch * _TIMED_STEPS / epoch)) * epoch


def main():
    """Prints the two figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", default="runs/comparison")
    workdir = user_path(parser.parse_args().workdir, "workdir")
    config = dvaepp_digits.get_config()
    model, seconds = timed_training(config, workdir / "dvaepp")
    reports = {"DVAE++": (evaluate.evaluate(config, model, workdir / "dvaepp", verbose=0), seconds)}
    config = digits.get_config()
    config.num_steps = steps_in(seconds)
    model, seconds = timed_training(config, workdir / "dvae")
    reports["DVAE"] = (evaluate.evaluate(config, model, workdir / "dvae", verbose=0), seconds)
    print("\nmodel     training s   test log-likelihood")
    for name, (report, seconds) in reports.items():
        print(f"{name:8}{seconds:12.0f}{report.log_likelihood:14.3f} +- {report.standard_error:.3f}")


if __name__ == "__main__":
    main()
