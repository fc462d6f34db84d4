"""Draws images from the best checkpoint of a workdir.

python -m trainers.sample --workdir=runs/digits --num_samples=64 --out=samples.png
"""

import math

from absl import app, flags

from trainers import evaluate, pictures

FLAGS = flags.FLAGS


def main(argv):
    """Parses the flags and writes the picture."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    _, model = evaluate.load_model(FLAGS.workdir)
    images = model.sample(FLAGS.num_samples, seed=FLAGS.seed, mean=FLAGS.mean)
    pictures.save_grid(FLAGS.out, images, columns=math.isqrt(FLAGS.num_samples - 1) + 1)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "The workdir of a training run.", required=True)
    flags.DEFINE_integer("num_samples", 64, "Images.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the images.")
    flags.DEFINE_bool("mean", True, "Show conditional means; otherwise draw the pixels.")
    flags.DEFINE_string("out", "samples.png", "The picture.")
    app.run(main)
