"""Samples of an exported generator against the sweeps that they take, beside a long run of Gibbs sampling.

    python -m benchmarks.generator_quality --workdir=runs/mnist [--generator=exported/static_mnist]

`--workdir` is that of the training run that the generator was exported from. For each number of sweeps:

- the mean energy of the Boltzmann machine's variables, and the mean pixel, each +- a standard error;
- `pixels`: the mean over the pixels that vary of (difference of the two means)^2 / (its variance), about 1
  where the images have the right distribution.

The bank has fewer states than there are samples: with few sweeps, samples of one start resemble one another,
and the errors, which take them for independent, are too small. The long run starts from noise, not from the
bank. The table and a plot go to `benchmarks/generator_quality`.
"""

import argparse
import csv

import numpy as np
import tensorflow as tf
from matplotlib import pyplot

from tfdvae import export, random
from tfdvae.boltzmann import ContrastiveDivergence
from tfdvae.files import user_path
from trainers import evaluate

SWEEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_ROWS = 250


def exported_samples(generator, num_samples, num_sweeps, seed):
    """Energies and images of the signature `sample`."""
    sample = generator.predict(
        "sample", seed=export.row_seeds(seed, num_samples), num_sweeps=np.full(num_samples, num_sweeps)
    )
    return generator.energy(sample["latents"]), sample["images"]


def long_run(model, num_samples, num_sweeps, seed):
    """Energies and images of chains that start from noise."""

    @tf.function(autograph=False)
    def images_of(latents, seed):
        return model.decode(latents, seed=seed)

    latents = model.sample_prior(
        num_samples,
        seed=random.fold_in(seed, 1),
        num_sweeps=num_sweeps,
        chains=ContrastiveDivergence(model.rbm),  # they have no state, and start from noise
    )
    images = []
    for start in range(0, num_samples, _ROWS):
        rows = tf.nest.map_structure(lambda v, s=start: v[s : s + _ROWS], latents)
        images.append(images_of(rows, random.fold_in(seed, 2 + start)).numpy())
    return model.prior.energy(list(latents[0])).numpy(), np.concatenate(images)


def statistics(energies, images):
    """Means and their variances."""
    count = len(energies)
    pixels = images.reshape(count, -1)
    totals = pixels.mean(axis=1)
    return {
        "energy": energies.mean(),
        "energy_error": energies.std() / np.sqrt(count),
        "pixel": totals.mean(),
        "pixel_error": totals.std() / np.sqrt(count),
        "means": pixels.mean(axis=0),
        "variances": pixels.var(axis=0) / count,
    }


def row_of(name, found, reference):
    """The figures of a table's row."""
    variances = found["variances"] + reference["variances"]
    squares = (found["means"] - reference["means"]) ** 2
    return {
        "num_sweeps": name,
        **{k: float(found[k]) for k in ("energy", "energy_error", "pixel", "pixel_error")},
        "pixels": float(np.mean(squares[variances > 0] / variances[variances > 0])),
    }


def plot(rows, reference, path):
    """The three figures against the sweeps."""
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    sweeps = [row["num_sweeps"] for row in rows]
    for ax, key, label in zip(axes, ("energy", "pixel"), ("mean energy, nats", "mean pixel"), strict=False):
        errors = [2 * row[f"{key}_error"] for row in rows]
        ax.errorbar(sweeps, [row[key] for row in rows], yerr=errors, fmt="o-", label="exported")
        low, high = (reference[key] + sign * 2 * reference[f"{key}_error"] for sign in (-1, 1))
        ax.axhspan(low, high, color="0.8", label="long run")
        ax.set(xscale="log", xlabel="Gibbs sweeps", ylabel=label)
        ax.legend()
    axes[2].semilogx(sweeps, [row["pixels"] for row in rows], "o-")
    axes[2].axhline(1.0, color="0.5", linestyle=":")
    axes[2].set(xlabel="Gibbs sweeps", ylabel="pixels: squared error / variance", ylim=(0, None))
    figure.suptitle("Samples of an exported generator; bars and bands are two standard errors")
    figure.savefig(path, dpi=100)


def main():
    """Prints the table, writes it with the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--generator", default="exported/static_mnist")
    parser.add_argument("--num_samples", type=int, default=10_000)
    parser.add_argument("--long_sweeps", type=int, default=5_000)
    parser.add_argument("--out", type=user_path, default=user_path("benchmarks/generator_quality"))
    arguments = parser.parse_args()
    _, model = evaluate.load_model(arguments.workdir)
    generator = export.load_generator(arguments.generator)
    if generator.card["step"] != int(model.step):
        parser.error(
            f"{arguments.generator} is of step {generator.card['step']}, the workdir of {model.step}"
        )
    reference = statistics(*long_run(model, arguments.num_samples, arguments.long_sweeps, random.as_seed(0)))
    print("sweeps             energy              pixel   pixels")
    line = (
        "{num_sweeps:>6} {energy:10.4f} +- {energy_error:.4f} {pixel:10.5f} +- {pixel_error:.5f}{pixels:9.3f}"
    )
    print(line.format(**row_of("long", reference, reference)), flush=True)
    rows = []
    for i, num_sweeps in enumerate(SWEEPS):
        found = statistics(*exported_samples(generator, arguments.num_samples, num_sweeps, seed=i + 1))
        rows.append(row_of(num_sweeps, found, reference))
        print(line.format(**rows[-1]), flush=True)
    with open(arguments.out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row_of("long", reference, reference)])
    plot(rows, reference, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
