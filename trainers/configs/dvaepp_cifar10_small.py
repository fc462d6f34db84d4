"""A DVAE++ for CIFAR-10 that learns within an hour on two CPU cores: colour, conditional decoder."""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 3_600
    config.steps_per_epoch = 200
    config.data.name = "cifar10"
    config.data.batch_size = 50
    config.model_name = "DVAEPlusPlus"
    config.model = base.dvaepp_model()
    config.model.likelihood = "discretized_logistic_mixture"
    config.model.num_components = 5
    config.model.global_units = (16, 16)
    config.model.local_groups = 4
    config.model.local_channels = 8
    config.model.down1 = "32down 48down"
    config.model.down2 = "64down 64down 64down"
    config.model.upsample = "64up 48up 32up"
    config.model.q_h = "48"
    config.model.p_h = "48"
    config.model.context = "48"
    config.model.decoder = ("48", "32up", "24up")
    config.model.base_scale = 4
    config.model.decoder_input = "24"
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.boundaries = (0.7, 0.85, 0.95)
    config.optimizer.factors = (1.0, 0.3, 0.1, 0.03)
    config.optimizer.global_clipnorm = 1_000.0
    config.kl_warmup = 0.2
    config.evaluation.num_samples = 50
    return config
