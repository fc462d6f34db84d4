"""Base classes of the continuous relaxations of a Bernoulli variable.

A *relaxed* Bernoulli is a real variable zeta that tends to a binary z in some limit, and is drawn by
pushing a uniform rho through its quantile function. A *smoothed* Bernoulli is one that keeps z as a
variable of its own: zeta ~ sum_z q(z) r(zeta|z), so that q(z|zeta) is a proper posterior.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import random
from tfdvae.bijectors import _parameters

tfb, tfd = tfp.bijectors, tfp.distributions


class RelaxedBernoulli(tfd.Distribution):
    """Base class: a scalar zeta, reparameterized through its quantile function.

    A subclass implements `_quantile`, and `_cdf` and `_log_prob` where they exist, and says what it
    supports in two class attributes, so that code which needs one can refuse without a type switch:

    * `has_density`: `log_prob` is defined.
    * `has_posterior`: `posterior_probs` is defined.

    Batch shape: the broadcast shape of the parameters. Event shape: scalar. Probabilities given as
    `probs` are moved into the open interval (0, 1), to the nearest number of their dtype with finite
    log-odds. Parameters may be variables, which are read at each use, as in TFP. A parameter whose value is
    not known, in a graph, makes everything NaN where it is out of range.

    Args:
      logits: log-odds of z = 1, or `None`.
      probs: probability of z = 1, or `None`. Exactly one of the two is given.
      parameters: all the constructor's arguments.
      dtype: the distribution's dtype.
      validate_args: as in `tfd.Distribution`.
      allow_nan_stats: as in `tfd.Distribution`.
      name: name of the distribution.

    Raises:
      ValueError: if both or none of `logits` and `probs` are given, or if `probs` is known and not
        in [0, 1].
    """

    has_density = False
    has_posterior = False

    def __init__(self, logits, probs, *, parameters, dtype, validate_args, allow_nan_stats, name):
        if (logits is None) == (probs is None):
            raise ValueError(
                f"Exactly one of `logits` and `probs` must be given. Received: logits={logits}, probs={probs}"
            )
        self._logits = self._probs = None
        if logits is None:
            (self._probs,) = _parameters.keep(_checked_probs, dtype, probs=probs)
        else:
            (self._logits,) = _parameters.keep(None, dtype, logits=logits)
        super().__init__(
            dtype=dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {
            "logits": tfp.util.ParameterProperties(),
            "probs": tfp.util.ParameterProperties(
                default_constraining_bijector_fn=tfb.Sigmoid, is_preferred=False
            ),
        }

    @property
    def logits(self) -> tf.Tensor | None:
        """The argument `logits`, as a tensor or a variable."""
        return self._logits

    @property
    def probs(self) -> tf.Tensor | None:
        """The argument `probs`, as a tensor or a variable."""
        return self._probs

    def logits_parameter(self) -> tf.Tensor:
        """Log-odds of z = 1, from whichever argument was given."""
        if self._probs is None:
            return tf.convert_to_tensor(self._logits)
        limits = np.finfo(self.dtype.as_numpy_dtype)
        inside = tf.clip_by_value(self.probs_parameter(), limits.tiny, 1.0 - limits.epsneg)
        return tf.math.log(inside) - tf.math.log1p(-inside)

    def probs_parameter(self) -> tf.Tensor:
        """Probability of z = 1, from whichever argument was given."""
        if self._probs is None:
            return tf.sigmoid(self._logits)
        (probs,) = _parameters.read(_checked_probs, self._probs)
        return probs

    def binary_limit(self) -> tfd.Bernoulli:
        """The law of z: what the distribution tends to when its smoothing is removed.

        Returns:
          `tfd.Bernoulli` with the same logits or probs; its dtype is that of `zeta`.
        """
        return tfd.Bernoulli(logits=self._logits, probs=self._probs, dtype=self.dtype)

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _call_sample_n(self, sample_shape, seed):
        # The whole shape is drawn at once. TFP would reshape a draw of `_sample_n`, and the reshaped
        # tensor is not the one that a bijector's cache remembers (see `BinaryConcrete`).
        sample_shape = tf.reshape(tf.cast(sample_shape, tf.int32), [-1])
        shape = tf.concat([sample_shape, self.batch_shape_tensor()], axis=0)
        return self._quantile(random.uniform(shape, seed=seed, dtype=self.dtype))

    def _sample_n(self, n, seed=None):
        return self._call_sample_n([n], seed)


class SmoothedBernoulli(RelaxedBernoulli):
    """Base class of the mixtures zeta ~ sum_z q(z) r(zeta|z), q(1) = sigmoid(logits).

    A subclass with `log_density_ratio` implements `_log_density_ratio`.
    """

    has_posterior = True

    def log_density_ratio(self, value, name: str = "log_density_ratio") -> tf.Tensor:
        """log r(value|z=1) - log r(value|z=0), in nats.

        Args:
          value: zeta; float tensor, shape `sample_shape + batch_shape`.
          name: name of the operation.

        Returns:
          Tensor of the broadcast shape of `value` and the parameters.

        Raises:
          NotImplementedError: if the components have no common density (a mixed law).
        """
        with tf.name_scope(name):
            return self._log_density_ratio(tf.convert_to_tensor(value, self.dtype))

    def posterior_logits(self, value, name: str = "posterior_logits") -> tf.Tensor:
        """Log-odds of q(z=1|zeta=value): `logits + log_density_ratio(value)`.

        Arguments, result and errors are those of `log_density_ratio`.
        """
        with tf.name_scope(name):
            return self.logits_parameter() + self._log_density_ratio(tf.convert_to_tensor(value, self.dtype))

    def posterior_probs(self, value, name: str = "posterior_probs") -> tf.Tensor:
        """q(z=1|zeta=value).

        Args:
          value: zeta; float tensor, shape `sample_shape + batch_shape`.
          name: name of the operation.

        Returns:
          Probabilities, of the broadcast shape of `value` and the parameters.
        """
        with tf.name_scope(name):
            return self._posterior_probs(tf.convert_to_tensor(value, self.dtype))

    def _log_density_ratio(self, zeta):
        raise NotImplementedError(f"{type(self).__name__} does not define `log_density_ratio`.")

    def _posterior_probs(self, zeta):
        return tf.sigmoid(self.logits_parameter() + self._log_density_ratio(zeta))


def _checked_probs(probs: tf.Tensor) -> list[tf.Tensor]:
    return _parameters.checked("`probs` must be in [0, 1]", lambda q: (q >= 0) & (q <= 1), probs=probs)


def outside_unit_interval(zeta: tf.Tensor) -> tf.Tensor:
    """True where zeta is not in [0, 1]; False for NaN, which formulas are left to propagate."""
    return (zeta < 0.0) | (zeta > 1.0)
