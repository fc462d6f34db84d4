"""An RBM prior with hidden units on statically binarized MNIST: the fully connected model of appendix C.

The paper's stages: an autoencoder, the machine on its codes by contrastive divergence with 1 to 25 sweeps and
by persistent chains, then all together by VIMCO. The lengths and the learning rates are ours.
`--config.stages="('vimco',)" --config.vimco.fraction=1.0` leaves the pretraining out;
`--config.vimco.objective=WakeSleep` trains by contrastive reweighted wake-sleep.
"""

import ml_collections

from trainers.configs import base

DECAY = {"boundaries": (0.6, 0.8, 0.92), "factors": (1.0, 0.3, 0.1, 0.03)}


def get_config():
    """Returns the configuration."""
    config = base.get_config()
    config.num_steps = 60_000
    config.steps_per_epoch = 1_000
    config.data.name = "static_mnist"
    config.model_name = "HybridRBM"
    config.model = ml_collections.ConfigDict()
    config.model.latent_units = 200
    config.model.hidden_units = 400
    config.model.network = (200, 200, 100, 100)
    config.model.activation = "elu"
    config.model.weight_decay = 0.0
    config.model.num_chains = 100
    config.model.num_sweeps = 25
    config.stages = ("autoencoding", "contrastive", "persistent", "vimco")
    config.autoencoding = base.stage("Autoencoding", 0.2, {"learning_rate": 1e-3}, {}, dropout=0.0)
    rate = {"learning_rate": 2e-2}
    config.contrastive = base.stage("MachineOnCodes", 0.05, {}, rate, contrastive_sweeps=(1, 25))
    config.persistent = base.stage("MachineOnCodes", 0.05, {}, rate)
    config.vimco = base.stage("VIMCO", 0.7, DECAY, DECAY, num_samples=10)
    config.evaluation.num_samples = 5_000
    config.evaluation.raise_images = 100
    return config
