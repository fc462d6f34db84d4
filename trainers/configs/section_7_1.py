"""DVAE++ section 7.1 (table 1): a factorial Bernoulli prior over 200 binary variables.

Usage: `--config=trainers/configs/section_7_1.py:DATA-NETWORK-BOUND` with DATA `static_mnist` or
`omniglot`, NETWORK `linear` or `nonlinear`, BOUND `joint` or `marginal`; for instance
`section_7_1.py:static_mnist-nonlinear-joint`.

Adam with its defaults except epsilon 1e-3 and a constant learning rate (1e-4 or 5e-4), beta annealed
linearly; no batch normalization, no annealing of the KL, no weight decay. The number of iterations is
that of Tucker et al. (2017), two million; the paper's batch size there is 24.
"""

from trainers.configs import base

CHOICES = (("static_mnist", "omniglot"), ("linear", "nonlinear"), ("joint", "marginal"))


def get_config(spec="static_mnist-nonlinear-joint"):
    """Returns the configuration for a `DATA-NETWORK-BOUND`."""
    data, network, bound = base.parse_spec(spec, CHOICES)
    config = base.get_config()
    config.num_steps = 2_000_000
    config.data.name = data
    config.data.batch_size = 24
    config.model.network = network
    config.model.batch_normalization = False
    config.model.prior = "bernoulli"
    config.model.bound = bound
    config.model.weight_decay = 0.0
    config.smoothing.initial = 6.0
    config.smoothing.final = 16.0
    config.optimizer.learning_rate = 5e-4
    config.optimizer.boundaries = ()
    config.optimizer.factors = (1.0,)
    config.kl_warmup = 0.0
    config.evaluation.num_samples = 100
    return config
