"""The CDF of a mixture of two mirrored, truncated exponentials: Vahdat et al. (2018), section 3.

    r(zeta|z=0) = beta exp(-beta zeta) / e,          e = 1 - d,  d = exp(-beta),  0 <= zeta <= 1,
    r(zeta|z=1) = beta exp(-beta (1 - zeta)) / e,
    F(zeta)     = p F_0(zeta) + q F_1(zeta),         q = sigmoid(logits),  p = 1 - q.

The functions below are elementwise, broadcast their arguments and are differentiable in all of them.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import _parameters

# What float32 bears: there a log density is right to 1e-4 nats, and the error grows with beta.
MAX_BETA = 1000.0


def checked(beta: tf.Tensor) -> list[tf.Tensor]:
    """`[beta]`, after a check that 0 < beta <= 1000; see `_parameters.checked`."""
    rule = f"`beta` must be in (0, {MAX_BETA:g}]"
    return _parameters.checked(rule, lambda beta: (beta > 0) & (beta <= MAX_BETA), beta=beta)


def beta_properties(dtype: tf.DType) -> tfp.util.ParameterProperties:
    """TFP's description of `beta`."""
    return tfp.util.ParameterProperties(
        default_constraining_bijector_fn=lambda: tfp.bijectors.Sigmoid(
            tf.zeros([], dtype), tf.constant(MAX_BETA, dtype)
        )
    )


def cdf(zeta: tf.Tensor, logits: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    """F(zeta), for zeta in [0, 1]."""
    # exp(-beta (1 - zeta)) - exp(-beta) = exp(-beta (1 - zeta)) (1 - exp(-beta zeta)): both
    # components share a factor, and nothing cancels.
    shared = tf.math.expm1(-beta * zeta) / tf.math.expm1(-beta)
    return shared * (tf.sigmoid(-logits) + tf.sigmoid(logits) * tf.exp(-beta * (1.0 - zeta)))


def log_density_ratio(zeta: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    """log r(zeta|1) - log r(zeta|0)."""
    return beta * (2.0 * zeta - 1.0)


def log_density(zeta: tf.Tensor, logits: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    """log dF/dzeta in nats, for zeta in [0, 1]."""
    log_normalizer = tf.math.log(-tf.math.expm1(-beta)) - tf.math.log(beta)
    # log(p r_0 + q r_1) = log r_0 + log p + log(1 + q r_1 / (p r_0)).
    mixture = tf.nn.softplus(logits + log_density_ratio(zeta, beta)) - tf.nn.softplus(logits)
    return mixture - beta * zeta - log_normalizer


@tf.custom_gradient
def quantile(rho: tf.Tensor, logits: tf.Tensor, beta: tf.Tensor):
    """The zeta in [0, 1] with F(zeta) = rho: Vahdat et al. (2018), eq. 3, in a stable form.

    m = exp(-beta zeta) is the positive root of p m^2 + B m - q d = 0, the paper's quadratic times p.
    Its derivatives come from the implicit function theorem: those of the selected branches overflow
    in the branch that is not selected.
    """
    p, q, d, e = tf.sigmoid(-logits), tf.sigmoid(logits), tf.exp(-beta), -tf.math.expm1(-beta)
    # rho - p and q - (1 - rho) are equal; each is exact where its small operand is small.
    b = tf.where(logits < 0.0, q - (1.0 - rho), rho - p) + d * (q - rho)
    root = tf.sqrt(b * b + 4.0 * p * q * d)
    # Of each pair of equal expressions, the one that does not cancel; the other one may divide by zero. In
    # m = d 2 q / (B + root) the logarithm of d is -beta: d itself underflows at a beta of 87.
    upper = b > 0.0
    log_m = tf.math.log(tf.where(upper, 2.0 * q / (b + root), (root - b) / (2.0 * p)))
    log_m -= tf.where(upper, beta, 0.0)
    # 1 - m apart from m: for small zeta or beta all digits of zeta are in it.
    u = 2.0 * e * rho / (p + q * d + e * rho + root)
    zeta = -tf.where(u < 0.5, tf.math.log1p(-u), log_m) / beta
    zeta = tf.clip_by_value(zeta, 0.0, 1.0)

    def gradient(upstream):
        m, n = tf.exp(-beta * zeta), tf.exp(-beta * (1.0 - zeta))
        # e f(zeta), with f the density.
        density = beta * (p * m + q * n)
        d_rho = e / density
        d_logits = p * q * tf.math.expm1(-beta * zeta) * tf.math.expm1(-beta * (1.0 - zeta)) / density
        d_beta = (q * (1.0 - zeta) * n - p * zeta * m + (rho - q) * d) / density
        return (
            _parameters.sum_to_shape_of(upstream * d_rho, rho),
            _parameters.sum_to_shape_of(upstream * d_logits, logits),
            _parameters.sum_to_shape_of(upstream * d_beta, beta),
        )

    return zeta, gradient


class OverlappingExponentialCDF(tfp.bijectors.Bijector):
    """rho = F(zeta): the CDF of the overlapping exponential mixture; maps [0, 1] onto [0, 1].

    `forward_log_det_jacobian` is the mixture's log density in nats, and `inverse` is its quantile
    function (Vahdat et al., 2018, eq. 3 and appendix A). As with `tfb.KumaraswamyCDF`, the mixture is

    ```python
    tfd.TransformedDistribution(tfd.Uniform(), tfb.Invert(OverlappingExponentialCDF(logits, beta)))
    ```

    Values and gradients (in the argument and in both parameters) are finite for |logits| <= 30,
    0 < beta <= 1000 and rho in (0, 1), in float32 and float64. That range is what float32 bears: against
    float64, the mean distance of draws from 0 or 1 is right to 1e-5, log densities to 5e-6 + 1e-7 beta nats,
    and gradients to 1 % but for a share of 1e-6 beta of the draws, between the modes. As `beta` goes to 0
    the values stay precise, while gradients in `beta` have an absolute error of about the machine epsilon
    over `beta`. Second derivatives of `inverse` differentiate its closed form, and may be NaN at the ends of
    this range.

    Parameters may be variables, which are read at each use, as in TFP. A `beta` that is not known, in a
    graph, makes everything NaN where it is out of range.

    Args:
      logits: log-odds of z = 1; float tensor, any shape.
      beta: inverse temperature, in (0, 1000]; a number or a tensor that broadcasts against `logits`.
      validate_args: as in `tfb.Bijector`.
      name: name of the bijector.

    Raises:
      ValueError: if `beta` is known and not in (0, 1000], or if the dtypes differ.
    """

    def __init__(
        self,
        logits,
        beta,
        validate_args: bool = False,
        name: str = "overlapping_exponential_cdf",
    ):
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            dtype = _parameters.common_dtype(logits, beta)
            (self._logits,) = _parameters.keep(None, dtype, logits=logits)
            (self._beta,) = _parameters.keep(checked, dtype, beta=beta)
            super().__init__(
                forward_min_event_ndims=0,
                dtype=dtype,
                validate_args=validate_args,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {"logits": tfp.util.ParameterProperties(), "beta": beta_properties(dtype)}

    @property
    def logits(self) -> tf.Tensor:
        """Log-odds of z = 1."""
        return self._logits

    @property
    def beta(self) -> tf.Tensor:
        """Inverse temperature."""
        return self._beta

    @classmethod
    def _is_increasing(cls):
        return True

    def _read(self):
        return *_parameters.read(None, self._logits), *_parameters.read(checked, self._beta)

    def _forward(self, x):
        return cdf(x, *self._read())

    def _inverse(self, y):
        return quantile(y, *self._read())

    def _forward_log_det_jacobian(self, x):
        return log_density(x, *self._read())
