"""The embedded data set in about a minute: an RBM prior over two groups of latents."""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 2_400
    config.steps_per_epoch = 200
    config.data.name = "digits"
    config.model.latent_units = (32, 32)
    config.model.weight_decay = 3e-3
    config.evaluation.log_partition_temperatures = 2_000
    config.evaluation.image_epochs = 5
    return config
