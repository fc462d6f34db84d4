"""Keras layers."""

from tfdvae.layers.dense import DenseStack
from tfdvae.layers.own import OwnNetwork
from tfdvae.layers.pre_activation import PreActivationBlock, WeightNormalizedConv2D
from tfdvae.layers.residual import ResidualStack, SEResidualBlock
from tfdvae.layers.smoothing import Smoothing

__all__ = [
    "DenseStack",
    "OwnNetwork",
    "PreActivationBlock",
    "ResidualStack",
    "SEResidualBlock",
    "Smoothing",
    "WeightNormalizedConv2D",
]
