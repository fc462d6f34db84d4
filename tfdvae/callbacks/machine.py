"""The health of the Boltzmann machine's chains."""

import keras
import tensorflow as tf
from absl import logging

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann import GibbsState, PersistentChains
from tfdvae.boltzmann.diagnostics import chain_health


class ChainHealthProbe(keras.callbacks.Callback):
    """Says after each epoch whether the persistent chains of the prior still mix; see `chain_health`.

    The figures go into the epoch's logs as `chains_autocorrelation_time` (sweeps), `chains_r_hat` and
    `chains_flip_rate`: put this callback before those that write logs. What is wrong, with advice, goes into
    the program's log as a warning, once until it has passed. The chains are not changed, and the probe is a
    function of the model's step. Models without `PersistentChains` are left alone.

    Args:
      num_sweeps: length of the probe run.
      seed: of the probe, together with the step.
    """

    def __init__(self, num_sweeps=100, seed=0):
        super().__init__()
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        self.seed = random.as_seed(seed)
        self._has_warned = False

    def on_epoch_end(self, epoch, logs=None):
        """Probes the chains."""
        chains = self.model.negative_phase
        if not isinstance(chains, PersistentChains):
            return
        step = int(self.model.step.numpy())
        state = GibbsState(tf.convert_to_tensor(chains.left), tf.convert_to_tensor(chains.right))
        seed = random.fold_in(random.split(self.seed, 1, salt="chain_health")[0], step)
        health = chain_health(self.model.rbm, state, num_sweeps=self.num_sweeps, seed=seed)
        if logs is not None:
            for name in ("autocorrelation_time", "r_hat", "flip_rate"):
                logs[f"chains_{name}"] = getattr(health, name)
        if health.warning and not self._has_warned:
            logging.warning("Step %d: %s", step, health.warning)
        self._has_warned = health.warning is not None
