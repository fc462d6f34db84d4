"""A PixelVAE++ with all three groups of latents for CIFAR-10 that trains in 90 minutes on one CPU core.

One residual layer of 24 filters a size, where the paper has five of 128; 64, 16 and 6 x 8 latents in place of
512, 128 and 18 x 64.
"""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 22_000
    config.steps_per_epoch = 1_000
    config.data.name = "cifar10"
    config.data.batch_size = 16
    config.model_name = "PixelVAEPlusPlus"
    config.model = base.pixelvaepp_model()
    config.model.likelihood = "discretized_logistic_mixture"
    config.model.num_components = 5
    config.model.filters = 24
    config.model.residual_layers = 1
    config.model.concatenated_units = (64,)
    config.model.conditioning_units = 16
    config.model.shared_units = 8
    config.model.dropout = 0.0
    config.model.num_sweeps = 20
    config.concrete = base.concrete()
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 4e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.boundaries = (0.6, 0.8, 0.92)
    config.optimizer.factors = (1.0, 0.3, 0.1, 0.03)
    config.optimizer.global_clipnorm = 1_000.0
    config.kl_warmup = 0.2
    config.evaluation.num_samples = 10
    return config
