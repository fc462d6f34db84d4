"""PixelVAE++: an autoregressive decoder with up to three kinds of discrete latents (Sadeghi et al., 2019)."""

import contextlib
import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae._keras_options import checked_arguments, first_batch, input_of_batch
from tfdvae._validation import not_negative_integer, positive_integer, positive_integers, rate
from tfdvae.boltzmann.negative_phases import make_negative_phase, phase_config
from tfdvae.latents import Group, Trace, draws
from tfdvae.layers.weight_normalization import initialization_from_data
from tfdvae.models.base import Decoded, DiscreteVAE
from tfdvae.models.pixels import make_pixels, serialized
from tfdvae.models.pixelvaepp import sampler
from tfdvae.models.pixelvaepp.latent_networks import FEATURE_FILTERS, LatentNetworks
from tfdvae.models.pixelvaepp.pixel_cnn import PixelCNN, Streams
from tfdvae.models.pixelvaepp.samples import number_of_samples, repeated, restored, rows
from tfdvae.models.priors import make_factorial_prior, smoothing_or_default
from tfdvae.objectives.kl import log_posterior, log_prior

FEATURES = 2**24


class PixelVAELatents(NamedTuple):
    """Lists of tensors `[batch, units]`; empty where there are no such groups.

    `concatenated`: those whose features stand beside the image; `conditioning`: the one that is added to the
    activations of all blocks; `shared`: the one whose q reads the decoder's way down, and whose features come
    to its skip connections.
    """

    concatenated: list[tf.Tensor]
    conditioning: list[tf.Tensor]
    shared: list[tf.Tensor]


@keras.saving.register_keras_serializable(package="tfdvae")
class PixelVAEPlusPlus(DiscreteVAE):
    """Latents z1, z2, z3 and PixelCNN++ in one pass, which is encoder and decoder.

        q(z1 | x) q(z2 | x) q(z3 | x, z1, z2),    p(z1, z2, z3),    prod_i p(x_i | x_<i, z1, z2, z3)

    Without latents it is PixelCNN++, whose likelihood is exact.

    Args:
      image_shape: `(height, width, channels)`.
      likelihood: of the pixels, `"bernoulli"`, `"discretized_logistic_mixture"`, or an object (see
        `tfdvae.models.pixels.Pixels`).
      num_components: of the mixture.
      filters: of the decoder's features.
      residual_layers: blocks of one size of features, n of the paper.
      num_sizes: sizes of features on the way down and up.
      strides: whether sizes are halved; otherwise all are that of the image.
      concatenated_units: units of each group of z1, an integer or a sequence; 0 or `()` for none.
      conditioning_units: units of z2; 0 for none.
      shared_units: units of z3 for each of the `num_sizes * (residual_layers + 1)` features of the way down
        (the paper has 64); 0 for none.
      prior: `"rbm"`, `"bernoulli"` or `"normal"`, both factorial.
      smoothing: a `Smoothing` layer, for the objective `Elbo`; by default the overlapping exponential with
        beta 8.
      sides: of the RBM, for each group `"left"`, `"right"` or `"split"`. By default z3 is the right side of
        the others; without it one group is split, and of several the first half is left.
      dropout: rate of the dropout in the decoder's blocks.
      num_chains: persistent chains of one replica (RBM prior).
      num_sweeps: block-Gibbs sweeps a parameter update (RBM prior).
      negative_phase: what samples the RBM in training; see `DVAE`. The paper's, `"annealed"`, takes minutes
        an update with its numbers of samples on CPUs.
      seed: base seed of the initial weights, of training and of evaluation through Keras.

    Raises:
      ValueError: for unknown names, and numbers that are not positive.
    """

    posterior_samples = 10

    def __init__(
        self,
        image_shape=(28, 28, 1),
        likelihood="bernoulli",
        num_components=10,
        filters=64,
        residual_layers=3,
        num_sizes=3,
        strides=True,
        concatenated_units=(200, 200),
        conditioning_units=0,
        shared_units=0,
        prior="rbm",
        smoothing=None,
        sides=None,
        dropout=0.0,
        num_chains=100,
        num_sweeps=40,
        negative_phase="pcd",
        seed=0,
        **kwargs,
    ):
        super().__init__(image_shape, seed, **kwargs)
        self.likelihood, self.num_components = likelihood, positive_integer("num_components", num_components)
        self.pixels = make_pixels(likelihood, self.image_shape[-1], num_components, pixel_by_pixel=True)
        self.filters = positive_integer("filters", filters)
        self.residual_layers = positive_integer("residual_layers", residual_layers)
        self.num_sizes = positive_integer("num_sizes", num_sizes)
        self.strides = bool(strides)
        none = isinstance(concatenated_units, int) and concatenated_units == 0
        self.concatenated_units = () if none else positive_integers("concatenated_units", concatenated_units)
        self.conditioning_units = not_negative_integer("conditioning_units", conditioning_units)
        self.shared_units = not_negative_integer("shared_units", shared_units)
        self.prior_name, self.sides = prior, None if sides is None else tuple(sides)
        self.smoothing = smoothing_or_default(smoothing)
        self.dropout = rate("dropout", dropout)
        self.num_chains = positive_integer("num_chains", num_chains)
        self.num_sweeps = positive_integer("num_sweeps", num_sweeps)
        self._given_negative_phase = negative_phase

        self.decoder = PixelCNN(
            self.image_shape,
            self.pixels.num_parameters,
            self.filters,
            self.residual_layers,
            self.num_sizes,
            self.strides,
            latent_channels=min(FEATURE_FILTERS[-1], self.filters) if self.concatenated_units else 0,
            skip_channels=self.filters if self.shared_units else 0,
            conditioning_units=self.conditioning_units,
            dropout=dropout,
            seed=self.seed,
            name="decoder",
        )
        shapes, sizes = self.latent_shapes, self.decoder.skip_sizes
        units = [units for field in shapes for (units,) in field]
        self.prior = make_factorial_prior(
            prior, units, sides=self._sides_of_groups(), smoothing=self.smoothing
        )
        per_unit = 1 if self.prior is None else self.prior.family.parameters_per_unit
        self.latent_networks = LatentNetworks(
            self.image_shape, self.filters, shapes, per_unit, sizes, self.seed, name="latent_networks"
        )
        if self.rbm is not None:
            self.negative_phase = make_negative_phase(
                negative_phase, self.rbm, num_chains=num_chains, num_sweeps=num_sweeps
            )
        self.initialized = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, autocast=False, name="initialized"
        )
        self._draw_by_graph = tf.function(self._draw, reduce_retracing=True, autograph=False)
        self._draw_by_xla = tf.function(self._draw, jit_compile=True, autograph=False)
        self._draw_with_bar = tf.function(
            lambda *arguments: self._draw(*arguments, on_row=lambda row: self._bar.update(int(row))),
            reduce_retracing=True,
            autograph=False,
        )
        self._shows_progress = False
        # Features of so many images at a time have `FEATURES` numbers a layer: 64 MiB.
        self.importance_rows = max(1, FEATURES // (self.filters * math.prod(self.image_shape[:2])))
        self._finish_init()

    def _sides_of_groups(self):
        shapes = self.latent_shapes
        others = len(shapes.concatenated) + len(shapes.conditioning)
        if self.sides is None and self.prior_name == "rbm" and shapes.shared and others:
            return ("left",) * others + ("right",) * len(shapes.shared)
        return self.sides

    # --- initialization ---

    def initialize(self, x) -> None:
        """Sets the gains and biases of the weight-normalized layers by a batch of images, so that their
        outputs have mean 0 and variance 1 there (Salimans and Kingma, 2016).

        `fit` and `train_on_batch` do so once in the life of a model, before its first step.
        """
        (seed,) = random.split(self.seed, 1, salt="initialize")
        x = self._check_images(x)
        if not len(x):
            raise ValueError(f"The batch to initialize from must have images. Received: the shape {x.shape}")
        with initialization_from_data():
            self.trace(x, self.draw("binary", seed=seed))
        self.initialized.assign(1)

    def fit(self, *args, **kwargs):
        """As `DiscreteVAE.fit`. A model that is not initialized is so by the first batch of a
        `tf.data.Dataset` or a `keras.utils.PyDataset`, or by rows of an array that the model's seed picks;
        not by a generator, of which a batch would be lost: call `initialize` before.
        """
        arguments = checked_arguments(self, keras.Model.fit, *args, **kwargs)
        if self.compiled and not int(self.initialized.numpy()):
            batch = first_batch(arguments, self.seed)
            if batch is not None:
                self.initialize(batch)
        return super().fit(**arguments)

    def train_on_batch(self, x, *args, **kwargs):
        """As `DiscreteVAE.train_on_batch`; the first batch initializes the model."""
        if self.compiled and not int(self.initialized.numpy()):
            batch = input_of_batch(x)
            if len(batch):
                self.initialize(batch)
        return super().train_on_batch(x, *args, **kwargs)

    # --- the model ---

    def trace(self, x, draw, *, seed=None) -> Trace:
        """q(z1 | x), q(z2 | x), then the decoder's way down, q(z3 | x, z1, z2) from it, and its way up.

        Without an image there are the groups alone: `generate` draws pixel by pixel.
        """
        groups = []

        def value(parameters):
            """The value of the next group; `parameters` of its q, or `None` without an image."""
            i, q = len(groups), None if parameters is None else self.prior.family(parameters)
            groups.append(Group.drawn(draw, i, q, self.prior.law(i, [], seed is not None)))
            return groups[-1].value

        if x is None:
            for _ in range(sum(map(len, self.latent_shapes))):
                value(None)
            # Without latents nothing else says how many images are wanted.
            features = None if groups else tf.convert_to_tensor(draw.num_samples)
            return Trace(tuple(groups), features, seed is not None)
        x, networks = self.pixels.scaled(x), self.latent_networks
        z1 = [value(parameters) for parameters in networks.concatenated(x)]
        z2 = [value(parameters) for parameters in networks.conditioning(x)]
        samples = number_of_samples(groups)
        skips = self.decoder.down(repeated(x, samples), networks.features(z1), rows(z2), seed=seed)
        z3 = [value(restored(parameters, samples)) for parameters in networks.shared(skips)]
        if samples is None:  # where there is nothing but z3, it may be drawn several times now
            samples = number_of_samples(groups)
            skips = [Streams(*(repeated(stream, samples) for stream in streams)) for streams in skips]
        parameters = self.decoder.up(skips, networks.skip_features(z3), rows(z2), seed=seed)
        return Trace(tuple(groups), restored(parameters, samples), seed is not None)

    def log_prob_of_pixels(self, x, trace) -> tf.Tensor:
        """log p(x | latents), shape `[..., batch]`."""
        return tf.reduce_sum(self.pixels.log_prob(x, trace.features), axis=[-2, -1])

    def generate(self, trace, *, seed) -> Decoded:
        """Images given latents, pixel by pixel; the means are those given the pixels before.

        Every activation is computed once (see `sampler`). With `compile(jit_compile=True)` by XLA, which is
        faster for few images, and takes long to compile for each number of them.
        """
        drawn = self._drawn(trace, seed)
        return Decoded(drawn.images, self.pixels.mean(drawn.parameters))

    def complete(self, x, known, *, seed, num_samples=20) -> tf.Tensor:
        """Images whose first rows are given: the other pixels are drawn.

        The latents are one of `num_samples` samples of q, to which the unknown pixels are 0, drawn with the
        importance weights p(known rows, z) / q(z): exact as their number grows, and without latents.

        Args:
          x: images, `[batch, height, width, channels]`.
          known: how many rows of them are kept, an integer from 0 to the height.
          seed: of latents and pixels.
          num_samples: of latents for each image, all of which go through the decoder together.

        Returns:
          `[batch, height, width, channels]`.

        Raises:
          ValueError: for images of a wrong shape or with wrong pixels in the known rows, and numbers out of
            range.
        """
        height, width, _ = self.image_shape
        known = not_negative_integer("known", known)
        if known > height:
            raise ValueError(f"`known` must be a number of rows up to {height}. Received: known={known}")
        num_samples = positive_integer("num_samples", num_samples)
        mask = np.broadcast_to(np.arange(height)[:, np.newaxis] < known, [height, width])
        x = tf.convert_to_tensor(x)
        if x.shape.rank == 4 and tuple(x.shape[1:]) == self.image_shape:
            x = tf.where(mask[..., np.newaxis], x, tf.zeros([], x.dtype))  # what is unknown may be anything
        x = self._check_images(x)
        seed_q, seed_choice, seed_x = random.split(seed, 3, salt="complete")
        trace = self.trace(x, self.draw("binary", seed=seed_q, num_samples=num_samples))
        if trace.groups:
            log_p = tf.reduce_sum(self.pixels.log_prob(x, trace.features)[..., :known, :], axis=[-2, -1])
            log_weights = log_p + log_prior(self, trace) - log_posterior(trace)
            uniforms = tf.transpose(random.uniform([tf.shape(x)[0], num_samples], seed=seed_choice))
            chosen = tf.argmax(log_weights - tf.math.log(-tf.math.log(uniforms)), axis=0)
            values = [tf.gather(tf.transpose(v, [1, 0, 2]), chosen, batch_dims=1) for v in trace.values]
            trace = self.trace(None, draws.Given(values))
        return self._drawn(trace, seed_x, x, mask).images

    def _drawn(self, trace, seed, known=None, mask=None):
        z1, z2, z3 = self.structured(trace.values)
        if trace.values:
            batch = tf.shape(trace.values[0])[0]
        else:
            batch = trace.features if trace.features.shape.rank == 0 else tf.shape(trace.features)[0]
        size = self.image_shape[:2]
        uniforms = random.uniform([batch, *size, self.pixels.num_uniforms], seed=seed)
        if known is None:
            known, mask = tf.zeros([batch, *self.image_shape]), np.zeros(size, bool)
        draw = self._draw
        if tf.executing_eagerly():  # in a graph, which may be exported, without XLA and bar
            draw = self._draw_by_xla if self._uses_xla else self._draw_by_graph
            if self._shows_progress:
                draw, self._bar = self._draw_with_bar, keras.utils.Progbar(size[0], unit_name="row")
        return draw(uniforms, known, tf.constant(mask), z1, z2, z3)

    def _draw(self, uniforms, known, mask, z1, z2, z3, on_row=None):
        networks = self.latent_networks
        features = networks.features(z1), rows(z2), networks.skip_features(z3)
        return sampler.draw(self.decoder, self.pixels, uniforms, known, mask, *features, on_row)

    @contextlib.contextmanager
    def progress_bar(self):
        """In a `with` block, each drawing of images shows how many of their rows are drawn; without XLA.

        Outside of a `tf.function`, and not in `predict`: these draw in graphs, which have no bar.
        """
        before, self._shows_progress = self._shows_progress, True
        try:
            yield
        finally:
            self._shows_progress = before

    @property
    def groups_are_independent(self) -> bool:
        """Those of z1 and z2 given x are, those of z3 know both."""
        concatenated, conditioning, shared = self.latent_shapes
        return not shared or not (concatenated or conditioning)

    @property
    def latent_shapes(self) -> PixelVAELatents:
        """The shapes of the latents without the batch."""
        return PixelVAELatents(
            [(n,) for n in self.concatenated_units],
            [(self.conditioning_units,)] if self.conditioning_units else [],
            [(self.shared_units,)] * (len(self.decoder.skip_sizes) if self.shared_units else 0),
        )

    def get_config(self):
        """Returns the configuration."""
        return {
            **super().get_config(),
            "likelihood": serialized(self.likelihood),
            "num_components": self.num_components,
            "filters": self.filters,
            "residual_layers": self.residual_layers,
            "num_sizes": self.num_sizes,
            "strides": self.strides,
            "concatenated_units": self.concatenated_units,
            "conditioning_units": self.conditioning_units,
            "shared_units": self.shared_units,
            "prior": self.prior_name,
            "smoothing": serialized(self.smoothing),
            "sides": self.sides,
            "dropout": self.dropout,
            "num_chains": self.num_chains,
            "num_sweeps": self.num_sweeps,
            "negative_phase": phase_config(self._given_negative_phase, self.negative_phase),
        }
