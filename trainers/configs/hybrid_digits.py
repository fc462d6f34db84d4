"""The embedded data set: an RBM prior with hidden units in four stages, in a minute or two."""

from trainers.configs import base, hybrid


def get_config():
    """Returns the configuration."""
    config = hybrid.get_config("static_mnist")
    config.num_steps = 4_000
    config.steps_per_epoch = 200
    config.data.name = "digits"
    config.model.latent_units = 64
    config.model.hidden_units = 64
    config.model.network = (200, 100)
    config.model.weight_decay = 1e-3
    rate = {"learning_rate": 5e-2}
    config.autoencoding = base.stage("Autoencoding", 0.15, {"learning_rate": 1e-3}, {}, dropout=0.2)
    config.contrastive = base.stage("MachineOnCodes", 0.1, {}, rate, contrastive_sweeps=(1, 25))
    config.persistent = base.stage("MachineOnCodes", 0.05, {}, rate)
    config.vimco.fraction = 0.7
    config.vimco.networks.learning_rate = 1e-3
    config.evaluation.num_samples = 500
    config.evaluation.log_partition_temperatures = 2_000
    config.evaluation.raise_samples = 500
    config.evaluation.raise_temperatures = 2_000
    config.evaluation.image_epochs = 5
    return config
