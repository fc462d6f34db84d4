"""Pseudo-log-likelihood of a machine whose right side is summed out (Besag, 1975).

    PLL(left) = sum_i log p(left_i | all others) = sum_i log sigmoid(F(left with unit i flipped) - F(left))

in nats. log Z does not occur, so that it can be watched while a machine is trained; it is no bound on log p.
"""

import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann.rbm import RBMParameters


@tf.function(reduce_retracing=True, autograph=False)
def pseudo_log_likelihood(parameters: RBMParameters, left: tf.Tensor) -> tf.Tensor:
    """PLL of `left [batch, left]` in {0, 1}, shape `[batch]`.

    Costs as much as `left` free energies of each vector, in the memory of one: the units come in turn.
    """
    coupling = parameters.coupling
    logits = tf.nn.bias_add(tf.linalg.matmul(left, coupling), parameters.right_bias)
    softplus = tf.nn.softplus(logits)

    def body(unit, total):
        flip = 1.0 - 2.0 * left[:, unit]
        change = tf.nn.softplus(logits + flip[:, tf.newaxis] * coupling[unit]) - softplus
        rise = -flip * parameters.left_bias[unit] - tf.reduce_sum(change, axis=-1)
        return unit + 1, total + tf.math.log_sigmoid(rise)

    start = (tf.constant(0), tf.zeros_like(left[:, 0]))
    return tf.while_loop(lambda unit, _: unit < tf.shape(left)[1], body, start, parallel_iterations=2)[1]


def stochastic_pseudo_log_likelihood(parameters: RBMParameters, left: tf.Tensor, *, seed) -> tf.Tensor:
    """An unbiased estimate of PLL, `[batch]`, from one unit of each vector; costs two free energies."""
    left_bias, right_bias, coupling = parameters
    units = coupling.shape[0]
    chosen = random.uniform(tf.shape(left)[:1], seed=seed, dtype=tf.float64) * units
    chosen = tf.cast(chosen, tf.int32)
    flip = 1.0 - 2.0 * tf.gather(left, chosen, axis=1, batch_dims=1)
    logits = tf.nn.bias_add(tf.linalg.matmul(left, coupling), right_bias)
    # The differences before the sum: sums of free energies would lose the digits that matter.
    change = tf.nn.softplus(logits + flip[:, tf.newaxis] * tf.gather(coupling, chosen)) - tf.nn.softplus(
        logits
    )
    rise = -flip * tf.gather(left_bias, chosen) - tf.reduce_sum(change, axis=-1)
    return units * tf.math.log_sigmoid(rise)
