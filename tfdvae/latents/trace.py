"""A trace: one pass over the latent groups of a model, which meets each of them once.

A model writes the pass as `trace(x, draw, *, seed=None) -> Trace`. It makes the law q of a group where there
is an image, says how to make p where no Boltzmann machine holds the group, and leaves it to the `draw` how
the group gets its value; the networks of later groups see that value.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import random
from tfdvae.latents.laws import Law


class Value(NamedTuple):
    """What a draw gives a group: `value`, which later networks see, and the smoothed law that it is from."""

    value: tf.Tensor
    smoothed: tfp.distributions.Distribution | None = None


class Draw(Protocol):
    """How groups get their values; see `draws`."""

    def __call__(self, i: int, q: Law | None, p: Callable[[], Law] | None) -> Value:
        """The value of group `i`, with the laws that it has."""


class Group(NamedTuple):
    """A latent group in a trace.

    Attributes:
      value: what later networks see: z, or zeta where it is smoothed.
      q: its law given the image and earlier values; `None` in a trace without an image.
      p: makes its prior law given earlier values; `None` where the Boltzmann machine holds the group. (Not
        every trace wants the networks of p.)
      smoothed: the law of zeta, or `None` where the value is no zeta.
    """

    value: tf.Tensor
    q: Law | None
    p: Callable[[], Law] | None
    smoothed: tfp.distributions.Distribution | None

    @classmethod
    def drawn(cls, draw: Draw, i: int, q: Law | None, p: Callable[[], Law] | None) -> "Group":
        """Group `i` with the value that `draw` gives it."""
        value = draw(i, q, p)
        return cls(value.value, q, p, value.smoothed)

    def hard(self, *, seed) -> tf.Tensor:
        """A sample z of q(z | x, zeta), which goes with the value; the value itself if it is not smoothed."""
        if self.smoothed is None:
            return self.value
        return random.bernoulli(self.smoothed.posterior_probs(self.value), seed=seed)

    def posterior_probs(self) -> tf.Tensor:
        """The nu = q(z = 1 | x, zeta), which is z where the value is not smoothed."""
        return self.value if self.smoothed is None else self.smoothed.posterior_probs(self.value)


class Trace(NamedTuple):
    """The groups of a pass.

    Attributes:
      groups: in the order of the pass.
      features: what the decoder goes on from besides their values.
      training: whether the pass is one of a training.
    """

    groups: tuple[Group, ...]
    features: Any = None
    training: bool = False

    @property
    def values(self) -> list[tf.Tensor]:
        """The groups' values."""
        return [group.value for group in self.groups]

    @property
    def held(self) -> list[Group]:
        """The groups that the Boltzmann machine holds."""
        return [group for group in self.groups if group.p is None]

    @property
    def directed(self) -> list[Group]:
        """The groups with a law p of their own."""
        return [group for group in self.groups if group.p is not None]
