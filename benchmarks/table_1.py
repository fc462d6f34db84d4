"""Table 1 of DVAE++ on static MNIST, with the estimators that it does not have, in a short training.

    python -m benchmarks.table_1 --data_dir=DATA [--workdir=runs/table_1] [--only=nonlinear-disarm] [--seed=0]

Trains each experiment of `trainers/configs/section_7_1.py` (200 units, factorial prior) for 50,000 iterations
in place of two million, one after the other, evaluates the best model by validation on all test images with
100 importance samples, and times a step (one thread, CPU time). What is done already, in
`benchmarks/table_1.csv`, is kept; a training that was interrupted is resumed.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

from tfdvae.files import user_path

CSV = Path(__file__).with_suffix(".csv")
FIELDS = ("network", "estimator", "seed", "log-likelihood", "+-", "ELBO", "ms a step", "paper")
NUM_STEPS = 50_000
# The figures of the paper, after two million iterations: means of five runs.
PAPER = {
    "linear": dict(
        nvil=-108.35, muprop=-108.03, rebar=-107.65, concrete=-107.00, joint=-107.98, marginal=-108.57
    ),
    "nonlinear": dict(
        nvil=-100.00, muprop=-100.66, rebar=-100.69, concrete=-99.54, joint=-99.16, marginal=-99.10
    ),
}


def experiments():
    """The names `NETWORK-ESTIMATOR`, the nonlinear ones first."""
    from trainers.configs import section_7_1

    _, networks, estimators = section_7_1.CHOICES
    return [f"{network}-{estimator}" for network in reversed(networks) for estimator in estimators]


def train(name, seed, workdir, data_dir):
    """Trains and evaluates in a process of its own; returns the report."""
    command = [
        *(sys.executable, "-m", "trainers.train", "--verbose=0"),
        f"--config=trainers/configs/section_7_1.py:static_mnist-{name}",
        f"--config.num_steps={NUM_STEPS}",
        "--config.steps_per_epoch=2500",
        f"--config.seed={seed}",
        f"--workdir={workdir}",
        f"--data_dir={data_dir}",
    ]
    if not (workdir / "report.json").exists():
        subprocess.run(command, check=True)
    return json.loads((workdir / "report.json").read_text())["evaluation"]


def timed(name, steps=500):
    """CPU milliseconds of a training step; to be called in a process that has one thread."""
    import numpy as np
    import tensorflow as tf

    from trainers import experiment
    from trainers.configs import section_7_1

    tf.config.threading.set_intra_op_parallelism_threads(1)
    config = section_7_1.get_config(f"static_mnist-{name}")
    model = experiment.model(config, data_dir=False)
    experiment.compile_model(model, config, steps_per_execution=50)
    images = (np.random.default_rng(0).random((1000, 28, 28, 1)) < 0.2).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(images).batch(config.data.batch_size, drop_remainder=True)
    data = data.cache().repeat()
    model.fit(data, steps_per_epoch=100, verbose=0)
    start = time.process_time()
    model.fit(data, steps_per_epoch=steps, verbose=0)
    return 1e3 * (time.process_time() - start) / steps


def main():
    """Fills the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir")
    parser.add_argument("--workdir", default="runs/table_1")
    parser.add_argument("--only", default="", help="a part of the names of the experiments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timed", help="prints the time of a step of an experiment, and ends")
    arguments = parser.parse_args()
    if arguments.timed:
        print(f"{timed(arguments.timed):.2f}")
        return
    workdir = user_path(arguments.workdir, "workdir")
    for name in experiments():
        network, estimator = name.split("-")
        rows = list(csv.DictReader(CSV.open())) if CSV.exists() else []
        key = (network, estimator, str(arguments.seed))
        if arguments.only not in name or key in [tuple(row[f] for f in FIELDS[:3]) for row in rows]:
            continue
        report = train(name, arguments.seed, workdir / f"{name}-{arguments.seed}", arguments.data_dir)
        milliseconds = subprocess.run(
            [sys.executable, "-m", "benchmarks.table_1", f"--timed={name}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()[-1]
        figures = (report["log_likelihood"], report["standard_error"], report["elbo"])
        values = (*key, *(f"{v:.2f}" for v in figures), milliseconds, PAPER[network].get(estimator, ""))
        rows.append(dict(zip(FIELDS, values, strict=True)))
        rows.sort(key=lambda row: (row["network"] == "linear", float(row["log-likelihood"]) * -1))
        with CSV.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(*values, flush=True)


if __name__ == "__main__":
    main()
