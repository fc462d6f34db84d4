"""The CDF of a mixture of two logistics of one scale: Vahdat et al. (2018), appendix B.

    r(zeta|z=i) = Logistic(zeta; loc_i, scale),
    F(zeta)     = p sigmoid(a_0) + q sigmoid(a_1),   a_i = (zeta - loc_i) / scale,
                                                     q = sigmoid(logits),  p = 1 - q.

The functions below are elementwise, broadcast their arguments and are differentiable in all of them.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import _parameters

MAX_SEPARATION = 100.0


def checked(scale: tf.Tensor, loc0: tf.Tensor, loc1: tf.Tensor) -> list[tf.Tensor]:
    """The parameters, after a check that scale > 0 and 0 < (loc1 - loc0) / scale <= 100.

    See `_parameters.checked`.
    """
    rules = {
        "`scale` must be positive and finite": lambda s, low, high: (s > 0) & (s < np.inf),
        "`loc0` and `loc1` must be finite, with loc0 < loc1": lambda s, low, high: (
            (low < high) & (high - low < np.inf)
        ),
        # A little slack, so that the bound itself passes after rounding.
        f"`scale` must be at least (loc1 - loc0) / {MAX_SEPARATION:g}, or gradients overflow float32": (
            lambda s, low, high: high - low <= MAX_SEPARATION * (1.0 + 1e-5) * s
        ),
    }
    for rule, holds in rules.items():
        scale, _, _ = _parameters.checked(rule, holds, scale=scale, loc0=loc0, loc1=loc1)
    return [scale, loc0, loc1]


def location_scale_properties(dtype: tf.DType) -> dict[str, tfp.util.ParameterProperties]:
    """TFP's description of `scale`, `loc0` and `loc1`."""
    return {
        "scale": tfp.util.ParameterProperties(
            # The smallest scale for the default locations.
            default_constraining_bijector_fn=lambda: tfp.bijectors.Softplus(
                low=tf.constant(1.0 / MAX_SEPARATION, dtype)
            )
        ),
        "loc0": tfp.util.ParameterProperties(),
        "loc1": tfp.util.ParameterProperties(),
    }


def cdf(zeta: tf.Tensor, logits: tf.Tensor, scale: tf.Tensor, loc0: tf.Tensor, loc1: tf.Tensor) -> tf.Tensor:
    """F(zeta), for any real zeta."""
    below = tf.sigmoid(-logits) * tf.sigmoid((zeta - loc0) / scale)
    return below + tf.sigmoid(logits) * tf.sigmoid((zeta - loc1) / scale)


def log_density_ratio(zeta: tf.Tensor, scale: tf.Tensor, loc0: tf.Tensor, loc1: tf.Tensor) -> tf.Tensor:
    """log r(zeta|1) - log r(zeta|0)."""
    difference = tf.nn.softplus((zeta - loc0) / scale) - tf.nn.softplus((zeta - loc1) / scale)
    return 2.0 * difference - (loc1 - loc0) / scale


def log_density(
    zeta: tf.Tensor, logits: tf.Tensor, scale: tf.Tensor, loc0: tf.Tensor, loc1: tf.Tensor
) -> tf.Tensor:
    """log dF/dzeta in nats, for any real zeta."""
    a0 = (zeta - loc0) / scale
    # log(p r_0 + q r_1) = log r_0 + log p + log(1 + q r_1 / (p r_0)).
    mixture = tf.nn.softplus(logits + log_density_ratio(zeta, scale, loc0, loc1)) - tf.nn.softplus(logits)
    return mixture + a0 - 2.0 * tf.nn.softplus(a0) - tf.math.log(scale)


@tf.custom_gradient
def quantile(rho: tf.Tensor, logits: tf.Tensor, scale: tf.Tensor, loc0: tf.Tensor, loc1: tf.Tensor):
    """The zeta with F(zeta) = rho: Vahdat et al. (2018), appendix B, solved in log space.

    With y = (zeta - centre) / scale and D = (loc1 - loc0) / (2 scale), the paper's m' = exp(-y) is the
    positive root of rho m'^2 + exp(D) B m' - (1 - rho) = 0, B = (rho - p) + (rho - q) exp(-2 D). So

        y = logit(rho) / 2 + asinh(exp(D) B / (2 sqrt(rho (1 - rho)))),

    where the asinh is taken of the logarithm of its argument: nothing overflows, whatever the scale.
    Derivatives come from the implicit function theorem.
    """
    p, q, separation = tf.sigmoid(-logits), tf.sigmoid(logits), (loc1 - loc0) / scale
    variance = rho * (1.0 - rho)
    # rho - p and q - (1 - rho) are equal; each is exact where its small operand is small.
    b = tf.where(logits < 0.0, q - (1.0 - rho), rho - p) + (rho - q) * tf.exp(-separation)
    v = tf.math.log(0.5 * tf.abs(b) * tf.math.rsqrt(variance)) + 0.5 * separation
    # asinh(exp(v)) = max(v, 0) + log(exp(min(v, 0)) + sqrt(1 + exp(-2 |v|))).
    tail = tf.sqrt(1.0 + tf.exp(-2.0 * tf.abs(v)))
    asinh = tf.maximum(v, 0.0) + tf.math.log(tf.exp(tf.minimum(v, 0.0)) + tail)
    y = 0.5 * tf.math.log(rho / (1.0 - rho)) + tf.sign(b) * asinh
    zeta = 0.5 * (loc0 + loc1) + scale * y

    def gradient(upstream):
        a0, a1 = (zeta - loc0) / scale, (zeta - loc1) / scale
        # log r(zeta|0) and log r(zeta|1) with their common factor sigmoid(a0) sigmoid(-a1) / scale left out.
        log_m = tf.nn.softplus(a1) - tf.nn.softplus(a0)
        m, n = p * tf.exp(log_m), q * tf.exp(-separation - log_m)
        total = m + n
        d_loc0, d_loc1 = m / total, n / total
        d_rho = scale / (tf.sigmoid(a0) * tf.sigmoid(-a1) * total)
        d_logits = -scale * p * q * tf.math.expm1(-separation) / total
        return (
            _parameters.sum_to_shape_of(upstream * d_rho, rho),
            _parameters.sum_to_shape_of(upstream * d_logits, logits),
            _parameters.sum_to_shape_of(upstream * (d_loc0 * a0 + d_loc1 * a1), scale),
            _parameters.sum_to_shape_of(upstream * d_loc0, loc0),
            _parameters.sum_to_shape_of(upstream * d_loc1, loc1),
        )

    return zeta, gradient


class OverlappingLogisticCDF(tfp.bijectors.Bijector):
    """rho = F(zeta): the CDF of the overlapping logistic mixture; maps the real line onto (0, 1).

    `forward_log_det_jacobian` is the mixture's log density in nats, and `inverse` is its quantile
    function (Vahdat et al., 2018, appendix B). As with `tfb.NormalCDF`, the mixture is

    ```python
    tfd.TransformedDistribution(tfd.Uniform(), tfb.Invert(OverlappingLogisticCDF(logits, scale)))
    ```

    Values are finite at every scale. Between two modes far apart the density is about
    exp(-(loc1 - loc0) / (2 scale)), and the quantile's gradients are its reciprocal: they are finite
    in float32 (and float64) for |logits| <= 30 and (loc1 - loc0) / scale <= 100, that is scale >= 0.01
    for the default locations; smaller scales are refused. There is no largest scale. Against float64,
    log densities in float32 are right to 3e-5 nats, and gradients to 1 % but for one draw in 1,000 between
    modes far apart. Second derivatives of `inverse` differentiate its closed form, and may be NaN at the
    ends of this range.

    Parameters may be variables, which are read at each use, as in TFP. Where they are not known, in a graph,
    and out of range, everything is NaN.

    Args:
      logits: log-odds of z = 1; float tensor, any shape.
      scale: scale of both components, positive; a number or a tensor, broadcast with the others.
      loc0: location of the component of z = 0.
      loc1: location of the component of z = 1, greater than `loc0`.
      validate_args: as in `tfb.Bijector`.
      name: name of the bijector.

    Raises:
      ValueError: if the parameters are known and outside the range above, or if the dtypes differ.
    """

    def __init__(
        self,
        logits,
        scale,
        loc0=0.0,
        loc1=1.0,
        validate_args: bool = False,
        name: str = "overlapping_logistic_cdf",
    ):
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            dtype = _parameters.common_dtype(logits, scale, loc0, loc1)
            (self._logits,) = _parameters.keep(None, dtype, logits=logits)
            self._scale, self._loc0, self._loc1 = _parameters.keep(
                checked, dtype, scale=scale, loc0=loc0, loc1=loc1
            )
            super().__init__(
                forward_min_event_ndims=0,
                dtype=dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {"logits": tfp.util.ParameterProperties()} | location_scale_properties(dtype)

    @property
    def logits(self) -> tf.Tensor:
        """Log-odds of z = 1."""
        return self._logits

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

    @classmethod
    def _is_increasing(cls):
        return True

    def _read(self):
        smoothing = _parameters.read(checked, self._scale, self._loc0, self._loc1)
        return *_parameters.read(None, self._logits), *smoothing

    def _forward(self, x):
        return cdf(x, *self._read())

    def _inverse(self, y):
        return quantile(y, *self._read())

    def _forward_log_det_jacobian(self, x):
        return log_density(x, *self._read())
