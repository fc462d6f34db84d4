"""A DVAE++ for statically binarized MNIST that trains in less than two hours on one CPU core.

A convolution's time on a CPU goes with the pixels and channels that it reads, so the features of large maps
are few, and batches have 50 images: at equal work, more updates. The decoder is conditional, unlike the one
that the paper has for MNIST. For its last fifth the learning rate rises once more before it falls to 3 % (a
warm restart; Loshchilov and Hutter, 2017), which brought 0.2 nats of the validation bound.
"""

from trainers.configs import base


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 45_000
    config.steps_per_epoch = 2_000
    config.data.name = "static_mnist"
    config.data.batch_size = 50
    config.model_name = "DVAEPlusPlus"
    config.model = base.dvaepp_model()
    config.model.global_units = (8, 8)
    config.model.local_groups = 4
    config.model.local_channels = 8
    config.model.down1 = "8down 24down 48down"
    config.model.down2 = "48down 48down"
    config.model.upsample = "32up 16up"
    config.model.q_h = ""
    config.model.p_h = ""
    config.model.context = "32"
    config.model.decoder = ("24up", "16up", "8up")
    config.model.base_scale = 4
    config.model.decoder_input = "8"
    config.model.weight_decay = 1e-4
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.boundaries = (0.48, 0.64, 0.736, 0.8, 0.9, 0.96)
    config.optimizer.factors = (1.0, 0.3, 0.1, 0.03, 0.3, 0.1, 0.03)
    config.optimizer.global_clipnorm = 100.0
    config.kl_warmup = 0.16
    return config
