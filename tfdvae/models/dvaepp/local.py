"""The local latents: q(h_j | x, zeta, h_<j) and p(h_j | zeta, h_<j), group by group."""

import functools

import keras
import tensorflow as tf

from tfdvae.layers import ResidualStack


class LocalLatents(keras.layers.Layer):
    """Groups of feature maps, each given the earlier ones, by residual networks without shared weights.

    The networks of group j see the concatenation of the upsampled global latents and of h_<j; those of q see
    the features of the image besides. Without global latents, p(h_1) has the parameters 0: a standard
    normal, or fair coins.

    Args:
      family: the class of the groups' laws.
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

    def posterior(self, j, features, context, values):
        """q(h_j | x, zeta, h_<j); `context` is a list: the upsampled global latents, or nothing."""
        network = self.posterior_networks[j]
        return self.family(network([features, *self._known(context, values)]), event_ndims=3)

    def prior(self, j, context, values):
        """Makes p(h_j | zeta, h_<j)."""
        return functools.cache(lambda: self.family(self._prior_parameters(j, context, values), event_ndims=3))

    def _prior_parameters(self, j, context, values):
        if self.prior_networks[j] is None:
            return tf.zeros([1, *self.event_shape[:2], self.num_parameters])
        return self.prior_networks[j](self._known(context, values))
