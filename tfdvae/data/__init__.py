"""Benchmark sets as `tf.data` datasets, read through TFDS builders from the publishers' files."""

from tfdvae.data.catalog import DatasetInfo, SourceFile, info, names
from tfdvae.data.pipeline import load, training_mean
from tfdvae.data.store import num_examples

__all__ = ["DatasetInfo", "SourceFile", "info", "load", "names", "num_examples", "training_mean"]
