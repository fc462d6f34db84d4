"""Stages of a training: objectives one after the other, each with optimizers of its own.

`config.stages` names sections of the config (see `trainers.configs.base.stage`). A stage is a part of the
steps of the model, so that its step says where a training is; without stages there is one.
"""

from typing import NamedTuple

import keras
import ml_collections
import numpy as np

from tfdvae import objectives
from tfdvae.objectives import schedules

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "sgd": keras.optimizers.SGD,
}


class Stage(NamedTuple):
    """A stage from the step `start` to the step `stop`; `name` is that of its section, or `None`."""

    name: str | None
    start: int
    stop: int


def of(config) -> list[Stage]:
    """The stages of a config, of whole epochs but for the last one, which takes the rest."""
    if not config.stages:
        return [Stage(None, 0, config.num_steps)]
    stops, done = [], 0.0
    for name in config.stages[:-1]:
        done += config[name].fraction
        stops.append(round(done * config.num_steps / config.steps_per_epoch) * config.steps_per_epoch)
    stops.append(config.num_steps)
    return [Stage(*stage) for stage in zip(config.stages, [0, *stops], stops, strict=False)]


def at(config, step) -> Stage:
    """The stage that a state of that step belongs to: of two that meet there, the one that ends."""
    return next(stage for stage in of(config) if step <= stage.stop)


def check(config) -> None:
    """Checks the stages of a config.

    Raises:
      ValueError: for a stage without a section, an unknown objective or optimizer, fractions that are not 1
        in all, and a stage shorter than an epoch.
    """
    for name in config.stages:
        section = config.get(name)
        if section is None or "objective" not in section:
            dicts = {k: v for k, v in config.items() if isinstance(v, ml_collections.ConfigDict)}
            sections = sorted(k for k, v in dicts.items() if "objective" in v)
            raise ValueError(f"`config.stages` names {name!r}, but the config has the stages {sections}")
        if section.objective not in objectives.__all__ or not hasattr(
            getattr(objectives, section.objective), "scheduled_values"
        ):
            raise ValueError(
                f"`config.{name}.objective` must be a class of `tfdvae.objectives` that `compile` takes. "
                f"Received: {section.objective!r}"
            )
        for part in ("networks", "prior"):
            if section[part].name not in OPTIMIZERS:
                raise ValueError(
                    f"`config.{name}.{part}.name` must be one of {tuple(OPTIMIZERS)}. Received: "
                    f"{section[part].name!r}"
                )
    fractions = {name: config[name].fraction for name in config.stages}
    if fractions and abs(sum(fractions.values()) - 1.0) > 1e-6:
        raise ValueError(f"The fractions of `config.stages` must add up to 1. Received: {fractions}")
    short = [stage.name for stage in of(config) if stage.name and stage.stop <= stage.start]
    if short:
        raise ValueError(
            f"The stages {short} have no epoch of {config.steps_per_epoch} steps. Give more "
            "`config.num_steps`"
        )


def compile_model(model, config, stage, **kwargs) -> None:
    """Compiles the model for a stage."""
    section, length = config[stage.name], stage.stop - stage.start
    arguments = {
        name: _in_steps(*value, stage) if isinstance(value, tuple | list) else value
        for name, value in section.arguments.to_dict().items()
    }
    objective = getattr(objectives, section.objective)(**arguments)
    model.compile(
        _optimizer(section.networks, length),
        objective,
        group_optimizers={"prior": _optimizer(section.prior, length)},
        **kwargs,
    )


def _in_steps(first, last, stage):
    """A schedule of the model's step: from `first` to `last`, in 25 equal parts of the stage."""
    parts = min(25, stage.stop - stage.start)
    boundaries = np.linspace(stage.start, stage.stop, parts + 1)[1:-1]
    return schedules.piecewise_constant([round(b) - 1 for b in boundaries], np.linspace(first, last, parts))


def learning_rate(c, num_steps, factor=1.0):
    """The rate of a section, times `factor`: piecewise constant between its fractions of `num_steps`."""
    rates = [factor * c.learning_rate * f for f in c.factors]
    boundaries = [int(b * num_steps) for b in c.boundaries]
    return schedules.piecewise_constant(boundaries, rates) if boundaries else rates[0]


def _optimizer(c, length):
    more = {"momentum": c.momentum} if c.name == "sgd" else {"epsilon": c.epsilon}
    return OPTIMIZERS[c.name](learning_rate(c, length), **more)
