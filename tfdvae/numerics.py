"""Stable primitives in log space. All values are in nats."""

import tensorflow as tf


def bernoulli_log_prob(values: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """log Bernoulli(values; logits), elementwise; linear in `values`, which may be fractional."""
    return values * logits - tf.nn.softplus(logits)


def bernoulli_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Entropy of a Bernoulli with the given logits, elementwise."""
    # softplus form: -q log q loses all digits when q rounds to 0 or 1.
    return tf.nn.softplus(logits) - logits * tf.sigmoid(logits)


def bernoulli_kl(logits: tf.Tensor, prior_logits: tf.Tensor) -> tf.Tensor:
    """KL(Bernoulli(logits) || Bernoulli(prior_logits)), elementwise."""
    return (
        tf.sigmoid(logits) * (logits - prior_logits) - tf.nn.softplus(logits) + tf.nn.softplus(prior_logits)
    )
