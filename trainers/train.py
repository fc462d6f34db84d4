"""Trains a model; run again on the same workdir, it resumes.

    python -m trainers.train --config=trainers/configs/digits.py --workdir=runs/digits

The workdir gets config.json, checkpoints/, metrics.csv, TensorBoard events, and at the end report.json,
samples.png and reconstructions.png.
"""

import pathlib
import time

import tensorflow as tf
from absl import app, flags, logging
from ml_collections import config_flags

from tfdvae import callbacks
from trainers import evaluate, experiment

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", "trainers/configs/digits.py", "The experiment.")
flags.DEFINE_string("workdir", None, "Where everything is written.", required=True)
flags.DEFINE_string("data_dir", None, "Directory of the publishers' files (not needed for digits).")
flags.DEFINE_enum("strategy", "single", ["single", "mirrored"], "One device, or all local ones.")
flags.DEFINE_integer(
    "logical_cpus", 1, "Split the CPU into that many devices, to try `mirrored` without GPUs."
)
flags.DEFINE_bool("evaluate", True, "Evaluate the best checkpoint on the test split at the end.")
flags.DEFINE_integer("verbose", 1, "0: silent, 1: progress bar, 2: a line an epoch.")


def make_strategy(name: str, logical_cpus: int) -> tf.distribute.Strategy:
    """Returns the strategy; logical CPUs must be asked for before TensorFlow is used."""
    if logical_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * logical_cpus
        )
    if name == "single":
        return tf.distribute.get_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy([d.name for d in gpus or tf.config.list_logical_devices("CPU")])


def train(config, workdir, strategy=None, data_dir=None, verbose=1):
    """Trains to `config.num_steps`, from the last checkpoint if there is one; returns the model."""
    workdir = pathlib.Path(workdir)
    experiment.claim_workdir(workdir, config)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = experiment.model(config, data_dir)
        model.compile(experiment.optimizer(config), steps_per_execution=config.steps_per_execution)
    checkpoint = callbacks.TrainingCheckpoint(workdir / "checkpoints")
    step = checkpoint.restore(model)
    if step:
        logging.info("Resuming %s at step %d of %d", workdir, step, config.num_steps)
    if step < config.num_steps:
        valid = experiment.load(config, "valid", data_dir)
        model.fit(
            experiment.load(config, "train", data_dir, num_epochs=None, initial_step=step),
            steps_per_epoch=config.steps_per_epoch,
            initial_epoch=step // config.steps_per_epoch,
            epochs=-(-config.num_steps // config.steps_per_epoch),
            validation_data=valid,
            verbose=verbose,
            callbacks=[
                callbacks.MetricsLog(workdir / "metrics.csv", workdir / "tensorboard"),
                callbacks.ImageGrids(
                    workdir / "tensorboard", next(iter(valid)), config.evaluation.image_epochs
                ),
                checkpoint,
            ],
        )
    checkpoint.load_best(model)
    return model


def main(argv):
    """Parses the flags, trains, evaluates."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    start = time.monotonic()
    strategy = make_strategy(FLAGS.strategy, FLAGS.logical_cpus)
    config = FLAGS.config
    model = train(config, FLAGS.workdir, strategy, FLAGS.data_dir, FLAGS.verbose)
    logging.info("Trained in %.0f s", time.monotonic() - start)
    if FLAGS.evaluate:
        evaluate.evaluate(config, model, FLAGS.workdir, FLAGS.data_dir, FLAGS.verbose)


if __name__ == "__main__":
    app.run(main)
