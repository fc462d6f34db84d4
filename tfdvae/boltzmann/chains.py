"""Negative phase: where the samples come from that estimate the gradient of log Z.

A negative phase is any object with `negative_samples(*, seed) -> NegativeSamples`. Persistent chains
(PCD: Younes 1989; Tieleman 2008) return unweighted samples; annealed samplers return log-weights too.
"""

from typing import NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann.gibbs import GibbsState, gibbs_sweeps
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine


class NegativeSamples(NamedTuple):
    """Samples of the machine, `left [samples, left]`, `right [samples, right]`, under `stop_gradient`.

    `log_weights [samples]` are unnormalized log importance weights, or `None` where all are equal.
    """

    left: tf.Tensor
    right: tf.Tensor
    log_weights: tf.Tensor | None = None


class NegativePhase(Protocol):
    """What a model needs of a sampler."""

    def negative_samples(self, *, seed) -> NegativeSamples:
        """Draws the samples of one parameter update."""


def log_partition_surrogate(rbm: RestrictedBoltzmannMachine, samples: NegativeSamples) -> tf.Tensor:
    """A scalar whose gradient in the weights estimates that of log Z; its value means nothing.

    -sum_l w_l E(left_l, right_l) with normalized weights w (Vahdat et al. (2018), appendix E, whose
    "dZ" is d log Z). The value is not log Z and must not be logged as such.
    """
    samples = NegativeSamples(*(None if s is None else tf.stop_gradient(s) for s in samples))
    energy = rbm.energy(samples.left, samples.right)
    if samples.log_weights is None:
        return -tf.reduce_mean(energy)
    return -tf.reduce_sum(tf.nn.softmax(samples.log_weights) * energy)


@keras.saving.register_keras_serializable(package="tfdvae")
class PersistentChains(keras.layers.Layer):
    """Persistent block-Gibbs chains of a machine: training state, saved with the weights.

    Under `tf.distribute` every replica holds chains of its own (`num_chains` is a replica's). All of
    them are saved. On loading with another number of replicas, replica `r` takes the stored chains of
    replica `r mod stored`; copies part ways at the first `advance`, since streams are per replica.

    Args:
      rbm: the machine that is sampled (not owned: its weights are not saved here).
      num_chains: chains of one replica, at least 1.
      num_sweeps: sweeps of one `advance`, at least 1 (DVAE++ uses 40).
    """

    def __init__(self, rbm, num_chains=100, num_sweeps=40, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        for name, value in (("num_chains", num_chains), ("num_sweeps", num_sweeps)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
        self._rbm = [rbm]  # in a list, for Keras would save the machine a second time
        self.num_chains = int(num_chains)
        self.num_sweeps = int(num_sweeps)
        self.left = self._replica_variable(rbm.left_units, "left")
        self.right = self._replica_variable(rbm.right_units, "right")
        self.built = True

    def _replica_variable(self, units, name):
        # One value a replica: a mirrored variable would silently diverge when replicas assign to it.
        start = random.bernoulli(tf.fill([self.num_chains, units], 0.5), seed=random.split(0, 1, salt=name)[0])
        return keras.Variable(
            start.numpy(), trainable=False, name=name, dtype="float32",
            synchronization="on_read", aggregation="only_first_replica",
        )

    def advance(self, *, seed) -> GibbsState:
        """Runs `num_sweeps` sweeps, stores the state and returns it under `stop_gradient`."""
        state = GibbsState(tf.convert_to_tensor(self.left), tf.convert_to_tensor(self.right))
        parameters = tf.nest.map_structure(tf.stop_gradient, self._rbm[0].parameters)
        state = gibbs_sweeps(parameters, state, self.num_sweeps, seed=seed)
        state = tf.nest.map_structure(tf.stop_gradient, state)
        self.left.assign(state.left)
        self.right.assign(state.right)
        return state

    def negative_samples(self, *, seed) -> NegativeSamples:
        """`advance`, as the negative-phase protocol wants it."""
        return NegativeSamples(*self.advance(seed=seed))

    def _replica_values(self, variable):
        return tf.distribute.get_strategy().experimental_local_results(variable.value)

    def save_own_variables(self, store):
        """Stores the chains of all replicas, `[replicas, chains, units]`."""
        for name in ("left", "right"):
            values = self._replica_values(getattr(self, name))
            store[name] = np.stack([np.asarray(v) for v in values])

    def load_own_variables(self, store):
        """Restores the chains; see the class for another number of replicas."""
        for name in ("left", "right"):
            stored = np.asarray(store[name])
            replicas = self._replica_values(getattr(self, name))
            if stored.shape[1:] != tuple(replicas[0].shape):
                raise ValueError(
                    f"The stored chains `{name}` have the shape {stored.shape[1:]} a replica, these chains "
                    f"{tuple(replicas[0].shape)}. Build the model with the same `num_chains` and units."
                )
            for i, replica in enumerate(replicas):
                replica.assign(stored[i % len(stored)])

    def get_config(self):
        """Returns the configuration (without the machine)."""
        return {**super().get_config(), "num_chains": self.num_chains, "num_sweeps": self.num_sweeps}
