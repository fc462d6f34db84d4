"""Binary images from grey ones: by a threshold, drawn once, or drawn anew in each epoch.

The draw of an image depends on a seed, the epoch and the image's index in its split alone: neither
on the batch it comes in, nor on its place in the epoch.
"""

import numpy as np
import tensorflow as tf

from tfdvae import random

# One binary draw for everybody: of evaluation images, and of whole sets binarized statically.
STATIC_SEED = 28_2008
_CHUNK = 1_000


def check(binarization: str, facts) -> str:
    """Resolves "default" and refuses what makes no sense for a set.

    Raises:
      ValueError: if `binarization` is unknown, or not for this set.
    """
    if binarization not in facts.binarizations:
        reason = "holds binary images already" if facts.binary else "holds colour images"
        note = "" if len(facts.binarizations) > 2 else f" ({facts.name} {reason})"
        raise ValueError(
            f"`binarization` must be one of {', '.join(facts.binarizations)} for {facts.name}{note}. "
            f"Received: binarization={binarization!r}"
        )
    return facts.default_binarization if binarization == "default" else binarization


def epoch_seed(seed, epoch) -> random.Seed:
    """The seed of all draws of an epoch."""
    return random.fold_in(random.split(seed, 1, salt="tfdvae.data.binarization")[0], epoch)


def draw(grey: tf.Tensor, indices: tf.Tensor, seed: random.Seed) -> tf.Tensor:
    """Draws pixels from Bernoulli(grey / 255), each image from a stream of its own.

    The probability is met to within 2**-16, and exactly where grey is 0 or 255.

    Args:
      grey: uint8, shape `[batch, pixels]`.
      indices: integer, shape `[batch]`: the images' numbers in their split.
      seed: int32, shape `[2]`, from `epoch_seed`.

    Returns:
      Binary images, uint8, shape `[batch, pixels]`.
    """
    indices = tf.cast(indices, tf.int32)
    seeds = tf.stack([tf.broadcast_to(seed[0], tf.shape(indices)), seed[1] + indices], axis=-1)
    return _compare(grey, seeds)


# Compiled into one loop: the twenty rounds of the generator are 150 small operations otherwise, three
# times slower. All arithmetic is on integers, so that the result does not depend on the compilation.
@tf.function(jit_compile=True)
def _compare(grey, seeds):
    num_pixels = grey.shape[-1]
    # Sixteen bits a pixel: each random word serves two.
    words = random.row_bits(seeds, (num_pixels + 1) // 2)
    halves = [tf.bitwise.right_shift(words, np.uint32(16)), tf.bitwise.bitwise_and(words, np.uint32(0xFFFF))]
    uniform = tf.bitcast(tf.concat(halves, axis=1)[:, :num_pixels], tf.int32)
    grey = tf.cast(grey, tf.int32)
    # round(grey * 2**16 / 255), since 2**16 = 257 * 255 + 1.
    return tf.cast(uniform < 257 * grey + tf.bitwise.right_shift(grey, 7), tf.uint8)


def once(grey: np.ndarray, binarization: str) -> np.ndarray:
    """Binarizes a whole split the same way in every run.

    Args:
      grey: uint8, shape `[n, pixels]`.
      binarization: "none", "threshold" (1 from half intensity on) or "static" (drawn, with a seed that
        is part of the library).

    Returns:
      uint8, shape `[n, pixels]`.
    """
    if binarization == "none":
        return grey
    if binarization == "threshold":
        return (grey >= 128).astype(np.uint8)
    binary = np.empty_like(grey)
    seed = epoch_seed(STATIC_SEED, 0)
    for start in range(0, len(grey), _CHUNK):
        stop = min(start + _CHUNK, len(grey))
        # The last chunk is padded: another shape would be compiled anew.
        rows = np.zeros((_CHUNK, grey.shape[1]), np.uint8)
        rows[: stop - start] = grey[start:stop]
        binary[start:stop] = draw(tf.constant(rows), tf.range(start, start + _CHUNK), seed)[: stop - start]
    return binary
