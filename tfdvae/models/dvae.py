"""Fully connected discrete VAE (Vahdat et al. (2018), sections 3 to 5, 7.1 and 7.2)."""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from tfdvae import numerics
from tfdvae._validation import positive_integer, positive_integers
from tfdvae.boltzmann.negative_phases import make_negative_phase, phase_config
from tfdvae.latents import Group, Trace
from tfdvae.layers import DenseStack, OwnNetwork
from tfdvae.models.base import Decoded, DiscreteVAE
from tfdvae.models.bounds import ROWS_OF_FEATURE_MAPS
from tfdvae.models.decoders import OwnDecoder
from tfdvae.models.pixels import checked_data_mean, make_pixels, serialized
from tfdvae.models.priors import make_prior, smoothing_or_default

NETWORKS = {"linear": (), "nonlinear": (200, 200)}


class DVAELatents(NamedTuple):
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
      encoder: a Keras layer or model of your own, from images `[batch, height, width, channels]` to features
        of any shape, in place of the pixels themselves: q(z_i | x, zeta_<i) has a network of the kind
        `network` on top of them.
      decoder: one from all groups `[batch, sum(latent_units)]` to the parameters of the pixels,
        `[batch, height, width, channels]` for binary ones, in place of a network of the kind `network`.
      likelihood: of the pixels, `"bernoulli"`, or an object (see `tfdvae.models.pixels.Pixels`) beside a
        `decoder` that yields its parameters.
      data_mean: mean training image; centres the encoder's input and sets the decoder's output bias.
      weight_decay: L2 factor on the kernels of the networks.
      batch_normalization: whether the hidden layers are normalized.
      batch_normalization_momentum: of the moving averages.
      num_chains: persistent chains of one replica (RBM prior).
      num_sweeps: block-Gibbs sweeps a parameter update (RBM prior).
      negative_phase: what samples the RBM in training: `"pcd"`, `"cd"`, `"tempered"`, `"annealed"`, or one
        of your own; see `RBMTrainer`. Contrastive divergence starts at samples of q(z | x).
      seed: base seed of the initial weights, of training and of evaluation through Keras.

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
        encoder=None,
        decoder=None,
        likelihood="bernoulli",
        data_mean=None,
        weight_decay=0.0,
        batch_normalization=True,
        batch_normalization_momentum=0.99,
        num_chains=100,
        num_sweeps=40,
        negative_phase="pcd",
        seed=0,
        **kwargs,
    ):
        super().__init__(image_shape, seed, **kwargs)
        self.likelihood, self.pixels = likelihood, make_pixels(likelihood, self.image_shape[-1])
        if likelihood != "bernoulli" and decoder is None:
            raise ValueError(
                "Another likelihood than that of binary pixels needs a `decoder` of your own. Received: "
                f"likelihood={likelihood!r}, decoder=None"
            )
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
        self.smoothing = smoothing_or_default(smoothing)
        self.weight_decay = float(weight_decay)
        self.batch_normalization = bool(batch_normalization)
        self.batch_normalization_momentum = float(batch_normalization_momentum)
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        self._given_negative_phase = negative_phase

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
            self.negative_phase = make_negative_phase(
                negative_phase, self.prior.rbm, num_chains=num_chains, num_sweeps=num_sweeps
            )
        pixels = math.prod(self.image_shape)
        parameters = self.prior.family.parameters_per_unit
        self.own_encoder, features = None, pixels
        if encoder is not None:
            self.own_encoder = OwnNetwork(encoder, [self.image_shape], "encoder", name="own_encoder")
            features = math.prod(self.own_encoder.output_shape_of_one)
        self.encoders = [
            DenseStack((features, *self.latent_units[:i]), parameters * n, name=f"encoder_{i}", **hidden)
            for i, n in enumerate(self.latent_units)
        ]
        self._given_networks = {"encoder": encoder, "decoder": decoder}
        if decoder is None:
            self.decoder = DenseStack(self.latent_units, pixels, name="decoder", **hidden)
        else:
            latents_shape = (sum(self.latent_units),)
            self.decoder = OwnDecoder(decoder, latents_shape, self.image_shape, self.pixels, name="decoder")
            self.importance_rows = ROWS_OF_FEATURE_MAPS
        self.data_mean = self.add_weight(
            shape=(pixels,), initializer="zeros", trainable=False, name="data_mean"
        )
        if data_mean is not None:
            self._set_data_mean(data_mean)
        self._finish_init()

    def _set_data_mean(self, data_mean):
        data_mean = checked_data_mean(data_mean, self.image_shape).reshape(-1)
        self.data_mean.assign(data_mean)
        # Clipped as in Tucker et al. (2017): a pixel that is never set must not start at -inf.
        if isinstance(self.decoder, DenseStack):
            self.decoder.output_bias.assign(numerics.log_odds(data_mean, 1e-3))

    # --- the model ---

    def trace(self, x, draw, *, seed=None) -> Trace:
        """Group by group: q(z_i | x, zeta_<i), p(z_i | zeta_<i), and a value."""
        training, groups = seed is not None, []
        features = None if x is None else self._features(x, training)
        for i, encoder in enumerate(self.encoders):
            earlier = [group.value for group in groups]
            q = None if x is None else self.prior.family(encoder([features, *earlier], training=training))
            groups.append(Group.drawn(draw, i, q, self.prior.law(i, earlier, training)))
        return Trace(tuple(groups), training=training)

    def _features(self, x, training):
        """What the networks of q see of the images, `[batch, features]`."""
        if self.own_encoder is None:
            return tf.reshape(x, [-1, self.data_mean.shape[0]]) - self.data_mean
        features = self.own_encoder([self.pixels.scaled(x)], training=training)
        return tf.reshape(features, [-1, math.prod(features.shape[1:])])

    def log_prob_of_pixels(self, x, trace) -> tf.Tensor:
        """log p(x | zeta), shape `[..., batch]`."""
        if isinstance(self.decoder, OwnDecoder):
            return self.decoder.log_prob(x, tf.concat(trace.values, axis=-1), trace.training)
        logits = self.decoder(trace.values, training=trace.training)
        pixels = tf.reshape(x, [-1, self.data_mean.shape[0]])
        if trace.training:
            return numerics.bernoulli_log_likelihood(pixels, logits)
        return tf.reduce_sum(numerics.bernoulli_log_prob(pixels, logits), axis=-1)

    def generate(self, trace, *, seed) -> Decoded:
        """Images given latents: samples, and means of the pixels."""
        if isinstance(self.decoder, OwnDecoder):
            return self.decoder.generate(tf.concat(trace.values, axis=-1), seed=seed)
        logits = tf.reshape(self.decoder(trace.values), [-1, *self.image_shape])
        return Decoded(self.pixels.sample(logits, seed=seed), self.pixels.mean(logits))

    @property
    def latent_shapes(self) -> DVAELatents:
        """The shapes of the latents without the batch."""
        return DVAELatents([(n,) for n in self.latent_units])

    def get_config(self):
        """Returns the configuration; the data mean is a weight."""
        return {
            **super().get_config(),
            "latent_units": self.latent_units,
            "network": self.network,
            "prior": self.prior_name,
            "bound": self.bound,
            "smoothing": serialized(self.smoothing),
            "likelihood": serialized(self.likelihood),
            **{name: serialized(network) for name, network in self._given_networks.items()},
            "sides": self.sides,
            "weight_decay": self.weight_decay,
            "batch_normalization": self.batch_normalization,
            "batch_normalization_momentum": self.batch_normalization_momentum,
            "num_chains": self.num_chains,
            "num_sweeps": self.num_sweeps,
            "negative_phase": phase_config(self._given_negative_phase, self.negative_phase),
        }
