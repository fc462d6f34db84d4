"""Every model with every objective: it trains, is saved with it, and goes on from a file as without."""

import keras
import numpy as np
import pytest

from tests.conformance.models import MODELS
from tests.latents.ladder import StraightThrough
from tfdvae.objectives import Elbo, schedules

OBJECTIVES = {
    "Elbo": lambda: Elbo(schedules.linear(0.5, 1.0, 4)),
    "Elbo, balanced, two samples": lambda: Elbo(0.5, kl_balancing=True, training_samples=2),
    "straight-through": lambda: StraightThrough(kl_factor=0.5),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_with_an_objective_and_is_saved_with_it(name, objective, tmp_path):
    case = MODELS[name]
    model, x = case.construct(), case.images()
    model.compile(keras.optimizers.SGD(0.01), OBJECTIVES[objective](), run_eagerly=True)
    before = [v.numpy() for v in model.trainable_variables]
    logs = model.train_on_batch(x, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    moved = [np.any(v.numpy() != old) for v, old in zip(model.trainable_variables, before, strict=True)]
    assert np.mean(moved) > 0.5
    assert model.scheduled_values().keys() >= {"kl_factor"}
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.objective.get_config() == model.objective.get_config()
    for m in (model, again):
        m.train_on_batch(x)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_objective_trains_the_groups_that_it_names():
    class OfThePrior(Elbo):
        trains = ("prior",)

    case = MODELS["DVAE"]
    model, x = case.construct(), case.images()
    model.compile(keras.optimizers.SGD(0.1), OfThePrior(), run_eagerly=True)
    groups = model.parameter_groups()
    before = {name: [v.numpy() for v in variables] for name, variables in groups.items()}
    model.train_on_batch(x)
    for name, variables in groups.items():
        moved = [np.any(v.numpy() != old) for v, old in zip(variables, before[name], strict=True)]
        assert any(moved) == (name == "prior")
    OfThePrior.trains = ("networks", "memory")
    with pytest.raises(
        ValueError, match=r"`objective.trains` names the groups \['memory'\], but the model has"
    ):
        model.compile("sgd", OfThePrior())


@pytest.mark.parametrize("bad", ["elbo", keras.losses.MeanSquaredError(), 3])
def test_what_is_no_objective_is_refused(bad):
    with pytest.raises(ValueError, match=r"`objective` must be one of `tfdvae.objectives`.*objective="):
        MODELS["DVAE"].construct().compile("sgd", bad)


def test_arguments_of_the_bound_are_not_the_models():
    with pytest.raises(ValueError, match=r"`kl_factor` belongs to the objective: .*Elbo\(kl_factor=...\)"):
        MODELS["DVAE"].construct(kl_factor=0.5)


def test_files_of_models_that_had_the_arguments_are_read():
    model = MODELS["DVAE"].construct()
    schedule = schedules.serialize(schedules.linear(0.0, 1.0, 10))
    old = {**model.get_config(), "kl_factor": schedule, "kl_balancing": True, "training_samples": 3}
    again = type(model).from_config(old)
    again.compile("sgd")
    assert again.objective.training_samples == 3
    assert again.objective.kl_balancing
    again.step.assign(5)
    assert again.scheduled_values()["kl_factor"] == 0.5
