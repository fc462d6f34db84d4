"""What `fit` and `evaluate` log of a bound: running means, with log Z in them where the prior has one."""

import keras
import tensorflow as tf
from absl import logging

from tfdvae._means import running_means, update_means

_IMPOSSIBLE = 1.0  # nats: a KL as far below 0 is not the noise of a batch


class BoundMeans:
    """Running means of `reconstruction`, `kl`, `elbo` and `loss`, in nats, without log Z until they are read.

    Objectives that know no bound have the loss alone, or the reconstruction too; an evaluation may have
    `multi_sample_bound`. A KL below 0, which an old or too small log Z would give, is read as 0.
    """

    def __init__(self):
        self.means = running_means("loss", "elbo", "multi_sample_bound", "reconstruction", "kl")
        self._factor = keras.metrics.Mean(name="log_partition_factor")

    def reset(self) -> None:
        """Empties the means that Keras does not know of."""
        self._factor.reset_state()

    @property
    def count(self) -> tf.Tensor:
        """The examples so far."""
        return self.means["loss"].count

    @property
    def names(self) -> list[str]:
        """The means that have a value."""
        return [name for name, mean in self.means.items() if tf.convert_to_tensor(mean.count) > 0]

    def update(self, figures, count) -> list[str]:
        """Takes the figures of a step, means over `count` examples; returns the names of the means.

        `loss` is there, as if log Z were 0, `weight_decay` and `log_partition_factor`, with which log Z adds
        to it; `reconstruction`, `kl` and `multi_sample_bound` may be.
        """
        values = {name: figures[name] for name in ("reconstruction", "kl") if name in figures}
        values["loss"] = figures["loss"] + figures["weight_decay"]
        if len(values) == 3:
            values["elbo"] = figures["reconstruction"] - figures["kl"]
        if "multi_sample_bound" in figures:
            values["multi_sample_bound"] = figures["multi_sample_bound"]
        update_means(self.means, count, **values)
        self._factor.update_state(figures["log_partition_factor"], sample_weight=count)
        return [name for name in self.means if name in values]

    def result(self, names, log_z=None, log_z_error=None) -> dict[str, tf.Tensor]:
        """The means of these names with log Z in them, `None` for a normalized prior."""
        means = {name: self.means[name].result() for name in names}
        if log_z is None:
            return means
        added = log_z
        if "kl" in means:
            kl = means["kl"] + log_z
            kl = tf.where(kl < 0.0, 0.0, kl)  # NaN stays
            added = kl - means["kl"]
            means["elbo"] -= added
            means["kl"] = kl
        if "multi_sample_bound" in means:
            means["multi_sample_bound"] -= log_z
        means["loss"] += self._factor.result() * added
        # NaN with them, where there is no log Z to speak of.
        return means | {"log_partition_error": log_z_error + 0.0 * log_z}

    def possible(self, log_z, log_z_error, step) -> tf.Tensor:
        """`log_z`, or NaN where it would make the KL impossible, with a warning."""
        kl = float(self.means["kl"].result() + log_z)
        if "kl" not in self.names or not kl < -_IMPOSSIBLE:
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
