"""Negative phase: where the samples come from that estimate the gradient of log Z.

A negative phase is any object with the methods of `NegativePhase`. Persistent chains (PCD: Younes 1989;
Tieleman 2008) and tempered ones (Desjardins et al. 2010) return unweighted samples; annealed samplers return
log-weights too (see `annealed_samples`). Contrastive divergence (Hinton 2002) starts from the data.
"""

from typing import NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann import replica_exchange
from tfdvae.boltzmann.gibbs import GibbsState, draw_units, gibbs_sweep, gibbs_sweeps, noise_seed, unit_noise
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine


class NegativeSamples(NamedTuple):
    """Samples of the machine, `left [samples, left]`, `right [samples, right]`, under `stop_gradient`.

    `log_weights [samples]` are unnormalized log importance weights, or `None` where all are equal.
    """

    left: tf.Tensor
    right: tf.Tensor
    log_weights: tf.Tensor | None = None


class NegativePhase(Protocol):
    """What a model needs of a sampler.

    Attributes:
      starts_from_data: whether `negative_samples` wants the left side of the machine for each example.
    """

    starts_from_data: bool

    def negative_samples(self, *, seed, left=None) -> NegativeSamples:
        """Draws the samples of one update, from the data `left [batch, left]` if it starts there."""

    def start(self, num_samples, *, seed) -> tf.Tensor:
        """Where chains that sample the machine begin, `[num_samples, left]` in {0, 1}.

        With seeds of rows, `[num_samples, 2]`, a row's start is its own.
        """


def random_members(left, num_samples, *, seed) -> tf.Tensor:
    """Rows of `left [n, left]`, drawn with replacement, `[num_samples, left]`."""
    stored = tf.convert_to_tensor(left)
    return tf.gather(stored, tf.math.floormod(random.bits([num_samples], seed=seed), tf.shape(stored)[0]))


def log_partition_surrogate(rbm: RestrictedBoltzmannMachine, samples: NegativeSamples) -> tf.Tensor:
    """A scalar whose gradient in the weights estimates that of log Z; its value means nothing.

    The gradient of log Z is the mean of -dE over the machine (Vahdat et al. (2018), appendix E, whose "dZ" is
    d log Z). In place of the energies of the samples stand their free energies, once with the right side
    summed out and once with the left one: -sum_l w_l (F(left_l) + F(right_l)) / 2 with normalized weights w.
    Each has the same mean gradient, and by the Rao-Blackwell theorem a smaller variance than
    E(left_l, right_l). The value is not log Z and must not be logged as such.

    Args:
      rbm: the machine.
      samples: samples of the machine; no gradient flows into them.
    """
    samples = NegativeSamples(*(None if s is None else tf.stop_gradient(s) for s in samples))
    free_energy = 0.5 * (rbm.free_energy(samples.left) + rbm.right_free_energy(samples.right))
    if samples.log_weights is None:
        return -tf.reduce_mean(free_energy)
    weights = tf.cast(tf.nn.softmax(samples.log_weights), free_energy.dtype)
    return -tf.reduce_sum(weights * free_energy)


class _Sampler(keras.layers.Layer):
    """A negative phase by Gibbs sampling. The state of its chains is saved with the weights."""

    starts_from_data = False

    def __init__(self, rbm, num_sweeps, state_shapes, **kwargs):
        kwargs.setdefault("dtype", rbm.coupling.dtype)
        super().__init__(**kwargs)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        # Behind a function: as an attribute or in a list Keras would count and save the machine twice.
        self._machine = lambda: rbm
        self._state_names = tuple(state_shapes)
        for name, shape in state_shapes.items():
            setattr(self, name, self._chains_variable(shape, name))
        self.built = True

    def _chains_variable(self, shape, name):
        def start(shape, dtype):
            return random.bernoulli(
                tf.fill(shape, tf.cast(0.5, dtype)), seed=random.split(0, 1, salt=name)[0]
            )

        # One value a replica: a mirrored variable would silently diverge when replicas assign to it.
        with keras.name_scope(self.name, caller=self):
            return keras.Variable(
                start,
                shape=shape,
                trainable=False,
                autocast=False,
                name=name,
                dtype=self.variable_dtype,
                synchronization="on_read",
                aggregation="only_first_replica",
            )

    def start(self, num_samples, *, seed) -> tf.Tensor:
        """Random members of the chains."""
        return random_members(self.left, num_samples, seed=seed)

    @property
    def _state(self) -> tuple[keras.Variable, ...]:
        return tuple(getattr(self, name) for name in self._state_names)

    @property
    def _parameters(self) -> RBMParameters:
        return tf.nest.map_structure(tf.stop_gradient, self._machine().parameters)

    def save_own_variables(self, store):
        """Stores the chains of all replicas, `[replicas, ...]`."""
        for variable in self._state:
            store[variable.name] = np.stack([replica.numpy() for replica in replicas(variable)])

    def load_own_variables(self, store):
        """Restores the chains; see the class for another number of replicas.

        Raises:
          ValueError: if there are none, or their number or that of the units is another one.
        """
        for variable in self._state:
            try:
                stored = np.asarray(store[variable.name])
            except KeyError:
                # Keras tries a second place after a failure, and reports that of the last one alone.
                raise ValueError(
                    f"No chains `{variable.name}` of the shape {tuple(variable.shape)} on each replica are "
                    "stored. Build the model with the numbers of chains and units that it was saved with."
                ) from None
            if stored.shape[1:] != tuple(variable.shape):
                raise ValueError(
                    f"The stored chains `{variable.name}` have the shape {stored.shape[1:]} on each replica, "
                    f"these chains {tuple(variable.shape)}. Build the model with the numbers of chains and "
                    "units that it was saved with."
                )
            for i, replica in enumerate(replicas(variable)):
                replica.assign(stored[i % len(stored)])

    def get_config(self):
        """Returns the configuration (without the machine)."""
        return {**super().get_config(), "num_sweeps": self.num_sweeps}


@keras.saving.register_keras_serializable(package="tfdvae")
class PersistentChains(_Sampler):
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
        self.num_chains = positive_integer("num_chains", num_chains)
        shapes = {"left": (num_chains, rbm.left_units), "right": (num_chains, rbm.right_units)}
        super().__init__(rbm, num_sweeps, shapes, **kwargs)

    def advance(self, *, seed) -> GibbsState:
        """Runs `num_sweeps` sweeps, stores the state and returns it under `stop_gradient`.

        Args:
          seed: the seed of this update; on every replica another one (fold in the replica's number).

        Returns:
          The chains of this replica, `left [num_chains, left]` and `right [num_chains, right]`.
        """
        state = GibbsState(tf.convert_to_tensor(self.left), tf.convert_to_tensor(self.right))
        state = gibbs_sweeps(self._parameters, state, self.num_sweeps, seed=seed)
        state = tf.nest.map_structure(tf.stop_gradient, state)
        self.left.assign(state.left)
        self.right.assign(state.right)
        return state

    def negative_samples(self, *, seed, left=None) -> NegativeSamples:
        """`advance`, as the negative-phase protocol wants it."""
        del left
        return NegativeSamples(*self.advance(seed=seed))

    def get_config(self):
        """Returns the configuration (without the machine)."""
        return {**super().get_config(), "num_chains": self.num_chains}


def _from_data(parameters, left) -> GibbsState:
    """Where chains start at data `[batch, left]`; of the right side only the shape is read."""
    left = tf.cast(left, parameters.coupling.dtype)
    return GibbsState(left, tf.zeros([tf.shape(left)[0], parameters.coupling.shape[1]], left.dtype))


def contrastive_samples(rbm: RestrictedBoltzmannMachine, left, num_sweeps, *, seed) -> NegativeSamples:
    """Contrastive divergence with as many sweeps as a graph decides: `num_sweeps` may be a tensor.

    `left [batch, left]` is where the chains start. `ContrastiveDivergence` is faster with a fixed number.
    """
    parameters = tf.nest.map_structure(tf.stop_gradient, rbm.parameters)

    def sweep(i, left, right):
        return i + 1, *gibbs_sweep(parameters, GibbsState(left, right), seed=random.fold_in(seed, i))

    start = _from_data(parameters, left)
    _, *state = tf.while_loop(lambda i, *_: i < num_sweeps, sweep, (0, *start))
    return NegativeSamples(*state)


@keras.saving.register_keras_serializable(package="tfdvae")
class ContrastiveDivergence(_Sampler):
    """CD-k (Hinton, 2002): chains of `num_sweeps` sweeps that start anew at the data; no state.

    The gradient is biased, the less so the more sweeps: chains this short do not leave the neighbourhood of
    the data, and modes of the machine elsewhere are not seen.

    Args:
      rbm: the machine that is sampled (it belongs to the model, as with `PersistentChains`).
      num_sweeps: the k of CD-k, at least 1.
    """

    starts_from_data = True

    def __init__(self, rbm, num_sweeps=1, **kwargs):
        super().__init__(rbm, num_sweeps, {}, **kwargs)

    def negative_samples(self, *, seed, left) -> NegativeSamples:
        """The chains after `num_sweeps` sweeps from the data `left [batch, left]`, one for each vector."""
        state = _from_data(self._parameters, left)
        return NegativeSamples(*gibbs_sweeps(self._parameters, state, self.num_sweeps, seed=seed))

    def start(self, num_samples, *, seed) -> tf.Tensor:
        """Fair coins: there are no chains."""
        return random.bernoulli(tf.fill([num_samples, self._parameters.coupling.shape[0]], 0.5), seed=seed)


@keras.saving.register_keras_serializable(package="tfdvae")
class TemperedChains(_Sampler):
    """Persistent chains that exchange temperatures: tempered PCD (Desjardins et al., 2010).

    Each chain is a ladder of replicas of the machine with beta E in place of the energy E, at inverse
    temperatures beta that are evenly spaced from 0 to 1; neighbours exchange replicas in every sweep (see
    `replica_exchange`). At 0 the units are fair coins, drawn afresh each time, so that chains at 1 leave
    modes in which plain ones would stay. A sample costs `num_temperatures` times as much as one of
    `PersistentChains`. Of `tf.distribute`, saving and loading the same holds as there.

    Args:
      rbm: the machine that is sampled (it belongs to the model, as with `PersistentChains`).
      num_chains: ladders of one replica of the model, at least 1.
      num_temperatures: inverse temperatures of a ladder with 0 and 1, at least 2.
      num_sweeps: sweeps of one update, an even number: pairs of neighbours take turns in exchanging.

    Raises:
      ValueError: if a number is none of these.
    """

    def __init__(self, rbm, num_chains=100, num_temperatures=10, num_sweeps=2, **kwargs):
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_temperatures = positive_integer("num_temperatures", num_temperatures)
        if num_temperatures < 2:
            raise ValueError(
                f"`num_temperatures` must be at least 2 (0 and 1). Received: {num_temperatures=}"
            )
        if positive_integer("num_sweeps", num_sweeps) % 2:
            raise ValueError(
                "`num_sweeps` must be even: half of the neighbours exchange places in even sweeps, the "
                f"others in odd ones. Received: {num_sweeps=}"
            )
        # Sorted by temperature after every update, so that it says nothing of who was where.
        shapes = {"replicas": (num_chains, num_temperatures, rbm.left_units)}
        super().__init__(rbm, num_sweeps, shapes, **kwargs)

    @property
    def left(self) -> tf.Tensor:
        """The left sides at the inverse temperature 1, `[num_chains, left]`."""
        return tf.convert_to_tensor(self.replicas)[:, -1]

    def negative_samples(self, *, seed, left=None) -> NegativeSamples:
        """Runs `num_sweeps` sweeps of all ladders, stores them and returns the samples at 1."""
        del left
        seed_sweeps, seed_right = random.split(seed, salt="tempered_chains")
        parameters = self._parameters
        left_bias, right_bias, coupling = parameters
        betas = tf.linspace(tf.constant(0.0, coupling.dtype), 1.0, self.num_temperatures)
        path = replica_exchange.TemperedPath(
            parameters, tf.zeros_like(left_bias), tf.zeros_like(right_bias), betas
        )
        slots = tf.broadcast_to(tf.range(self.num_temperatures), [self.num_chains, self.num_temperatures])
        state = replica_exchange.TemperingState(tf.convert_to_tensor(self.replicas), slots)
        state, _ = replica_exchange.tempering_sweeps(path, state, self.num_sweeps, seed=seed_sweeps)
        replicas = tf.gather(state.left, tf.argsort(state.slot, axis=1), batch_dims=1)
        replicas = tf.stop_gradient(tf.reshape(replicas, self.replicas.shape))
        self.replicas.assign(replicas)
        left = replicas[:, -1]
        noise = unit_noise(self.num_chains, coupling.shape[1], noise_seed(seed_right, dtype=coupling.dtype))
        return NegativeSamples(left, draw_units(left @ coupling + right_bias, noise))

    def get_config(self):
        """Returns the configuration (without the machine)."""
        numbers = {"num_chains": self.num_chains, "num_temperatures": self.num_temperatures}
        return {**super().get_config(), **numbers}


def replicas(variable: keras.Variable) -> tuple[tf.Variable, ...]:
    """The variables of all replicas of this worker, inside and outside of the strategy's scope."""
    value = variable.value
    strategy = getattr(value, "distribute_strategy", None)
    return (value,) if strategy is None else strategy.experimental_local_results(value)
