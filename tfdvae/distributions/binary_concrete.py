"""The binary Concrete (Gumbel-softmax) relaxation: Maddison et al. (2016), Jang et al. (2016)."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import _parameters
from tfdvae.distributions.smoothed_bernoulli import RelaxedBernoulli, outside_unit_interval


class _SaturatingSigmoid(tfp.bijectors.Bijector):
    """A sigmoid whose inverse is finite at 0 and 1, and exact for tensors that it has made itself."""

    def __init__(self):
        super().__init__(forward_min_event_ndims=0, parameters={}, name="saturating_sigmoid")

    @classmethod
    def _is_increasing(cls):
        return True

    def _forward(self, x):
        return tf.sigmoid(x)

    def _inverse(self, y):
        limits = np.finfo(y.dtype.as_numpy_dtype)
        # The clipped logarithms have gradient 0 where they are clipped: no NaN from 1 / 0.
        y = tf.clip_by_value(y, limits.tiny, 1.0 - limits.epsneg)
        return tf.math.log(y) - tf.math.log1p(-y)

    def _forward_log_det_jacobian(self, x):
        return -tf.nn.softplus(x) - tf.nn.softplus(-x)


# One instance, so that its cache (held weakly) remembers the logit of every zeta drawn here: a sample
# that has rounded to 0 or 1 still has an exact density, also under another BinaryConcrete.
_SIGMOID = _SaturatingSigmoid()


MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-3, 1e3


def _checked(temperature: tf.Tensor) -> list[tf.Tensor]:
    return _parameters.checked(
        f"`temperature` must be in [{MIN_TEMPERATURE:g}, {MAX_TEMPERATURE:g}]",
        # A little slack, so that the bounds themselves pass after rounding.
        lambda t: (t >= MIN_TEMPERATURE * (1.0 - 1e-5)) & (t <= MAX_TEMPERATURE * (1.0 + 1e-5)),
        temperature=temperature,
    )


class BinaryConcrete(RelaxedBernoulli):
    """zeta = sigmoid((logits + logit(rho)) / temperature), rho uniform: a relaxed Bernoulli on (0, 1).

    Tends to Bernoulli(q) as `temperature` goes to 0. Unlike the smoothed Bernoullis, z = 1[zeta > 1/2]
    is a function of zeta: there is no mixture, hence no `log_density_ratio` and no posterior.

    Everything is computed with x = logit(zeta). At low temperatures zeta rounds to 0 or 1; for tensors
    returned by `sample` and `quantile` the unrounded x is remembered, and `log_prob` and its gradient
    are exact. For other tensors zeta is moved into (0, 1), to the nearest number with a finite logit.
    Maddison et al. (2016), "The Concrete distribution", appendix B.

    The range of `temperature` is what float32 bears: against float64, log densities have an error of at
    most 5e-6 / temperature nats (of other tensors 1e-7 temperature, where these have not rounded to 0 or 1),
    gradients of draws one of 1e-7 / temperature in the mean.

    Args:
      logits: log-odds of z = 1, or `None`; any shape.
      probs: probability of z = 1, or `None`. Exactly one of the two is given.
      temperature: in [0.001, 1000]; broadcast against the logits.
      validate_args: as in `tfd.Distribution`.
      allow_nan_stats: as in `tfd.Distribution`.
      name: name of the distribution.

    Raises:
      ValueError: if `temperature` is missing, or known and out of range; if both or none of `logits` and
        `probs` are given; if the parameters' dtypes differ.
    """

    has_density = True

    def __init__(
        self,
        logits=None,
        probs=None,
        temperature=None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "BinaryConcrete",
    ):
        parameters = dict(locals())
        _parameters.require("temperature", temperature)
        with tf.name_scope(name) as name:
            dtype = _parameters.common_dtype(logits, probs, temperature)
            (self._temperature,) = _parameters.keep(_checked, dtype, temperature=temperature)
            super().__init__(
                logits,
                probs,
                parameters=parameters,
                dtype=dtype,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        properties = super()._parameter_properties(dtype, num_classes)
        return properties | {
            "temperature": tfp.util.ParameterProperties(
                default_constraining_bijector_fn=lambda: tfp.bijectors.Sigmoid(
                    tf.constant(MIN_TEMPERATURE, dtype), tf.constant(MAX_TEMPERATURE, dtype)
                )
            )
        }

    @property
    def temperature(self) -> tf.Tensor:
        """The smaller, the closer to binary."""
        return self._temperature

    def _read(self):
        return _parameters.read(_checked, self._temperature)

    def _quantile(self, value):
        (temperature,) = self._read()
        logistic = tf.math.log(value) - tf.math.log1p(-value)
        return _SIGMOID.forward((self.logits_parameter() + logistic) / temperature)

    def _cdf(self, value):
        (temperature,) = self._read()
        below = tf.sigmoid(temperature * _SIGMOID.inverse(value) - self.logits_parameter())
        # At the ends of the support the rounded logit is not infinite.
        return tf.where(value <= 0.0, 0.0, tf.where(value >= 1.0, 1.0, below))

    def _log_prob(self, value):
        (temperature,) = self._read()
        x = _SIGMOID.inverse(value)
        y = temperature * x - self.logits_parameter()
        # log of the logistic density of y, times dy/dx = temperature and dx/dzeta = 1 / (zeta (1 - zeta)).
        log_logistic = y - 2.0 * tf.nn.softplus(y)
        log_density = log_logistic + tf.math.log(temperature) + tf.nn.softplus(x) + tf.nn.softplus(-x)
        return tf.where(outside_unit_interval(value), -float("inf"), log_density)

    def _default_event_space_bijector(self):
        return tfp.bijectors.Sigmoid(validate_args=self.validate_args)
