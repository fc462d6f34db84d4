"""Benchmark sets, read through TFDS builders from the publishers' files, and own images, as datasets."""

from tfdvae.data.catalog import DatasetInfo, SourceFile, info, names
from tfdvae.data.own import from_arrays
from tfdvae.data.pipeline import load, training_mean
from tfdvae.data.store import num_examples

__all__ = [
    "DatasetInfo",
    "SourceFile",
    "from_arrays",
    "info",
    "load",
    "names",
    "num_examples",
    "training_mean",
]
