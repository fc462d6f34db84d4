"""Pictures of the way of an image through the library, drawn from the calls of a run, for `docs/house.md`.

    python -m docs.way

A tiny model trains a step, evaluates and is exported while the calls are watched. A picture has the functions
below, in the order in which they were first called, each in the column of its package, with an arrow from
that of them which called it, at whatever distance. A test compares the pictures with the code.
"""

import pathlib
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from docs.picture import BOX_WIDTH, Picture
from tfdvae import export
from tfdvae.models import DVAE

FOLDER = pathlib.Path(__file__).parent
COLUMNS = ("models", "training", "objectives", "latents", "boltzmann", "export")
PITCH = (BOX_WIDTH + 0.2, 0.5)  # inches between columns, and between rows

STATIONS = {
    "fit": (
        "models.base: DiscreteVAE.fit",
        "boltzmann.measured: MeasuredModel._refresh_log_partition",
        "training: TrainedModel.train_step",
        "training: TrainedModel._checked_batch",
        "training: TrainedModel._update",
        "boltzmann.chains: PersistentChains.negative_samples",
        "objectives.elbo: Elbo.__call__",
        "models.bounds: BoundedModel.bound_terms",
        "models.dvae: DVAE.trace",
        "latents.trace: Group.drawn",
        "latents.draws: Smoothed.__call__",
        "models.dvae: DVAE.log_prob_of_pixels",
        "objectives.kl: kl_per_group",
        "objectives.kl: boltzmann_kl",
        "boltzmann.chains: log_partition_surrogate",
        "models.base: DiscreteVAE._logged",
    ),
    "log_likelihood": (
        "models.bounds: BoundedModel.log_likelihood",
        "boltzmann.measured: MeasuredModel.resolve_log_partition",
        "models.bounds: BoundedModel.importance_chunks",
        "models.bounds: BoundedModel.log_weights",
        "models.dvae: DVAE.trace",
        "latents.trace: Group.drawn",
        "latents.draws: Posterior.__call__",
        "objectives.kl: log_ratios",
        "latents.machine: BoltzmannPrior.energy",
        "models.dvae: DVAE.log_prob_of_pixels",
        "objectives.importance: ImportanceAccumulator.update",
        "objectives.importance: ImportanceAccumulator.log_mean_weight",
    ),
    "export": (
        "export.saving: export_generator",
        "boltzmann.measured: MeasuredModel.resolve_log_partition",
        "export.signatures: make_chain_bank",
        "export.signatures: GeneratorSignatures.__init__",
        "export.signatures: GeneratorSignatures.functions",
        "export.signatures: GeneratorSignatures.sample",
        "models.dvae: DVAE.generate",
        "export.signatures: GeneratorSignatures.log_prob",
        "models.bounds: BoundedModel.log_weights",
        "models.dvae: DVAE.trace",
        "export.layout: write_version",
        "export.compaction: compact",
        "export.audit: audit",
    ),
}


def way(function: Callable[[], object], stations: tuple[str, ...]) -> dict[str, str | None]:
    """The stations in the order in which a call of the function first reaches them, each with the one before.

    Raises:
      ValueError: if one is not reached.
    """
    found, stack = {}, []

    def watch(frame, event, _):
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("tfdvae."):
            return
        if event == "call":
            name = f"{module.removeprefix('tfdvae.')}: {frame.f_code.co_qualname}"
            if name in stations:
                found.setdefault(name, next((n for n in reversed(stack) if n in stations), None))
            stack.append(name)
        elif event == "return" and stack:
            stack.pop()

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    missing = set(stations) - set(found)
    if missing:
        raise ValueError(f"The run does not reach {sorted(missing)}")
    return found


def draw(found: dict[str, str | None]) -> Picture:
    """The picture of a way."""
    picture, boxes = Picture(), {}
    names = [name.split(".")[0].split(":")[0] for name in found]
    columns = [name for name in COLUMNS if name in names]
    for row, (name, station) in enumerate(zip(names, found, strict=True)):
        module, function = station.split(": ")
        *owner, function = function.split(".")
        x = 0.35 + BOX_WIDTH / 2 + columns.index(name) * PITCH[0]
        boxes[station] = picture.box(
            x, 0.6 + row * PITCH[1], function, name, ".".join(owner) or module.split(".")[-1]
        )
    for i, name in enumerate(columns):
        picture.title(0.35 + BOX_WIDTH / 2 + i * PITCH[0], name)
    callers = list(dict.fromkeys(caller for caller in found.values() if caller is not None))
    for station, caller in found.items():
        if caller is not None:
            beside = [c for c in callers if boxes[c].x == boxes[caller].x]
            picture.elbow(boxes[caller], boxes[station], beside.index(caller))
    return picture


def pictures() -> dict[str, Picture]:
    """All pictures by name."""
    model = DVAE(image_shape=(4, 4, 1), latent_units=(4, 4), network=(8,), num_chains=4)
    model.compile("adam", run_eagerly=True)
    x = np.zeros((4, 4, 4, 1), np.float32)
    model.fit(x, batch_size=4, verbose=0)
    model.optimizer.learning_rate = 0.0  # the log Z that was measured stays that of the model
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "fit": lambda: model.fit(x, batch_size=4, verbose=0),
            "log_likelihood": lambda: model.log_likelihood(x, 3, seed=0),
            "export": lambda: export.export_generator(model, f"{folder}/generator", num_samples=2),
        }
        drawn = {}
        for name, run in runs.items():
            tf.config.run_functions_eagerly(name == "log_likelihood")
            try:
                drawn[name] = draw(way(run, STATIONS[name]))
            finally:
                tf.config.run_functions_eagerly(False)
    return drawn


def picture_path(name: str) -> pathlib.Path:
    """Where a picture lies."""
    return FOLDER / f"way-{name}.svg"


if __name__ == "__main__":
    for name, picture in pictures().items():
        picture.save(picture_path(name))
