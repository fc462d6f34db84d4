"""Laws of one latent group: what q and p of it are, in terms of the parameters that a network yields.

A law is anything with the attributes and methods of `Law`. Its parameters have the shape `[batch, ...event]`,
or `[samples, batch, ...event]` where they depend on samples of earlier groups; the event has one axis
(units), two (variables, classes) or three (height, width, channels).
"""

import dataclasses
from typing import ClassVar, Protocol

import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import numerics, random

tfd = tfp.distributions

LOG_SCALE_LIMIT = 5.0  # of normal latents


class Law(Protocol):
    """What is asked of the law of a group.

    Attributes:
      parameters_per_unit: numbers that a network yields for each variable, along the last axis.
      reparameterized: whether the gradient of a sample reaches the parameters.
      standard_first: whether a first group's prior has the parameters 0 and learns none: of variables whose
        location and scale the networks around them can take over.
      event_ndims: axes of the event.
      logits: log-odds of binary variables; `None` of others.
      mean: of each variable.
    """

    parameters_per_unit: ClassVar[int]
    reparameterized: ClassVar[bool]
    standard_first: ClassVar[bool]
    event_ndims: int
    logits: tf.Tensor | None
    mean: tf.Tensor

    def noise(self, *, seed, num_samples=None) -> tf.Tensor:
        """What a sample is a function of: of each place, or `num_samples` (a new first axis) of each."""

    def hard(self, noise) -> tf.Tensor:
        """The sample that the noise stands for."""

    def smoothed(self, smoothing, step):
        """The law of the variables as a `Smoothing` smooths them; `None` of those whose samples are
        differentiable as they are. Raises a `ValueError` where there is none."""

    def sample(self, num_samples, *, seed) -> tf.Tensor:
        """A batch of `num_samples`, where the law is that of a prior, whose batch may have one place."""

    def log_prob(self, value) -> tf.Tensor:
        """log p of each variable, in nats."""

    def kl(self, other) -> tf.Tensor:
        """KL(self || other), the event summed, in nats."""

    def total(self, values) -> tf.Tensor:
        """The sum over the event."""

    def is_valid(self, value) -> tf.Tensor:
        """Whether each variable may have this value."""


class _Factorial:
    """What factorial laws share: the shapes of samples, and the sum over an event."""

    reparameterized: ClassVar[bool] = False
    standard_first: ClassVar[bool] = False

    def noise(self, *, seed, num_samples=None):
        """Uniform numbers in (0, 1)."""
        shape = tf.shape(self.mean)
        if num_samples is not None:
            shape = tf.concat([[num_samples], shape[-self.event_ndims - 1 :]], axis=0)
        return random.uniform(shape, seed=seed)

    def total(self, values):
        """The sum over the event."""
        return tf.reduce_sum(values, axis=list(range(-self.event_ndims, 0)))

    def sample(self, num_samples, *, seed):
        """The hard samples of a batch of noise."""
        return self.hard(random.uniform(self._shape_of_batch(num_samples), seed=seed))

    def _shape_of_batch(self, num_samples):
        return tf.concat([[num_samples], tf.shape(self.mean)[-self.event_ndims :]], axis=0)


@dataclasses.dataclass(frozen=True)
class Bernoulli(_Factorial):
    """A factorial Bernoulli; see `Law`.

    Attributes:
      logits: the parameters.
      event_ndims: 1 or 3.
    """

    logits: tf.Tensor
    event_ndims: int = 1
    parameters_per_unit: ClassVar[int] = 1

    @property
    def mean(self):
        """q(z = 1)."""
        return tf.sigmoid(self.logits)

    def hard(self, noise):
        """Variables in {0, 1}."""
        return tf.cast(noise > tf.sigmoid(-self.logits), tf.float32)

    def smoothed(self, smoothing, step):
        """The distribution of zeta."""
        return smoothing.distribution(self.logits, step=step)

    def sample(self, num_samples, *, seed):
        """Variables in {0, 1}."""
        probs = tf.broadcast_to(self.mean, self._shape_of_batch(num_samples))
        return random.bernoulli(probs, seed=seed)

    def log_prob(self, value):
        """Linear in the value."""
        return numerics.bernoulli_log_prob(value, self.logits)

    def kl(self, other):
        """Closed form."""
        return self.total(numerics.bernoulli_kl(self.logits, other.logits))

    def is_valid(self, value):
        """Whether it is 0 or 1."""
        return (value == 0) | (value == 1)


@dataclasses.dataclass(frozen=True)
class Normal(_Factorial):
    """A factorial normal; see `Law`.

    Parameters are means, then logarithms of the scales, along the last axis. Log-scales l enter as
    limit * tanh(l / limit), with the limit `LOG_SCALE_LIMIT`: each group's networks see samples of the groups
    before, and unlimited scales grow from group to group.

    Attributes:
      parameters: of the variables.
      event_ndims: 1 or 3.
    """

    parameters: tf.Tensor
    event_ndims: int = 1
    parameters_per_unit: ClassVar[int] = 2
    reparameterized: ClassVar[bool] = True
    standard_first: ClassVar[bool] = True
    logits: ClassVar[None] = None

    def __post_init__(self):
        loc, log_scale = tf.split(self.parameters, 2, axis=-1)
        scale = tf.exp(LOG_SCALE_LIMIT * tf.tanh(log_scale / LOG_SCALE_LIMIT))
        object.__setattr__(self, "distribution", tfd.Normal(loc, scale))

    @property
    def mean(self):
        """E[h]."""
        return self.distribution.loc

    def hard(self, noise):
        """The quantiles."""
        return self.distribution.loc + self.distribution.scale * tf.math.ndtri(noise)

    def smoothed(self, smoothing, step):
        """Continuous variables are what they are."""
        del smoothing, step

    def log_prob(self, value):
        """The density."""
        return self.distribution.log_prob(value)

    def kl(self, other):
        """Closed form."""
        return self.total(self.distribution.kl_divergence(other.distribution))

    def is_valid(self, value):
        """Whether it is finite."""
        return tf.math.is_finite(value)


@dataclasses.dataclass(frozen=True)
class OneHotCategorical(_Factorial):
    """Independent categoricals as one-hot vectors, `[..., variables, classes]`; see `Law`.

    Attributes:
      scores: logarithms of the probabilities, up to a constant for each variable.
      event_ndims: 2, or 4 of feature maps.
    """

    scores: tf.Tensor
    event_ndims: int = 2
    parameters_per_unit: ClassVar[int] = 1
    logits: ClassVar[None] = None

    @property
    def mean(self):
        """The probabilities."""
        return tf.nn.softmax(self.scores)

    def hard(self, noise):
        """One-hot vectors, by the largest of scores with Gumbel noise."""
        largest = tf.argmax(self.scores - tf.math.log(-tf.math.log(noise)), axis=-1)
        return tf.one_hot(largest, self.scores.shape[-1])

    def smoothed(self, smoothing, step):
        """A `Smoothing` is one of binary variables.

        Raises:
          ValueError: always, for hard samples would train no encoder, without a word.
        """
        raise ValueError(
            "Categorical latents have no smoothing. Train with an objective whose `draw` is another one, "
            "such as `tfdvae.latents.draws.StraightThrough`"
        )

    def log_prob(self, value):
        """log p of the class in the place of the class, 0 in the others; linear in the value."""
        return value * tf.nn.log_softmax(self.scores)

    def kl(self, other):
        """Closed form."""
        return self.total(self.mean * (tf.nn.log_softmax(self.scores) - tf.nn.log_softmax(other.scores)))

    def is_valid(self, value):
        """Whether it is 0 or 1."""
        return (value == 0) | (value == 1)


LAWS = {"bernoulli": Bernoulli, "normal": Normal}
