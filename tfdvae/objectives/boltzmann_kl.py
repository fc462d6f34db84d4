"""KL from a hierarchical posterior to a Boltzmann prior, without log Z (Vahdat et al. (2018), section 5)."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from tfdvae import numerics
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine


class GroupMoments(NamedTuple):
    """What the cross-entropy needs of one latent group, split into the two sides of the machine.

    `left_mean`, `right_mean` are mu = q(z = 1 | x, zeta_<i), before the group's own sample is seen;
    `left_posterior`, `right_posterior` are nu = q(z = 1 | x, zeta_<=i), after it is seen. All have the
    shape `[batch, units]`; a group may have no unit on a side. In the binary limit nu = z.
    """

    left_mean: tf.Tensor
    right_mean: tf.Tensor
    left_posterior: tf.Tensor
    right_posterior: tf.Tensor


def expected_energy(rbm: RestrictedBoltzmannMachine, groups: Sequence[GroupMoments]) -> tf.Tensor:
    """E[E(z)] for any number of groups, given one sample of zeta; shape `[batch]`, in nats.

    A unit alone enters with mu. In a pair, the unit of the earlier group enters with nu and that of the
    later one with mu (the later posterior has seen the earlier zeta); two units of one group both enter
    with mu, being independent given zeta_<i. Two groups, one a side, give eq. 6 of the paper.

    Args:
      rbm: the machine.
      groups: the groups' moments, in the order of the posterior.
    """
    energy = 0.0
    left_start = right_start = 0
    earlier_left, earlier_right = [], []
    for group in groups:
        left_stop = left_start + group.left_mean.shape[-1]
        right_stop = right_start + group.right_mean.shape[-1]
        if right_stop > right_start:
            field = rbm.right_bias[right_start:right_stop]
            if left_stop > 0:
                left = tf.concat([*earlier_left, group.left_mean], axis=-1)
                field += tf.linalg.matmul(left, rbm.coupling[:left_stop, right_start:right_stop])
            energy -= tf.reduce_sum(field * group.right_mean, axis=-1)
        if left_stop > left_start:
            field = rbm.left_bias[left_start:left_stop]
            if right_start > 0:
                right = tf.concat(earlier_right, axis=-1)
                coupling = rbm.coupling[left_start:left_stop, :right_start]
                field += tf.linalg.matmul(right, coupling, transpose_b=True)
            energy -= tf.reduce_sum(field * group.left_mean, axis=-1)
        earlier_left.append(group.left_posterior)
        earlier_right.append(group.right_posterior)
        left_start, right_start = left_stop, right_stop
    return energy


def unnormalized_boltzmann_kl(
    rbm: RestrictedBoltzmannMachine, logits: Sequence[tf.Tensor], groups: Sequence[GroupMoments]
) -> tf.Tensor:
    """KL(q || p) - log Z for one sample of zeta: minus the entropies plus the expected energy.

    Differentiable by automatic differentiation in everything (mathematics of section 5). Add log Z (or,
    for its gradient, `log_partition_surrogate`).

    Args:
      rbm: the prior.
      logits: the posterior logits of each group, `[batch, units]`.
      groups: the same groups' moments.

    Returns:
      Shape `[batch]`, in nats.
    """
    entropy = sum(tf.reduce_sum(numerics.bernoulli_entropy(x), axis=-1) for x in logits)
    return expected_energy(rbm, groups) - entropy
