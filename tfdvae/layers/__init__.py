"""Keras layers."""

from tfdvae.layers.dense import DenseStack
from tfdvae.layers.own import OwnNetwork
from tfdvae.layers.pre_activation import PreActivationBlock
from tfdvae.layers.residual import ResidualStack, SEResidualBlock
from tfdvae.layers.smoothing import Smoothing
from tfdvae.layers.weight_normalization import WeightNormalizedConv2D

__all__ = [
    "DenseStack",
    "OwnNetwork",
    "PreActivationBlock",
    "ResidualStack",
    "SEResidualBlock",
    "Smoothing",
    "WeightNormalizedConv2D",
]
