"""Binary latents with a Boltzmann prior that has hidden units of its own, between deterministic networks.

"Learning deep generative models with discrete latent variables" (section 3).
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from tfdvae import numerics
from tfdvae._validation import not_negative, positive_integer, positive_integers
from tfdvae.boltzmann.negative_phases import make_negative_phase, phase_config
from tfdvae.latents import Bernoulli, BoltzmannPrior, Group, Trace
from tfdvae.layers import OwnNetwork
from tfdvae.models.base import Decoded, DiscreteVAE
from tfdvae.models.bounds import ROWS_OF_FEATURE_MAPS
from tfdvae.models.decoders import OwnDecoder
from tfdvae.models.mirrored import Mirrored
from tfdvae.models.pixels import checked_data_mean, make_pixels, serialized
from tfdvae.objectives import VIMCO


class HybridLatents(NamedTuple):
    """`groups`: a list with the one group, `[batch, units]`."""

    groups: list[tf.Tensor]


@keras.saving.register_keras_serializable(package="tfdvae")
class HybridRBM(DiscreteVAE):
    """An RBM over binary latents z and hidden units h, and networks between z and the image.

        p(x) = sum_z p(x | z) exp(-F(z)) / Z,    F(z) = -log sum_h exp(-E(z, h)),    q(z | x) factorial

    The free energy F is not linear in the latents, so that there is no bound for smoothed ones: the model is
    trained on hard samples, by default with `VIMCO`. The paper begins with `Autoencoding`, then
    `MachineOnCodes`: without these stages it reports 121.65 in place of 83.69 nats.

    Args:
      image_shape: `(height, width, channels)`.
      latent_units: units of z.
      hidden_units: units of h.
      network: widths of the hidden layers of the encoder, or a row of pre-activation residual blocks with
        weight normalization, such as `"25down 25 50down 50 50down 50"`: numbers of filters, and `down`
        where a block halves the image. The decoder has them in reverse.
      activation: of the hidden layers.
      encoder: a Keras layer or model of your own, from images `[batch, height, width, channels]` to the
        logits of q, `latent_units` numbers for each, in place of the one of `network`.
      decoder: one from latents `[batch, latent_units]` to the parameters of the pixels.
      likelihood: of the pixels, `"bernoulli"`, `"discretized_logistic_mixture"` (10 components), or an object
        (see `tfdvae.models.pixels.Pixels`).
      data_mean: mean training image, of the pixels' own values: centres the encoder's input and, for binary
        pixels, sets the decoder's output bias (of residual blocks, which have one for all places, by the mean
        pixel).
      weight_decay: L2 factor on the kernels of the networks.
      num_chains: persistent chains of one replica.
      num_sweeps: block-Gibbs sweeps a parameter update.
      negative_phase: what samples the RBM in training; see `DVAE`.
      seed: base seed of the initial weights, of training and of evaluation through Keras.

    Raises:
      ValueError: for networks that do not fit, and numbers that are not positive.
    """

    def __init__(
        self,
        image_shape=(28, 28, 1),
        latent_units=200,
        hidden_units=400,
        network=(200, 200, 100, 100),
        activation="elu",
        encoder=None,
        decoder=None,
        likelihood="bernoulli",
        data_mean=None,
        weight_decay=0.0,
        num_chains=100,
        num_sweeps=25,
        negative_phase="pcd",
        seed=0,
        **kwargs,
    ):
        super().__init__(image_shape, seed, **kwargs)
        self.likelihood, self.pixels = likelihood, make_pixels(likelihood, self.image_shape[-1])
        self.latent_units = positive_integer("latent_units", latent_units)
        self.hidden_units = positive_integer("hidden_units", hidden_units)
        self.network = network if isinstance(network, str) else positive_integers("network", network)
        self.activation = activation
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        self._given_negative_phase = negative_phase
        self._given_networks = {"encoder": encoder, "decoder": decoder}

        self.prior = BoltzmannPrior((self.latent_units,), hidden_units=self.hidden_units, name="prior")
        self.negative_phase = make_negative_phase(
            negative_phase, self.prior.rbm, num_chains=num_chains, num_sweeps=num_sweeps
        )
        networks = Mirrored(self.network, activation, self.weight_decay, self.seed)
        if encoder is None:
            encoder = networks.encoder(self.image_shape, self.latent_units)
        if decoder is None:
            decoder = networks.decoder(self.latent_units, self.image_shape, self.pixels.num_parameters)
        logits = "the logits of q(z | x)"
        self.encoder = OwnNetwork(
            encoder, [self.image_shape], "encoder", self.latent_units, logits, name="encoder"
        )
        self.decoder = OwnDecoder(
            decoder, (self.latent_units,), self.image_shape, self.pixels, name="decoder"
        )
        self.data_mean = self.add_weight(
            shape=self.image_shape, initializer="zeros", trainable=False, name="data_mean"
        )
        if data_mean is not None:
            self._set_data_mean(data_mean)
        is_fully_connected = self._given_networks["decoder"] is None and not isinstance(self.network, str)
        if not is_fully_connected or self.likelihood != "bernoulli":
            self.importance_rows = ROWS_OF_FEATURE_MAPS
        self._finish_init()

    def _set_data_mean(self, data_mean):
        data_mean = checked_data_mean(data_mean, self.image_shape, self.pixels.max_value)
        self.data_mean.assign(self.pixels.scaled(tf.constant(data_mean)))
        if self._given_networks["decoder"] is None and self.likelihood == "bernoulli":
            # Clipped as in Tucker et al. (2017): a pixel that is never set must not start at -inf.
            if isinstance(self.network, str):
                output, mean = self.decoder.own.network.layers[-1], data_mean.mean(axis=(0, 1))
            else:
                output, mean = self.decoder.own.network.layers[-2], data_mean.reshape(-1)
            output.bias.assign(numerics.log_odds(mean, 1e-3))

    @property
    def default_objective(self) -> VIMCO:
        """What `compile` takes where it is given none."""
        return VIMCO()

    # --- the model ---

    def trace(self, x, draw, *, seed=None) -> Trace:
        """q(z | x), and a value; the machine holds z."""
        training, q = seed is not None, None
        if x is not None:
            q = Bernoulli(self.encoder([self.pixels.scaled(x) - self.data_mean], training=training))
        return Trace((Group.drawn(draw, 0, q, None),), training=training)

    def log_prob_of_pixels(self, x, trace) -> tf.Tensor:
        """log p(x | z), shape `[..., batch]`."""
        return self.decoder.log_prob(x, trace.values[0], trace.training)

    def generate(self, trace, *, seed) -> Decoded:
        """Images given latents: samples, and means of the pixels."""
        return self.decoder.generate(trace.values[0], seed=seed)

    @property
    def latent_shapes(self) -> HybridLatents:
        """The shapes of the latents without the batch."""
        return HybridLatents([(self.latent_units,)])

    def get_config(self):
        """Returns the configuration; the data mean is a weight."""
        return {
            **super().get_config(),
            "latent_units": self.latent_units,
            "hidden_units": self.hidden_units,
            "network": self.network,
            "activation": self.activation,
            **{name: serialized(network) for name, network in self._given_networks.items()},
            "likelihood": serialized(self.likelihood),
            "weight_decay": self.weight_decay,
            "num_chains": self.num_chains,
            "num_sweeps": self.num_sweeps,
            "negative_phase": phase_config(self._given_negative_phase, self.negative_phase),
        }
