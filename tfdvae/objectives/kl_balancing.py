"""Balancing the KL of the latent groups (Vahdat et al. (2018), appendix H)."""

import tensorflow as tf

EPSILON = 0.1


def balancing_coefficients(kl_per_group: tf.Tensor, epsilon: float = EPSILON) -> tf.Tensor:
    """The coefficients alpha_i that make a group cheaper the less KL it has.

        alpha_i = N alpha_hat_i / sum_j alpha_hat_j,    alpha_hat_i = KL_i + epsilon

    Args:
      kl_per_group: mean KL of each group over a batch, `[groups]`, in nats. A value below 0 (that of a
        Boltzmann machine whose log Z is an old estimate) counts as 0.
      epsilon: softens the coefficients of very small KLs.

    Returns:
      Shape `[groups]`, under `stop_gradient`; they sum to the number of groups.
    """
    softened = tf.maximum(kl_per_group, 0.0) + epsilon
    coefficients = softened / tf.reduce_sum(softened) * tf.cast(tf.size(softened), softened.dtype)
    return tf.stop_gradient(coefficients)
