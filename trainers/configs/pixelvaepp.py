"""PixelVAE++ with the architectures of the paper (section 3.1, appendix A).

Usage: `--config=trainers/configs/pixelvaepp.py:DATA` with DATA `static_mnist`, `dynamic_mnist`, `omniglot`,
`caltech101_silhouettes` or `cifar10`. Other rows of table 1 are overrides:

- the decoder alone, PixelCNN++: `--config.model.concatenated_units="()"` (and of `cifar10`
  `--config.model.conditioning_units=0 --config.model.shared_units=0`);
- the Gaussian prior: `--config.model.prior=normal`.

`--config.model.negative_phase=annealed` samples the machine as the paper does, which with its numbers takes
minutes a step; persistent chains are the default here. Learning rate, decay and dropout are those of
PixelCNN++; it averages its weights, which is left out here. Steps are 500 epochs (of CIFAR-10 1,000).
"""

from trainers.configs import base

ARCHITECTURES = {
    "static_mnist": {},
    "dynamic_mnist": {},
    "omniglot": {},
    "caltech101_silhouettes": {"filters": 32, "strides": False},
    "cifar10": {
        "likelihood": "discretized_logistic_mixture",
        "filters": 128,
        "residual_layers": 5,
        "concatenated_units": (512,),
        "conditioning_units": 128,
        "shared_units": 64,
    },
}
IMAGES = {"omniglot": 23_000, "caltech101_silhouettes": 4_100}


def get_config(spec="static_mnist"):
    """Returns the configuration for a DATA."""
    (name,) = base.parse_spec(spec, (tuple(ARCHITECTURES),))
    config = base.get_config()
    config.data.name = name
    config.data.batch_size = 64 if name == "cifar10" else 128
    epochs = 1_000 if name == "cifar10" else 500
    steps = IMAGES.get(name, 50_000) // config.data.batch_size
    config.num_steps, config.steps_per_epoch = epochs * steps, steps
    config.model_name = "PixelVAEPlusPlus"
    config.model = base.pixelvaepp_model()
    config.model.update(ARCHITECTURES[name])
    config.concrete = base.concrete()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.boundaries = (0.5, 0.75, 0.9)
    config.optimizer.factors = (1.0, 0.5, 0.25, 0.1)
    config.kl_warmup = 0.1
    config.evaluation.num_samples = 1_000
    return config
