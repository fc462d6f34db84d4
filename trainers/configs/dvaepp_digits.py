"""The embedded data set in some minutes: a small DVAE++ with a conditional decoder.

16 binary global latents and few local ones, 4x4 in one group. What they leave out is the decoder's, so
more of a digit's class has to come from the global ones; a long warm-up of the KL serves the same end.
"""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 1_200
    config.steps_per_epoch = 100
    config.data.name = "digits"
    config.model_name = "DVAEPlusPlus"
    config.model = base.dvaepp_model()
    config.model.global_units = (8, 8)
    config.model.local_groups = 1
    config.model.local_channels = 1
    config.model.down1 = "8down 16down 32down"
    config.model.down2 = "32down 64down"
    config.model.upsample = "32up 16up"
    config.model.q_h = "32"
    config.model.p_h = "32"
    config.model.context = "32"
    config.model.decoder = ("24up", "16up", "8up")
    config.model.base_scale = 4
    config.model.decoder_input = "8"
    config.model.weight_decay = 1e-3
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.global_clipnorm = 100.0
    config.kl_warmup = 0.8
    config.evaluation.log_partition_temperatures = 2_000
    config.evaluation.image_epochs = 5
    return config
