import itertools
import pathlib
import sys

import keras
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from tests.trainers.experiments import tiny_config
from tfdvae import objectives
from tfdvae._gradients import optimizers_and_variables
from tfdvae.models import DVAEPlusPlus
from tfdvae.models.bounds import ELBO_ARGUMENTS
from tfdvae.models.pixels import DiscretizedLogisticPixels
from trainers import experiment, train
from trainers.configs import (
    base,
    digits,
    dvaepp,
    dvaepp_cifar10_small,
    dvaepp_digits,
    dvaepp_mnist_small,
    pixelvaepp,
    pixelvaepp_cifar10_small,
    pixelvaepp_digits,
    pixelvaepp_mnist_small,
    section_7_1,
    section_7_2,
)


def specs(module):
    return ["-".join(parts) for parts in itertools.product(*module.CHOICES)]


def widths(stack):
    """Hidden widths and output width of a dense stack."""
    return (*stack.hidden_units, stack.output_units)


def check_networks(model, network, batch_normalization):
    hidden = {"linear": (), "nonlinear": (200, 200)}[network]
    groups = len(model.latent_units)
    assert [widths(encoder) for encoder in model.encoders] == [(*hidden, 200)] * groups
    assert [encoder.input_units for encoder in model.encoders] == [(784,), (784, 200)][:groups]
    assert widths(model.decoder) == (*hidden, 784)
    assert {encoder.batch_normalization for encoder in model.encoders} == {batch_normalization}


def test_there_are_as_many_experiments_as_in_the_paper():
    assert len(specs(section_7_1)) == 2 * 2 * 11
    assert len(specs(section_7_2)) == 32


@pytest.mark.parametrize("module", [section_7_1, section_7_2])
def test_data_sets_have_the_same_experiments(module):
    """So that the tests that build the models may take one of them."""
    for spec in specs(module):
        data, _, rest = spec.partition("-")
        config, other = module.get_config(spec), module.get_config(f"static_mnist-{rest}")
        assert config.data.name == data
        other.data.name = data
        assert config == other


def specs_of_static_mnist(module):
    return [spec for spec in specs(module) if spec.startswith("static_mnist-")]


@pytest.mark.parametrize("spec", specs_of_static_mnist(section_7_1))
def test_section_7_1(spec):
    data, network, estimator = spec.split("-")
    bound = estimator if estimator == "marginal" else "joint"
    config = section_7_1.get_config(spec)
    experiment.check(config)
    model = experiment.model(config, data_dir=False)
    assert (config.data.name, config.data.batch_size) == (data, 24)
    assert model.latent_units == (200,)
    assert (model.prior_name, model.bound, model.rbm) == ("bernoulli", bound, None)
    check_networks(model, network, batch_normalization=False)
    assert not model.losses  # no weight decay
    experiment.compile_model(model, config)
    objective, arguments = section_7_1.OBJECTIVES.get(estimator, ("Elbo", {}))
    assert type(model.objective).__name__ == objective
    assert arguments.items() <= model.objective.get_config().items()
    if isinstance(model.objective, objectives.Elbo):
        assert model.objective.scheduled_values(0)["kl_factor"] == 1.0
    betas = [float(model.smoothing.parameter(step)["beta"]) for step in (0, 1_000_000, 2_000_000)]
    assert betas == [6.0, 11.0, 16.0]
    for optimizer, _ in optimizers_and_variables(model):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(np.asarray(optimizer.learning_rate)) == np.float32(5e-4)
        assert optimizer.epsilon == 1e-3


@pytest.mark.parametrize("spec", specs_of_static_mnist(section_7_2))
def test_section_7_2(spec):
    data, groups, network, prior = spec.split("-")
    config = section_7_2.get_config(spec)
    experiment.check(config)
    model = experiment.model(config, data_dir=False)
    assert (config.data.name, config.data.batch_size, config.num_steps) == (data, 100, 1_000_000)
    assert model.latent_units == (200,) * int(groups)
    check_networks(model, network, batch_normalization=True)
    assert model.losses
    spike = prior == "rbm_rolfe"
    assert model.smoothing.smoothing == ("spike_and_exponential" if spike else "overlapping_exponential")
    if prior.startswith("rbm"):
        side = 100 * int(groups)
        assert (model.rbm.left_units, model.rbm.right_units) == (side, side)
        assert (model.negative_phase.num_chains, model.negative_phase.num_sweeps) == (100, 40)
    else:
        assert (model.prior_name, model.bound, model.rbm) == ("bernoulli", prior, None)
    objective = experiment.objective(config)
    factors = [objective.scheduled_values(step)["kl_factor"] for step in (0, 150_000, 300_000, 10**6)]
    assert factors == [0.0, 0.5, 1.0, 1.0]


def test_learning_rate_falls_at_the_boundaries():
    rate = experiment.optimizer(base.get_config())._learning_rate
    values = [float(rate(step)) for step in (600_000, 600_001, 750_001, 950_001)]
    np.testing.assert_allclose(values, 3e-3 * np.array([1.0, 0.3, 0.09, 0.027]), rtol=1e-6)


def test_the_prior_may_learn_at_a_rate_of_its_own():
    config = section_7_2.get_config("static_mnist-1-linear-rbm")
    rates = {}
    for factor in (1.0, 3.0):
        config.optimizer.prior_factor = factor
        model = experiment.model(config, data_dir=False)
        experiment.compile_model(model, config)
        for optimizer, variables in optimizers_and_variables(model):
            rates.update({(factor, v.path): float(np.asarray(optimizer.learning_rate)) for v in variables})
    for (factor, path), rate in rates.items():
        np.testing.assert_allclose(rate, 3e-3 * (factor if "rbm" in path else 1.0), rtol=1e-6)
    assert len(rates) == 2 * len(model.trainable_variables)
    config.optimizer.prior_factor = 0.0
    with pytest.raises(ValueError, match=r"`config.optimizer.prior_factor` must be positive. Received: 0"):
        experiment.check(config)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "static_mnist-1-nonlinear",
            r"must have 4 parts, joined by '-'. Received: 'static_mnist-1-nonlinear'",
        ),
        ("mnist-1-nonlinear-rbm", r"'mnist' in .* must be one of static_mnist, omniglot"),
        ("omniglot-3-nonlinear-rbm", r"'3' in .* must be one of 1, 2"),
        ("omniglot-1-deep-rbm", r"'deep' in .* must be one of linear, nonlinear"),
        ("omniglot-1-linear-normal", r"'normal' in .* must be one of rbm, rbm_rolfe, joint, marginal"),
    ],
)
def test_unknown_experiment(spec, message):
    with pytest.raises(ValueError, match=message):
        section_7_2.get_config(spec)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_steps", 0, r"`config.num_steps` must be at least 1. Received: 0"),
        ("steps_per_epoch", -3, r"`config.steps_per_epoch` must be at least 1. Received: -3"),
        ("steps_per_execution", 0, r"`config.steps_per_execution` must be at least 1"),
        ("evaluation.num_samples", 0, r"`config.evaluation.num_samples` must be at least 1"),
        ("kl_warmup", 1.5, r"`config.kl_warmup` must be in \[0, 1\]. Received: 1.5"),
        ("optimizer.factors", (1.0, 0.1), r"must have one more entry than `boundaries`"),
    ],
)
def test_check(field, value, message):
    config = digits.get_config()
    experiment.check(config)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        experiment.check(config)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.name", "emnist", "digits.*emnist"),
        ("data.binarization", "sometimes", "sometimes"),
        ("smoothing.name", "gumbel", "overlapping_exponential.*gumbel"),
        ("smoothing.initial", -1.0, "beta"),
        ("model.network", "deep", "linear.*nonlinear.*deep"),
        ("model.prior", "gaussian", "rbm.*gaussian"),
        ("model.latent_units", (0,), "latent_units"),
        ("model.num_sweeps", 0, "num_sweeps"),
        ("evaluation.split", "testing", "test.*testing"),
    ],
)
def test_config_without_a_model_does_not_claim_the_workdir(tmp_path, field, value, message):
    config = tiny_config().unlock()
    with config.ignore_type():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=f"(?s){message}"):
        train.train(config, tmp_path, verbose=0)
    assert not list(tmp_path.iterdir())


def test_workdir_of_another_config(tmp_path):
    config = tiny_config().unlock()
    experiment.write_config(tmp_path, config)
    with experiment.claim_workdir(tmp_path, config):
        pass
    config.evaluation.num_samples = 99
    config.steps_per_execution = 50
    with experiment.claim_workdir(tmp_path, config):
        pass
    config.seed = 1
    config.model.latent_units = (3, 3, 3)
    with (
        pytest.raises(ValueError, match="another config") as raised,
        experiment.claim_workdir(tmp_path, config),
    ):
        pass
    message = str(raised.value)
    assert str(tmp_path) in message
    assert "config.seed is 0 there and 1 here" in message
    assert "config.model.latent_units is [4, 3] there and [3, 3, 3] here" in message
    assert "evaluation" not in message


def test_workdir_is_claimed_by_one_program(tmp_path):
    with experiment.claim_workdir(tmp_path, tiny_config()):  # noqa: SIM117
        with (
            pytest.raises(ValueError, match="Another program is training in"),
            experiment.claim_workdir(tmp_path, tiny_config()),
        ):
            pass
    with experiment.claim_workdir(tmp_path, tiny_config()):
        pass


def test_config_survives_the_workdir(tmp_path):
    experiment.write_config(tmp_path, tiny_config())
    config = experiment.read_config(tmp_path)
    model = experiment.model(config, data_dir=False)
    assert (model.latent_units, model.network) == ((4, 3), (8,))
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_every_config_file_is_tested():
    files = {path.stem for path in pathlib.Path(base.__file__).parent.glob("*.py")}
    small = {"dvaepp_cifar10_small", "dvaepp_digits", "dvaepp_mnist_small"}
    small |= {"hybrid_digits", "hybrid_cifar10_small"}
    small |= {"pixelvaepp_cifar10_small", "pixelvaepp_digits", "pixelvaepp_mnist_small"}
    large = {"dvaepp", "hybrid", "pixelvaepp", "section_7_1", "section_7_2"}
    assert files == {"__init__", "base", "digits", *large, *small}


@pytest.mark.parametrize(
    "module", [pixelvaepp, pixelvaepp_cifar10_small, pixelvaepp_digits, pixelvaepp_mnist_small]
)
def test_pixelvaepp_trains_by_the_surrogate_of_the_paper(module):
    """The architectures are tested with their table in the docs."""
    config = module.get_config()
    objective = experiment.objective(config)
    assert (objective.kl, objective.path_derivative) == ("energy", True)
    assert objective.scheduled_values(0) == {"kl_factor": 0.0, "concrete_temperature": 0.25}
    assert objective.scheduled_values(config.num_steps)["kl_factor"] == 1.0
    if module is not pixelvaepp:
        experiment.check(config)
        assert experiment.model(config, data_dir=False).rbm is not None
    config.concrete.final, config.model.concatenated_units = 0.5, ()
    config.model.conditioning_units = config.model.shared_units = 0
    assert experiment.objective(config).scheduled_values(config.num_steps)["concrete_temperature"] == 0.5
    if module is not pixelvaepp:
        alone = experiment.model(config, data_dir=False)
        assert alone.rbm is None
        experiment.compile_model(alone, config, run_eagerly=True)
        x = np.zeros([2, *alone.image_shape], np.float32)
        assert np.isfinite(alone.train_on_batch(x, return_dict=True)["loss"])


# Of table 4: features of "down 1" and "down 2", global groups, scales of the decoder.
TABLE_4 = {
    "static_mnist": ((4, 4, 128), (1, 1, 512), (4,) * 4, 1),
    "dynamic_mnist": ((4, 4, 128), (1, 1, 512), (4,) * 4, 1),
    "omniglot": ((4, 4, 128), (1, 1, 512), (4,) * 4, 4),
    "caltech101_silhouettes": ((7, 7, 8), (1, 1, 16), (4,) * 4, 4),
    "cifar10": ((8, 8, 256), (1, 1, 1024), (16,) * 8, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("omniglot", marks=pytest.mark.slow), "caltech101_silhouettes"])
def test_architectures_of_table_4(name):
    config = dvaepp.get_config(name)
    experiment.check(config)
    model = experiment.model(config, data_dir=False)
    features, top, units, scales = TABLE_4[name]
    assert model.down1.output_shape_of_images == features
    assert model.down2.output_shape_of_images == top
    assert model.global_units == units
    assert (model.local_groups, model.local_channels) == (16, 32)
    assert model.local.posterior_networks[15].blocks[-1].filters == 64
    # The networks of group 15 see the features, "upsample" and 15 groups of 32.
    context = model.upsample.output_shape_of_images[-1]
    assert model.local.prior_networks[15].blocks[0].input_filters == (context + 15 * 32,)
    assert model.local.posterior_networks[15].blocks[0].input_filters == (features[-1], context + 15 * 32)
    assert len(model.decoder.stages) == scales == len(model.decoder.scales)
    assert len(model.decoder.input_networks) == scales - 1
    assert model.decoder.scales.sizes[-1] == model.image_shape[:2]
    assert isinstance(experiment.optimizer(config), keras.optimizers.Adamax)


def smallest_dvaepp():
    """`dvaepp_digits` with two filters everywhere."""
    config = dvaepp_digits.get_config()
    config.model.down1, config.model.down2 = "2down 2down 2down", "2down 2down"
    config.model.upsample, config.model.decoder = "2up 2up", ("2up", "2up", "2up")
    config.model.q_h, config.model.p_h = "", ""
    config.model.context, config.model.decoder_input = "2", "2"
    return config


@pytest.mark.parametrize(
    "override",
    [
        "model.global_prior=normal",
        "model.global_prior=none",
        "smoothing.name=spike_and_exponential",
        "model.local_prior=bernoulli",
        "model.local_groups=8",
        "model.global_units=(128,)",
        "model.global_units=(64,64)",
        "model.global_units=(32,32,32,32)",
        "model.kl_balancing=False",
        "evaluation.limit=smoothed",
    ],
)
def test_rows_of_the_papers_tables_are_overrides(override, parsed):
    name, value = override.split("=")
    assert name in dvaepp.__doc__
    assert value in dvaepp.__doc__
    experiment.check(parsed(dvaepp.get_config("omniglot"), override))
    model = experiment.model(parsed(smallest_dvaepp(), override), data_dir=False)
    assert model.built
    kind, _, field = name.partition(".")
    if kind == "model":
        built = (
            experiment.objective(parsed(smallest_dvaepp(), override)) if field in ELBO_ARGUMENTS else model
        )
        assert str(getattr(built, field)).replace(" ", "") == value
    assert (model.rbm is None) == (override in ("model.global_prior=normal", "model.global_prior=none"))


@pytest.mark.parametrize("num_groups", [12, 16, 20, 24])
def test_more_local_groups_are_overrides(num_groups, parsed):
    """Without the models: one number of groups is built above."""
    config = parsed(dvaepp.get_config("omniglot"), f"model.local_groups={num_groups}")
    experiment.check(config)
    assert config.model.local_groups == num_groups
    assert str(num_groups) in dvaepp.__doc__


@pytest.mark.parametrize(("base_scale", "num_scales"), [(4, 4), (0, 1)])
def test_both_decoders_are_overrides(base_scale, num_scales, parsed):
    config = parsed(smallest_dvaepp(), f"model.base_scale={base_scale}")
    assert len(experiment.model(config, data_dir=False).decoder.stages) == num_scales


@pytest.fixture
def parsed(monkeypatch):
    """Returns a config with what a program reads from its command line."""

    def parse(config, override):
        arguments = ["program", f"--config.{override}"]
        monkeypatch.setattr(sys, "argv", arguments)  # where the library looks for overrides
        values = flags.FlagValues()
        config_flags.DEFINE_config_dict("config", config, flag_values=values)
        values(arguments)
        return values.config

    return parse


def test_all_architectures_of_the_paper_are_there():
    assert set(dvaepp.ARCHITECTURES) == set(TABLE_4)
    for name, (*_, units, scales) in TABLE_4.items():
        config = dvaepp.get_config(name)
        experiment.check(config)
        assert tuple(config.model.global_units) == units
        assert config.model.base_scale == (0 if scales == 1 else 4)
    config = dvaepp.get_config("cifar10")
    # A mixture of 10 logistics for 3 channels: 100 parameters a pixel, as in the table.
    assert DiscretizedLogisticPixels(3, config.model.num_components).num_parameters == 100
    with pytest.raises(ValueError, match="must be one of static_mnist"):
        dvaepp.get_config("mnist")


@pytest.mark.parametrize("module", [dvaepp_cifar10_small, dvaepp_digits, dvaepp_mnist_small])
def test_small_configs(module):
    config = module.get_config()
    experiment.check(config)
    model = experiment.model(config, data_dir=False)
    assert isinstance(model, DVAEPlusPlus)
    assert model.rbm is not None
    assert experiment.objective(config).kl_balancing
    assert model.base_scale == 4
    assert experiment.optimizer(config).global_clipnorm == config.optimizer.global_clipnorm > 0
    colour = module is dvaepp_cifar10_small
    assert model.image_shape == ((32, 32, 3) if colour else (28, 28, 1))
    assert isinstance(model.pixels, DiscretizedLogisticPixels) == colour


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_name", "VAE", "`config.model_name` must be one of"),
        ("optimizer.name", "sgd", "`config.optimizer.name` must be one of"),
        ("optimizer.plateau_patience", -1, "plateau_patience >= 0"),
        ("optimizer.plateau_patience", 3, "follows no schedule"),
        ("optimizer.plateau_factor", 1.5, "0 < plateau_factor < 1"),
        ("optimizer.global_clipnorm", -1.0, "global_clipnorm >= 0"),
        ("evaluation.limit", "discrete", "`config.evaluation.limit` must be one of"),
    ],
)
def test_fields_of_dvaepp_are_checked(field, value, message):
    config = dvaepp_mnist_small.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        experiment.check(config)
