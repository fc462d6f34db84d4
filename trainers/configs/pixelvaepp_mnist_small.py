"""A PixelVAE++ for statically binarized MNIST that trains in less than two hours on one CPU core.

One residual layer of 24 filters a size, where the paper has three of 64, and 100 latents in place of 400. The
decoder alone is `--config.model.concatenated_units="()"`, the Gaussian prior `--config.model.prior=normal`.
"""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 20_000
    config.steps_per_epoch = 1_000
    config.data.name = "static_mnist"
    config.data.batch_size = 32
    config.model_name = "PixelVAEPlusPlus"
    config.model = base.pixelvaepp_model()
    config.model.filters = 24
    config.model.residual_layers = 1
    config.model.concatenated_units = (50, 50)
    config.model.dropout = 0.0
    config.concrete = base.concrete()
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 4e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.boundaries = (0.6, 0.8, 0.92)
    config.optimizer.factors = (1.0, 0.3, 0.1, 0.03)
    config.optimizer.global_clipnorm = 100.0
    config.kl_warmup = 0.2
    config.evaluation.num_samples = 100
    return config
