"""Keras layers."""

from tfdvae.layers.causal import CausalConv2D, GatedBlock
from tfdvae.layers.dense import DenseStack
from tfdvae.layers.dropout import Dropout
from tfdvae.layers.own import OwnNetwork
from tfdvae.layers.pre_activation import PreActivationBlock
from tfdvae.layers.residual import ResidualStack, SEResidualBlock
from tfdvae.layers.smoothing import Smoothing
from tfdvae.layers.weight_normalization import WeightNormalizedConv2D

__all__ = [
    "CausalConv2D",
    "DenseStack",
    "Dropout",
    "GatedBlock",
    "OwnNetwork",
    "PreActivationBlock",
    "ResidualStack",
    "SEResidualBlock",
    "Smoothing",
    "WeightNormalizedConv2D",
]
