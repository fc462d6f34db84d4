"""DVAE++: discrete global latents with a Boltzmann prior and a hierarchy of convolutional local latents."""

import itertools
from typing import NamedTuple

import keras
import tensorflow as tf

from tfdvae._validation import positive_integer, positive_integers
from tfdvae.boltzmann.negative_phases import make_negative_phase, phase_config
from tfdvae.latents import Group, Trace
from tfdvae.latents.laws import LAWS
from tfdvae.layers import DenseStack
from tfdvae.layers.normalization import make_batch_normalization
from tfdvae.layers.own import residual_or_own
from tfdvae.layers.residual import halved_sizes
from tfdvae.models.base import Decoded, DiscreteVAE
from tfdvae.models.bounds import ROWS_OF_FEATURE_MAPS
from tfdvae.models.decoders import Decoder, OwnDecoder
from tfdvae.models.dvaepp.local import LocalLatents
from tfdvae.models.pixels import make_pixels, serialized
from tfdvae.models.priors import check_smoothing, make_prior, smoothing_or_default

GLOBAL_PRIORS = ("rbm", "bernoulli", "normal", "none")
LOCAL_PRIORS = ("normal", "bernoulli", "none")


class DVAEPlusPlusLatents(NamedTuple):
    """`global_groups`: `[batch, units]` each; `local_groups`: `[batch, height, width, channels]` each."""

    global_groups: list[tf.Tensor]
    local_groups: list[tf.Tensor]


@keras.saving.register_keras_serializable(package="tfdvae")
class DVAEPlusPlus(DiscreteVAE):
    """The model of figures 3 and 7 of Vahdat et al. (2018); by default that of table 4 for MNIST.

        q(z, zeta, h | x) = prod_i q(z_i | x, zeta_<i) r(zeta_i | z_i)  prod_j q(h_j | x, zeta, h_<j)
        p(z, zeta, h, x)  = p(z) prod_i r(zeta_i | z_i)  prod_j p(h_j | zeta, h_<j)  p(x | zeta, h)

    Rows of residual blocks are written as in table 4, with `down` and `up` for its arrows. In the rows of
    q(h_j) and p(h_j) the last block of the table, which yields the parameters (64 for the means and
    scales of 32 variables), is left out: it follows from `local_channels`. In place of `down1`, `down2`,
    `upsample` and `decoder` a Keras layer or model of your own may stand: from images to features, from these
    to smaller ones, from the global latents `[batch, 1, 1, variables]` to the size of the features, and from
    all latents `[batch, height, width, channels]` to the parameters of the pixels.

    Args:
      image_shape: `(height, width, channels)`.
      likelihood: `"bernoulli"`, `"discretized_logistic_mixture"` for pixels in 0..255, or an object (see
        `tfdvae.models.pixels.Pixels`).
      num_components: of the mixture.
      global_prior: of the global latents, `"rbm"`, `"bernoulli"` (marginal bound), `"normal"` or `"none"`.
      global_units: variables of each global group.
      global_hidden: hidden widths of the networks of q(z_i | x, zeta_<i).
      local_prior: of the local latents, `"normal"`, `"bernoulli"` (smoothed, marginal bound) or `"none"`.
      local_groups: number of local groups.
      local_channels: variables of a local group at each place.
      down1: blocks from the image to the features that the local latents see.
      down2: blocks from these on; their output, flattened, is what the global latents see.
      upsample: blocks from the global latents to the size of the features.
      q_h: hidden blocks of q(h_j | x, zeta, h_<j).
      p_h: hidden blocks of p(h_j | zeta, h_<j).
      context: blocks of the decoder's first module.
      decoder: blocks of the decoder's modules "upsample 1", "upsample 2", ...
      base_scale: height of the coarsest scale of the conditional decoder; `None` for the unconditional one.
      decoder_input: blocks of the conditional decoder's "input" networks.
      smoothing: a `Smoothing` layer; by default the overlapping exponential with beta 8.
      sides: of the RBM, as in `DVAE`.
      weight_decay: L2 factor on the kernels of the networks (not of the convolutions that yield the pixels'
        parameters).
      batch_normalization_momentum: of the moving averages.
      convolution_dtype: `"float32"`, or `"bfloat16"` for the residual blocks (weights, log-probabilities and
        the Boltzmann machine stay float32).
      num_chains: persistent chains of one replica (RBM prior).
      num_sweeps: block-Gibbs sweeps a parameter update (RBM prior).
      negative_phase: what samples the RBM in training; see `DVAE`.
      seed: base seed of the initial weights, of training and of evaluation through Keras.

    Raises:
      ValueError: for unknown names and blocks, sizes that do not fit, empty sides, and combinations that have
        no valid bound.
    """

    importance_rows = ROWS_OF_FEATURE_MAPS
    posterior_samples = 10
    seed_salt = "dvaepp"
    bound = "marginal"  # of directed groups

    def __init__(
        self,
        image_shape=(28, 28, 1),
        likelihood="bernoulli",
        num_components=10,
        global_prior="rbm",
        global_units=(4, 4, 4, 4),
        global_hidden=(),
        local_prior="normal",
        local_groups=16,
        local_channels=32,
        down1="32down 32 64down 64 128down",
        down2="256down 512down",
        upsample="128up 128up",
        q_h="32 32 32 32",
        p_h="32 32",
        context="16",
        decoder=("16up 16", "16up 8", "8up"),
        base_scale=None,
        decoder_input="32",
        smoothing=None,
        sides=None,
        weight_decay=0.0,
        batch_normalization_momentum=0.99,
        convolution_dtype="float32",
        num_chains=100,
        num_sweeps=40,
        negative_phase="pcd",
        seed=0,
        **kwargs,
    ):
        super().__init__(image_shape, seed, **kwargs)
        self.likelihood, self.num_components = likelihood, num_components
        self.global_prior, self.local_prior = global_prior, local_prior
        self.global_units = positive_integers("global_units", global_units)
        self.global_hidden = positive_integers("global_hidden", global_hidden)
        self.local_groups = positive_integer("local_groups", local_groups)
        self.local_channels = positive_integer("local_channels", local_channels)
        self.down1_blocks, self.down2_blocks, self.upsample_blocks = down1, down2, upsample
        self.q_h, self.p_h = q_h, p_h
        self.context_blocks = context
        self.decoder_blocks = decoder if isinstance(decoder, keras.layers.Layer) else tuple(decoder)
        self.base_scale, self.decoder_input = base_scale, decoder_input
        self.smoothing = smoothing_or_default(smoothing)
        self.sides = None if sides is None else tuple(sides)
        self.weight_decay = float(weight_decay)
        self.batch_normalization_momentum = float(batch_normalization_momentum)
        self.convolution_dtype = convolution_dtype
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        self._given_negative_phase = negative_phase
        self._check_names()

        height, width, channels = self.image_shape
        sizes = halved_sizes(height, width)
        shared = {"weight_decay": self.weight_decay, "seed": self.seed}
        dtypes = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
        residual = {**shared, "dtype": dtypes[convolution_dtype]}

        def normalization(name, width):
            return make_batch_normalization(width, self.batch_normalization_momentum, ndim=4, name=name)

        self.pixels = make_pixels(likelihood, channels, positive_integer("num_components", num_components))
        self.input_normalization = normalization("input_normalization", channels)
        self.down1 = residual_or_own("down1", down1, [self.image_shape], None, residual)
        features_shape = self.down1.output_shape_of_images
        self.down1_normalization = normalization("down1_normalization", features_shape[-1])

        self.prior, context_channels = None, 0
        if global_prior != "none":
            self.down2 = residual_or_own("down2", down2, [features_shape], sizes, residual)
            down2_shape = self.down2.output_shape_of_images
            self.down2_normalization = normalization("down2_normalization", down2_shape[-1])
            dense = {"hidden_units": self.global_hidden, "activation": "selu", "batch_normalization": False}
            self.prior = make_prior(
                global_prior,
                self.global_units,
                bound="marginal" if global_prior == "bernoulli" else "joint",
                smoothing=self.smoothing,
                sides=sides,
                network={**dense, **shared},
            )
            if self.prior.rbm is not None:
                self.negative_phase = make_negative_phase(
                    negative_phase, self.prior.rbm, num_chains=num_chains, num_sweeps=num_sweeps
                )
            flat = down2_shape[0] * down2_shape[1] * down2_shape[2]
            parameters = self.prior.family.parameters_per_unit
            self.global_networks = [
                DenseStack((flat, *self.global_units[:i]), parameters * n, name=f"q_z_{i}", **dense, **shared)
                for i, n in enumerate(self.global_units)
            ]
            units = [(1, 1, sum(self.global_units))]
            self.upsample = residual_or_own("upsample", upsample, units, sizes, residual)
            if self.upsample.output_shape_of_images[:2] != features_shape[:2]:
                raise ValueError(
                    f'"upsample" must reach the size of the features, {features_shape[:2]}. Received: '
                    f"upsample={upsample!r}, which reaches {self.upsample.output_shape_of_images[:2]}"
                )
            context_channels = self.upsample.output_shape_of_images[-1]

        self.local, latents_channels = None, context_channels
        if local_prior != "none":
            self.local = LocalLatents(
                LAWS[local_prior],
                self.local_groups,
                self.local_channels,
                features_shape,
                context_channels,
                q_h,
                p_h,
                residual,
                name="local",
            )
            latents_channels += self.local_groups * self.local_channels
        latents_shape = (*features_shape[:2], latents_channels)
        if isinstance(decoder, keras.layers.Layer):
            if base_scale is not None:
                raise ValueError(
                    "A decoder of your own yields all pixels at once: it has no scales. Received: "
                    f"{base_scale=}"
                )
            self.decoder = OwnDecoder(decoder, latents_shape, self.image_shape, self.pixels, name="decoder")
        else:
            self.decoder = Decoder(
                latents_shape,
                self.image_shape,
                self.pixels,
                context,
                self.decoder_blocks,
                base_scale,
                decoder_input,
                residual,
                name="decoder",
            )
        self._finish_init()

    def _check_names(self):
        for name, allowed in (
            ("global_prior", GLOBAL_PRIORS),
            ("local_prior", LOCAL_PRIORS),
            ("convolution_dtype", ("float32", "bfloat16")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {allowed}. Received: {name}={getattr(self, name)!r}"
                )
        if self.global_prior != "none" and not self.global_units:
            raise ValueError(
                "`global_units` must name at least one group (a model without global latents has "
                'global_prior="none"). Received: an empty sequence'
            )
        if self.global_prior == "none" and self.sides is not None:
            raise ValueError(
                'Only the Boltzmann machine of global_prior="rbm" has sides. Received: '
                f"global_prior='none', sides={self.sides!r}"
            )
        if self.global_prior == self.local_prior == "none":
            raise ValueError(
                'A model without latents has no bound. Received: global_prior="none", local_prior="none"'
            )
        if self.local_prior == "bernoulli":
            check_smoothing(self.smoothing, "marginal")

    # --- the model ---

    def trace(self, x, draw, *, seed=None) -> Trace:
        """q(z_i | x, zeta_<i), then q(h_j | x, zeta, h_<j), with p of those that no machine holds."""
        training, number = seed is not None, itertools.count()
        global_groups, local_groups, context = [], [], []
        if x is not None:
            features = self.input_normalization(self.pixels.scaled(x), training=training)
            features = self.down1_normalization(self.down1([features], training=training), training=training)
        if self.prior is not None:
            if x is not None:
                top = self.down2_normalization(self.down2([features], training=training), training=training)
                top = tf.reshape(top, [-1, top.shape[1] * top.shape[2] * top.shape[3]])
            for i, network in enumerate(self.global_networks):
                values = [group.value for group in global_groups]
                q = None if x is None else self.prior.family(network([top, *values]))
                p = self.prior.law(i, values, training)
                global_groups.append(Group.drawn(draw, next(number), q, p))
            # "upsample", which encoder, prior and decoder share.
            zeta = tf.concat([group.value for group in global_groups], axis=-1)
            context = [self.upsample([zeta[..., tf.newaxis, tf.newaxis, :]], training=training)]
        if self.local is not None:
            for j in range(self.local_groups):
                values = [group.value for group in local_groups]
                q = None if x is None else self.local.posterior(j, features, context, values)
                local_groups.append(Group.drawn(draw, next(number), q, self.local.prior(j, context, values)))
        latents = tf.concat([*context, *(group.value for group in local_groups)], axis=-1)
        return Trace((*global_groups, *local_groups), latents, training)

    def log_prob_of_pixels(self, x, trace) -> tf.Tensor:
        """log p(x | zeta, h), shape `[..., batch]`."""
        return self.decoder.log_prob(x, trace.features, trace.training)

    def generate(self, trace, *, seed) -> Decoded:
        """Images given latents: samples, and means of the pixels given samples of the coarser scales."""
        return self.decoder.generate(trace.features, seed=seed)

    @property
    def latent_shapes(self) -> DVAEPlusPlusLatents:
        """The shapes of the latents without the batch."""
        local = [] if self.local is None else [self.local.event_shape] * self.local_groups
        return DVAEPlusPlusLatents([] if self.prior is None else [(n,) for n in self.global_units], local)

    def _elbo_arguments(self):
        return {"kl_balancing": True}

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "likelihood": serialized(self.likelihood),
            "num_components": self.num_components,
            "global_prior": self.global_prior,
            "global_units": self.global_units,
            "global_hidden": self.global_hidden,
            "local_prior": self.local_prior,
            "local_groups": self.local_groups,
            "local_channels": self.local_channels,
            "down1": serialized(self.down1_blocks),
            "down2": serialized(self.down2_blocks),
            "upsample": serialized(self.upsample_blocks),
            "q_h": self.q_h,
            "p_h": self.p_h,
            "context": self.context_blocks,
            "decoder": serialized(self.decoder_blocks),
            "base_scale": self.base_scale,
            "decoder_input": self.decoder_input,
            "smoothing": serialized(self.smoothing),
            "sides": self.sides,
            "weight_decay": self.weight_decay,
            "batch_normalization_momentum": self.batch_normalization_momentum,
            "convolution_dtype": self.convolution_dtype,
            "num_chains": self.num_chains,
            "num_sweeps": self.num_sweeps,
            "negative_phase": phase_config(self._given_negative_phase, self.negative_phase),
        }
