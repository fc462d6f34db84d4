"""What annealed chains have missed, found by other chains that start elsewhere.

Annealed weights are unbiased not for Z alone but for every part of it: with the last states x of the chains,
the mean of w 1[x in C] is an unbiased estimate of the sum over the states in C, from any base (Neal, 2001).
So populations from different bases can be compared part by part, where a comparison of their totals would not
notice a mode of a third of the mass. The parts are the states nearest to each of the modes that `mean_field`
finds; in every part all populations are lower bounds in the sense of Markov's inequality, and where another
one finds more than the first, the first has missed it.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann.log_partition.estimate import log_mean_exp
from tfdvae.boltzmann.log_partition.mean_field import find_modes
from tfdvae.boltzmann.log_partition.path import BaseBiases, base_log_partition, base_samples, walk
from tfdvae.boltzmann.rbm import RBMParameters

_MAX_CANDIDATES = 8  # modes that are annealed from
_MATERIAL = 1e-3  # nats
_MARGIN = 2.0  # nats by which the score of a mode may lie below its log Z
_FEW = 10  # chains in a part, too few to know it by
_OWN_ERRORS = 3  # by which what chains from a mode find must exceed what the first population does
_COMMON_ERRORS = 4  # the same where the noise of the first one counts as well


class Population(NamedTuple):
    """Annealed chains: `log_weights [chains]`, float64, with log Z_base, and their last states.

    `left [chains, left]` are the states.
    """

    log_weights: np.ndarray
    left: np.ndarray


class Coverage(NamedTuple):
    """What other populations find beyond a first one.

    Attributes:
      missed: log of what they add to its estimate of Z, in nats, at least 0.
      standard_error: of `missed`.
      is_significant: whether noise of the first population cannot explain it.
      bound: the mean-field bound on log Z, which holds for certain.
      num_modes: modes that were told apart.
      num_annealed: those of them that were annealed from.
    """

    missed: float
    standard_error: float
    is_significant: bool
    bound: float
    num_modes: int
    num_annealed: int


def anneal_from(parameters: RBMParameters, bases, num_chains: int, betas, *, seed) -> list[Population]:
    """Populations of `num_chains` chains from each of the base models, all in one walk."""
    base = BaseBiases(*(np.repeat(side, num_chains, axis=0) for side in zip(*bases, strict=True)))
    base = BaseBiases(*(tf.constant(side) for side in base))
    seed_start, seed_path = random.split(seed, salt="anneal_from")
    start = base_samples(base, len(bases) * num_chains, seed=seed_start)
    up = walk(parameters, base, start, betas, seed=seed_path)
    log_weights = up.log_weights.numpy() + base_log_partition(base)
    parts = (np.split(values, len(bases)) for values in (log_weights, up.left.numpy()))
    return [Population(*part) for part in zip(*parts, strict=True)]


def coverage(
    parameters: RBMParameters,
    population: Population,
    others: list[Population],
    *,
    num_chains: int,
    betas: np.ndarray,
    num_starts: int,
    seed,
    left=None,
) -> Coverage:
    """Looks for what a population of annealed chains has missed.

    Args:
      parameters: the machine's weights.
      population: the chains in question.
      others: populations from other bases, to compare with.
      num_chains: chains that are annealed from the modes that matter, up to 8 of them, in all.
      betas: their inverse temperatures.
      num_starts: of the search for modes, see `find_modes`.
      seed: the seed.
      left: states `[states, left]` from which the search starts too, beside some of the population.
    """
    seed_modes, seed_path = random.split(seed, salt="coverage")
    known = (
        population.left[:num_starts] if left is None else np.concatenate([population.left[:num_starts], left])
    )
    modes = find_modes(parameters, num_starts=num_starts, seed=seed_modes, left=known)
    total = log_mean_exp(population.log_weights)
    parts = _shares(population, modes, total.value)
    candidates = _candidates(modes, parts, total)
    gain, variance, is_significant = np.zeros(len(modes.bounds)), np.zeros(len(modes.bounds)), False
    for other in others:
        found = _shares(other, modes, total.value)
        more, common = _more(found, parts)
        counts = more > np.maximum(gain, _COMMON_ERRORS * common)
        gain, variance = np.where(counts, more, gain), np.where(counts, found.variance, variance)
        is_significant |= bool(np.any(counts))
    if candidates:
        bases = [BaseBiases(modes.left[k], modes.right[k]) for k in candidates]
        chains = max(2, num_chains // len(bases))
        annealed = anneal_from(parameters, bases, chains, betas, seed=seed_path)
        for k, other in zip(candidates, annealed, strict=True):
            found = _shares(other, modes, total.value)
            more, common = _more(found, parts)
            # It counts where its own noise cannot explain it: noise of the first population may, which the
            # caller then adds to its error.
            if more[k] > max(gain[k], _OWN_ERRORS * math.sqrt(found.variance[k])):
                gain[k], variance[k] = more[k], found.variance[k]
                is_significant |= bool(more[k] > _COMMON_ERRORS * common[k])
    return Coverage(
        missed=float(np.log1p(gain.sum())),
        standard_error=float(np.sqrt(variance.sum()) / (1 + gain.sum())),
        is_significant=is_significant,
        bound=float(np.max(modes.bounds)),
        num_modes=len(modes.bounds),
        num_annealed=len(candidates),
    )


class _Shares(NamedTuple):
    share: np.ndarray
    variance: np.ndarray
    count: np.ndarray


def _shares(population, modes, log_z):
    """What a population finds in each part, relative to exp(log_z), its variance and number of chains."""
    part, num, size = modes.nearest(population.left), len(population.left), len(modes.bounds)
    weights = np.exp(np.minimum(population.log_weights - log_z, 300)) / num  # a ratio of e^300 is enough
    share = np.bincount(part, weights, size)
    squares = np.bincount(part, weights**2, size)
    variance = np.maximum(0, squares - share**2 / num) * num / max(1, num - 1)
    return _Shares(share, variance, np.bincount(part, minlength=size))


def _more(found, parts):
    """What is found beyond the parts of the first population, and the noise of the difference.

    The noise of the first one is that of how many of its chains end in a part, were its share as found.
    """
    num = parts.count.sum()
    mean_weight = np.maximum(1, parts.share * num / np.maximum(1, parts.count))
    return found.share - parts.share, np.sqrt(found.variance + found.share * mean_weight / num)


def _candidates(modes, parts, total):
    """The modes that may hold what the population lacks, the largest first."""
    least = total.value + math.log(np.clip(total.standard_error, _MATERIAL, 1)) - _MARGIN
    expected = np.exp(np.minimum(modes.scores - total.value, 300))
    more, common = _more(_Shares(expected, 0, 0), parts)
    wanted = (modes.scores > least) & ((parts.count < _FEW) | (more > _COMMON_ERRORS * common))
    return [k for k in np.argsort(-more, kind="stable") if wanted[k]][:_MAX_CANDIDATES]
