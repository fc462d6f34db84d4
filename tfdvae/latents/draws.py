"""How the groups of a trace get their values: `draw(i, q, p) -> Value` for group `i` with its laws.

`seeds` are one seed for each group.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfdvae import random
from tfdvae.latents.trace import Value
from tfdvae.layers.dropout import dropped


class Posterior:
    """Hard samples of q, as in the binary limit.

    Args:
      seeds: of the groups.
      num_samples: samples of the first group for each image, a new first axis; one without it.
    """

    def __init__(self, seeds: Sequence, num_samples=None):
        self.seeds, self.num_samples = seeds, num_samples

    def __call__(self, i, q, p):
        """A hard sample."""
        del p
        return Value(q.hard(q.noise(seed=self.seeds[i], num_samples=self.num_samples)))


class Smoothed(Posterior):
    """Smoothed samples of q: zeta, of the noise that gives z. Continuous groups are what they are.

    Args:
      seeds: of the groups.
      smoothing: the layer that smooths.
      step: of its schedules.
      num_samples: as of `Posterior`.
    """

    def __init__(self, seeds: Sequence, smoothing, step, num_samples=None):
        super().__init__(seeds, num_samples)
        self.smoothing, self.step = smoothing, step

    def __call__(self, i, q, p):
        """A smoothed sample."""
        law = q.smoothed(self.smoothing, self.step)
        if law is None:
            return super().__call__(i, q, p)
        return Value(law.quantile(q.noise(seed=self.seeds[i], num_samples=self.num_samples)), law)


class StraightThrough(Posterior):
    """Hard samples of q with the gradient of its mean (Bengio et al., 2013): biased."""

    def __call__(self, i, q, p):
        """A hard sample with a gradient."""
        value = super().__call__(i, q, p).value
        return Value(value + q.mean - tf.stop_gradient(q.mean))


class ReinMax(Posterior):
    """Hard binary samples with a gradient of the second order (Liu et al., 2023): biased.

    f(1) - f(0) is taken as the mean of the slopes at both (Heun's method), of which a sample sees one: for a
    logit a with q = sigmoid(a), the gradient of a sample is |z - q| / 2.
    """

    def __call__(self, i, q, p):
        """A hard sample with a gradient.

        Raises:
          ValueError: if the group is not binary.
        """
        if q.logits is None:
            raise ValueError(f"ReinMax is for binary latents here. Received: group {i}, a {type(q).__name__}")
        value = super().__call__(i, q, p).value
        slope = tf.stop_gradient(0.5 * tf.abs(value - q.mean))
        return Value(value + slope * (q.logits - tf.stop_gradient(q.logits)))


class SoftBinarized(Posterior):
    """No law at all: f(l + u) with the encoder's output l, u uniform in (-1/2, 1/2), f clipping to [0, 1].

    For pretraining as an autoencoder (Ballé et al., 2016; eq. 3 of the paper on RBM priors with hidden
    units).

    Args:
      seeds: of the groups.
      dropout: the rate at which units are set to 0; the others are divided by 1 minus the rate.
    """

    def __init__(self, seeds: Sequence, dropout=0.0):
        super().__init__(seeds)
        self.dropout = dropout

    def __call__(self, i, q, p):
        """A value in [0, 1] without dropout.

        Raises:
          ValueError: if the group has no logits.
        """
        del p
        if q.logits is None:
            raise ValueError(
                f"Codes are soft-binarized logits, and group {i} has none: it is a {type(q).__name__}"
            )
        noise = q.noise(seed=self.seeds[i])
        code = tf.clip_by_value(q.logits + noise - 0.5, 0.0, 1.0)
        if not self.dropout:
            return Value(code)
        (seed,) = random.split(self.seeds[i], 1, salt="dropout")
        return Value(dropped(code, self.dropout, seed=seed))


class Means:
    """The mean of q in the place of a sample, in a pass without noise."""

    def __call__(self, i, q, p):
        """The mean of the group, as a value of its own."""
        del i, p
        return Value(tf.identity(q.mean))


class Stopped:
    """The values of another draw, without gradients."""

    def __init__(self, draw):
        self.draw = draw

    def __call__(self, i, q, p):
        """The value of the group."""
        value = self.draw(i, q, p)
        return value._replace(value=tf.stop_gradient(value.value))


class Given:
    """Known `values`, one for each group."""

    def __init__(self, values: Sequence):
        self.values = values

    def __call__(self, i, q, p):
        """The value of the group."""
        del q, p
        return Value(tf.convert_to_tensor(self.values[i]))


class Prior:
    """Samples of p: `values` of those groups that have one, others from their laws.

    Args:
      seeds: of the groups.
      num_samples: of the batch.
      values: by number of group: those that the Boltzmann machine has drawn, and others that are given.
    """

    def __init__(self, seeds: Sequence, num_samples, values: Mapping[int, tf.Tensor]):
        self.seeds, self.num_samples, self.values = seeds, num_samples, values

    def __call__(self, i, q, p):
        """The value of the group."""
        del q
        if i in self.values:
            return Value(self.values[i])
        return Value(p().sample(self.num_samples, seed=self.seeds[i]))


class Antithetic(Posterior):
    """Two samples of the one binary group, a new first axis: of noise u, and of 1 - u.

    Attributes:
      pair: after the pass, the logits of the group and its two values.
    """

    pair = None

    def check(self, i, q) -> None:
        """Checks that it is the one group.

        Raises:
          ValueError: if it is another one, or not binary.
        """
        if i > 0 or q.logits is None or q.event_ndims != 1:
            raise ValueError(
                f"{type(self).__name__} samples are for one group of binary units. Received: group {i}, a "
                f"{type(q).__name__}"
            )

    def __call__(self, i, q, p):
        """Both samples.

        Raises:
          ValueError: if there is another group, or the group is not binary.
        """
        self.check(i, q)
        noise = q.noise(seed=self.seeds[i])
        value = q.hard(tf.stack([noise, 1.0 - noise]))
        self.pair = q.logits, tf.unstack(value)
        return Value(value)


class Relaxed(Antithetic):
    """A hard sample of the one binary group, its relaxation, and another one given the hard one: a new first
    axis of three (Tucker et al., 2017, appendix).

    Args:
      seeds: of the groups.
      temperature: of the relaxations.

    Attributes:
      logits: after the pass, those of the group; `hard`, the hard sample.
    """

    logits = hard = None

    def __init__(self, seeds: Sequence, temperature):
        super().__init__(seeds)
        self.temperature = temperature

    def __call__(self, i, q, p):
        """The three values.

        Raises:
          ValueError: if there is another group, or the group is not binary.
        """
        self.check(i, q)
        noise, again = (q.noise(seed=s) for s in random.split(self.seeds[i], salt="relaxed"))
        self.logits, self.hard = q.logits, q.hard(noise)
        logistic, other = (tf.math.log(u) - tf.math.log1p(-u) for u in (noise, again))
        # A logistic variable around the logits, given that it is above or below 0.
        above = tf.nn.softplus(other + tf.nn.softplus(q.logits))
        below = -tf.nn.softplus(tf.nn.softplus(-q.logits) - other)
        conditional = tf.where(self.hard > 0.5, above, below)
        relaxed = [tf.sigmoid(x / self.temperature) for x in (q.logits + logistic, conditional)]
        return Value(tf.stack([self.hard, *relaxed]))
