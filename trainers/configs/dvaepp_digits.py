"""The embedded data set in some minutes: a small DVAE++ with a conditional decoder.

16 binary global latents, and two groups of four local ones at each of 4x4 places. Only after some thousand
updates do the global ones tell the classes apart: so batches have 40 images, and large maps few features.
"""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 4_000
    config.steps_per_epoch = 400
    config.data.name = "digits"
    config.data.batch_size = 40
    config.model_name = "DVAEPlusPlus"
    config.model = base.dvaepp_model()
    config.model.global_units = (8, 8)
    config.model.local_groups = 2
    config.model.local_channels = 4
    config.model.down1 = "4down 16down 32down"
    config.model.down2 = "32down 64down"
    config.model.upsample = "32up 16up"
    config.model.q_h = "32"
    config.model.p_h = "32"
    config.model.context = "32"
    config.model.decoder = ("16up", "8up", "4up")
    config.model.base_scale = 4
    config.model.decoder_input = "4"
    config.model.weight_decay = 1e-3
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.global_clipnorm = 100.0
    config.kl_warmup = 0.3
    config.evaluation.num_samples = 500
    config.evaluation.log_partition_temperatures = 2_000
    config.evaluation.image_epochs = 5
    return config
