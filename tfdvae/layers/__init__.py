"""Keras layers."""

from tfdvae.layers.dense import DenseStack
from tfdvae.layers.own import OwnNetwork
from tfdvae.layers.residual import ResidualStack, SEResidualBlock
from tfdvae.layers.smoothing import Smoothing

__all__ = ["DenseStack", "OwnNetwork", "ResidualStack", "SEResidualBlock", "Smoothing"]
