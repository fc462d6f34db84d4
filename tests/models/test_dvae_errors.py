"""DVAE: what it refuses, with the messages, and that a refusal changes nothing."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_dvae import CONCRETE, SHAPE, SPIKE, build, built, every_image
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(prior="ising"), "`prior` must be one of .* Received: prior='ising'"),
        (dict(bound="tight"), "`bound` must be one of .* Received: bound='tight'"),
        (dict(network="deep"), "`network` must be one of .* Received: network='deep'"),
        (dict(image_shape=(28, 28)), r"`image_shape` must be .* Received: image_shape=\(28, 28\)"),
        (dict(image_shape=(0, 2, 1)), "`image_shape` must be"),
        (dict(latent_units=()), "`latent_units` must name at least one group. Received: an empty"),
        (dict(latent_units=(3, 0)), "`latent_units` must be a positive integer. Received: latent_units=0"),
        (dict(latent_units=-1), "`latent_units` must be a positive integer. Received: latent_units=-1"),
        (dict(latent_units="x"), "`latent_units` must be a positive integer. Received: latent_units='x'"),
        (dict(prior="rbm", bound="marginal"), "marginal bound is one of .*Received: prior='rbm'"),
        (dict(prior="normal", bound="marginal"), "marginal bound is one of .*Received: prior='normal'"),
        (
            dict(prior="bernoulli", sides=("left", "right")),
            r"has sides. Received: prior='bernoulli', sides=\('left', 'right'\)",
        ),
        (dict(latent_units=1), "Both sides of the Boltzmann machine need units.*leaves 0 on the left and 1"),
        (dict(sides=("left", "left")), "Both sides of the Boltzmann machine need units.*5 on the left and 0"),
        (dict(sides=("right", "right")), "Both sides of the Boltzmann machine need units"),
        (
            dict(sides=("left",)),
            r"`sides` must give one of .* for each of the 2 groups. Received: sides=\('left'",
        ),
        (dict(sides=("left", "top")), "`sides` must give one of"),
        (dict(num_chains=0), "`num_chains` must be a positive integer. Received: num_chains=0"),
        (dict(num_sweeps=0), "`num_sweeps` must be a positive integer. Received: num_sweeps=0"),
        (dict(data_mean=np.zeros([3])), r"`data_mean` must be an image of shape \(1, 2, 1\)"),
        (dict(data_mean=np.full(SHAPE, 1.5)), "range 1.5 to 1.5"),
        (dict(data_mean=np.full(SHAPE, np.nan)), "`data_mean` must be an image"),
        (
            dict(prior="bernoulli", bound="marginal", smoothing=SPIKE),
            "marginal bound needs a density.*'spike_and_exp",
        ),
        (dict(smoothing=CONCRETE), "'binary_concrete', z is a function of zeta.*Use prior="),
        (dict(prior="bernoulli", smoothing=CONCRETE), "'binary_concrete', z is a function of zeta"),
        (
            dict(smoothing=("overlapping_logistic", {"scale": 0.2, "loc0": -1.0})),
            r"latents of the binary limit are 0 and 1.*'overlapping_logistic' with \(loc0, loc1\)=\(-1.0",
        ),
    ],
)
def test_arguments_are_checked(arguments, message):
    if "smoothing" in arguments:
        name, parameters = arguments["smoothing"]
        arguments = {**arguments, "smoothing": Smoothing(name, **parameters)}
    with pytest.raises(ValueError, match=message):
        DVAE(**{"image_shape": SHAPE, "latent_units": (3, 2), "network": "linear", **arguments})


def test_number_of_samples_is_checked():
    model = build("rbm")
    with pytest.raises(
        ValueError, match=r"`num_samples` must be a positive integer. Received: num_samples=0"
    ):
        model.sample(0, seed=0)
    for name in ("rbm", "bernoulli"):
        with pytest.raises(
            ValueError, match=r"`num_sweeps` must be a positive integer. Received: num_sweeps=0"
        ):
            built(name).sample(1, seed=0, num_sweeps=0)


BAD_IMAGES = {
    "no channel": (
        np.zeros([4, 1, 2], np.float32),
        r"the shape \[batch, 1, 2, 1\]. Received: \((4|None), 1, 2\)",
    ),
    "one image": (np.zeros(SHAPE, np.float32), r"Received: \((1|None), 2, 1\)"),
    "other size": (np.zeros([4, 2, 1, 1], np.float32), r"Received: \((4|None), 2, 1, 1\)"),
    "grey": (np.full([4, *SHAPE], 0.5, np.float32), r"takes pixels in \{0, 1\}.*Binarize the images first"),
    "0 to 255": (np.full([4, *SHAPE], 255, np.uint8), "takes pixels in"),
    "negative": (np.full([4, *SHAPE], -1.0, np.float32), "takes pixels in"),
    "NaN": (np.full([4, *SHAPE], np.nan, np.float32), "takes pixels in"),
    "infinite": (np.full([4, *SHAPE], np.inf, np.float32), "takes pixels in"),
    "complex": (np.zeros([4, *SHAPE], np.complex64), "must be numbers. Received: dtype complex64"),
}


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_images_are_checked(bad):
    model = built("rbm")
    x, message = BAD_IMAGES[bad]
    for call in (
        lambda: model.log_likelihood(x, 2, seed=0),
        lambda: model.log_weights(x, 2, seed=0),
        lambda: model.elbo_terms(x, seed=0),
        lambda: model.encode(x, seed=0),
        lambda: model.reconstruct(x, seed=0),
        lambda: model.posterior_means(x, seed=0),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.fixture(scope="module")
def compiled():
    model = build("bernoulli, marginal")
    model.compile("sgd")
    return model


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_images_are_checked_in_training(compiled, bad):
    model = compiled
    x, message = BAD_IMAGES[bad]
    before = [v.numpy() for v in model.trainable_variables]
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            call(x, verbose=0)
    for a, b in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_batch_that_is_refused_in_training_changes_nothing():
    model = build("rbm")
    model.compile("adam")
    model.fit(every_image(), verbose=0)
    before = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    with pytest.raises(ValueError, match="takes pixels in"):
        model.fit(np.full([4, *SHAPE], 0.5, np.float32), verbose=0)
    metrics = {id(v) for metric in model.metrics for v in metric.variables}  # `fit` resets these
    for a, b in zip(before, (*model.variables, *model.optimizer.variables), strict=True):
        if id(b) not in metrics:
            np.testing.assert_array_equal(a, b, err_msg=b.path)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float64"])
def test_images_of_any_number_type(compiled, dtype):
    model, x = compiled, every_image()
    np.testing.assert_array_equal(
        model.log_likelihood(x.astype(dtype), 5, seed=0), model.log_likelihood(x, 5, seed=0)
    )
    want = model.evaluate(x, verbose=0, return_dict=True)
    assert model.evaluate(tf.data.Dataset.from_tensors(x.astype(dtype)), verbose=0, return_dict=True) == want
    model.fit(x.astype(dtype), verbose=0)
