"""DVAE: arguments that it refuses, with the messages."""

import numpy as np
import pytest

from tests.models.test_dvae import CONCRETE, SHAPE, SPIKE
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
        (dict(latent_units=1), "Both sides of the Boltzmann machine need units.*leaves 0 on the left and 1"),
        (
            dict(sides=("left",)),
            r"`sides` must give one of .* for each of the 2 groups. Received: sides=\('left'",
        ),
        (dict(sides=("left", "top")), "`sides` must give one of"),
        (
            dict(smoothing="binary_concrete"),
            r"`smoothing` must be a `tfdvae\.layers\.Smoothing`.*Received: smoothing='binary_concrete'",
        ),
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
    if isinstance(arguments.get("smoothing"), tuple):
        name, parameters = arguments["smoothing"]
        arguments = {**arguments, "smoothing": Smoothing(name, **parameters)}
    with pytest.raises(ValueError, match=message):
        DVAE(**{"image_shape": SHAPE, "latent_units": (3, 2), "network": "linear", **arguments})
