"""Arguments that must be integers: what is none is refused by name, wherever it arrives."""

import numpy as np
import pytest
import tensorflow as tf

from tfdvae import _validation as validation
from tfdvae import boltzmann, callbacks, data, export, layers, random
from tfdvae.export import layout
from tfdvae.models import DVAE, DVAEPlusPlus
from tfdvae.models.multi_scale import MultiScaleFactorization
from tfdvae.objectives import Elbo, schedules

NONE = [1.7, 2.0, True, "3", np.float64(2), np.bool_(True), None, [2], np.array(2)]


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers(value):
    for check in (validation.integer, validation.positive_integer, validation.not_negative_integer):
        assert (check("n", value), type(check("n", value))) == (3, int)
    assert validation.positive_count("n", value) == 3
    assert validation.positive_integers("n", value) == (3,)
    assert validation.positive_integers("n", [value, 1]) == (3, 1)
    assert validation.positive_integers("n", np.array([value, 1])) == (3, 1)
    tensor = tf.constant(value)
    assert validation.positive_count("n", tensor) is tensor


@pytest.mark.parametrize("value", NONE)
def test_what_is_no_integer(value):
    for check in (
        validation.integer,
        validation.positive_integer,
        validation.not_negative_integer,
        validation.positive_count,
    ):
        with pytest.raises(ValueError, match=r"^`n` must be an? .*integer.*\. Received: n="):
            check("n", value)


@pytest.mark.parametrize("value", [2.5, [2.5], [1, True], "12", ["1"], None, {2.0}])
def test_what_is_no_sequence_of_integers(value):
    with pytest.raises(ValueError, match=r"^`n` must be a positive integer\. Received: n="):
        validation.positive_integers("n", value)


def test_ranges():
    assert validation.integer("n", -2) == -2
    assert validation.not_negative_integer("n", 0) == 0
    with pytest.raises(ValueError, match=r"`n` must be an integer of at least 0\. Received: n=-1"):
        validation.not_negative_integer("n", -1)
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"`n` must be a positive integer. Received: n={n}"):
            validation.positive_integer("n", n)
    with pytest.raises(ValueError, match=r"`n` must be a positive integer\. Received: n=<tf\.Tensor"):
        validation.positive_count("n", tf.constant(2.0))


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, "1", None])
def test_what_is_no_amount(value):
    with pytest.raises(ValueError, match=r"`x` must be finite and not negative\. Received: x="):
        validation.not_negative("x", value)


def dvae(**arguments):
    return DVAE(**{"image_shape": (2, 2, 1), "latent_units": (3, 2), "network": (4,), **arguments})


def trainer(**arguments):
    return boltzmann.RBMTrainer(boltzmann.RestrictedBoltzmannMachine(3, 2), **arguments)


IMAGES = np.zeros([2, 2, 2, 1], np.float32)
CALLS = [
    ("seed", lambda n: dvae(seed=n)),
    ("image_shape", lambda n: dvae(image_shape=(2, n, 1))),
    ("latent_units", lambda n: dvae(latent_units=(3, n))),
    ("latent_units", lambda n: dvae(latent_units=n)),
    ("network", lambda n: dvae(network=(4, n))),
    ("training_samples", lambda n: Elbo(training_samples=n)),
    ("num_chains", lambda n: dvae(prior="normal", num_chains=n)),
    ("num_sweeps", lambda n: dvae(num_sweeps=n)),
    ("seed", lambda n: DVAEPlusPlus(seed=n)),
    ("global_units", lambda n: DVAEPlusPlus(global_units=(4, n))),
    ("global_hidden", lambda n: DVAEPlusPlus(global_hidden=(n,))),
    ("num_sweeps", lambda n: DVAEPlusPlus(num_sweeps=n)),
    ("seed", lambda n: trainer(seed=n)),
    ("num_chains", lambda n: trainer(num_chains=n)),
    ("num_sweeps", lambda n: trainer(num_sweeps=n)),
    ("num_temperatures", lambda n: trainer(negative_phase="tempered", num_temperatures=n)),
    ("right_units", lambda n: boltzmann.RBMTrainer.from_data_mean([0.5], n)),
    ("input_units", lambda n: layers.DenseStack((n,), 2)),
    ("output_units", lambda n: layers.DenseStack((2,), n)),
    ("hidden_units", lambda n: layers.DenseStack((2,), 2, (n,))),
    ("seed", lambda n: layers.DenseStack((2,), 2, seed=n)),
    ("input_filters", lambda n: layers.SEResidualBlock((n,), 2)),
    ("filters", lambda n: layers.SEResidualBlock((2,), n)),
    ("output_size", lambda n: layers.SEResidualBlock((2,), 2, "up", (4, n))),
    ("seed", lambda n: layers.SEResidualBlock((2,), 2, seed=n)),
    ("input_shapes", lambda n: layers.ResidualStack([(4, 4, n)], "2")),
    ("sizes", lambda n: layers.ResidualStack([(4, 4, 2)], "2", sizes=[(4, n)])),
    ("seed", lambda n: layers.ResidualStack([(4, 4, 2)], "2", seed=n)),
    ("height", lambda n: MultiScaleFactorization(n, 4, 4)),
    ("width", lambda n: MultiScaleFactorization(4, n, 4)),
    ("base_scale", lambda n: MultiScaleFactorization(4, 4, n)),
    ("num_steps", lambda n: schedules.linear(0.0, 1.0, n)),
    ("boundaries", lambda n: schedules.piecewise_constant([n], [0.0, 1.0])),
    ("num_sweeps", lambda n: callbacks.ChainHealthProbe(n)),
    ("seed", lambda n: callbacks.ChainHealthProbe(seed=n)),
    ("patience", lambda n: callbacks.PlateauDecay(n)),
    ("every_epochs", lambda n: callbacks.TrainingCheckpoint("checkpoints", every_epochs=n)),
    ("keep", lambda n: callbacks.TrainingCheckpoint("checkpoints", keep=n)),
    ("every_epochs", lambda n: callbacks.ImageGrids("events", IMAGES, n)),
    ("num_images", lambda n: callbacks.ImageGrids("events", IMAGES, num_images=n)),
    ("seed", lambda n: random.as_seed(n)),
    ("seed", lambda n: data.load("digits", "train", 10, seed=n)),
    ("seed", lambda n: data.training_mean("digits", seed=n)),
    ("batch_size", lambda n: data.from_arrays(IMAGES, n)),
    ("version", lambda n: layout.version_directory("exported", n)),
    ("count", lambda n: export.row_seeds(0, n)),
]


@pytest.mark.parametrize("value", [1.7, True, "3", np.float64(2)])
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_arguments_that_are_no_integers(name, call, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: (a tensor|{name}=)"):
        call(value)


@pytest.fixture(scope="module")
def model():
    model = dvae(num_chains=3)
    model.update_log_partition()
    return model


@pytest.mark.parametrize("value", [1.7, True, "3", 0])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("num_samples", lambda m, n: m.sample(n, seed=0)),
        ("num_sweeps", lambda m, n: m.sample(2, seed=0, num_sweeps=n)),
        ("num_samples", lambda m, n: m.sample_prior(n, seed=0)),
        ("num_sweeps", lambda m, n: m.sample_prior(2, seed=0, num_sweeps=n)),
        ("num_samples", lambda m, n: m.log_weights(IMAGES, n, seed=0)),
        ("num_samples", lambda m, n: m.log_likelihood(IMAGES, n, seed=0)),
        ("num_samples", lambda m, n: m.posterior_means(IMAGES, seed=0, num_samples=n)),
    ],
)
def test_counts_of_a_model_that_are_none(model, name, call, value):
    with pytest.raises(
        ValueError, match=rf"`{name}` must be a positive integer\. Received: {name}={value!r}"
    ):
        call(model, value)


def test_numpy_integers_make_the_same_configuration():
    smoothing = layers.Smoothing("overlapping_exponential", beta=8.0)
    python, numpy = (
        dvae(
            image_shape=(n(2), n(2), n(1)),
            latent_units=n(3),
            network=(n(4),),
            num_chains=n(6),
            seed=n(5),
            smoothing=smoothing,
            name="model",
        ).get_config()
        for n in (int, np.int64)
    )
    assert python == numpy
    assert type(numpy["seed"]) is type(numpy["num_chains"]) is type(numpy["network"][0]) is int
