"""Modes of a machine: maxima of the mean-field bound on log Z, climbed from many starts.

For independent units of means l and r (variational inference; Jordan et al., 1999)

  log Z >= l . left_bias + r . right_bias + l . coupling . r + H(l) + H(r),

a bound that is no estimate but holds for certain. Setting the logits of one side from the means of the other
is its exact maximum in that side, so that sides in turn climb to a maximum. Where the machine has well
separated modes, each is near a maximum of its own. Annealing from high temperatures finds the modes that
grow slowly as the temperature falls; climbing at beta = 1 finds those that it misses because a discontinuous
transition hides them. What is climbed from:

- fair coins, and combinations of the leading singular vectors of the coupling between spins, each as it is
  and after some steps without fields, so that a pattern that the couplings hold and the fields forbid is met;
- all units of a side on, all off, and each side as its fields want it;
- one unit of a side on, the others as their biases have them: a unit may stand for a state of the other side
  that nothing else leads to;
- states that the caller knows.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.special import expit

from tfdvae import random
from tfdvae.boltzmann.rbm import RBMParameters

_SINGULAR_VECTORS = 8
_SUBSPACE_STEPS = 8
_STEPS_WITHOUT_FIELDS = 10
_STEPS = 25
_SAME_MODE = 0.05  # mean distance of the units' means
_MAX_MODES = 64


class Modes(NamedTuple):
    """Independent units around each mode, the best first.

    Attributes:
      left: logits of the left side, float32, `[modes, left]`.
      right: logits of the right side, float32, `[modes, right]`.
      bounds: the bound on log Z, float64, `[modes]`, in nats.
      scores: the bound and half the variance of the couplings' energy under the independent units, its
        next term (Plefka, 1982): closer to the log Z of the mode, and no bound.
    """

    left: np.ndarray
    right: np.ndarray
    bounds: np.ndarray
    scores: np.ndarray

    def nearest(self, left) -> np.ndarray:
        """The mode whose means are nearest to each of the states `left [states, left]`, int64 `[states]`."""
        means = expit(self.left)
        return np.argmin(np.asarray(left) @ (1 - 2 * means.T) + means.sum(axis=1), axis=1)


def find_modes(parameters: RBMParameters, *, num_starts: int, seed, left=None) -> Modes:
    """The modes that are found from about ten times `num_starts` starts, up to 64 of them.

    Args:
      parameters: the machine's weights.
      num_starts: starts of each random kind, and at most so many single units of a side.
      seed: the seed.
      left: states to start from as well, `[states, left]`, or `None`.
    """
    left_bias, right_bias, coupling = (p.numpy() for p in parameters)
    weights = RBMParameters(left_bias, right_bias, coupling)
    without_fields = RBMParameters(-coupling.sum(axis=1) / 2, -coupling.sum(axis=0) / 2, coupling)
    spread = _spread_starts(coupling, num_starts, seed=seed)
    rights = [spread, expit(_climb(without_fields, spread, _STEPS_WITHOUT_FIELDS)[1])]
    rights.append(
        np.stack([0 * right_bias, 0 * right_bias + 1, right_bias > 0, right_bias > without_fields.right_bias])
    )
    rights.append(_single_units(right_bias, coupling, num_starts))
    lefts = [_single_units(left_bias, coupling.T, num_starts)]
    if left is not None:
        lefts.append(np.asarray(left, np.float32))
    rights += [expit(states @ coupling + right_bias) for states in lefts]
    return _distinct(weights, *_climb(weights, np.concatenate(rights), _STEPS))


def _spread_starts(coupling, num_starts, *, seed):
    """States of the right side, all over the place: coins, and signs of singular vectors, mixed and alone."""
    seed_coins, seed_mixtures, seed_vectors = random.split(seed, 3, salt="find_modes")
    coins = random.uniform([num_starts, coupling.shape[1]], seed=seed_coins).numpy() < 0.5
    vectors = _leading_vectors(coupling, seed=seed_vectors)
    mixtures = random.uniform([num_starts, len(vectors)], seed=seed_mixtures).numpy() - 0.5
    mixtures = np.concatenate([mixtures @ vectors, vectors, -vectors]) > 0
    return np.concatenate([coins, mixtures]).astype(np.float32)


def _leading_vectors(coupling, *, seed):
    """About the leading right singular vectors, `[vectors, right]`, by a few steps of subspace iteration."""
    num_vectors = min(_SINGULAR_VECTORS, *coupling.shape)
    vectors = random.uniform([coupling.shape[1], num_vectors], seed=seed).numpy() - 0.5
    for _ in range(_SUBSPACE_STEPS):
        vectors = np.linalg.qr(coupling.T @ (coupling @ vectors))[0]
    # Within the subspace exactly: vectors of different singular values are patterns of their own.
    rotation = np.linalg.svd(coupling @ vectors, full_matrices=False)[2]
    return rotation @ vectors.T


def _single_units(bias, coupling, num_starts):
    """Means of a side with one unit on, those of the largest couplings; `coupling [others, units]`."""
    units = np.argsort(-np.max(np.abs(coupling), axis=0), kind="stable")[:num_starts]
    means = np.tile(expit(bias), (len(units), 1))
    means[np.arange(len(units)), units] = 1
    return means


def _climb(parameters, right, num_steps):
    """Logits of both sides after steps that start from means of the right one, `[starts, right]`."""
    logits = _climb_steps(*parameters, tf.constant(right, tf.float32), tf.constant(num_steps))
    return tuple(side.numpy() for side in logits)


@tf.function(
    input_signature=[*(tf.TensorSpec([None] * rank) for rank in (1, 1, 2, 2)), tf.TensorSpec([], tf.int32)]
)
def _climb_steps(left_bias, right_bias, coupling, right, num_steps):
    def step(k, left_logits, right_logits):
        left_logits = tf.linalg.matmul(tf.sigmoid(right_logits), coupling, transpose_b=True) + left_bias
        return k + 1, left_logits, tf.linalg.matmul(tf.sigmoid(left_logits), coupling) + right_bias

    left_logits = tf.linalg.matmul(right, coupling, transpose_b=True) + left_bias
    first = (1, left_logits, tf.linalg.matmul(tf.sigmoid(left_logits), coupling) + right_bias)
    return tf.while_loop(lambda k, *_: k < num_steps, step, first)[1:]


def _distinct(parameters, left_logits, right_logits):
    """The best of the maxima that differ, and the figures of each."""
    codes = np.packbits(np.concatenate([left_logits > 0, right_logits > 0], axis=1), axis=1)
    some = np.unique(codes, axis=0, return_index=True)[1]
    left_bias, right_bias, coupling = (p.astype(np.float64) for p in parameters)
    left_logits = left_logits[some].astype(np.float64)
    left = expit(left_logits)
    right_logits = left @ coupling + right_bias  # the best for these left means, in float64
    right = expit(right_logits)
    entropy = np.logaddexp(0, left_logits) - left * left_logits
    bounds = (left * left_bias + entropy).sum(axis=1) + np.logaddexp(0, right_logits).sum(axis=1)
    variances = ((left * (1 - left)) @ coupling**2 * right * (1 - right)).sum(axis=1)
    scores = bounds + variances / 2

    means, kept = np.concatenate([left, right], axis=1), []
    for i in np.argsort(-scores, kind="stable"):
        if not kept or np.min(np.mean(np.abs(means[kept] - means[i]), axis=1)) > _SAME_MODE:
            kept.append(i)
        if len(kept) == _MAX_MODES:
            break
    logits = (side[kept].astype(np.float32) for side in (left_logits, right_logits))
    return Modes(*logits, bounds[kept], scores[kept])
