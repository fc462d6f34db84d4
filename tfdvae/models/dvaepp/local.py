"""The local latents: q(h_j | x, zeta, h_<j) and p(h_j | zeta, h_<j), group by group."""

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae.layers import ResidualStack


class LocalLatents(keras.layers.Layer):
    """Groups of feature maps, each given the earlier ones, by residual networks without shared weights.

    The networks of group j see the concatenation of the upsampled global latents and of h_<j; those of q see
    the features of the image besides. Without global latents, p(h_1) has the parameters 0: a standard
    normal, or fair coins.

    Args:
      family: of the groups, with `event_ndims=3`.
      num_groups: number of groups.
      channels: variables of a group at each place.
      features_shape: `(height, width, channels)` of the image's features.
      context_channels: channels of the upsampled global latents; 0 without any.
      posterior_blocks: the hidden blocks of q; the block that yields the parameters is added.
      prior_blocks: likewise of p.
      network: keyword arguments of the `ResidualStack`s.
    """

    def __init__(
        self,
        family,
        num_groups,
        channels,
        features_shape,
        context_channels,
        posterior_blocks,
        prior_blocks,
        network,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.family = family
        self.num_groups = num_groups
        self.event_shape = (*features_shape[:2], channels)
        self.num_parameters = family.parameters_per_unit * channels
        known = [context_channels + j * channels for j in range(num_groups)]

        def stack(name, shapes, blocks):
            return ResidualStack(
                shapes, f"{blocks} {self.num_parameters}", output_activation=None, name=name, **network
            )

        known_shapes = [[(*features_shape[:2], n)] if n else [] for n in known]
        self.posterior_networks = [
            stack(f"q_h_{j}", [features_shape, *shapes], posterior_blocks)
            for j, shapes in enumerate(known_shapes)
        ]
        self.prior_networks = [
            stack(f"p_h_{j}", shapes, prior_blocks) if shapes else None
            for j, shapes in enumerate(known_shapes)
        ]
        self.built = True

    @staticmethod
    def _known(context, values):
        """What the networks of the next group see besides the image: a list of no or one tensor."""
        known = [*context, *values]
        return [tf.concat(known, axis=-1)] if known else []

    def infer(self, features, context, *, seed, step, limit, num_samples=None) -> list:
        """q(h_j | x, zeta, h_<j) group by group, each with a sample.

        `context` is a list: the upsampled global latents, or nothing.
        """
        posteriors = []
        seeds = random.split(seed, self.num_groups)
        for network, s in zip(self.posterior_networks, seeds, strict=True):
            parameters = network([features, *self._known(context, [p.value for p in posteriors])])
            posteriors.append(
                self.family.posterior(parameters, seed=s, step=step, limit=limit, num_samples=num_samples)
            )
        return posteriors

    def _prior_parameters(self, j, context, values):
        if self.prior_networks[j] is None:
            return tf.zeros([1, *self.event_shape[:2], self.num_parameters])
        return self.prior_networks[j](self._known(context, values))

    def _pairs(self, posteriors, context):
        values = [p.value for p in posteriors]
        return [(p, self._prior_parameters(j, context, values[:j])) for j, p in enumerate(posteriors)]

    def kl_per_group(self, posteriors, context, *, step) -> list[tf.Tensor]:
        """One KL a group, each `[batch]`."""
        return [self.family.kl(p, theta, step=step) for p, theta in self._pairs(posteriors, context)]

    def log_ratio(self, posteriors, context, *, step, seed) -> tf.Tensor:
        """log p - log q of the sample."""
        seeds = random.split(seed, self.num_groups)
        pairs = zip(self._pairs(posteriors, context), seeds, strict=True)
        return sum(self.family.log_ratio(p, theta, step=step, seed=s) for (p, theta), s in pairs)

    def sample(self, num_samples, context, *, seed) -> list[tf.Tensor]:
        """Groups by ancestral sampling, each `[num_samples, height, width, channels]`."""
        values = []
        for j, s in enumerate(random.split(seed, self.num_groups)):
            parameters = self._prior_parameters(j, context, values)
            shape = [num_samples, *parameters.shape[1:]]
            values.append(self.family.sample(tf.broadcast_to(parameters, shape), seed=s))
        return values
