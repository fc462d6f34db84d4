"""The overlapping logistic smoothing of DVAE++: Vahdat et al. (2018), appendix B."""

import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import _parameters
from tfdvae.bijectors import overlapping_logistic_cdf as mixture
from tfdvae.distributions.smoothed_bernoulli import SmoothedBernoulli


class OverlappingLogistic(SmoothedBernoulli):
    """Real zeta with r(zeta|0) = Logistic(loc0, scale) and r(zeta|1) = Logistic(loc1, scale).

    Tends to a Bernoulli(q) on {loc0, loc1} as `scale` goes to 0. Values and gradients are finite for
    |logits| <= 30, (loc1 - loc0) / scale <= 100 and rho in (0, 1); see
    `tfdvae.bijectors.OverlappingLogisticCDF`, the CDF. Vahdat et al. (2018), appendix B.

    Args:
      logits: log-odds of z = 1, or `None`; any shape.
      probs: probability of z = 1, or `None`. Exactly one of the two is given.
      scale: scale of both components; at least `(loc1 - loc0) / 100`; broadcast with the others.
      loc0: location of the component of z = 0.
      loc1: location of the component of z = 1, greater than `loc0`.
      validate_args: as in `tfd.Distribution`.
      allow_nan_stats: as in `tfd.Distribution`.
      name: name of the distribution.

    Raises:
      ValueError: if `scale` is missing; if the parameters are known and outside the range above; if
        both or none of `logits` and `probs` are given; if the parameters' dtypes differ.
    """

    has_density = True

    def __init__(
        self,
        logits=None,
        probs=None,
        scale=None,
        loc0=0.0,
        loc1=1.0,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "OverlappingLogistic",
    ):
        parameters = dict(locals())
        _parameters.require("scale", scale)
        with tf.name_scope(name) as name:
            dtype = _parameters.common_dtype(logits, probs, scale, loc0, loc1)
            self._scale, self._loc0, self._loc1 = _parameters.keep(
                mixture.checked, dtype, scale=scale, loc0=loc0, loc1=loc1
            )
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
        return properties | mixture.location_scale_properties(dtype)

    @property
    def scale(self) -> tf.Tensor:
        """Scale of both components."""
        return self._scale

    @property
    def loc0(self) -> tf.Tensor:
        """Location of the component of z = 0."""
        return self._loc0

    @property
    def loc1(self) -> tf.Tensor:
        """Location of the component of z = 1."""
        return self._loc1

    def _read(self):
        return _parameters.read(mixture.checked, self._scale, self._loc0, self._loc1)

    def _quantile(self, value):
        return mixture.quantile(value, self.logits_parameter(), *self._read())

    def _cdf(self, value):
        return mixture.cdf(value, self.logits_parameter(), *self._read())

    def _log_prob(self, value):
        return mixture.log_density(value, self.logits_parameter(), *self._read())

    def _log_density_ratio(self, zeta):
        return mixture.log_density_ratio(zeta, *self._read())

    def _default_event_space_bijector(self):
        return tfp.bijectors.Identity(validate_args=self.validate_args)
