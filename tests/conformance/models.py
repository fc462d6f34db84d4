"""Tiny instances of the models, for the tests that every model passes.

A new model needs an entry here, and no test of its own for what `test_models` checks.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np

from tfdvae.layers import Smoothing
from tfdvae.models import DVAE, DVAEPlusPlus, HybridRBM, PixelVAEPlusPlus
from tfdvae.objectives import VIMCO, Elbo, schedules

IMAGES, BATCH = 6, 4  # an epoch has two steps, the second with fewer images


def optimizer():
    """With a state of its own; Adam, with two, is twice the operations."""
    return keras.optimizers.RMSprop(schedules.piecewise_constant([2], [0.02, 0.005]))


def prior_optimizer():
    return keras.optimizers.SGD(schedules.linear(0.05, 0.01, 12), momentum=0.9)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model.

    Attributes:
      kind: its class.
      arguments: of the class; smoothings as a name and the keyword of their parameter, which moves with the
        step.
      objective: arguments of `Elbo`, or a function that makes another objective.
      groups: of the latents, each the shape without batch and whether it is binary.
      num_kl: terms of the KL, a Boltzmann machine being one.
      refused: pairs of arguments that are not accepted and the beginning of what is said.
      group_optimizers: functions that make optimizers of parameter groups.
    """

    kind: type
    arguments: dict
    groups: tuple = ()
    objective: dict | Callable = dataclasses.field(default_factory=dict)
    num_kl: int = 0
    refused: tuple = ()
    group_optimizers: dict[str, Callable] = dataclasses.field(default_factory=dict)

    @property
    def image_shape(self):
        return self.arguments["image_shape"]

    @property
    def levels(self):
        """Values of a pixel: 0, 1, ..., levels - 1."""
        return 2 if self.arguments.get("likelihood", "bernoulli") == "bernoulli" else 256

    def images(self, count=IMAGES):
        shape = (count, *self.image_shape)
        return np.random.default_rng(0).integers(0, self.levels, shape).astype(np.float32)

    def construct(self, **changes):
        arguments = {
            "num_chains": 6,
            "num_sweeps": 2,
            "seed": 3,
            **self.arguments,
            **changes,
        }
        if isinstance(arguments.get("smoothing"), tuple):
            name, parameter = arguments["smoothing"]
            arguments["smoothing"] = Smoothing(name, **{parameter: schedules.linear(1.0, 2.0, 9)})
        return self.kind(**arguments)

    def build(self, steps_per_execution=1, run_eagerly=True, **changes):
        """The model, compiled without a graph, of which the first step takes longer than all that follow."""
        model, objective = self.construct(**changes), self.objective
        if isinstance(objective, dict):
            objective = functools.partial(Elbo, **{"kl_factor": schedules.linear(0.1, 1.0, 6), **objective})
        model.compile(
            optimizer(),
            objective=objective(),
            group_optimizers={name: make() for name, make in self.group_optimizers.items()},
            steps_per_execution=steps_per_execution,
            run_eagerly=run_eagerly,
        )
        return model


def dvae(groups, **more):
    units = tuple(shape[0] for shape, _ in groups)
    arguments = dict(image_shape=(2, 3, 1), latent_units=units, **more.pop("arguments"))
    if "data_mean" not in arguments:
        arguments["data_mean"] = np.linspace(0.1, 0.9, 6).reshape(2, 3, 1)
    return Case(DVAE, arguments, groups, **more)


def dvaepp(groups, **more):
    arguments = dict(
        image_shape=(2, 2, 1),
        global_units=(2, 2),
        local_groups=1,
        local_channels=1,
        down1="2down",
        down2="2",
        upsample="2",
        q_h="",
        p_h="",
        context="2up",
        decoder=(),
    )
    arguments.update(more.pop("arguments", {}))
    return Case(DVAEPlusPlus, arguments, groups, **more)


def units(*counts, binary=True):
    """Groups of so many units each."""
    return tuple(((n,), binary) for n in counts)


UNKNOWN_GLOBAL_PRIOR = (
    {"global_prior": "ising"},
    "`global_prior` must be one of .* Received: global_prior='",
)
EMPTY_RIGHT_SIDE = (
    {"sides": ("left", "left")},
    r"Both sides of the Boltzmann machine need units\. Received: .* on the left and 0 on the right",
)
EMPTY_LEFT_SIDE = (
    {"sides": ("right", "right")},
    r"Both sides of the Boltzmann machine need units\. Received: .* leaves 0 on the left and",
)
UNKNOWN_BLOCK = (
    {"down1": "4sideways"},
    "Residual blocks are written as numbers of filters, .* Received: '4sideways' in '4sideways'",
)
NEGATIVE_DECAY = (
    {"weight_decay": -0.1},
    r"`weight_decay` must be finite and not negative\. Received: weight_decay=-0\.1",
)
WRONG_MOMENTUM = (
    {"batch_normalization_momentum": 1.5},
    r"The momentum of batch normalization must be in \[0, 1\)\. Received: momentum=1\.5",
)
LOCAL = ((1, 1, 1), False)

MODELS = {
    "DVAE": dvae(
        units(2, 3),
        num_kl=1,
        arguments=dict(
            sides=("right", "split"),
            network=(4,),
            smoothing=("overlapping_exponential", "beta"),
            weight_decay=1e-3,
        ),
        group_optimizers={"prior": prior_optimizer},
        refused=(
            ({"prior": "ising"}, "`prior` must be one of .* Received: prior='ising'"),
            EMPTY_LEFT_SIDE,
            EMPTY_RIGHT_SIDE,
            ({"latent_units": ()}, "`latent_units` must name at least one group"),
            NEGATIVE_DECAY,
            WRONG_MOMENTUM,
            ({"latent_unit": 3}, "Unrecognized keyword arguments passed to DVAE: {'latent_unit': 3}"),
        ),
    ),
    "DVAE, directed": dvae(
        units(2, 1),
        num_kl=2,
        arguments=dict(network=(4,), prior="bernoulli", smoothing=("overlapping_exponential", "beta")),
        group_optimizers={"prior": prior_optimizer},
        refused=(
            (
                {"sides": ("left", "right")},
                r"has sides. Received: prior='bernoulli', sides=\('left', 'right'\)",
            ),
        ),
    ),
    "DVAE++": dvaepp(
        (*units(2, 2), LOCAL),
        num_kl=2,
        arguments=dict(p_h="2", weight_decay=1e-3),
        objective=dict(kl_balancing=True),
        refused=(
            UNKNOWN_GLOBAL_PRIOR,
            ({"local_prior": "rbm"}, "`local_prior` must be one of .* Received: local_prior='rbm'"),
            EMPTY_LEFT_SIDE,
            EMPTY_RIGHT_SIDE,
            UNKNOWN_BLOCK,
            NEGATIVE_DECAY,
            WRONG_MOMENTUM,
            ({"q_h": "3up 0"}, "Residual blocks are written as .* Received: '0' in '3up 0"),
            ({"local_group": 3}, "Unrecognized keyword arguments passed to DVAEPlusPlus: {'local_group': 3}"),
        ),
    ),
    "DVAE++, conditional decoder": dvaepp(
        units(2, 3),
        num_kl=1,
        arguments=dict(
            global_units=(2, 3),
            local_prior="none",
            context="2",
            decoder=("2up",),
            base_scale=1,
            decoder_input="2",
        ),
        objective=dict(kl_balancing=True),
        refused=(
            ({"base_scale": 3}, r"`base_scale` must be one of \[1, 2\].* Received: base_scale=3"),
            ({"base_scale": 0}, r"`base_scale` must be one of \[1, 2\].* Received: base_scale=0"),
            ({"base_scale": 2}, '"context" and 1 times "upsample" do not fit the scales .* base_scale=2'),
            ({"decoder_input": "x"}, "Residual blocks are written as .* Received: 'x' in 'x'"),
        ),
    ),
    "DVAE++, colour": dvaepp(
        (*units(2, 2), ((2, 2, 1), False)),
        num_kl=2,
        arguments=dict(
            image_shape=(4, 4, 3),
            likelihood="discretized_logistic_mixture",
            num_components=2,
            down2="2down",
            upsample="2up",
        ),
        objective=dict(kl_balancing=True),
        refused=(
            ({"likelihood": "gauss"}, "`likelihood` must be one of .* Received: likelihood='gauss'"),
            (
                {"num_components": 0},
                "`num_components` must be a positive integer. Received: .*=0",
            ),
        ),
    ),
    "DVAE++, all binary": dvaepp(
        (*units(2, 2), ((1, 1, 2), True)),
        num_kl=2,
        arguments=dict(
            local_prior="bernoulli",
            local_channels=2,
            p_h="2",
            smoothing=("overlapping_logistic", "scale"),
            weight_decay=1e-3,
        ),
        objective=dict(kl_balancing=True, training_samples=2),
        refused=(
            (
                {"smoothing": ("spike_and_exponential", "beta")},
                "The marginal bound needs a density of zeta, and the mixed law of 'spike_and_exponential'",
            ),
        ),
    ),
}

MODELS["HybridRBM"] = Case(
    HybridRBM,
    dict(
        image_shape=(2, 3, 1),
        latent_units=3,
        hidden_units=2,
        network=(4,),
        weight_decay=1e-3,
        data_mean=np.linspace(0.1, 0.9, 6).reshape(2, 3, 1),
    ),
    groups=units(3),
    num_kl=1,
    objective=functools.partial(VIMCO, 3),
    group_optimizers={"prior": prior_optimizer},
    refused=(
        ({"latent_units": 0}, "`latent_units` must be a positive integer. Received: latent_units=0"),
        ({"hidden_units": 0}, "`hidden_units` must be a positive integer. Received: hidden_units=0"),
        ({"likelihood": "gauss"}, "`likelihood` must be one of .* Received: likelihood='gauss'"),
        NEGATIVE_DECAY,
        (
            {"network": "2up"},
            "The blocks of `network` must keep or halve the size, .* network='2up' for",
        ),
        ({"network": "2down 2down 2down"}, "The blocks of `network` must keep or halve the size"),
        ({"hidden_unit": 3}, "Unrecognized keyword arguments passed to HybridRBM: {'hidden_unit': 3}"),
    ),
)

MODELS["PixelVAE++"] = Case(
    PixelVAEPlusPlus,
    dict(
        image_shape=(2, 3, 1),
        filters=2,
        residual_layers=1,
        num_sizes=2,
        concatenated_units=2,
        conditioning_units=2,
        shared_units=1,
        dropout=0.2,
        smoothing=("overlapping_exponential", "beta"),
    ),
    groups=units(2, 2, 1, 1, 1, 1),
    num_kl=1,
    group_optimizers={"prior": prior_optimizer},
    refused=(
        ({"prior": "ising"}, "`prior` must be one of .* Received: prior='ising'"),
        ({"shared_units": -1}, "`shared_units` must be an integer of at least 0. Received: shared_units=-1"),
        ({"filters": 0}, "`filters` must be a positive integer. Received: filters=0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)\. Received: dropout=1\.0"),
        ({"shared_unit": 3}, "Unrecognized keyword arguments passed to PixelVAEPlusPlus: {'shared_unit': 3}"),
    ),
)

# What a file and a configuration must hold besides: these are only saved and loaded.
VARIANTS = {
    "HybridRBM, residual": Case(
        HybridRBM,
        dict(image_shape=(3, 5, 3), latent_units=4, hidden_units=2, network="2down 2 3down")
        | dict(likelihood="discretized_logistic_mixture", weight_decay=1e-3),
        groups=units(4),
        num_kl=1,
        objective=functools.partial(VIMCO, 3),
    ),
    "DVAE, logistic": dvae(
        units(2, 2), arguments=dict(network="linear", smoothing=("overlapping_logistic", "scale"))
    ),
    "DVAE, spike": dvae(
        units(4), arguments=dict(network="linear", smoothing=("spike_and_exponential", "beta"))
    ),
    "DVAE, marginal": dvae(
        units(3),
        arguments=dict(
            network="linear",
            prior="bernoulli",
            bound="marginal",
            smoothing=("binary_concrete", "temperature"),
        ),
    ),
    "DVAE, normal": dvae(
        units(2, 2, binary=False),
        arguments=dict(network=(4,), prior="normal", batch_normalization=False),
    ),
    "DVAE++, directed": dvaepp((*units(2, 2), LOCAL), arguments=dict(global_prior="bernoulli")),
    "PixelCNN++": Case(
        PixelVAEPlusPlus,
        dict(image_shape=(3, 4, 3), filters=2, residual_layers=1, strides=False, concatenated_units=0)
        | dict(likelihood="discretized_logistic_mixture", num_components=2),
    ),
    "PixelVAE++, normal": Case(
        PixelVAEPlusPlus,
        dict(image_shape=(2, 3, 1), filters=2, residual_layers=1, concatenated_units=2, prior="normal"),
        groups=units(2, binary=False),
        num_kl=1,
    ),
    "DVAE++, no global": dvaepp(
        (LOCAL,),
        arguments=dict(global_prior="none", convolution_dtype="bfloat16"),
        objective=dict(kl_balancing=True),
    ),
}
