"""Keras callbacks: logs, checkpoints that survive `kill -9`, pictures, the health of chains."""

from tfdvae.callbacks.checkpoints import PlateauDecay, TrainingCheckpoint
from tfdvae.callbacks.logs import MetricsLog
from tfdvae.callbacks.machine import ChainHealthProbe
from tfdvae.callbacks.pictures import ImageGrids

__all__ = ["ChainHealthProbe", "ImageGrids", "MetricsLog", "PlateauDecay", "TrainingCheckpoint"]
