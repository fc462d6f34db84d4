"""A negative phase without memory: chains that anneal anew in every update, with importance weights."""

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.chains import NegativeSamples
from tfdvae.boltzmann.gibbs import draw_units, noise_seed, unit_noise
from tfdvae.boltzmann.log_partition.path import base_biases, base_samples, walk


@keras.saving.register_keras_serializable(package="tfdvae")
class AnnealedSamples(keras.layers.Layer):
    """Annealed importance sampling of a machine from fair coins (Neal, 2001), as in PixelVAE++.

    The samples have log-weights, so that modes which chains miss or meet too often count as they should. An
    update costs `num_temperatures` sweeps of `num_chains` chains: the 1,000 temperatures of 5,000 chains in
    the paper take minutes on a processor, and a tenth of both seconds.

    Args:
      rbm: the machine that is sampled (it belongs to the model, as with `PersistentChains`).
      num_chains: chains of one update on one replica, at least 1.
      num_temperatures: steps of the inverse temperature from 0 to 1, at least 1.

    Raises:
      ValueError: if a number is not positive.
    """

    starts_from_data = False

    def __init__(self, rbm, num_chains=100, num_temperatures=100, **kwargs):
        kwargs.setdefault("dtype", rbm.coupling.dtype)
        super().__init__(**kwargs)
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_temperatures = positive_integer("num_temperatures", num_temperatures)
        # Behind a function: as an attribute or in a list Keras would count and save the machine twice.
        self._machine = lambda: rbm
        self.built = True

    def negative_samples(self, *, seed, left=None) -> NegativeSamples:
        """Anneals all chains; see the class."""
        del left
        return self._annealed(seed)

    def start(self, num_samples, *, seed) -> tf.Tensor:
        """Annealed samples, drawn again by their weights."""
        seed_walk, seed_rows = random.split(seed, salt="start")
        if random.are_row_seeds(seed):
            raise ValueError(
                "Annealed samples have no seeds of rows: give one seed, or start from `PersistentChains`"
            )
        samples = self._annealed(seed_walk)
        # The place of a uniform number among the cumulated weights.
        cumulated = tf.cumsum(tf.nn.softmax(samples.log_weights))
        uniform = random.uniform([num_samples], seed=seed_rows, dtype=cumulated.dtype)
        rows = tf.searchsorted(cumulated, uniform * cumulated[-1])
        return tf.gather(samples.left, tf.minimum(rows, self.num_chains - 1))

    def _annealed(self, seed):
        parameters = tf.nest.map_structure(tf.stop_gradient, self._machine().parameters)
        seed_base, seed_walk, seed_right = random.split(seed, 3, salt="annealed_samples")
        base = base_biases("zero", parameters)
        betas = np.arange(self.num_temperatures + 1) / self.num_temperatures
        left = base_samples(base, self.num_chains, seed=seed_base)
        annealed = walk(parameters, base, left, betas, seed=seed_walk)
        right_units = parameters.coupling.shape[1]
        noise = unit_noise(self.num_chains, right_units, noise_seed(seed_right, dtype=left.dtype))
        right = draw_units(annealed.left @ parameters.coupling + parameters.right_bias, noise)
        return NegativeSamples(*map(tf.stop_gradient, (annealed.left, right, annealed.log_weights)))

    def get_config(self):
        """Returns the configuration (without the machine)."""
        numbers = {"num_chains": self.num_chains, "num_temperatures": self.num_temperatures}
        return {**super().get_config(), **numbers}
