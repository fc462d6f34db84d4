"""Primitives on tensors: stable formulas in log space (values in nats), and of images."""

import numpy as np
import tensorflow as tf


def bernoulli_log_prob(values: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """log Bernoulli(values; logits), elementwise; linear in `values`, which may be fractional."""
    return values * logits - tf.nn.softplus(logits)


@tf.custom_gradient
def bernoulli_log_likelihood(values: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The sum of `bernoulli_log_prob` over the last axis, `[..., batch]`; no gradient flows into `values`.

    `values [batch, units]` are data, `logits` `[..., batch, units]`. The gradient is written out, in fewer
    passes over the units than the framework's. For trainings alone: TensorFlow cannot load a SavedModel with
    such a gradient.
    """
    softplus = tf.nn.relu(logits) + tf.math.log1p(tf.exp(-tf.abs(logits)))

    def gradient(upstream):
        return None, (values - tf.sigmoid(logits)) * upstream[..., tf.newaxis]

    return tf.einsum("...bu,bu->...b", logits, values) - tf.reduce_sum(softplus, axis=-1), gradient


def bernoulli_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Entropy of a Bernoulli with the given logits, elementwise."""
    # softplus form: -q log q loses all digits when q rounds to 0 or 1.
    return tf.nn.softplus(logits) - logits * tf.sigmoid(logits)


def bernoulli_kl(logits: tf.Tensor, prior_logits: tf.Tensor) -> tf.Tensor:
    """KL(Bernoulli(logits) || Bernoulli(prior_logits)), elementwise."""
    return (
        tf.sigmoid(logits) * (logits - prior_logits) - tf.nn.softplus(logits) + tf.nn.softplus(prior_logits)
    )


def log_odds(probs: np.ndarray, margin: float) -> np.ndarray:
    """log(p / (1 - p)) with p clipped to [margin, 1 - margin], so that 0 and 1 stay finite."""
    probs = np.clip(probs, margin, 1 - margin)
    return np.log(probs) - np.log1p(-probs)


def is_binary(values: tf.Tensor) -> tf.Tensor:
    """Whether all values are 0 or 1: a boolean scalar, false for NaN."""
    return tf.reduce_all(tf.logical_or(tf.equal(values, 0.0), tf.equal(values, 1.0)))


def mean_or_zero(values: tf.Tensor) -> tf.Tensor:
    """The mean over the last axis; 0, not NaN, where a small last batch leaves a replica without examples."""
    count = tf.cast(tf.shape(values)[-1], values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values, axis=-1), count)


def flat_images(x: tf.Tensor):
    """Images `[..., height, width, channels]` with one leading dimension, and a function that restores them.

    The function takes images with that one dimension, of any size, and gives them the leading ones of `x`.
    Height, width and channels are known statically.
    """
    if x.shape.rank == 4:
        return x, lambda images: images

    def restored(images):
        return tf.reshape(images, tf.concat([tf.shape(x)[:-3], images.shape[1:]], axis=0))

    return tf.reshape(x, [-1, *x.shape[-3:]]), restored


def reshape_event(values: tf.Tensor, ndims: int, shape) -> tf.Tensor:
    """Gives the last `ndims` axes another `shape`; those before stay, whatever their number."""
    return tf.reshape(values, tf.concat([tf.shape(values)[: values.shape.rank - ndims], shape], axis=0))


def cropped(images, size) -> tf.Tensor:
    """The first rows and columns of images `[batch, height, width, channels]`, not copied if they are all."""
    height, width = size
    return images if tuple(images.shape[1:3]) == (height, width) else images[:, :height, :width]


def repeat_pixels(x: tf.Tensor) -> tf.Tensor:
    """Each pixel as four: `[..., height, width, channels]` to `[..., 2 height, 2 width, channels]`."""
    images, restored = flat_images(x)
    height, width, channels = images.shape[1:]
    tiled = tf.tile(tf.reshape(images, [-1, height, 1, width, 1, channels]), [1, 1, 2, 1, 2, 1])
    return restored(tf.reshape(tiled, [-1, 2 * height, 2 * width, channels]))
