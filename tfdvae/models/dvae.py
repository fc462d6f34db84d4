"""Fully connected discrete VAE (Vahdat et al. (2018), sections 3 to 5, 7.1 and 7.2)."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import positive_count, positive_integer, positive_integers
from tfdvae.boltzmann import PersistentChains
from tfdvae.layers import DenseStack, Smoothing
from tfdvae.models.base import DiscreteVAE
from tfdvae.models.likelihood import Decoded, ElboTerms
from tfdvae.models.priors import make_prior

NETWORKS = {"linear": (), "nonlinear": (200, 200)}


class Latents(NamedTuple):
    """`groups`: a list with one tensor a latent group, `[batch, units]`."""

    groups: list[tf.Tensor]


@keras.saving.register_keras_serializable(package="tfdvae")
class DVAE(DiscreteVAE):
    """Fully connected networks with groups of binary latents, smoothed in training.

        x -> q(z_1 | x), q(z_2 | x, zeta_1), ... and p(z), p(x | zeta_1, ..., zeta_L)

    Args:
      image_shape: `(height, width, channels)`; pixels are binary (factorial Bernoulli likelihood).
      latent_units: units of each latent group, an integer or a sequence.
      network: `"linear"`, `"nonlinear"` (two tanh layers of 200 units with batch normalization, for
        encoder, decoder and directed prior alike), or a sequence of hidden widths.
      prior: `"rbm"`, `"bernoulli"` (directed, p(z_i | zeta_<i)) or `"normal"` (continuous baseline).
      bound: of the directed binary prior, `"joint"` (eq. 4) or `"marginal"` (eq. 5).
      smoothing: a `Smoothing` layer; by default the overlapping exponential with beta 8.
      sides: of the RBM, for each group `"left"`, `"right"` or `"split"`; by default a single group is
        split and of several the first half is left.
      kl_factor: factor of the KL in training, a number or a schedule of the step.
      data_mean: mean training image; centres the encoder's input and sets the decoder's output bias.
      weight_decay: L2 factor on the kernels of the networks.
      batch_normalization: whether the hidden layers are normalized.
      batch_normalization_momentum: of the moving averages.
      training_samples: samples of zeta for each image in a training step.
      num_chains: persistent chains of one replica (RBM prior).
      num_sweeps: block-Gibbs sweeps a parameter update (RBM prior).
      seed: base seed of the initial weights, of training and of evaluation through Keras.
      kl_balancing: whether the groups' KL terms are balanced while `kl_factor` is below 1 (appendix H).

    Raises:
      ValueError: for unknown names, empty sides, and combinations that have no valid bound.
    """

    def __init__(
        self,
        image_shape=(28, 28, 1),
        latent_units=(200,),
        network="nonlinear",
        prior="rbm",
        bound="joint",
        smoothing=None,
        sides=None,
        kl_factor=1.0,
        training_samples=1,
        data_mean=None,
        weight_decay=0.0,
        batch_normalization=True,
        batch_normalization_momentum=0.99,
        num_chains=100,
        num_sweeps=40,
        seed=0,
        kl_balancing=False,
        **kwargs,
    ):
        super().__init__(image_shape, kl_factor, training_samples, seed, kl_balancing, **kwargs)
        self.latent_units = positive_integers("latent_units", latent_units)
        if not self.latent_units:
            raise ValueError("`latent_units` must name at least one group. Received: an empty sequence")
        self.network = network if isinstance(network, str) else positive_integers("network", network)
        if isinstance(network, str) and network not in NETWORKS:
            raise ValueError(
                f"`network` must be one of {tuple(NETWORKS)} or hidden widths. Received: network={network!r}"
            )
        self.prior_name, self.bound = prior, bound
        self.sides = None if sides is None else tuple(sides)
        self.smoothing = smoothing or Smoothing("overlapping_exponential", beta=8.0)
        self.weight_decay = float(weight_decay)
        self.batch_normalization = bool(batch_normalization)
        self.batch_normalization_momentum = float(batch_normalization_momentum)
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)

        hidden = {
            "hidden_units": NETWORKS.get(self.network, self.network),
            "weight_decay": self.weight_decay,
            "batch_normalization": self.batch_normalization,
            "batch_normalization_momentum": self.batch_normalization_momentum,
            "seed": self.seed,
        }
        self.prior = make_prior(
            prior, self.latent_units, bound=bound, smoothing=self.smoothing, sides=sides, network=hidden
        )
        if self.prior.rbm is not None:
            self.negative_phase = PersistentChains(self.prior.rbm, num_chains, num_sweeps, name="chains")
        pixels = int(np.prod(self.image_shape))
        parameters = self.prior.family.parameters_per_unit
        self.encoders = [
            DenseStack((pixels, *self.latent_units[:i]), parameters * n, name=f"encoder_{i}", **hidden)
            for i, n in enumerate(self.latent_units)
        ]
        self.decoder = DenseStack(self.latent_units, pixels, name="decoder", **hidden)
        self.data_mean = self.add_weight(
            shape=(pixels,), initializer="zeros", trainable=False, name="data_mean"
        )
        if data_mean is not None:
            self._set_data_mean(np.asarray(data_mean, np.float32))
        self._finish_init()

    def _set_data_mean(self, data_mean):
        if data_mean.size != self.data_mean.shape[0] or not np.all((data_mean >= 0) & (data_mean <= 1)):
            raise ValueError(
                f"`data_mean` must be an image of shape {self.image_shape} with values in [0, 1]. "
                f"Received: shape {data_mean.shape}, range {data_mean.min()} to {data_mean.max()}"
            )
        data_mean = data_mean.reshape(-1)
        self.data_mean.assign(data_mean)
        # Clipped as in Tucker et al. (2017): a pixel that is never set must not start at -inf.
        self.decoder.output_bias.assign(numerics.log_odds(data_mean, 1e-3))

    # --- the model ---

    def infer(self, x, *, seed, limit, training=False, num_samples=None) -> list:
        """q(z_i | x, zeta_<i) group by group, each with a sample; see `posteriors`."""
        centred = tf.reshape(x, [-1, self.data_mean.shape[0]]) - self.data_mean
        posteriors = []
        for encoder, s in zip(self.encoders, random.split(seed, len(self.encoders)), strict=True):
            parameters = encoder([centred, *(p.value for p in posteriors)], training=training)
            posteriors.append(
                self.prior.family.posterior(
                    parameters, seed=s, step=self.step, limit=limit, num_samples=num_samples
                )
            )
        return posteriors

    def reconstruction(self, x, values, training=False) -> tf.Tensor:
        """log p(x | zeta), shape `[..., batch]`."""
        logits = self.decoder(values, training=training)
        pixels = tf.reshape(x, [-1, self.data_mean.shape[0]])
        return tf.reduce_sum(numerics.bernoulli_log_prob(pixels, logits), axis=-1)

    def latent_terms(self, x, *, seed, limit, training) -> ElboTerms:
        """Reconstruction and KL (without log Z) of one sample for each image."""
        posteriors = self.infer(x, seed=seed, limit=limit, training=training)
        reconstruction = self.reconstruction(x, [p.value for p in posteriors], training)
        kl = self.prior.kl_per_group(posteriors, step=self.step, training=training)
        return ElboTerms(reconstruction, kl, tf.constant(0.0))

    def log_weights(self, x, num_samples, *, seed, limit="binary") -> tf.Tensor:
        """Unnormalized log p*(x, z) - log q(z | x) (without log Z), `[num_samples, batch]`, in nats."""
        x = self._check_images(x)
        self._check_limit(limit)
        num_samples = positive_count("num_samples", num_samples)
        seed_q, seed_z = random.split(self._seed_of_samples(seed, num_samples), salt="log_weights")
        posteriors = self.infer(x, seed=seed_q, limit=limit, num_samples=num_samples)
        log_likelihood = self.reconstruction(x, [p.value for p in posteriors])
        return log_likelihood + self.prior.log_ratio(posteriors, step=self.step, seed=seed_z)

    def posterior_means(self, x, *, seed, num_samples=100) -> list[tf.Tensor]:
        """E[z_i | x] (or of h_i) of each group, `[batch, units]`: what `active_units` looks at.

        Averaged over `num_samples` samples of the earlier groups: with one, a unit that only repeats the
        noise of an earlier one would seem to vary with x.
        """
        num_samples = positive_integer("num_samples", num_samples) if len(self.encoders) > 1 else None
        posteriors = self.posteriors(x, seed=seed, num_samples=num_samples)
        # The first group's has no sample axis: it depends on x alone.
        return [tf.reduce_mean(p.mean, axis=0) if p.mean.shape.rank == 3 else p.mean for p in posteriors]

    def scheduled_values(self) -> dict[str, float]:
        """The KL factor and the smoothing's parameters at the present step.

        Raises:
          ValueError: if one is out of its range there.
        """
        self.smoothing.check(self.step)
        parameters = self.smoothing.parameter(self.step)
        return {**super().scheduled_values(), **{name: float(value) for name, value in parameters.items()}}

    # --- images and latents ---

    def posteriors(self, x, *, seed, num_samples=None) -> list:
        """The posterior of each group, given a sample of those before, in the binary limit."""
        seed = self._seed_of_samples(seed, num_samples)
        return self.infer(self._check_images(x), seed=seed, limit="binary", num_samples=num_samples)

    def decoded(self, latents, *, seed) -> Decoded:
        """Images given latents: samples, and means of the pixels."""
        means = tf.sigmoid(self.decoder(list(latents.groups), training=False))
        images = random.bernoulli(means, seed=seed)
        return Decoded(*(tf.reshape(v, [-1, *self.image_shape]) for v in (images, means)))

    @property
    def latent_shapes(self) -> Latents:
        """The shapes of the latents without the batch."""
        return Latents([(n,) for n in self.latent_units])

    def sample_prior(self, num_samples, *, seed, num_sweeps=200, chains=None) -> Latents:
        """Latents from the prior.

        With an RBM, Gibbs chains start at random members of `chains` (by default the persistent chains) and
        run `num_sweeps` sweeps.
        """
        num_samples = positive_count("num_samples", num_samples)
        num_sweeps = positive_count("num_sweeps", num_sweeps)
        chains = self.negative_phase if chains is None else chains
        return Latents(self.prior.sample(num_samples, seed=seed, chains=chains, num_sweeps=num_sweeps))

    def get_config(self):
        """Returns the configuration; the data mean is a weight."""
        return {
            **super().get_config(),
            "latent_units": self.latent_units,
            "network": self.network,
            "prior": self.prior_name,
            "bound": self.bound,
            "smoothing": keras.saving.serialize_keras_object(self.smoothing),
            "sides": self.sides,
            "weight_decay": self.weight_decay,
            "batch_normalization": self.batch_normalization,
            "batch_normalization_momentum": self.batch_normalization_momentum,
            "num_chains": self.num_chains,
            "num_sweeps": self.num_sweeps,
        }

    @classmethod
    def from_config(cls, config):
        """Builds the model from `get_config`'s result."""
        config = dict(config)
        config["smoothing"] = keras.saving.deserialize_keras_object(config["smoothing"])
        return cls(**config)
