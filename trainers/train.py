"""Trains a model; run again on the same workdir, it resumes.

    python -m trainers.train --config=trainers/configs/dvaepp_digits.py --workdir=runs/digits

The workdir gets config.json, checkpoints/, metrics.csv, TensorBoard events, and at the end report.json,
samples.png and reconstructions.png. A program that was interrupted at any moment, `kill -9` included,
continues from the last checkpoint, and ends with the weights and the metrics of an uninterrupted one.

A resumed run must have the config of the workdir, except for the `evaluation` section and
`steps_per_execution`, which have no part in the training's results; the workdir keeps the newest ones. On
another number of replicas a resumed run goes on, but not bit for bit; see
`tfdvae.boltzmann.PersistentChains` for what becomes of the chains.

An epoch of `steps_per_epoch` steps ends with a validation, a row of metrics.csv and a checkpoint; if
`num_steps` is no multiple of it, the last epoch is shorter. Stages (`config.stages`) follow one another in
whole epochs; the best model is one of the last stage, by the bound of the validation (of as many samples
as the objective has). `steps_per_execution` is an upper limit: the
next smaller number that divides all epochs is used, and 1 on several replicas (with more, Keras 3.15 fails
on `MirroredStrategy`).
"""

import math
import time

import numpy as np
import tensorflow as tf
from absl import flags, logging
from ml_collections import config_flags

from tfdvae import callbacks, data
from tfdvae.files import user_path
from tfdvae.models import TrainingDiverged
from trainers import evaluate, experiment, program, stages


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
    """Trains to `config.num_steps`, from the last checkpoint if there is one; returns the best model."""
    workdir = user_path(workdir, "workdir")
    experiment.check(config)
    strategy = strategy or tf.distribute.get_strategy()
    with experiment.claim_workdir(workdir, config):
        with strategy.scope():
            model = experiment.model(config, data_dir)
        per_execution = _steps_per_execution(config, strategy)

        def prepare(step):
            with strategy.scope():
                stage = stages.at(config, step)
                experiment.compile_model(model, config, stage, steps_per_execution=per_execution)

        prepare(0)
        # Only now: a config of which no model can be made must not claim the workdir.
        experiment.write_config(workdir, config)
        c = config.optimizer
        plateau = [callbacks.PlateauDecay(c.plateau_patience, c.plateau_factor)] if c.plateau_patience else []
        checkpoint = callbacks.TrainingCheckpoint(workdir / "checkpoints", callbacks=plateau)
        step = checkpoint.restore(model, prepare if config.stages else None)
        _log_start(config, model, workdir, data_dir, strategy, step)
        if step < config.num_steps:
            valid = experiment.load(config, "valid", data_dir)
            logs = [
                *plateau,
                callbacks.ChainHealthProbe(seed=config.seed),
                callbacks.MetricsLog(workdir / "metrics.csv", workdir / "tensorboard"),
                callbacks.ImageGrids(
                    workdir / "tensorboard", next(iter(valid)), config.evaluation.image_epochs
                ),
                checkpoint,
            ]
            try:
                for stage in stages.of(config):
                    if stage.stop <= step:
                        continue
                    if stage.start == step > 0:
                        prepare(step + 1)
                    checkpoint.monitor = _monitored(model) if stage.stop == config.num_steps else None
                    for initial_epoch, epochs, steps_per_epoch in _segments(config, step, stage.stop):
                        start = initial_epoch * config.steps_per_epoch
                        model.fit(
                            experiment.load(config, "train", data_dir, num_epochs=None, initial_step=start),
                            steps_per_epoch=steps_per_epoch,
                            initial_epoch=initial_epoch,
                            epochs=epochs,
                            validation_data=valid,
                            verbose=verbose,
                            callbacks=logs,
                        )
                    step = stage.stop
            except TrainingDiverged as error:
                raise ValueError(f"{error}. The last good checkpoint: {checkpoint.last_state()}") from error
        checkpoint.load_best(model)
    return model


def _monitored(model):
    """What says which model is the best: the bound that is trained."""
    several = getattr(model.objective, "bound_samples", 1) > 1
    return "val_multi_sample_bound" if several else "val_elbo"


def _segments(config, step, stop):
    """(first epoch, last epoch + 1, steps an epoch) of what is left: whole epochs, then a shorter one."""
    whole, rest = divmod(stop, config.steps_per_epoch)
    if step // config.steps_per_epoch < whole:
        yield step // config.steps_per_epoch, whole, config.steps_per_epoch
    if rest:
        yield whole, whole + 1, rest


def _steps_per_execution(config, strategy):
    """At most `config.steps_per_execution`; divides each epoch, for Keras would run past its end."""
    if strategy.num_replicas_in_sync > 1:
        return 1
    common = math.gcd(config.steps_per_epoch, config.num_steps)
    return max(n for n in range(1, min(common, config.steps_per_execution) + 1) if common % n == 0)


def _log_start(config, model, workdir, data_dir, strategy, step):
    name = config.data.name
    train, valid, test = (data.num_examples(name, split, data_dir) for split in ("train", "valid", "test"))
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    logging.info("%s: %d images to train, %d to validate, %d to test", name, train, valid, test)
    several = strategy.num_replicas_in_sync > 1
    devices = strategy.extended.worker_devices if several else [tf.zeros([]).device]
    names = ", ".join(device.rpartition("device:")[-1] for device in devices)
    logging.info("%d trainable parameters on %s", parameters, names)
    logging.info(
        "%s step %d of %d (batches of %d), writing to %s",
        "Resuming at" if 0 < step < config.num_steps else "Done at" if step else "Starting at",
        step,
        config.num_steps,
        config.data.batch_size,
        workdir,
    )


def define_flags(values: flags.FlagValues) -> None:
    """Defines the program's flags."""
    config_flags.DEFINE_config_file(
        "config", "trainers/configs/dvaepp_digits.py", "The experiment.", flag_values=values
    )
    flags.DEFINE_string("workdir", None, "Where everything is written.", required=True, flag_values=values)
    flags.DEFINE_string(
        "data_dir", None, "Directory of the publishers' files (not needed for digits).", flag_values=values
    )
    flags.DEFINE_enum(
        "strategy", "single", ["single", "mirrored"], "One device, or all local ones.", flag_values=values
    )
    flags.DEFINE_integer(
        "logical_cpus",
        1,
        "Split the CPU into that many devices, to try `mirrored` without GPUs.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "evaluate", True, "Evaluate the best checkpoint on the test split at the end.", flag_values=values
    )
    flags.DEFINE_integer("verbose", 1, "0: silent, 1: progress bar, 2: a line an epoch.", flag_values=values)


def main(values: flags.FlagValues) -> None:
    """Trains and evaluates as the flags say."""
    start = time.monotonic()
    strategy = make_strategy(values.strategy, values.logical_cpus)
    model = train(values.config, values.workdir, strategy, values.data_dir, values.verbose)
    logging.info(
        "Trained in %.0f s; the best model is that of step %d",
        time.monotonic() - start,
        int(model.step.numpy()),
    )
    if values.evaluate:
        evaluate.evaluate(values.config, model, values.workdir, values.data_dir, values.verbose)


if __name__ == "__main__":
    program.run(main, define_flags)
