"""A DVAE++ for statically binarized MNIST that trains in two hours on two CPU cores."""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 40_000
    config.steps_per_epoch = 1_000
    config.data.name = "static_mnist"
    config.model_name = "DVAEPlusPlus"
    config.model = base.dvaepp_model()
    config.model.global_units = (8, 8)
    config.model.local_groups = 4
    config.model.local_channels = 16
    config.model.down1 = "16down 32down 64down"
    config.model.down2 = "64down 128down"
    config.model.upsample = "64up 32up"
    config.model.q_h = "32"
    config.model.p_h = "32"
    config.model.context = "64"
    config.model.decoder = ("32up", "24up", "16up")
    config.model.weight_decay = 1e-4
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.boundaries = (0.6, 0.8, 0.92)
    config.optimizer.factors = (1.0, 0.3, 0.1, 0.03)
    config.optimizer.global_clipnorm = 100.0
    config.kl_warmup = 0.2
    return config
