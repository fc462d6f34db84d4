"""DVAE saved and loaded: in a new process, with its whole state, and training that simply goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tests.models import oracles
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE
from tfdvae.objectives import schedules

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (2, 3, 1)
MODELS = {
    "rbm, exponential": dict(
        latent_units=(2, 3),
        sides=("right", "split"),
        network=(4,),
        kl_factor=("linear", 0.1, 1.0, 8),
        smoothing=("overlapping_exponential", "beta"),
        weight_decay=1e-3,
    ),
    "rbm, logistic": dict(latent_units=(2, 2), network="linear", smoothing=("overlapping_logistic", "scale")),
    "rbm, spike": dict(latent_units=(4,), network="linear", smoothing=("spike_and_exponential", "beta")),
    "bernoulli": dict(
        latent_units=(2, 1), network=(4,), prior="bernoulli", smoothing=("overlapping_exponential", "beta")
    ),
    "bernoulli, marginal": dict(
        latent_units=(3,),
        network="linear",
        prior="bernoulli",
        bound="marginal",
        smoothing=("binary_concrete", "temperature"),
    ),
    "normal": dict(latent_units=(2, 2), network=(4,), prior="normal"),
}
TRAINED_ON = ("rbm, exponential", "bernoulli")


def images():
    return np.random.default_rng(0).integers(0, 2, (24, *SHAPE)).astype(np.float32)


def build(name):
    arguments = dict(MODELS[name])
    if "smoothing" in arguments:
        smoothing, parameter = arguments["smoothing"]
        arguments["smoothing"] = Smoothing(smoothing, **{parameter: schedules.linear(1.0, 2.0, 9)})
    if "kl_factor" in arguments:
        arguments["kl_factor"] = schedules.linear(*arguments["kl_factor"][1:])
    model = DVAE(
        image_shape=SHAPE, data_mean=images().mean(axis=0), num_chains=6, num_sweeps=2, seed=3, **arguments
    )
    groups = {"prior": keras.optimizers.SGD(schedules.linear(0.05, 0.01, 12), momentum=0.9)}
    model.compile(
        keras.optimizers.Adam(schedules.piecewise_constant([5], [0.02, 0.005])),
        group_optimizers=groups if model.parameter_groups()["prior"] else None,
        steps_per_execution=2,
    )
    return model


def train(model):
    """Six steps."""
    model.fit(images(), batch_size=4, shuffle=False, verbose=0)


def everything(model):
    """All that a model is and does, as JSON: bits of floats as hexadecimal text."""
    state = {f"{i} {w.path.split('/')[-1]}": bits(w.numpy()) for i, w in enumerate(model.weights)}
    for i, (optimizer, variables) in enumerate(model._optimizers_and_variables()):
        state[f"optimizer {i}"] = {
            "variables": [bits(v.numpy()) for v in optimizer.variables],
            "of": [v.path.split("/")[-1] for v in variables],
            "learning rate": float(optimizer.learning_rate),
            "iterations": int(optimizer.iterations.numpy()),
        }
    state["step"] = int(model.step.numpy())
    state["kl factor"] = float(schedules.value_at(model.kl_factor, model.step))
    state["smoothing"] = {k: float(v) for k, v in model.smoothing.parameter(model.step).items()}
    if model.rbm is not None:
        state["chains"] = [bits(model.negative_phase.left.numpy()), bits(model.negative_phase.right.numpy())]
        state["log Z"] = [model.stored_log_partition.step, model.log_partition.value]
    x = images()
    state["log p"] = bits(model.log_likelihood(x, 30, seed=1).numpy())
    # The smoothed bound, for the smoothing at this step.
    state["bound"] = bits(model.elbo_terms(x, seed=2, limit="smoothed").elbo.numpy())
    state["samples"] = bits(model.sample(9, seed=4).numpy())
    return state


def bits(array):
    return array.tobytes().hex()


def load_and_report(folder):
    """What the other process does: loads every model, reports it, trains it on and reports it again."""
    report = {}
    for path in sorted(Path(folder).glob("*.keras")):
        model = keras.saving.load_model(path)
        report[path.stem] = {"loaded": everything(model)}
        if path.stem in TRAINED_ON:
            report[path.stem]["trained on"] = train_on(model)
    return report


def train_on(model):
    train(model)
    if model.rbm is not None:
        model.update_log_partition()
    return everything(model)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Models that were saved, some trained, what they were, and what another process makes of the files."""
    folder = tmp_path_factory.mktemp("saved")
    models = {}
    for name in MODELS:
        model = oracles.randomize(build(name), scale=0.3)
        if name in TRAINED_ON:
            train(model)
        if model.rbm is not None:
            model.update_log_partition()
        model.save(folder / f"{name}.keras")
        models[name] = (model, everything(model))
    command = (
        "import json, sys; import tests.conftest; from tests.models import test_dvae_saving as t; "
        f"sys.stdout.write(json.dumps(t.load_and_report({str(folder)!r})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return models, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", MODELS)
def test_a_new_process_loads_all_of_it(saved, name):
    models, reports = saved
    _, state = models[name]
    assert reports[name]["loaded"] == state
    assert state["step"] == (6 if name in TRAINED_ON else 0)
    if "rbm" in name:
        assert state["log Z"][0] == state["step"]


@pytest.mark.parametrize("name", TRAINED_ON)
def test_training_goes_on_bit_for_bit_in_a_new_process(saved, name):
    models, reports = saved
    model, state = models[name]
    uninterrupted = train_on(model)
    assert uninterrupted["step"] == 12
    assert reports[name]["trained on"] == uninterrupted
    assert uninterrupted["optimizer 0"]["learning rate"] != state["optimizer 0"]["learning rate"]
    assert uninterrupted["smoothing"] != state["smoothing"]


def test_weights_alone_restore_the_training_state(tmp_path):
    # What checkpoints do: weights, optimizers, chains and step into a model built from its program.
    model = build("rbm, logistic")
    train(model)
    model.update_log_partition()
    model.save_weights(tmp_path / "state.weights.h5")
    restored = build("rbm, logistic")
    restored.load_weights(tmp_path / "state.weights.h5")
    assert everything(restored) == everything(model)
    assert train_on(restored) == train_on(model)


def test_the_machine_is_saved_once(tmp_path):
    model = build("rbm, exponential")
    model.save_weights(tmp_path / "state.weights.h5")
    paths = []
    with h5py.File(tmp_path / "state.weights.h5") as file:
        file.visititems(lambda path, item: paths.append((path, getattr(item, "shape", None))))
    assert tuple(model.rbm.coupling.shape) == (1, 4)
    assert len([path for path, shape in paths if shape == (1, 4) and "optimizer" not in path]) == 1


def test_an_estimate_that_was_stale_is_stale_after_loading(tmp_path):
    model = build("rbm, spike")
    train(model)
    model.save(tmp_path / "stale.keras")
    restored = keras.saving.load_model(tmp_path / "stale.keras")
    for m in (model, restored):
        with pytest.raises(
            ValueError, match="measured at step 0 for other weights of the machine; the model is at step 6"
        ):
            m.log_likelihood(images(), 2, seed=0)


def test_a_model_without_optimizer_is_saved_too(tmp_path):
    model = oracles.randomize(DVAE(image_shape=SHAPE, latent_units=(2, 2), network=(3,)))
    model.save(tmp_path / "plain.keras")
    restored = keras.saving.load_model(tmp_path / "plain.keras")
    assert not restored.compiled
    for a, b in zip(model.weights, restored.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="No log Z is stored"):
        restored.log_likelihood(images(), 2, seed=0)


def test_an_idle_optimizer_is_no_hindrance(tmp_path):
    # Every group has an optimizer of its own, so that the first is never built.
    model = DVAE(image_shape=SHAPE, latent_units=(2, 2), network="linear", num_chains=5, num_sweeps=2)
    model.compile(
        group_optimizers={"networks": keras.optimizers.Adam(0.1), "prior": keras.optimizers.SGD(0.1)}
    )
    train(model)
    model.save(tmp_path / "idle.keras")
    restored = keras.saving.load_model(tmp_path / "idle.keras")
    for m in (model, restored):
        train(m)
        m.update_log_partition()
    assert everything(restored) == everything(model)
