"""DVAE++ section 7.1 (table 1): a factorial Bernoulli prior over 200 binary variables.

Usage: `--config=trainers/configs/section_7_1.py:DATA-NETWORK-ESTIMATOR` with DATA `static_mnist` or
`omniglot`, NETWORK `linear` or `nonlinear`, and ESTIMATOR
- `joint`, `marginal`: the bounds of overlapping exponentials, beta annealed linearly;
- `nvil`, `muprop`, `rebar`, `concrete`: the other columns of the table;
- `concrete_bernoulli`: as `concrete`, with the KL of the Bernoulli variables, which is no bound;
- `straight_through`, `reinmax`, `leave_one_out`, `disarm`: estimators that the table does not have;
for instance `section_7_1.py:static_mnist-nonlinear-joint`.

Adam with its defaults except epsilon 1e-3 and a constant learning rate (1e-4 or 5e-4) for all of them; no
batch normalization, no annealing of the KL, no weight decay. The number of iterations is that of Tucker et
al. (2017), two million; the paper's batch size there is 24. `python -m benchmarks.table_1` fills a table.
"""

from trainers.configs import base

OBJECTIVES = {
    "nvil": ("NVIL", {}),
    "muprop": ("MuProp", {}),
    "rebar": ("REBAR", {}),
    "concrete": ("Concrete", {}),
    "concrete_bernoulli": ("Concrete", {"kl": "bernoulli"}),
    "straight_through": ("StraightThrough", {}),
    "reinmax": ("ReinMax", {}),
    "leave_one_out": ("LeaveOneOut", {}),
    "disarm": ("DisARM", {}),
}
CHOICES = (("static_mnist", "omniglot"), ("linear", "nonlinear"), ("joint", "marginal", *OBJECTIVES))


def get_config(spec="static_mnist-nonlinear-joint"):
    """Returns the configuration for a `DATA-NETWORK-ESTIMATOR`."""
    data, network, estimator = base.parse_spec(spec, CHOICES)
    config = base.get_config()
    config.num_steps = 2_000_000
    config.data.name = data
    config.data.batch_size = 24
    config.model.network = network
    config.model.batch_normalization = False
    config.model.prior = "bernoulli"
    config.model.weight_decay = 0.0
    config.smoothing.initial = 6.0
    config.smoothing.final = 16.0
    config.optimizer.learning_rate = 5e-4
    config.optimizer.boundaries = ()
    config.optimizer.factors = (1.0,)
    config.kl_warmup = 0.0
    config.evaluation.num_samples = 100
    if estimator in OBJECTIVES:
        objective, arguments = OBJECTIVES[estimator]
        adam = {"name": "adam", "learning_rate": 5e-4, "epsilon": 1e-3}
        config.stages = ("estimator",)
        config.estimator = base.stage(objective, 1.0, adam, adam, **arguments)
    else:
        config.model.bound = estimator
    return config
