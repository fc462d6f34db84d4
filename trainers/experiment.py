"""From a config to data, model and optimizer; shared by the programs."""

import json
import pathlib
import platform

import keras
import ml_collections
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfdvae
from tfdvae import data
from tfdvae.callbacks import write_json
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE
from tfdvae.objectives import schedules

_PARAMETER = {"overlapping_logistic": "scale", "binary_concrete": "temperature"}


def smoothing(config) -> Smoothing:
    """The smoothing layer, its parameter linear in the step."""
    c = config.smoothing
    value = c.initial if c.initial == c.final else schedules.linear(c.initial, c.final, config.num_steps)
    return Smoothing(c.name, **{_PARAMETER.get(c.name, "beta"): value})


def model(config, data_dir=None) -> DVAE:
    """The model, uncompiled, centred on the training data."""
    warmup = int(config.kl_warmup * config.num_steps)
    c = config.data
    return DVAE(
        image_shape=data.info(c.name).image_shape,
        smoothing=smoothing(config),
        kl_factor=schedules.linear(0.0, 1.0, warmup) if warmup else 1.0,
        data_mean=data.training_mean(c.name, data_dir, c.binarization) if data_dir is not False else None,
        seed=config.seed,
        **config.model.to_dict(),
    )


def optimizer(config) -> keras.optimizers.Optimizer:
    """Adam with a piecewise constant learning rate."""
    c = config.optimizer
    rates = [c.learning_rate * f for f in c.factors]
    boundaries = [int(b * config.num_steps) for b in c.boundaries]
    rate = schedules.piecewise_constant(boundaries, rates) if boundaries else rates[0]
    return keras.optimizers.Adam(rate, epsilon=c.epsilon)


def load(config, split, data_dir=None, **kwargs) -> tf.data.Dataset:
    """Batches of a split of the experiment's data set."""
    c = config.data
    return data.load(c.name, split, c.batch_size, data_dir, c.binarization, config.seed, **kwargs)


def claim_workdir(workdir, config) -> None:
    """Writes the config into a new workdir, or checks that the workdir was made with the same one.

    Raises:
      ValueError: if the workdir belongs to another config (the differing fields are named).
      OSError: if the workdir cannot be written.
    """
    path = pathlib.Path(workdir) / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = json.loads(config.to_json_best_effort())
    if path.exists():
        old = json.loads(path.read_text())
        differences = _differences(old, new)
        if differences:
            raise ValueError(
                f"{workdir} was made with another config: {'; '.join(differences)}. "
                "Give the same config to resume, or another --workdir"
            )
    else:
        write_json(path, new)


def read_config(workdir) -> ml_collections.ConfigDict:
    """The config of a workdir."""
    path = pathlib.Path(workdir) / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give the --workdir of a training run")
    return ml_collections.ConfigDict(json.loads(path.read_text()))


def _differences(old, new, prefix="config"):
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [d for k in keys for d in _differences(old.get(k), new.get(k), f"{prefix}.{k}")]
    return [] if old == new else [f"{prefix} is {old!r} there and {new!r} here"]


def report(config, model, likelihood, **more) -> dict:
    """What `report.json` holds: figures, config, versions."""
    return {
        "config": json.loads(config.to_json_best_effort()),
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
