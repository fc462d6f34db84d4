"""Pearson's chi-squared test, for counts of which some are rare."""

import numpy as np
import tensorflow as tf


def p_value(counts, expected):
    """Of the test that `counts` have the given expectations, arrays of one shape and one sum."""
    counts, expected = (np.ravel(np.asarray(values, np.float64)) for values in (counts, expected))
    # Rare states go together, for the law of the statistic holds for expected counts of 5 and more.
    rare = expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    statistic = np.sum((counts - expected) ** 2 / expected)
    return float(tf.math.igammac(np.float64(len(expected) - 1) / 2, np.float64(statistic) / 2))
