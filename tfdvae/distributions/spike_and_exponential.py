"""The spike-and-exponential smoothing of Rolfe (2016), with the gradient of its posterior."""

import tensorflow as tf

from tfdvae.bijectors import _parameters
from tfdvae.bijectors import overlapping_exponential_cdf as exponential
from tfdvae.distributions.smoothed_bernoulli import SmoothedBernoulli

_LARGE_BETA = 20.0


@tf.custom_gradient
def _quantile(rho, logits, beta):
    """0 for rho <= p; else the zeta with p + q expm1(beta zeta) / expm1(beta) = rho."""
    p, q = tf.sigmoid(-logits), tf.sigmoid(logits)
    # rho - p and q - (1 - rho) are equal; each is exact where its small operand is small.
    excess = tf.where(logits < 0.0, q - (1.0 - rho), rho - p)
    on = excess > 0.0
    # Where z = 0, q may have underflowed; it is not used there.
    safe_q = tf.where(on, q, 1.0)
    fraction = tf.clip_by_value(excess / safe_q, 0.0, 1.0)
    # log(1 + f expm1(beta)) = beta + log(f + (1 - f) exp(-beta)): the first is exact for small zeta, the
    # second does not overflow.
    exact = tf.math.log1p(fraction * tf.math.expm1(tf.minimum(beta, _LARGE_BETA)))
    large = beta + tf.math.log(fraction + (1.0 - fraction) * tf.exp(-beta))
    zeta = tf.clip_by_value(tf.where(beta < _LARGE_BETA, exact, large) / beta, 0.0, 1.0)

    def gradient(upstream):
        upstream = tf.where(on, upstream, 0.0)
        # exp(-beta (1 - zeta)) is at least the fraction, which never is as small as exp(-80).
        to_one = tf.math.expm1(tf.minimum(beta * (1.0 - zeta), 80.0)) / beta
        d_rho = (to_one + 1.0 / beta) * -tf.math.expm1(-beta) / safe_q
        d_beta = (tf.math.expm1(-beta * zeta) / tf.math.expm1(-beta) - zeta) / beta
        return (
            _parameters.sum_to_shape_of(upstream * d_rho, rho),
            _parameters.sum_to_shape_of(upstream * p * to_one, logits),
            _parameters.sum_to_shape_of(upstream * d_beta, beta),
        )

    return zeta, gradient


class SpikeAndExponential(SmoothedBernoulli):
    """zeta = 0 if z = 0, and density r(zeta|1) = beta exp(beta zeta) / (exp(beta) - 1) on [0, 1] if z = 1.

    A mixed law: a point of mass 1 - q at 0 and a density on (0, 1]. `sample`, `quantile` (differentiable,
    with gradient 0 on the spike), `cdf`, `posterior_probs` and `binary_limit` are defined. A density
    with respect to zeta does not exist, so `log_prob`, `log_density_ratio` and `posterior_logits`
    (which is -inf or inf) are not; they raise NotImplementedError. Values and gradients are finite for
    |logits| <= 30 and 0 < beta <= 1000. Rolfe (2016), "Discrete variational autoencoders".

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

    def __init__(
        self,
        logits=None,
        probs=None,
        beta=None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "SpikeAndExponential",
    ):
        parameters = dict(locals())
        _parameters.require("beta", beta)
        with tf.name_scope(name) as name:
            dtype = _parameters.common_dtype(logits, probs, beta)
            (self._beta,) = _parameters.keep(exponential.checked, dtype, beta=beta)
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
        return properties | {"beta": exponential.beta_properties(dtype)}

    @property
    def beta(self) -> tf.Tensor:
        """Inverse temperature."""
        return self._beta

    def posterior_probs(self, value, name: str = "posterior_probs") -> tf.Tensor:
        """q(z=1|zeta=value), with the gradient that makes expectations under `sample` right.

        The value is the step function 1[value > 0]. Let q = sigmoid(logits) depend on the parameters
        phi, and zeta = quantile(rho). As phi moves, the boundary rho = 1 - q between spike and slope
        moves too, and automatic differentiation of a step function misses what crosses it: in
        d/dphi E[1[zeta > 0] f], with f a function of later variables, it drops the term dq/dphi E[f].
        Rolfe (2016) restores it by hand; here it is carried by the result's gradient,

            d/dphi posterior_probs = (1 - z) / (1 - q) dq/dphi,    z = 1[value > 0],

        that is, by z + (1 - z) / (1 - sg(q)) (q - sg(q)), sg = stop_gradient. It is a gradient
        surrogate: right in expectation over rho for expressions linear in the result, and flowing to
        the parameters only, never to `value`.

        Args:
          value: zeta; float tensor, shape `sample_shape + batch_shape`.
          name: name of the operation.

        Returns:
          0 or 1, of the broadcast shape of `value` and the parameters.
        """
        return super().posterior_probs(value, name)

    def _posterior_probs(self, zeta):
        z = tf.cast(zeta > 0.0, self.dtype)
        # dq / (1 - q) = q dlogits: the same surrogate, without a division.
        logits = self.logits_parameter()
        step = tf.sigmoid(tf.stop_gradient(logits)) * (logits - tf.stop_gradient(logits))
        return z + (1.0 - z) * step

    def _read(self):
        return _parameters.read(exponential.checked, self._beta)

    def _quantile(self, value):
        return _quantile(value, self.logits_parameter(), *self._read())

    def _cdf(self, value):
        (beta,), logits = self._read(), self.logits_parameter()
        inside = tf.clip_by_value(value, 0.0, 1.0)
        # expm1(beta zeta) / expm1(beta), without the overflow of exp(beta).
        slope = tf.exp(-beta * (1.0 - inside)) * tf.math.expm1(-beta * inside) / tf.math.expm1(-beta)
        below = tf.sigmoid(-logits) + tf.sigmoid(logits) * slope
        return tf.where(value < 0.0, 0.0, below)

    def _log_prob(self, value):
        raise NotImplementedError(_refusal("log_prob"))

    def _log_density_ratio(self, zeta):
        raise NotImplementedError(_refusal("log_density_ratio` and `posterior_logits"))


def _refusal(what: str) -> str:
    return (
        f"SpikeAndExponential does not define `{what}`: it is a mixed law with a point mass at 0, so that "
        "r(zeta|0) has no density and z is a function of zeta. Defined are `sample`, `quantile`, `cdf`, "
        "`posterior_probs` and `binary_limit`. Use OverlappingExponential or OverlappingLogistic where "
        "a density is needed."
    )
