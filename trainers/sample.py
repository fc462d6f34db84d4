"""Draws images from the best checkpoint of a workdir, or from an exported generator.

python -m trainers.sample --workdir=runs/digits --num_samples=64 --out=samples.png
python -m trainers.sample --generator=exported/digits --num_samples=64 --out=samples.png
"""

import math

import numpy as np
from absl import flags

from tfdvae import export
from trainers import evaluate, pictures, program


def define_flags(values: flags.FlagValues) -> None:
    """Defines the program's flags."""
    flags.DEFINE_string("workdir", None, "The workdir of a training run.", flag_values=values)
    flags.DEFINE_string(
        "generator", None, "An exported generator, in place of a workdir.", flag_values=values
    )
    flags.DEFINE_integer("num_samples", 64, "Images.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "per_global",
        1,
        "So many successive images share a sample of the global latents of a DVAE++ (figure 4: 5).",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_sweeps",
        None,
        "Gibbs sweeps of the Boltzmann machine; by default 200, and 100 of a generator.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer("seed", 0, "Seed of the images.", flag_values=values)
    flags.DEFINE_bool("mean", True, "Show conditional means; otherwise draw the pixels.", flag_values=values)
    flags.DEFINE_string("out", "samples.png", "The picture.", flag_values=values)


def main(values: flags.FlagValues) -> None:
    """Writes the picture, as square as the number of images allows."""
    if (values.workdir is None) == (values.generator is None):
        raise ValueError("Give either --workdir or --generator")
    if values.generator is not None:
        _draw_from_generator(values)
        return
    _, model = evaluate.load_model(values.workdir)
    draw = {"seed": values.seed, "mean": values.mean, "num_sweeps": values.num_sweeps or 200}
    n, columns = values.num_samples, math.isqrt(values.num_samples - 1) + 1
    if values.per_global == 1:
        images = model.sample(n, **draw)
    elif model.has_global_latents:
        images = model.sample_by_global(-(-n // values.per_global), values.per_global, **draw)[:n]
        columns = values.per_global * max(1, columns // values.per_global)
    else:
        raise ValueError(
            "`--per_global` is for models with global latents beside others, such as DVAE++. Received: a "
            f"{type(model).__name__}"
        )
    pictures.save_grid(values.out, images, columns, vmax=model.max_pixel)


def _draw_from_generator(values):
    if values.per_global != 1:
        raise ValueError("`--per_global` needs a --workdir: an exported generator draws all latents anew")
    generator = export.load_generator(values.generator)
    n = values.num_samples
    inputs = {"seed": export.row_seeds(values.seed, n), "num_sweeps": np.full(n, values.num_sweeps or 100)}
    outputs = generator.predict("sample", **inputs)
    # Older generators call the means of the pixels "probabilities".
    means = "means" if "means" in outputs else "probabilities"
    images = outputs[means if values.mean else "images"]
    vmax = generator.card.get("max_pixel", 1.0)
    pictures.save_grid(values.out, images, math.isqrt(n - 1) + 1, vmax=vmax)
    print(f"{n} images from {generator.directory}: {values.out}")


if __name__ == "__main__":
    program.run(main, define_flags)
