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
    config.optimizer.learning_rate = 3e-3
    config.optimizer.prior_factor = 1.0  # multiple of the learning rate for the prior's weights
    config.optimizer.epsilon = 1e-3
    config.optimizer.boundaries = (0.6, 0.75, 0.95)  # fractions of num_steps
    config.optimizer.factors = (1.0, 0.3, 0.09, 0.027)  # multiples of the learning rate between them

    config.kl_warmup = 0.3  # fraction of num_steps over which the KL factor goes from 0 to 1

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.num_samples = 1_000
    config.evaluation.split = "test"
    config.evaluation.log_partition_chains = 1_024
    config.evaluation.log_partition_temperatures = 10_000
    config.evaluation.tempering_ladders = 16
    config.evaluation.tempering_sweeps = 4_000
    config.evaluation.image_epochs = 10  # epochs between the image grids in TensorBoard
    return config


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
