"""How the groups of a trace get their values: `draw(i, q, p) -> Value` for group `i` with its laws.

`seeds` are one seed for each group.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfdvae.latents.trace import Value


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


class SoftBinarized(Posterior):
    """No law at all: f(l + u) with the encoder's output l, u uniform in (-1/2, 1/2), f clipping to [0, 1].

    For pretraining as an autoencoder (Ballé et al., 2016; eq. 3 of the paper on RBM priors with hidden
    units).
    """

    def __call__(self, i, q, p):
        """A value in [0, 1]."""
        del p
        noise = q.noise(seed=self.seeds[i], num_samples=self.num_samples)
        return Value(tf.clip_by_value(q.logits + noise - 0.5, 0.0, 1.0))


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
