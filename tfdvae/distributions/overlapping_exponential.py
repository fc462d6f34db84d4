"""The overlapping exponential smoothing of DVAE++: Vahdat et al. (2018), section 3."""

import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import _parameters
from tfdvae.bijectors import overlapping_exponential_cdf as mixture
from tfdvae.distributions.smoothed_bernoulli import SmoothedBernoulli, outside_unit_interval


class OverlappingExponential(SmoothedBernoulli):
    """zeta in [0, 1] with r(zeta|0) prop. to exp(-beta zeta), r(zeta|1) prop. to exp(-beta (1 - zeta)).

    Tends to Bernoulli(q) as `beta` grows. Values and gradients are finite for |logits| <= 30,
    0 < beta <= 1000 and rho in (0, 1); see `tfdvae.bijectors.OverlappingExponentialCDF`, the CDF.
    Vahdat et al. (2018), eq. 2 and 3 and appendix A.

    ```python
    posterior = OverlappingExponential(logits=tf.zeros([100, 200]), beta=8.0)
    zeta = posterior.sample(seed=1)                    # [100, 200], reparameterized
    nu = tf.sigmoid(posterior.posterior_logits(zeta))  # q(z=1|zeta)
    ```

    Args:
      logits: log-odds of z = 1, or `None`; any shape.
      probs: probability of z = 1, or `None`. Exactly one of the two is given.
      beta: inverse temperature, in (0, 1000]; broadcast against the logits.
      validate_args: as in `tfd.Distribution`.
      allow_nan_stats: as in `tfd.Distribution`.
      name: name of the distribution.

    Raises:
      ValueError: if `beta` is missing, or known and not in (0, 1000]; if both or none of `logits` and
        `probs` are given; if the parameters' dtypes differ.
    """

    has_density = True

    def __init__(
        self,
        logits=None,
        probs=None,
        beta=None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "OverlappingExponential",
    ):
        parameters = dict(locals())
        _parameters.require("beta", beta)
        with tf.name_scope(name) as name:
            dtype = _parameters.common_dtype(logits, probs, beta)
            (self._beta,) = _parameters.keep(mixture.checked, dtype, beta=beta)
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
        return properties | {"beta": mixture.beta_properties(dtype)}

    @property
    def beta(self) -> tf.Tensor:
        """Inverse temperature."""
        return self._beta

    def _read(self):
        return _parameters.read(mixture.checked, self._beta)

    def _quantile(self, value):
        return mixture.quantile(value, self.logits_parameter(), *self._read())

    def _cdf(self, value):
        return mixture.cdf(tf.clip_by_value(value, 0.0, 1.0), self.logits_parameter(), *self._read())

    def _log_prob(self, value):
        log_density = mixture.log_density(value, self.logits_parameter(), *self._read())
        return tf.where(outside_unit_interval(value), -float("inf"), log_density)

    def _log_density_ratio(self, zeta):
        return mixture.log_density_ratio(zeta, *self._read())

    def _default_event_space_bijector(self):
        return tfp.bijectors.Sigmoid(validate_args=self.validate_args)
