"""RBM priors with hidden units: the models of appendix C of "Learning deep generative models with discrete
latent variables".

Usage: `--config=trainers/configs/hybrid.py:MODEL` with MODEL `static_mnist` (fully connected),
`static_mnist_resnet`, `cifar10` or `imagenet64` (another set than the paper's: see its caveat).

The paper's stages: an autoencoder, the machine on its codes by contrastive divergence with 1 to 25 sweeps and
by persistent chains, then all together by VIMCO. The lengths and the learning rates are ours; of samples the
paper has 50 for MNIST. `--config.stages="('vimco',)" --config.vimco.fraction=1.0` leaves the pretraining out;
`--config.vimco.objective=WakeSleep` trains by contrastive reweighted wake-sleep.
"""

import ml_collections

from trainers.configs import base

COLOUR = {
    "likelihood": "discretized_logistic_mixture",
    "latent_units": 1_024,
    "hidden_units": 2_048,
}
MODELS = {
    "static_mnist": {"network": (200, 200, 100, 100)},
    "static_mnist_resnet": {"network": "25down 25 50down 50 50down 50"},
    "cifar10": {**COLOUR, "network": "64down 64 128down 128 192down 192 256down 256"},
    "imagenet64": {**COLOUR, "network": "64down 128down 128down 256down 256down"},
}
DECAY = {"boundaries": (0.6, 0.8, 0.92), "factors": (1.0, 0.3, 0.1, 0.03)}


def get_config(spec="static_mnist"):
    """Returns the configuration for a MODEL."""
    (name,) = base.parse_spec(spec, (tuple(MODELS),))
    config = base.get_config()
    config.num_steps = 80_000
    config.steps_per_epoch = 1_000
    config.data.name = name.removesuffix("_resnet")
    config.data.batch_size = {"cifar10": 50, "imagenet64": 25}.get(name, 100)  # as memory allows
    config.model_name = "HybridRBM"
    config.model = ml_collections.ConfigDict()
    config.model.likelihood = "bernoulli"
    config.model.latent_units = 200
    config.model.hidden_units = 400
    config.model.activation = "elu"
    config.model.weight_decay = 0.0
    config.model.num_chains = 100
    config.model.num_sweeps = 25
    config.model.update(MODELS[name])
    config.stages = ("autoencoding", "contrastive", "persistent", "vimco")
    rate = {"learning_rate": 2e-2}
    config.autoencoding = base.stage("Autoencoding", 0.15, {"learning_rate": 1e-3}, {}, dropout=0.0)
    config.contrastive = base.stage("MachineOnCodes", 0.05, {}, rate, contrastive_sweeps=(1, 25))
    config.persistent = base.stage("MachineOnCodes", 0.05, {}, rate)
    config.vimco = base.stage("VIMCO", 0.75, DECAY, DECAY, num_samples=10)
    config.evaluation.num_samples = 5_000
    config.evaluation.raise_images = 100
    return config
