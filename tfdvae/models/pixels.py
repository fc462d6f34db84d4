"""Likelihoods of pixels given the parameters that a network yields for each of them.

A model takes one by name or as an object with the attributes and methods of `Pixels`. To be saved with the
model, such an object must be registered (`keras.saving.register_keras_serializable`) and have `get_config`
and `from_config`.
"""

import math
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae.distributions import DiscretizedLogisticMixture

PIXELS = ("bernoulli", "discretized_logistic_mixture")


class Pixels(Protocol):
    """The likelihood of the pixels of an image `[..., height, width, channels]`.

    An autoregressive decoder asks for two things more: `num_uniforms`, a number, and
    `from_uniforms(parameters, uniforms)`, pixels that are functions of so many independent uniform numbers in
    (0, 1) along the last axis, with the law of the parameters.

    Attributes:
      num_parameters: numbers that a network yields for each pixel.
      max_value: the value of a white pixel, for pictures.
      data_message: what a batch with other values is told.
    """

    num_parameters: int
    max_value: float
    data_message: str

    def are_valid(self, x) -> tf.Tensor:
        """Whether the likelihood is defined on all pixels: a boolean scalar, false for NaN."""

    def scaled(self, x) -> tf.Tensor:
        """Pixels as inputs of networks."""

    def log_prob(self, x, parameters) -> tf.Tensor:
        """log p of each pixel, channels summed, in nats: `[..., height, width]`."""

    def sample(self, parameters, *, seed) -> tf.Tensor:
        """Pixels from the law of these `parameters [..., height, width, num_parameters]`."""

    def mean(self, parameters) -> tf.Tensor:
        """Pictures without noise."""


def make_pixels(likelihood, channels: int, num_components: int = 10, pixel_by_pixel: bool = False) -> Pixels:
    """The likelihood that a model was given, by name (one of `PIXELS`) or as an object.

    `pixel_by_pixel` asks for what an autoregressive decoder needs too.

    Raises:
      ValueError: if it is neither.
    """
    if likelihood == "bernoulli":
        return BernoulliPixels(channels)
    if likelihood == "discretized_logistic_mixture":
        return DiscretizedLogisticPixels(channels, num_components)
    names = (*_NAMES, "num_uniforms", "from_uniforms") if pixel_by_pixel else _NAMES
    missing = sorted(name for name in names if not hasattr(likelihood, name))
    if isinstance(likelihood, str) or missing:
        raise ValueError(
            f"`likelihood` must be one of {PIXELS}, or have what `tfdvae.models.pixels.Pixels` names. "
            f"Received: likelihood={likelihood!r}, without {', '.join(missing)}"
        )
    return likelihood


_NAMES = ("num_parameters", "max_value", "data_message", "are_valid", "scaled", "log_prob", "sample", "mean")


def serialized(given):
    """What a configuration holds of a likelihood, a smoothing or a network: names and blocks as they are."""
    is_plain = given is None or isinstance(given, str | tuple | list)
    return given if is_plain else keras.saving.serialize_keras_object(given)


def checked_data_mean(data_mean, image_shape, max_value=1.0) -> np.ndarray:
    """The mean of training images, float32, in the shape of an image.

    Raises:
      ValueError: if it has another size, or values outside of [0, max_value].
    """
    data_mean = np.asarray(data_mean, np.float32)
    shapes = [image_shape, (math.prod(image_shape),)] + [image_shape[:-1]] * (image_shape[-1] == 1)
    inside = np.all((data_mean >= 0) & (data_mean <= max_value))
    if data_mean.shape not in shapes or not inside:
        least, largest = data_mean.min(initial=np.inf), data_mean.max(initial=-np.inf)
        raise ValueError(
            f"`data_mean` must be an image of shape {image_shape} with values in [0, {max_value:g}]. "
            f"Received: shape {data_mean.shape}, range {least} to {largest}"
        )
    return data_mean.reshape(image_shape)


class BernoulliPixels:
    """Binary pixels, a factorial Bernoulli; the parameters are logits."""

    data_message = (
        "A Bernoulli likelihood takes pixels in {0, 1}, and other values (grey or NaN) arrived. Binarize the "
        'images first: `tfdvae.data.from_arrays(images, batch_size, binarization="static")` (or "dynamic")'
    )

    max_value = 1.0

    def __init__(self, channels: int):
        self.num_parameters = channels

    def are_valid(self, x) -> tf.Tensor:
        """Whether the likelihood is defined on all pixels: a boolean scalar, false for NaN."""
        return numerics.is_binary(x)

    def scaled(self, x) -> tf.Tensor:
        """Pixels as inputs of networks."""
        return x

    def log_prob(self, x, logits) -> tf.Tensor:
        """log p of each pixel, channels summed: `[..., height, width]`."""
        return tf.reduce_sum(numerics.bernoulli_log_prob(x, logits), axis=-1)

    @property
    def num_uniforms(self) -> int:
        """Of a pixel."""
        return self.num_parameters

    def from_uniforms(self, logits, uniforms) -> tf.Tensor:
        """Pixels in {0, 1}."""
        return tf.cast(uniforms < tf.sigmoid(logits), tf.float32)

    def sample(self, logits, *, seed) -> tf.Tensor:
        """Pixels in {0, 1}."""
        return random.bernoulli(tf.sigmoid(logits), seed=seed)

    def mean(self, logits) -> tf.Tensor:
        """Means of the pixels."""
        return tf.sigmoid(logits)


class DiscretizedLogisticPixels:
    """Pixels in 0..255, a mixture of discretized logistics for each (Salimans et al., 2017).

    The parameters of a pixel with c channels and K components are K logits, K means, K logarithms of scales
    for each channel and, with 3 channels, K coefficients of the regressions on earlier channels for each
    pair of channels: 10 K in all.
    """

    data_message = (
        "A mixture of discretized logistics takes pixels in {0, 1, ..., 255}, and other values (fractions, "
        "NaN, images scaled to [0, 1]?) arrived. `tfdvae.data.from_arrays(images, batch_size)` has them"
    )

    max_value = 255.0

    def __init__(self, channels: int, num_components: int):
        self.channels = channels
        self.num_components = num_components
        self.num_pairs = 3 if channels == 3 else 0
        self.num_parameters = num_components * (1 + 2 * channels + self.num_pairs)

    def are_valid(self, x) -> tf.Tensor:
        """Whether the likelihood is defined on all pixels: a boolean scalar, false for NaN."""
        return tf.reduce_all((x >= 0) & (x <= 255) & (x == tf.floor(x)))

    def scaled(self, x) -> tf.Tensor:
        """Pixels as inputs of networks, in [-1, 1]."""
        return x / 127.5 - 1.0

    def distribution(self, parameters) -> DiscretizedLogisticMixture:
        """The law of each pixel."""
        k = self.num_components
        shape = tf.shape(parameters)[:-1]
        logits, means, log_scales, coefficients = tf.split(
            parameters, [k, k * self.channels, k * self.channels, k * self.num_pairs], axis=-1
        )

        def by_component(values, n):
            return tf.reshape(values, tf.concat([shape, [k, n]], axis=0))

        return DiscretizedLogisticMixture(
            logits,
            by_component(means, self.channels),
            by_component(log_scales, self.channels),
            tf.tanh(by_component(coefficients, self.num_pairs)) if self.num_pairs else None,
        )

    def log_prob(self, x, parameters) -> tf.Tensor:
        """log p of each pixel: `[..., height, width]`."""
        return self.distribution(parameters).log_prob(x)

    @property
    def num_uniforms(self) -> int:
        """Of a pixel."""
        return self.num_components + self.channels

    def from_uniforms(self, parameters, uniforms) -> tf.Tensor:
        """Pixels in 0..255."""
        return self.distribution(parameters).from_uniforms(uniforms)

    def sample(self, parameters, *, seed) -> tf.Tensor:
        """Pixels in 0..255."""
        return self.distribution(parameters).sample(seed=seed)

    def mean(self, parameters) -> tf.Tensor:
        """A picture without noise: the location of each pixel's most probable component.

        (The mean of several components is a colour that none of them has.)
        """
        law = self.distribution(parameters)
        best = tf.argmax(law.mixture_logits, axis=-1)
        ndims = len(best.shape)
        means = tf.gather(law.means, best, batch_dims=ndims)
        located = tf.unstack(means, axis=-1)

        def level(located):
            return tf.clip_by_value(tf.round(127.5 * (located + 1.0)), 0.0, 255.0)

        if self.num_pairs:
            to_green, to_blue, green_to_blue = tf.unstack(
                tf.gather(law.coefficients, best, batch_dims=ndims), axis=-1
            )
            # The regressions are on pixels: rounded, and within the range.
            red, green, blue = located
            red = self.scaled(level(red))
            green = self.scaled(level(green + to_green * red))
            located = [red, green, blue + to_blue * red + green_to_blue * green]
        return level(tf.stack(located, axis=-1))
