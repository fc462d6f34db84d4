"""DVAE++: discrete global latents with a Boltzmann prior and a hierarchy of convolutional local latents."""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae._validation import positive_count, positive_integer, positive_integers
from tfdvae.boltzmann import PersistentChains
from tfdvae.layers import DenseStack, ResidualStack, Smoothing
from tfdvae.layers.normalization import make_batch_normalization
from tfdvae.layers.residual import halved_sizes
from tfdvae.models.base import DiscreteVAE
from tfdvae.models.dvaepp.decoder import Decoder
from tfdvae.models.dvaepp.local import LocalLatents
from tfdvae.models.likelihood import Decoded, ElboTerms
from tfdvae.models.pixels import PIXELS, BernoulliPixels, DiscretizedLogisticPixels
from tfdvae.models.posteriors import BinaryFamily, NormalFamily
from tfdvae.models.priors import check_smoothing, make_prior

GLOBAL_PRIORS = ("rbm", "bernoulli", "normal", "none")
LOCAL_PRIORS = ("normal", "bernoulli", "none")


class Latents(NamedTuple):
    """`global_groups`: `[batch, units]` each; `local_groups`: `[batch, height, width, channels]` each."""

    global_groups: list[tf.Tensor]
    local_groups: list[tf.Tensor]


class Posteriors(NamedTuple):
    """q(z_i | x, zeta_<i), q(h_j | x, zeta, h_<j), and "upsample" of zeta (a list of one or no tensor)."""

    global_groups: list
    local_groups: list
    context: list[tf.Tensor]


@keras.saving.register_keras_serializable(package="tfdvae")
class DVAEPlusPlus(DiscreteVAE):
    """The model of figures 3 and 7 of Vahdat et al. (2018); by default that of table 4 for MNIST.

        q(z, zeta, h | x) = prod_i q(z_i | x, zeta_<i) r(zeta_i | z_i)  prod_j q(h_j | x, zeta, h_<j)
        p(z, zeta, h, x)  = p(z) prod_i r(zeta_i | z_i)  prod_j p(h_j | zeta, h_<j)  p(x | zeta, h)

    Rows of residual blocks are written as in table 4, with `down` and `up` for its arrows. In the rows of
    q(h_j) and p(h_j) the last block of the table, which yields the parameters (64 for the means and
    scales of 32 variables), is left out: it follows from `local_channels`.

    Args:
      image_shape: `(height, width, channels)`.
      likelihood: `"bernoulli"`, or `"discretized_logistic_mixture"` for pixels in 0..255.
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
      kl_factor: factor of the KL in training, a number or a schedule of the step.
      kl_balancing: whether the groups' KL terms are balanced while the factor is below 1 (appendix H).
      training_samples: samples of the latents for each image in a training step.
      weight_decay: L2 factor on the kernels of the networks (not of the convolutions that yield the pixels'
        parameters).
      batch_normalization_momentum: of the moving averages.
      convolution_dtype: `"float32"`, or `"bfloat16"` for the residual blocks (weights, log-probabilities and
        the Boltzmann machine stay float32).
      num_chains: persistent chains of one replica (RBM prior).
      num_sweeps: block-Gibbs sweeps a parameter update (RBM prior).
      seed: base seed of the initial weights, of training and of evaluation through Keras.

    Raises:
      ValueError: for unknown names and blocks, sizes that do not fit, empty sides, and combinations that have
        no valid bound.
    """

    importance_rows = 1_024  # feature maps of more images at a time only fill the memory

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
        kl_factor=1.0,
        kl_balancing=True,
        training_samples=1,
        weight_decay=0.0,
        batch_normalization_momentum=0.99,
        convolution_dtype="float32",
        num_chains=100,
        num_sweeps=40,
        seed=0,
        **kwargs,
    ):
        super().__init__(image_shape, kl_factor, training_samples, seed, kl_balancing, **kwargs)
        self.likelihood, self.num_components = likelihood, num_components
        self.global_prior, self.local_prior = global_prior, local_prior
        self.global_units = positive_integers("global_units", global_units)
        self.global_hidden = positive_integers("global_hidden", global_hidden)
        self.local_groups = positive_integer("local_groups", local_groups)
        self.local_channels = positive_integer("local_channels", local_channels)
        self.down1_blocks, self.down2_blocks, self.upsample_blocks = down1, down2, upsample
        self.q_h, self.p_h = q_h, p_h
        self.context_blocks, self.decoder_blocks = context, tuple(decoder)
        self.base_scale, self.decoder_input = base_scale, decoder_input
        self.smoothing = smoothing or Smoothing("overlapping_exponential", beta=8.0)
        self.sides = None if sides is None else tuple(sides)
        self.weight_decay = float(weight_decay)
        self.batch_normalization_momentum = float(batch_normalization_momentum)
        self.convolution_dtype = convolution_dtype
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        self._check_names()

        height, width, channels = self.image_shape
        sizes = halved_sizes(height, width)
        shared = {"weight_decay": self.weight_decay, "seed": self.seed}
        dtypes = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
        residual = {**shared, "dtype": dtypes[convolution_dtype]}

        def normalization(name, width):
            return make_batch_normalization(width, self.batch_normalization_momentum, ndim=4, name=name)

        self.pixels = (
            BernoulliPixels(channels)
            if likelihood == "bernoulli"
            else DiscretizedLogisticPixels(channels, positive_integer("num_components", num_components))
        )
        self.input_normalization = normalization("input_normalization", channels)
        self.down1 = ResidualStack([self.image_shape], down1, name="down1", **residual)
        features_shape = self.down1.output_shape_of_images
        self.down1_normalization = normalization("down1_normalization", features_shape[-1])

        self.prior, context_channels = None, 0
        if global_prior != "none":
            self.down2 = ResidualStack([features_shape], down2, sizes, name="down2", **residual)
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
                self.negative_phase = PersistentChains(self.prior.rbm, num_chains, num_sweeps, name="chains")
            flat = down2_shape[0] * down2_shape[1] * down2_shape[2]
            parameters = self.prior.family.parameters_per_unit
            self.global_networks = [
                DenseStack((flat, *self.global_units[:i]), parameters * n, name=f"q_z_{i}", **dense, **shared)
                for i, n in enumerate(self.global_units)
            ]
            self.upsample = ResidualStack(
                [(1, 1, sum(self.global_units))], upsample, sizes, name="upsample", **residual
            )
            if self.upsample.output_shape_of_images[:2] != features_shape[:2]:
                raise ValueError(
                    f'"upsample" must reach the size of the features, {features_shape[:2]}. Received: '
                    f"upsample={upsample!r}, which reaches {self.upsample.output_shape_of_images[:2]}"
                )
            context_channels = self.upsample.output_shape_of_images[-1]

        self.local, latents_channels = None, context_channels
        if local_prior != "none":
            family = (
                NormalFamily(3) if local_prior == "normal" else BinaryFamily(self.smoothing, "marginal", 3)
            )
            self.local = LocalLatents(
                family,
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
        self.decoder = Decoder(
            (*features_shape[:2], latents_channels),
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
            ("likelihood", PIXELS),
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

    def infer(self, x, *, seed, limit, training=False, num_samples=None) -> Posteriors:
        """q(z_i | x, zeta_<i), then q(h_j | x, zeta, h_<j), each with a sample."""
        seed_global, seed_local = random.split(seed, salt="dvaepp")
        features = self.input_normalization(self.pixels.scaled(x), training=training)
        features = self.down1_normalization(self.down1([features]), training=training)
        draw = {"step": self.step, "limit": limit, "num_samples": num_samples}
        global_groups, local_groups, context = [], [], []
        if self.prior is not None:
            top = self.down2_normalization(self.down2([features]), training=training)
            top = tf.reshape(top, [-1, top.shape[1] * top.shape[2] * top.shape[3]])
            seeds = random.split(seed_global, len(self.global_units))
            for network, s in zip(self.global_networks, seeds, strict=True):
                parameters = network([top, *(p.value for p in global_groups)])
                global_groups.append(self.prior.family.posterior(parameters, seed=s, **draw))
            context = self._context([p.value for p in global_groups])
        if self.local is not None:
            local_groups = self.local.infer(features, context, seed=seed_local, **draw)
        return Posteriors(global_groups, local_groups, context)

    def _context(self, global_values) -> list[tf.Tensor]:
        """ "upsample" of the global latents, which encoder, prior and decoder share."""
        if not global_values:
            return []
        zeta = tf.concat(global_values, axis=-1)
        return [self.upsample([zeta[..., tf.newaxis, tf.newaxis, :]])]

    def _decoder_input(self, context, local_values) -> tf.Tensor:
        return tf.concat([*context, *local_values], axis=-1)

    def reconstruction(self, x, posteriors) -> tf.Tensor:
        """log p(x | zeta, h), shape `[..., batch]`."""
        latents = self._decoder_input(posteriors.context, [p.value for p in posteriors.local_groups])
        return self.decoder.log_prob(x, latents)

    def latent_terms(self, x, *, seed, limit, training) -> ElboTerms:
        """Reconstruction and KL (without log Z) of one sample for each image; global groups come first."""
        posteriors = self.infer(x, seed=seed, limit=limit, training=training)
        kl = []
        if self.prior is not None:
            kl += tf.unstack(
                self.prior.kl_per_group(posteriors.global_groups, step=self.step, training=training)
            )
        if self.local is not None:
            kl += self.local.kl_per_group(posteriors.local_groups, posteriors.context, step=self.step)
        return ElboTerms(self.reconstruction(x, posteriors), tf.stack(kl), tf.constant(0.0))

    def log_weights(self, x, num_samples, *, seed, limit="binary") -> tf.Tensor:
        """Unnormalized log p*(x, z, h) - log q(z, h | x) (without log Z), `[num_samples, batch]`, in nats."""
        x = self._check_images(x)
        self._check_limit(limit)
        num_samples = positive_count("num_samples", num_samples)
        seed = self._seed_of_samples(seed, num_samples)
        seed_q, seed_global, seed_local = random.split(seed, 3, salt="log_weights")
        posteriors = self.infer(x, seed=seed_q, limit=limit, num_samples=num_samples)
        total = self.reconstruction(x, posteriors)
        if self.prior is not None:
            total += self.prior.log_ratio(posteriors.global_groups, step=self.step, seed=seed_global)
        if self.local is not None:
            total += self.local.log_ratio(
                posteriors.local_groups, posteriors.context, step=self.step, seed=seed_local
            )
        return total

    def posterior_means(self, x, *, seed, num_samples=10) -> list[tf.Tensor]:
        """Posterior means of each group, `[batch, variables]`, over samples of the earlier groups."""
        means = []
        shapes = [shape for field in self.latent_shapes for shape in field]
        num_samples = positive_integer("num_samples", num_samples)
        posteriors = self.posteriors(x, seed=seed, num_samples=num_samples)
        for posterior, shape in zip(posteriors, shapes, strict=True):
            mean = posterior.mean
            if mean.shape.rank == len(shape) + 2:
                mean = tf.reduce_mean(mean, axis=0)
            means.append(tf.reshape(mean, [-1, math.prod(shape)]))
        return means

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
        """The posterior of each group given a sample of those before, global ones first; binary limit."""
        x, seed = self._check_images(x), self._seed_of_samples(seed, num_samples)
        posteriors = self.infer(x, seed=seed, limit="binary", num_samples=num_samples)
        return [*posteriors.global_groups, *posteriors.local_groups]

    def decoded(self, latents, *, seed) -> Decoded:
        """Images given latents: samples, and means of the pixels given samples of the coarser scales."""
        context = self._context(list(latents.global_groups))
        return self.decoder.generate(self._decoder_input(context, list(latents.local_groups)), seed=seed)

    @property
    def latent_shapes(self) -> Latents:
        """The shapes of the latents without the batch."""
        local = [] if self.local is None else [self.local.event_shape] * self.local_groups
        return Latents([] if self.prior is None else [(n,) for n in self.global_units], local)

    def sample_prior(self, num_samples, *, seed, num_sweeps=200, chains=None, global_groups=None) -> Latents:
        """Latents from the prior, the local ones given `global_groups` (each `[num_samples, units]`) if these
        are handed in.

        With an RBM, Gibbs chains start at random members of `chains` (by default the persistent chains) and
        run `num_sweeps` sweeps.
        """
        num_samples = positive_count("num_samples", num_samples)
        num_sweeps = positive_count("num_sweeps", num_sweeps)
        seed_global, seed_local = random.split(seed, salt="sample_prior")
        if self.prior is None:
            global_groups = []
        elif global_groups is None:
            chains = self.negative_phase if chains is None else chains
            global_groups = self.prior.sample(
                num_samples, seed=seed_global, chains=chains, num_sweeps=num_sweeps
            )
        local_groups = []
        if self.local is not None:
            context = self._context(list(global_groups))
            local_groups = self.local.sample(num_samples, context, seed=seed_local)
        return Latents(list(global_groups), local_groups)

    def sample_by_global(self, num_global, per_global, *, seed, mean=False, num_sweeps=200) -> tf.Tensor:
        """Images of figure 4: `per_global` successive ones share a sample of the global latents.

        One `seed` serves all images: they are no rows of their own.

        Returns:
          `[num_global * per_global, height, width, channels]`.

        Raises:
          ValueError: if the model has no global latents, a number is not positive, or `seed` is not one.
        """
        if self.prior is None:
            raise ValueError('A model with global_prior="none" has no global latents to hold fixed')
        num_global = positive_integer("num_global", num_global)
        per_global = positive_integer("per_global", per_global)
        num_sweeps = positive_integer("num_sweeps", num_sweeps)
        seed_global, seed_local, seed_x = random.split(random.as_seed(seed), 3, salt="sample_by_global")
        groups = self.sample_prior(num_global, seed=seed_global, num_sweeps=num_sweeps).global_groups
        groups = [tf.repeat(g, per_global, axis=0) for g in groups]
        latents = self.sample_prior(num_global * per_global, seed=seed_local, global_groups=groups)
        return self.decode(latents, seed=seed_x, mean=mean)

    @property
    def max_pixel(self) -> float:
        """The value of a white pixel."""
        return self.pixels.max_value

    @property
    def data_message(self) -> str:
        """What a batch with wrong pixels is told."""
        return self.pixels.data_message

    def pixels_are_valid(self, x) -> tf.Tensor:
        """Whether the likelihood is defined on all pixels: a boolean scalar, false for NaN."""
        return self.pixels.are_valid(x)

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "likelihood": self.likelihood,
            "num_components": self.num_components,
            "global_prior": self.global_prior,
            "global_units": self.global_units,
            "global_hidden": self.global_hidden,
            "local_prior": self.local_prior,
            "local_groups": self.local_groups,
            "local_channels": self.local_channels,
            "down1": self.down1_blocks,
            "down2": self.down2_blocks,
            "upsample": self.upsample_blocks,
            "q_h": self.q_h,
            "p_h": self.p_h,
            "context": self.context_blocks,
            "decoder": self.decoder_blocks,
            "base_scale": self.base_scale,
            "decoder_input": self.decoder_input,
            "smoothing": keras.saving.serialize_keras_object(self.smoothing),
            "sides": self.sides,
            "weight_decay": self.weight_decay,
            "batch_normalization_momentum": self.batch_normalization_momentum,
            "convolution_dtype": self.convolution_dtype,
            "num_chains": self.num_chains,
            "num_sweeps": self.num_sweeps,
        }

    @classmethod
    def from_config(cls, config):
        """Builds the model from `get_config`'s result."""
        config = dict(config)
        config["smoothing"] = keras.saving.deserialize_keras_object(config["smoothing"])
        return cls(**config)
