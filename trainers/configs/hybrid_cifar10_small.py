"""CIFAR-10 with an RBM prior with hidden units, in 45 minutes of a CPU core: a small ResNet."""

from trainers.configs import base, hybrid


def get_config():
    """Returns the configuration."""
    config = hybrid.get_config("cifar10")
    config.num_steps = 20_000
    config.steps_per_epoch = 1_000
    config.data.batch_size = 20
    config.model.latent_units = 256
    config.model.hidden_units = 256
    config.model.network = "16down 32down 48down 64down"
    config.model.num_sweeps = 10
    rate = {"learning_rate": 2e-2}
    config.autoencoding = base.stage("Autoencoding", 0.6, {"learning_rate": 2e-3}, {}, dropout=0.0)
    config.contrastive = base.stage("MachineOnCodes", 0.1, {}, rate, contrastive_sweeps=(1, 10))
    config.persistent = base.stage("MachineOnCodes", 0.1, {}, rate)
    config.vimco.fraction = 0.2
    config.vimco.arguments.num_samples = 5
    config.evaluation.num_samples = 50
    config.evaluation.raise_samples = 50
    return config
