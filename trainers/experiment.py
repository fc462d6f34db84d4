"""From a config to data, model and optimizer, and what a workdir holds; shared by the programs."""

import contextlib
import fcntl
import inspect
import json
import os
import platform

import keras
import ml_collections
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfdvae
from tfdvae import data
from tfdvae.files import user_path, write_json
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE, DiscreteVAE, DVAEPlusPlus, HybridRBM, PixelVAEPlusPlus
from tfdvae.models.bounds import ELBO_ARGUMENTS, LIMITS
from tfdvae.objectives import Concrete, Elbo, schedules
from trainers import stages
from trainers.configs import base

MODELS = {kind.__name__: kind for kind in (DVAE, DVAEPlusPlus, HybridRBM, PixelVAEPlusPlus)}
OPTIMIZERS = {name: stages.OPTIMIZERS[name] for name in ("adam", "adamax")}  # those with an epsilon
_PARAMETER = {"overlapping_logistic": "scale", "binary_concrete": "temperature"}
# What may change between the runs on one workdir.
_FREE_FIELDS = ("evaluation", "steps_per_execution")


def check(config) -> None:
    """Checks the fields that nothing else checks in time.

    Raises:
      ValueError: if a count is not positive, the warm-up no fraction, or the split unknown.
    """
    for name in ("num_steps", "steps_per_epoch", "steps_per_execution"):
        if config[name] < 1:
            raise ValueError(f"`config.{name}` must be at least 1. Received: {config[name]}")
    counts = ("log_partition_chains", "log_partition_temperatures", "tempering_ladders", "tempering_sweeps")
    counts += ("raise_samples", "raise_temperatures")
    if config.evaluation.raise_images < 0:
        raise ValueError(
            f"`config.evaluation.raise_images` must be at least 0. Received: {config.evaluation.raise_images}"
        )
    for name in ("num_samples", *counts, "image_epochs"):
        if config.evaluation[name] < 1:
            raise ValueError(
                f"`config.evaluation.{name}` must be at least 1. Received: {config.evaluation[name]}"
            )
    splits = (*data.info(config.data.name).split_sizes, "validation")
    if config.evaluation.split not in splits:
        raise ValueError(
            f"`config.evaluation.split` must be one of {splits}. Received: {config.evaluation.split!r}"
        )
    if config.model_name not in MODELS:
        raise ValueError(
            f"`config.model_name` must be one of {tuple(MODELS)}. Received: {config.model_name!r}"
        )
    c = config.optimizer
    if c.name not in OPTIMIZERS:
        raise ValueError(f"`config.optimizer.name` must be one of {tuple(OPTIMIZERS)}. Received: {c.name!r}")
    if c.plateau_patience < 0 or not 0.0 < c.plateau_factor < 1.0 or c.global_clipnorm < 0.0:
        raise ValueError(
            "`config.optimizer` needs plateau_patience >= 0, 0 < plateau_factor < 1, global_clipnorm >= 0. "
            f"Received: {c.plateau_patience=}, {c.plateau_factor=}, {c.global_clipnorm=}"
        )
    if c.plateau_patience and (c.boundaries or c.prior_factor != 1.0):
        raise ValueError(
            "A learning rate that is lowered on a plateau follows no schedule: with "
            "`config.optimizer.plateau_patience`, `boundaries` must be () and `prior_factor` 1.0. Received: "
            f"{c.plateau_patience=}, {c.boundaries=}, {c.prior_factor=}"
        )
    if config.evaluation.limit not in LIMITS:
        raise ValueError(
            f"`config.evaluation.limit` must be one of {LIMITS}. Received: {config.evaluation.limit!r}"
        )
    if not config.optimizer.prior_factor > 0.0:
        raise ValueError(
            f"`config.optimizer.prior_factor` must be positive. Received: {config.optimizer.prior_factor}"
        )
    if not 0.0 <= config.kl_warmup <= 1.0:
        raise ValueError(f"`config.kl_warmup` must be in [0, 1]. Received: {config.kl_warmup}")
    stages.check(config)
    if len(config.optimizer.factors) != len(config.optimizer.boundaries) + 1:
        raise ValueError(
            "`config.optimizer.factors` must have one more entry than `boundaries`. Received: factors="
            f"{tuple(config.optimizer.factors)}, boundaries={tuple(config.optimizer.boundaries)}"
        )


def smoothing(config) -> Smoothing:
    """The smoothing layer, its parameter linear in the step."""
    c = config.smoothing
    return Smoothing(c.name, **{_PARAMETER.get(c.name, "beta"): _linear(c, config.num_steps)})


def _linear(c, num_steps):
    """From `c.initial` to `c.final`: a schedule of the step, or the number where they are equal."""
    return c.initial if c.initial == c.final else schedules.linear(c.initial, c.final, num_steps)


def model(config, data_dir=None) -> DiscreteVAE:
    """The model, uncompiled; a `data_mean` is that of the training data, or none if `data_dir` is `False`."""
    c, kind = config.data, MODELS[config.model_name]
    arguments = {k: v for k, v in config.model.to_dict().items() if k not in ELBO_ARGUMENTS}
    if "base_scale" in arguments:
        arguments["base_scale"] = arguments["base_scale"] or None
    if "data_mean" in inspect.signature(kind).parameters and data_dir is not False:
        arguments["data_mean"] = data.training_mean(c.name, data_dir, c.binarization)
    if "smoothing" in inspect.signature(kind).parameters:
        arguments["smoothing"] = smoothing(config)
    return kind(image_shape=data.info(c.name).image_shape, seed=config.seed, **arguments)


def objective(config) -> Elbo:
    """The bound, its KL factor rising to 1 in the beginning; or what `config.concrete` says."""
    warmup = int(config.kl_warmup * config.num_steps)
    arguments = {k: v for k, v in config.model.to_dict().items() if k in ELBO_ARGUMENTS}
    arguments["kl_factor"] = schedules.linear(0.0, 1.0, warmup) if warmup else 1.0
    if "concrete" not in config:
        return Elbo(**arguments)
    c = config.concrete
    temperature = _linear(c, config.num_steps)
    return Concrete(temperature, kl=c.kl, path_derivative=c.path_derivative, **arguments)


def optimizer(config, factor=1.0) -> keras.optimizers.Optimizer:
    """The optimizer with a piecewise constant learning rate, times `factor`."""
    c = config.optimizer
    rate = stages.learning_rate(c, config.num_steps, factor)
    clipnorm = c.global_clipnorm or None
    return OPTIMIZERS[c.name](rate, epsilon=c.epsilon, global_clipnorm=clipnorm)


def compile_model(model, config, stage=None, **kwargs) -> None:
    """Compiles the model for a stage, by default the last one; without stages, for the bound.

    The prior gets an optimizer of its own where its learning rate is another one.
    """
    if config.stages:
        stages.compile_model(model, config, stage or stages.of(config)[-1], **kwargs)
        return
    factor = config.optimizer.prior_factor
    prior = {} if factor == 1.0 else {"prior": optimizer(config, factor)}
    model.compile(optimizer(config), objective(config), group_optimizers=prior, **kwargs)


def load(config, split, data_dir=None, **kwargs) -> tf.data.Dataset:
    """Batches of a split of the experiment's data set."""
    c = config.data
    return data.load(c.name, split, c.batch_size, data_dir, c.binarization, config.seed, **kwargs)


@contextlib.contextmanager
def claim_workdir(workdir, config):
    """Makes the workdir, and keeps it from other trainings in a `with` block.

    Raises:
      ValueError: if the workdir belongs to another config (the differing fields are named), or another
        program trains in it.
      OSError: if the workdir cannot be made.
    """
    workdir = user_path(workdir, "workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    handle = os.open(workdir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system frees it, even after `kill -9`
        except BlockingIOError:
            raise ValueError(
                f"Another program is training in {workdir}. Wait for it, or give another --workdir"
            ) from None
        except OSError:
            pass  # a file system without locks
        if (workdir / "config.json").exists():
            differences = _differences(_to_json(read_config(workdir)), _to_json(config))
            if differences:
                raise ValueError(
                    f"{workdir} was made with another config: {'; '.join(differences)}. "
                    "Give the same config to resume, or another --workdir"
                )
        yield
    finally:
        os.close(handle)


def write_config(workdir, config) -> None:
    """Stores the config in the workdir."""
    write_json(user_path(workdir, "workdir") / "config.json", _to_json(config))


def read_config(workdir) -> ml_collections.ConfigDict:
    """The config of a workdir.

    Raises:
      FileNotFoundError: if there is none.
    """
    path = user_path(workdir, "workdir") / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give the --workdir of a training run")
    config = ml_collections.ConfigDict(json.loads(path.read_text()))
    # Of an older build.
    if "stages" not in config:
        config.stages = ()
    for name, value in base.get_config().evaluation.items():
        if name not in config.evaluation:
            config.evaluation[name] = value
    return config


def _to_json(config) -> dict:
    return json.loads(config.to_json_best_effort())


def _differences(old, new, prefix="config"):
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        if prefix == "config":
            keys = [k for k in keys if k not in _FREE_FIELDS]
        return [d for k in keys for d in _differences(old.get(k), new.get(k), f"{prefix}.{k}")]
    return [] if old == new else [f"{prefix} is {old!r} there and {new!r} here"]


def report(config, model, likelihood, **more) -> dict:
    """What `report.json` holds: figures, config, versions."""
    return {
        "config": _to_json(config),
        "step": int(model.step.numpy()),
        "seed": config.seed,
        "evaluation": likelihood.to_dict(),
        "data_caveat": data.info(config.data.name).caveat,
        "versions": {
            "python": platform.python_version(),
            "tfdvae": tfdvae.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tensorflow_probability": tfp.__version__,
            "numpy": np.__version__,
        },
        **more,
    }
