"""Every model with every objective: it trains, is saved with it, and goes on from a file as without."""

import keras
import numpy as np
import pytest

from tests.conformance.models import MODELS
from tfdvae.objectives import (
    NVIL,
    REBAR,
    VIMCO,
    Autoencoding,
    Concrete,
    DisARM,
    Elbo,
    LeaveOneOut,
    MachineOnCodes,
    MuProp,
    ReinMax,
    StraightThrough,
    WakeSleep,
    schedules,
)

OBJECTIVES = {
    "Elbo": lambda: Elbo(schedules.linear(0.5, 1.0, 4)),
    "Elbo, balanced, two samples": lambda: Elbo(0.5, kl_balancing=True, training_samples=2),
    "straight-through": lambda: StraightThrough(kl_factor=0.5),
    "ReinMax": ReinMax,
    "VIMCO": lambda: VIMCO(3),
    "leave one out": lambda: LeaveOneOut(2),
    "DisARM": DisARM,
    "NVIL": lambda: NVIL(hidden_units=(3,)),
    "MuProp": MuProp,
    "REBAR": REBAR,
    "Concrete": lambda: Concrete(schedules.linear(1.0, 0.5, 4)),
    "Concrete, Bernoulli": lambda: Concrete(0.5, kl="bernoulli", kl_factor=0.5),
    "Concrete, energy": lambda: Concrete(0.5, kl="energy", path_derivative=True),
    "wake-sleep": lambda: WakeSleep(3, wake_factor=0.5),
    "autoencoding": lambda: Autoencoding(dropout=0.2),
    "machine on codes": MachineOnCodes,
    "contrastive divergence": lambda: MachineOnCodes(schedules.linear(1.0, 3.0, 4)),
}
NO_MACHINE = r"The prior of .* is normalized: there is no Boltzmann machine to train on codes"
SHARED = r"Wake-sleep has one objective for p and one for q, which must not share parameters\. .* shares"
NO_LOGITS = r"Codes are soft-binarized logits, and group \d has none: it is a Normal"
NOT_BINARY = r"ReinMax is for binary latents here\. Received: group 2, a Normal"
SEVERAL = r"(Antithetic|Relaxed) samples are for one group of binary units\. Received: group 1, a Bern"
CONTINUOUS = r"one of discrete latents alone, and groups \[2\] of .* are continuous\. Train with"
NOT_DIRECTED = (
    r"Binary Concrete latents are for directed binary priors: .* the groups \[[0-9, ]+\] are others"
)
REFUSED = {
    ("PixelVAE++", "wake-sleep"): r"must not share parameters. 'pixel_vae.* shares [0-9]+, such as",
    ("HybridRBM", "Elbo"): r"The latents of HybridRBM are not smoothed: .* an objective of hard samples",
    ("HybridRBM", "Elbo, balanced, two samples"): r"The latents of HybridRBM are not smoothed",
    ("DVAE, directed", "machine on codes"): NO_MACHINE,
    ("DVAE, directed", "contrastive divergence"): NO_MACHINE,
    (
        "DVAE++, all binary",
        "autoencoding",
    ): r"An autoencoder is made of q and p\(x \| z\)\. ",
    **{(name, "autoencoding"): NO_LOGITS for name in ("DVAE++", "DVAE++, colour")},
    **{(name, "ReinMax"): NOT_BINARY for name in ("DVAE++", "DVAE++, colour")},
    **{(name, "MuProp"): CONTINUOUS for name in ("DVAE++", "DVAE++, colour")},
    **{
        (n, o): NOT_DIRECTED
        for n in MODELS
        if n != "DVAE, directed"
        for o in ("Concrete", "Concrete, Bernoulli")
    },
    **{(n, o): SEVERAL for n in MODELS if n != "HybridRBM" for o in ("DisARM", "REBAR")},
    **{(name, "wake-sleep"): SHARED for name in ("DVAE++", "DVAE++, colour", "DVAE++, all binary")},
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_trains_with_an_objective_and_is_saved_with_it(name, objective, tmp_path):
    case = MODELS[name]
    model, x = case.construct(), case.images()
    if (name, objective) in REFUSED:

        def step():
            model.compile("sgd", OBJECTIVES[objective](), run_eagerly=True)
            model.train_on_batch(x)

        with pytest.raises(ValueError, match=REFUSED[name, objective]):
            step()
        return
    model.compile(keras.optimizers.SGD(0.01), OBJECTIVES[objective](), run_eagerly=True)
    if hasattr(model, "initialize"):
        model.initialize(x)
    before = [v.numpy() for v in model.trainable_variables]
    logs = model.train_on_batch(x, return_dict=True)
    assert np.isfinite(list(logs.values())).all()
    groups = model.parameter_groups()
    trained = {id(v) for name in getattr(model.objective, "trains", None) or groups for v in groups[name]}
    moved = [np.any(v.numpy() != old) for v, old in zip(model.trainable_variables, before, strict=True)]
    assert not any(m for v, m in zip(model.trainable_variables, moved, strict=True) if id(v) not in trained)
    assert sum(moved) > 0.5 * len(trained)
    assert model.scheduled_values().keys() >= model.objective.scheduled_values(0).keys()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.objective.get_config() == model.objective.get_config()
    for m in (model, again):
        m.train_on_batch(x)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


OF_HYBRID = [name for name in OBJECTIVES if ("HybridRBM", name) not in REFUSED]


@pytest.mark.slow
@pytest.mark.parametrize("objective", OF_HYBRID)
def test_an_objective_works_under_xla(objective):
    case, losses = MODELS["HybridRBM"], []
    for jit_compile in (False, True):
        model = case.construct()
        model.compile(keras.optimizers.SGD(0.01), OBJECTIVES[objective](), jit_compile=jit_compile)
        losses.append([model.train_on_batch(case.images(), return_dict=True)["loss"] for _ in range(2)])
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["NVIL", "REBAR", "wake-sleep", "autoencoding"])
def test_an_objective_works_on_two_replicas(objective, strategy):
    """Equal shares of equal images: all that is learned stays equal on both replicas, and moves."""
    case = MODELS["HybridRBM"]
    with strategy.scope():
        model = case.construct()
        model.compile(keras.optimizers.SGD(0.01), OBJECTIVES[objective](), run_eagerly=True)
    own = [] if model.objective_layer is None else model.objective_layer.weights
    before = [v.numpy() for v in own]
    model.fit(case.images(8), batch_size=4, verbose=0)
    for variable in own:
        copies = [v.numpy() for v in strategy.experimental_local_results(variable.value)]
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)
    assert all(np.any(v.numpy() != start) for v, start in zip(own, before, strict=True))
    assert np.isfinite(model.evaluate(case.images(), verbose=0, return_dict=True)["elbo"])


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
