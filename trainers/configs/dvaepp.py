"""DVAE++ section 7.3 (tables 3 and 4; appendices G and H), with the architectures of the paper.

Usage: `--config=trainers/configs/dvaepp.py:DATA` with DATA `static_mnist`, `dynamic_mnist`, `omniglot`,
`caltech101_silhouettes` or `cifar10`. The rows of table 3 and the ablations of tables 5 to 8 are overrides:

- table 3: `--config.model.global_prior=normal` (or `bernoulli`, `rbm`),
  `--config.smoothing.name=spike_and_exponential` (RBM of Rolfe), `--config.model.local_prior=bernoulli`;
- table 5: `--config.model.local_groups=8` (12, 16, 20, 24);
- table 6: `--config.model.global_units="(128,)"` (`"(64,64)"`, `"(32,32,32,32)"`);
- table 7: `--config.model.base_scale=4` (conditional) or `=0` (unconditional decoder);
- table 8: `--config.model.global_prior=none`, `--config.model.kl_balancing=False`.

The appendix evaluates its ablations at the beta of the training: `--config.evaluation.limit=smoothed`. The
figures of table 3, and the default here, are those of the binary limit.

Choices where the paper leaves one: q(z_i) yields 4 variables (16 of CIFAR-10), so that the 16 (128) global
variables form 4 (8) groups; the first half of the groups is the left side of the machine. 28x28 images
halve to 14, 7 and 4 pixels, rounded up; x_0 has 4x4 pixels. Where the decoder's features have twice that
size (Caltech-101, CIFAR-10), the convolution that yields the parameters of x_0 has stride 2, and "input"
scales up. The KL is annealed over 300,000 iterations of 1,000,000 as in appendix F, the learning rate halved
after 20 epochs (of 1,000 iterations) without a better validation bound.
"""

from trainers.configs import base

MNIST = {
    "global_units": (4, 4, 4, 4),
    "local_groups": 16,
    "local_channels": 32,
    "down1": "32down 32 64down 64 128down",
    "down2": "256down 512down",
    "upsample": "128up 128up",
    "q_h": "32 32 32 32",
    "p_h": "32 32",
    "context": "16",
    "decoder": ("16up 16", "16up 8", "8up"),
}
ARCHITECTURES = {
    "static_mnist": MNIST,
    "dynamic_mnist": MNIST,
    "omniglot": {**MNIST, "base_scale": 4},
    "caltech101_silhouettes": {
        "global_units": (4, 4, 4, 4),
        "local_groups": 16,
        "local_channels": 32,
        "down1": "8down 8down",
        "down2": "8down 16down 16down",
        "upsample": "32up 32up 32up",
        "q_h": "32 32 32 32",
        "p_h": "32 32 32 32",
        "context": "16",
        "decoder": ("8 8", "8up 4", "4up"),
        "base_scale": 4,
    },
    "cifar10": {
        "likelihood": "discretized_logistic_mixture",
        "global_units": (16,) * 8,
        "local_groups": 16,
        "local_channels": 32,
        "down1": "64down 64 256down 256",
        "down2": "512down 512 1024down 1024down",
        "upsample": "128up 64up 32up",
        "q_h": "32",
        "p_h": "32 32 32 32",
        "context": "256",
        "decoder": ("128 128", "64up 64", "32up"),
        "base_scale": 4,
    },
}


def get_config(spec="static_mnist"):
    """Returns the configuration for a DATA."""
    (name,) = base.parse_spec(spec, (tuple(ARCHITECTURES),))
    config = base.get_config()
    config.data.name = name
    config.model_name = "DVAEPlusPlus"
    config.model = base.dvaepp_model()
    config.model.update(ARCHITECTURES[name])
    config.optimizer.name = "adamax"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.epsilon = 1e-7
    config.optimizer.boundaries = ()
    config.optimizer.factors = (1.0,)
    config.optimizer.plateau_patience = 20
    config.evaluation.num_samples = 4_000
    return config
