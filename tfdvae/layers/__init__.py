"""Keras layers."""

from tfdvae.layers.dense import DenseStack
from tfdvae.layers.smoothing import Smoothing

__all__ = ["DenseStack", "Smoothing"]
