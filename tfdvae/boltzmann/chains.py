"""Negative phase: where the samples come from that estimate the gradient of log Z.

A negative phase is any object with `negative_samples(*, seed) -> NegativeSamples`. Persistent chains
(PCD: Younes 1989; Tieleman 2008) return unweighted samples; annealed samplers return log-weights too.
"""

from typing import NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
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
    return -tf.reduce_sum(tf.cast(tf.nn.softmax(samples.log_weights), energy.dtype) * energy)


@keras.saving.register_keras_serializable(package="tfdvae")
class PersistentChains(keras.layers.Layer):
    """Persistent block-Gibbs chains of a machine: training state, saved with the weights.

    Under `tf.distribute` every replica holds chains of its own (`num_chains` is a replica's), all from the
    same start: they part ways at the first `advance`, whose seed must differ between replicas. The chains
    of all replicas are saved in weights files (a `tf.train.Checkpoint` keeps those of the first one alone).
    On loading with another number of replicas, replica `r` takes the stored chains of replica
    `r mod stored`, and what is left over is dropped.

    Args:
      rbm: the machine that is sampled. It belongs to the model: its weights are neither counted nor saved
        here, and a model that is built from its configuration must hand it over anew.
      num_chains: chains of one replica, at least 1.
      num_sweeps: sweeps of one `advance`, at least 1 (DVAE++ uses 40).
    """

    def __init__(self, rbm, num_chains=100, num_sweeps=40, **kwargs):
        kwargs.setdefault("dtype", rbm.coupling.dtype)
        super().__init__(**kwargs)
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        # Behind a function: as an attribute or in a list Keras would count and save the machine twice.
        self._machine = lambda: rbm
        self.left = self._chains_variable(rbm.left_units, "left")
        self.right = self._chains_variable(rbm.right_units, "right")
        self.built = True

    def _chains_variable(self, units, name):
        def start(shape, dtype):
            return random.bernoulli(
                tf.fill(shape, tf.cast(0.5, dtype)), seed=random.split(0, 1, salt=name)[0]
            )

        # One value a replica: a mirrored variable would silently diverge when replicas assign to it.
        with keras.name_scope(self.name, caller=self):
            return keras.Variable(
                start,
                shape=(self.num_chains, units),
                trainable=False,
                autocast=False,
                name=name,
                dtype=self.variable_dtype,
                synchronization="on_read",
                aggregation="only_first_replica",
            )

    def advance(self, *, seed) -> GibbsState:
        """Runs `num_sweeps` sweeps, stores the state and returns it under `stop_gradient`.

        Args:
          seed: the seed of this update; on every replica another one (fold in the replica's number).

        Returns:
          The chains of this replica, `left [num_chains, left]` and `right [num_chains, right]`.
        """
        state = GibbsState(tf.convert_to_tensor(self.left), tf.convert_to_tensor(self.right))
        parameters = tf.nest.map_structure(tf.stop_gradient, self._machine().parameters)
        state = gibbs_sweeps(parameters, state, self.num_sweeps, seed=seed)
        state = tf.nest.map_structure(tf.stop_gradient, state)
        self.left.assign(state.left)
        self.right.assign(state.right)
        return state

    def negative_samples(self, *, seed) -> NegativeSamples:
        """`advance`, as the negative-phase protocol wants it."""
        return NegativeSamples(*self.advance(seed=seed))

    def save_own_variables(self, store):
        """Stores the chains of all replicas, `[replicas, chains, units]`."""
        for variable in (self.left, self.right):
            store[variable.name] = np.stack([replica.numpy() for replica in _replicas(variable)])

    def load_own_variables(self, store):
        """Restores the chains; see the class for another number of replicas.

        Raises:
          ValueError: if there are none, or their number or that of the units is another one.
        """
        for variable in (self.left, self.right):
            try:
                stored = np.asarray(store[variable.name])
            except KeyError:
                # Keras tries a second place after a failure, and reports that of the last one alone.
                raise ValueError(
                    f"No chains `{variable.name}` of the shape {tuple(variable.shape)} on each replica are "
                    "stored. Build the model with the `num_chains` and units that it was saved with."
                ) from None
            if stored.shape[1:] != tuple(variable.shape):
                raise ValueError(
                    f"The stored chains `{variable.name}` have the shape {stored.shape[1:]} on each replica, "
                    f"these chains {tuple(variable.shape)}. Build the model with the `num_chains` and units "
                    "that it was saved with."
                )
            for i, replica in enumerate(_replicas(variable)):
                replica.assign(stored[i % len(stored)])

    def get_config(self):
        """Returns the configuration (without the machine)."""
        return {**super().get_config(), "num_chains": self.num_chains, "num_sweeps": self.num_sweeps}


def _replicas(variable: keras.Variable) -> tuple[tf.Variable, ...]:
    """The variables of all replicas of this worker, inside and outside of the strategy's scope."""
    value = variable.value
    strategy = getattr(value, "distribute_strategy", None)
    return (value,) if strategy is None else strategy.experimental_local_results(value)
