"""The fields that every experiment has, with the defaults of DVAE++ appendix F."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns the defaults; schedules are fractions of `num_steps`, so that they scale with it."""
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.num_steps = 1_000_000
    config.steps_per_epoch = 1_000  # a row of metrics.csv, a validation and a checkpoint each
    config.steps_per_execution = 50

    config.data = ml_collections.ConfigDict()
    config.data.name = "static_mnist"
    config.data.binarization = "default"
    config.data.batch_size = 100

    config.model_name = "DVAE"  # a class of tfdvae.models; `model` holds its arguments and those of `Elbo`
    config.model = ml_collections.ConfigDict()
    config.model.latent_units = (200,)
    config.model.network = "nonlinear"
    config.model.prior = "rbm"
    config.model.bound = "joint"
    config.model.weight_decay = 1e-4
    config.model.batch_normalization = True
    config.model.batch_normalization_momentum = 0.99
    config.model.training_samples = 1  # of the latents, for each image
    config.model.num_chains = 100
    config.model.num_sweeps = 40

    config.smoothing = ml_collections.ConfigDict()
    config.smoothing.name = "overlapping_exponential"
    config.smoothing.initial = 8.0  # beta, scale or temperature; linear in the step up to the final value
    config.smoothing.final = 8.0

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "adam"  # or "adamax"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.prior_factor = 1.0  # multiple of the learning rate for the prior's weights
    config.optimizer.epsilon = 1e-3
    config.optimizer.boundaries = (0.6, 0.75, 0.95)  # fractions of num_steps
    config.optimizer.factors = (1.0, 0.3, 0.09, 0.027)  # multiples of the learning rate between them
    config.optimizer.global_clipnorm = 0.0  # the norm that the gradient is clipped to; 0 for none
    config.optimizer.plateau_patience = 0  # epochs without a better validation bound; 0 for no such decay
    config.optimizer.plateau_factor = 0.5  # what the learning rate is then multiplied by

    config.stages = ()  # names of sections made by `stage`, in their order; () for the bound alone

    config.kl_warmup = 0.3  # fraction of num_steps over which the KL factor goes from 0 to 1

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.num_samples = 1_000
    config.evaluation.split = "test"
    config.evaluation.limit = "binary"  # or "smoothed": the relaxed model, which is another one
    config.evaluation.log_partition_chains = 1_024
    config.evaluation.log_partition_temperatures = 10_000
    config.evaluation.tempering_ladders = 16
    config.evaluation.tempering_sweeps = 4_000
    config.evaluation.raise_images = 0  # the first ones, for a check by RAISE; 0 for none
    config.evaluation.raise_samples = 1_000
    config.evaluation.raise_temperatures = 10_000
    config.evaluation.image_epochs = 10  # epochs between the image grids in TensorBoard
    return config


def stage(objective: str, fraction: float, networks: dict, prior: dict, **arguments):
    """A section of the config for a stage of the training.

    Args:
      objective: a class of `tfdvae.objectives`.
      fraction: of `num_steps`.
      networks: the fields of `rates` that the optimizer of the networks has, besides the defaults.
      prior: those of the prior's optimizer.
      **arguments: of the class; a pair of numbers is gone through in 25 equal parts of the stage.
    """
    section = ml_collections.ConfigDict()
    section.objective = objective
    section.arguments = ml_collections.ConfigDict(arguments)
    section.fraction = fraction
    section.networks = rates(**{"name": "adam", "learning_rate": 3e-4, **networks})
    section.prior = rates(**{"name": "sgd", "learning_rate": 1e-2, **prior})
    return section


def rates(
    name, learning_rate, boundaries=(), factors=(1.0,), momentum=0.0, epsilon=1e-7
) -> ml_collections.ConfigDict:
    """An optimizer and its learning rate: its `factors` between `boundaries`, fractions of the stage.

    `momentum` is that of `sgd`, `epsilon` that of the others.
    """
    values = dict(name=name, learning_rate=learning_rate, boundaries=boundaries, factors=factors)
    return ml_collections.ConfigDict({**values, "momentum": momentum, "epsilon": epsilon})


def parse_spec(spec: str, choices) -> list[str]:
    """Splits `A-B-C` and checks each part against its choices.

    Raises:
      ValueError: that names the part and what it may be.
    """
    parts = spec.split("-")
    if len(parts) != len(choices):
        raise ValueError(f"The experiment must have {len(choices)} parts, joined by '-'. Received: {spec!r}")
    for part, allowed in zip(parts, choices, strict=True):
        if part not in allowed:
            raise ValueError(f"{part!r} in {spec!r} must be one of {', '.join(allowed)}")
    return parts


def dvaepp_model() -> ml_collections.ConfigDict:
    """The arguments of `DVAEPlusPlus` that the experiments set, with their defaults."""
    model = ml_collections.ConfigDict()
    model.likelihood = "bernoulli"
    model.num_components = 10
    model.global_prior = "rbm"
    model.global_units = (4, 4, 4, 4)
    model.global_hidden = ()
    model.local_prior = "normal"
    model.local_groups = 16
    model.local_channels = 32
    model.down1 = ""
    model.down2 = ""
    model.upsample = ""
    model.q_h = ""
    model.p_h = ""
    model.context = ""
    model.decoder = ()
    model.base_scale = 0  # height of the coarsest scale; 0 for the unconditional decoder
    model.decoder_input = "32"
    model.kl_balancing = True
    model.training_samples = 1
    model.weight_decay = 0.0
    model.batch_normalization_momentum = 0.99
    model.convolution_dtype = "float32"
    model.num_chains = 100
    model.num_sweeps = 40
    return model


def pixelvaepp_model() -> ml_collections.ConfigDict:
    """The arguments of `PixelVAEPlusPlus` that the experiments set, with their defaults."""
    model = ml_collections.ConfigDict()
    model.likelihood = "bernoulli"
    model.num_components = 10
    model.filters = 64
    model.residual_layers = 3
    model.num_sizes = 3
    model.strides = True
    model.concatenated_units = (200, 200)
    model.conditioning_units = 0
    model.shared_units = 0
    model.prior = "rbm"
    model.dropout = 0.5
    model.num_chains = 100
    model.num_sweeps = 50
    model.negative_phase = "pcd"
    return model


def concrete(temperature=0.25) -> ml_collections.ConfigDict:
    """The section `concrete` of a config: the objective `Concrete` in place of `Elbo`."""
    section = ml_collections.ConfigDict()
    section.initial = temperature  # linear in the step up to the final value
    section.final = temperature
    section.kl = "energy"
    section.path_derivative = True
    return section
