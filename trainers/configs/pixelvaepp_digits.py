"""The embedded data set in some minutes: a small PixelVAE++ with 16 concatenated latents."""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 1_600
    config.steps_per_epoch = 160
    config.data.name = "digits"
    config.data.batch_size = 40
    config.model_name = "PixelVAEPlusPlus"
    config.model = base.pixelvaepp_model()
    config.model.filters = 16
    config.model.residual_layers = 1
    config.model.concatenated_units = (8, 8)
    config.model.num_sweeps = 20
    config.concrete = base.concrete()
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 4e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.global_clipnorm = 100.0
    config.kl_warmup = 0.3
    config.evaluation.num_samples = 100
    config.evaluation.log_partition_temperatures = 2_000
    config.evaluation.image_epochs = 5
    return config
