"""What `fit` and `evaluate` log of a bound: running means, with log Z in them where the prior has one."""

import keras
import tensorflow as tf
from absl import logging

from tfdvae.training import running_means, update_means

_IMPOSSIBLE = 1.0  # nats: a KL as far below 0 is not the noise of a batch


class BoundMeans:
    """Running means of `reconstruction`, `kl`, `elbo` and `loss`, in nats, without log Z until they are read.

    A KL below 0, which an old or too small log Z would give, is read as 0.
    """

    def __init__(self):
        self.means = running_means("loss", "elbo", "reconstruction", "kl")
        self._kl_factor = keras.metrics.Mean(name="kl_factor")

    def reset(self) -> None:
        """Empties the means that Keras does not know of."""
        self._kl_factor.reset_state()

    @property
    def count(self) -> tf.Tensor:
        """The examples so far."""
        return self.means["loss"].count

    def update(self, figures, count) -> None:
        """Takes the figures of a step, means over `count` examples."""
        reconstruction, kl, factor = (figures[name] for name in ("reconstruction", "kl", "kl_factor"))
        update_means(
            self.means,
            count,
            loss=factor * kl - reconstruction + figures["weight_decay"],
            elbo=reconstruction - kl,
            reconstruction=reconstruction,
            kl=kl,
        )
        self._kl_factor.update_state(factor, sample_weight=count)

    def result(self, log_z=None, log_z_error=None) -> dict[str, tf.Tensor]:
        """The means with log Z in them, `None` for a normalized prior."""
        means = {name: mean.result() for name, mean in self.means.items()}
        if log_z is None:
            return means
        kl = means["kl"] + log_z
        kl = tf.where(kl < 0.0, 0.0, kl)  # NaN stays
        added = kl - means["kl"]
        return {
            "loss": means["loss"] + self._kl_factor.result() * added,
            "elbo": means["elbo"] - added,
            "reconstruction": means["reconstruction"],
            "kl": kl,
            # NaN with them, where there is no log Z to speak of.
            "log_partition_error": log_z_error + 0.0 * log_z,
        }

    def possible(self, log_z, log_z_error, step) -> tf.Tensor:
        """`log_z`, or NaN where it would make the KL impossible, with a warning."""
        kl = float(self.means["kl"].result() + log_z)
        if not kl < -_IMPOSSIBLE:
            return log_z
        logging.warning(
            "Step %d: with log Z = %.3f +- %.3f the KL would be %.3f nats, and a KL is never negative. "
            "The estimate is too small; the bounds are logged as NaN",
            step,
            float(log_z),
            float(log_z_error),
            kl,
        )
        return tf.constant(float("nan"))
