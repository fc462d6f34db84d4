"""Learning curves of trainings beside one another: figure 2a of the paper on RBM priors with hidden units.

    python -m benchmarks.learning_curves VIMCO=runs/vimco wake-sleep=runs/wake_sleep --out=curves.png

Plots the bound of the objective's samples on the validation images (in nats, with the estimate of log Z of
the moment) over the step, from the metrics.csv of each workdir, and writes the curves to a CSV file of the
same name.
"""

import argparse
import csv
from pathlib import Path

import matplotlib
from matplotlib import pyplot

from tfdvae.files import user_path

matplotlib.use("Agg")

BOUND = "val_multi_sample_bound"


def curve(workdir):
    """The steps and the validation bounds of a training, of the stages that have the bound."""
    with open(user_path(workdir, "workdir") / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[BOUND]]
    return [int(row["step"]) for row in rows], [float(row[BOUND]) for row in rows]


def main():
    """Draws the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=WORKDIR")
    parser.add_argument("--out", default="curves.png")
    parser.add_argument("--lowest", type=float, help="the lower end of the axis")
    arguments = parser.parse_args()
    curves = {name: curve(workdir) for name, workdir in (run.split("=", 1) for run in arguments.runs)}
    out = Path(arguments.out)
    with out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("training", "step", BOUND))
        for name, points in curves.items():
            writer.writerows((name, step, f"{bound:.2f}") for step, bound in zip(*points, strict=True))
    figure, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
    for name, points in curves.items():
        axes.plot(*points, label=name)
    axes.set(xlabel="step", ylabel="bound of K samples, validation (nats)")
    axes.set_ylim(arguments.lowest, None)
    axes.legend(frameon=False)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
