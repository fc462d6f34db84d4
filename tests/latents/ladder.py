"""A toy model, as one would write a new one: a ladder of two categorical layers."""

import functools
from typing import NamedTuple

import keras
import tensorflow as tf

from tfdvae import numerics
from tfdvae.latents import Group, OneHotCategorical, Trace, draws
from tfdvae.layers import DenseStack
from tfdvae.models import Decoded, DiscreteVAE
from tfdvae.models.pixels import BernoulliPixels
from tfdvae.objectives import Elbo

CLASSES = (3, 2)  # of the two variables of each layer


class Layers(NamedTuple):
    layers: list


@keras.saving.register_keras_serializable(package="tests")
class Ladder(DiscreteVAE):
    """p(z_1) p(z_2 | z_1) p(x | z_1, z_2) and q(z_1 | x) q(z_2 | x, z_1), two variables a layer."""

    def __init__(self, image_shape=(2, 3, 1), seed=0, **kwargs):
        super().__init__(image_shape, seed, **kwargs)
        self.pixels = BernoulliPixels(1)
        top, low = (2 * n for n in CLASSES)
        network = functools.partial(DenseStack, hidden_units=(8,), batch_normalization=False, seed=seed)
        self.q = [network((6,), top, name="q_1"), network((6, top), low, name="q_2")]
        self.p_1 = self.add_weight(shape=(top,), initializer="zeros", name="p_1")
        self.p_2 = network((top,), low, name="p_2")
        self.decoder = network((top, low), 6, name="decoder")
        self._finish_init()

    latent_shapes = Layers([(2, n) for n in CLASSES])

    def trace(self, x, draw, *, seed=None):
        groups = []
        for i, n in enumerate(CLASSES):

            def law(scores, n=n):
                return OneHotCategorical(numerics.reshape_event(scores, 1, [2, n]))

            earlier = flat(groups)
            q = None if x is None else law(self.q[i]([tf.reshape(x, [-1, 6]), *earlier]))
            p = functools.partial(lambda law, v: law(self.p_2(v) if v else self.p_1), law, earlier)
            groups.append(Group.drawn(draw, i, q, p))
        return Trace(tuple(groups), flat(groups))

    def log_prob_of_pixels(self, x, trace):
        logits = self.decoder(trace.features)
        return tf.reduce_sum(
            self.pixels.log_prob(x, numerics.reshape_event(logits, 1, [2, 3, 1])), axis=[-2, -1]
        )

    def generate(self, trace, *, seed):
        logits = numerics.reshape_event(self.decoder(trace.features), 1, [2, 3, 1])
        return Decoded(self.pixels.sample(logits, seed=seed), self.pixels.mean(logits))


def flat(groups):
    """The groups' values as vectors, for networks."""
    return [numerics.reshape_event(g.value, 2, [2 * g.value.shape[-1]]) for g in groups]


@keras.saving.register_keras_serializable(package="tests")
class StraightThrough(Elbo):
    """The bound with the gradient of the mean in the place of that of a sample: a new objective."""

    def draw(self, model, *, seed):
        return draws.StraightThrough(model.group_seeds(seed))
