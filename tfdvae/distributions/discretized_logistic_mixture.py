"""The discretized logistic mixture of PixelCNN++: Salimans et al. (2017), sections 2.1 and 2.2."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae import random
from tfdvae._validation import is_integer
from tfdvae.bijectors import _parameters

tfd = tfp.distributions


class DiscretizedLogisticMixture(tfd.Distribution):
    """One pixel: an integer in low..high for every channel, from a mixture of K components.

    A value x is scaled to s(x) = 2 (x - low) / (high - low) - 1, in [-1, 1]: the unit of the means and
    scales, in which a bin has the half-width h = 1 / (high - low). Given component k,

        P(x_i | x_<i, k) = sigmoid((s(x_i) + h - m_i) / scale_i) - sigmoid((s(x_i) - h - m_i) / scale_i),
        m_i = means[k, i] + sum_{j < i} coefficients[k, i (i - 1) / 2 + j] s(x_j),

    where the first sigmoid is 1 for x_i = high and the second is 0 for x_i = low: the end bins take the
    tails. All channels share one component. For red, green and blue the coefficients are those of
    green on red, blue on red, blue on green. Without coefficients the channels are independent given
    the component. Salimans et al. (2017), "PixelCNN++", eq. 2 and 3. Their code squashes the
    coefficients with tanh and clips log_scales at -7; here both are taken as they come.

    Batch shape: the broadcast shape of the `...` below. Event shape: `[channels]`. `log_prob` is in nats,
    takes values of any numeric dtype, and is -inf where one is not an integer in low..high. `sample`
    gives exact integers in the dtype of the parameters, and is not reparameterized. In float32, values
    and gradients are finite for |log_scales| <= 80 and |means| <= 1000. The mean is not defined: with
    coefficients it needs a sum over all pixels. Parameters may be variables, which are read at each use.

    Args:
      mixture_logits: unnormalized log-weights of the components, `[..., K]`; float32 or float64.
      means: locations in the unit of s(x), `[..., K, channels]`; the same dtype.
      log_scales: logarithms of the scales in the unit of s(x), `[..., K, channels]`; the same dtype.
      coefficients: of channels on earlier ones, `[..., K, channels (channels - 1) / 2]`, or `None`.
      low: the lowest value, an integer.
      high: the highest value, an integer greater than `low`.
      validate_args: as in `tfd.Distribution`.
      allow_nan_stats: as in `tfd.Distribution`.
      name: name of the distribution.

    Raises:
      ValueError: if the shapes do not fit together, if dtypes differ or are neither float32 nor float64,
        or if `low` and `high` are not integers, exact in that dtype, with low < high.
    """

    def __init__(
        self,
        mixture_logits,
        means,
        log_scales,
        coefficients=None,
        low: int = 0,
        high: int = 255,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "DiscretizedLogisticMixture",
    ):
        parameters = dict(locals())
        tensors = {key: parameters[key] for key in self._parameter_properties(None)}
        with tf.name_scope(name) as name:
            dtype = _common_dtype(tensors)
            kept = _parameters.keep(None, dtype, **tensors)
            _check_shapes(dict(zip(tensors, kept, strict=True)))
            _check_range(low, high, dtype)
            self._mixture_logits, self._means, self._log_scales, self._coefficients = kept
            self._low, self._high = int(low), int(high)
            super().__init__(
                dtype=dtype,
                reparameterization_type=tfd.NOT_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        event_ndims = {"mixture_logits": 1, "means": 2, "log_scales": 2, "coefficients": 2}
        return {name: tfp.util.ParameterProperties(event_ndims=n) for name, n in event_ndims.items()}

    @property
    def mixture_logits(self) -> tf.Tensor:
        """Unnormalized log-weights of the components."""
        return self._mixture_logits

    @property
    def means(self) -> tf.Tensor:
        """Locations of the components, without what earlier channels add to them."""
        return self._means

    @property
    def log_scales(self) -> tf.Tensor:
        """Logarithms of the components' scales."""
        return self._log_scales

    @property
    def coefficients(self) -> tf.Tensor | None:
        """Coefficients of channels on earlier ones, or `None`."""
        return self._coefficients

    @property
    def low(self) -> int:
        """The lowest value."""
        return self._low

    @property
    def high(self) -> int:
        """The highest value."""
        return self._high

    def _event_shape(self):
        return self._means.shape[-1:]

    def _event_shape_tensor(self):
        return tf.constant(self._means.shape[-1:], tf.int32)

    def _read(self):
        """The present values of the four parameters, tensors or `None`."""
        return _parameters.read(None, self._mixture_logits, self._means, self._log_scales, self._coefficients)

    def _scaled(self, x):
        return (2.0 * x - (self._low + self._high)) / (self._high - self._low)

    def _log_prob(self, value):
        if not value.shape[-1:].is_compatible_with(self.event_shape):
            raise ValueError(f"`value` must have shape [..., {self.event_shape[0]}]. Received: {value.shape}")
        mixture_logits, means, log_scales, coefficients = self._read()
        # float64 up to the distance from the mean: a narrow scale magnifies the rounding of s(x) - m_i,
        # and in float32 neighbouring bins would no longer meet.
        x, means = tf.cast(value, tf.float64), tf.cast(means, tf.float64)
        coefficients = None if coefficients is None else tf.cast(coefficients, tf.float64)
        outside = (x < self._low) | (x > self._high) | (tf.abs(x - tf.round(x)) > 0.0)  # False for NaN
        # Put inside first, for the gradient of a branch not taken is 0 times an infinite distance.
        x = tf.where(outside, tf.cast(self._low, tf.float64), x)[..., tf.newaxis, :]
        scaled = tf.unstack(self._scaled(x), num=self.event_shape[0], axis=-1)
        log_joint = tf.nn.log_softmax(mixture_logits)
        for i, log_scale in enumerate(tf.unstack(log_scales, axis=-1)):
            distance = scaled[i] - _conditional_mean(i, means, coefficients, scaled)
            log_joint += self._log_bin(x[..., i], distance, log_scale)
        log_prob = tf.reduce_logsumexp(log_joint, axis=-1)
        return tf.where(tf.reduce_any(outside, axis=-1), tf.constant(-np.inf, self.dtype), log_prob)

    def _log_bin(self, x, distance, log_scale):
        """The log-probability of a channel's bin, elementwise; `distance` is s(x) - m_i."""
        half_width, inverse_scale = 1.0 / (self._high - self._low), tf.exp(-log_scale)
        upper = tf.cast(distance + half_width, self.dtype) * inverse_scale
        lower = tf.cast(distance - half_width, self.dtype) * inverse_scale
        # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): logarithms of one sign, so
        # nothing cancels, and no density has to stand in for a small difference. All branches of the
        # tf.where are finite with finite gradients; NaN fails both comparisons and stays NaN.
        lowest, highest, zero = x <= self._low, x >= self._high, tf.zeros([], self.dtype)
        below_upper = tf.where(highest, zero, -tf.nn.softplus(-upper))
        above_lower = tf.where(lowest, zero, -tf.nn.softplus(lower))
        between = tf.math.log(-tf.math.expm1(-2.0 * half_width * inverse_scale))
        return below_upper + above_lower + tf.where(lowest | highest, zero, between)

    def _sample_n(self, n, seed=None):
        (seed,) = random.split(seed, 1, salt="discretized_logistic_mixture")
        seed = random.sample_seeds(seed, n)
        shape = tf.concat([[n], self.batch_shape_tensor(), [self.num_uniforms]], axis=0)
        return self.from_uniforms(random.uniform(shape, seed=seed, dtype=self.dtype))

    @property
    def num_uniforms(self) -> int:
        """K + channels: numbers of which a pixel is a function."""
        return self._mixture_logits.shape[-1] + self._means.shape[-1]

    def from_uniforms(self, uniforms) -> tf.Tensor:
        """Pixels as functions of independent uniform numbers in (0, 1), `[..., num_uniforms]`: a sample.

        Returns:
          `[..., channels]`.
        """
        mixture_logits, *parameters = self._read()
        sizes = [self._mixture_logits.shape[-1], self._means.shape[-1]]
        for_component, for_noise = tf.split(uniforms, sizes, axis=-1)
        # Gumbel-max: a cumulative sum may round so that it picks a component of weight 0.
        component = tf.argmax(mixture_logits - tf.math.log(-tf.math.log(for_component)), axis=-1)
        chosen = tf.one_hot(component, sizes[0], dtype=self.dtype)[..., tf.newaxis]
        means, log_scales, coefficients = (
            None if parameter is None else tf.reduce_sum(chosen * parameter, axis=-2)
            for parameter in parameters
        )
        noise = tf.exp(log_scales) * (tf.math.log(for_noise) - tf.math.log1p(-for_noise))
        values, scaled = [], []
        for i in range(sizes[1]):
            point = _conditional_mean(i, means, coefficients, scaled) + noise[..., i]
            value = tf.round(0.5 * (point * (self._high - self._low) + (self._low + self._high)))
            values.append(tf.clip_by_value(value, float(self._low), float(self._high)))
            scaled.append(self._scaled(values[-1]))
        return tf.stack(values, axis=-1)


def _conditional_mean(i: int, means, coefficients, scaled):
    """m_i of the class's docstring: for all components, or for the one that was drawn."""
    mean = means[..., i]
    if coefficients is not None:
        for j in range(i):
            mean += coefficients[..., i * (i - 1) // 2 + j] * scaled[j]
    return mean


def _common_dtype(tensors: dict) -> tf.DType:
    for name, value in tensors.items():
        dtype = tf.as_dtype(getattr(value, "dtype", tf.float32))
        if dtype not in (tf.float32, tf.float64):
            raise ValueError(f"`{name}` must be float32 or float64. Received: dtype {dtype.name}")
    return _parameters.common_dtype(*tensors.values())


def _check_shapes(tensors: dict) -> None:
    """Checks the shapes as far as they are known; K and the number of channels have to be."""
    shapes = {name: tensor.shape for name, tensor in tensors.items() if tensor is not None}
    k, c = (shapes[name][-1] if shapes[name].rank else None for name in ("mixture_logits", "means"))
    try:
        if not (k and c):
            raise ValueError(f"K={k} and channels={c} must be known and positive")
        events = {"mixture_logits": [k], "coefficients": [k, c * (c - 1) // 2]}
        batch = tf.TensorShape([])
        for name, shape in shapes.items():
            event = events.get(name, [k, c])
            shape[-len(event) :].assert_is_compatible_with(event)
            batch = tf.broadcast_static_shape(batch, shape[: -len(event)])
    except ValueError as error:
        raise ValueError(
            "The shapes must be mixture_logits [..., K], means and log_scales [..., K, channels], and "
            "coefficients [..., K, channels (channels - 1) / 2], where `...` broadcast. Received: "
            + ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        ) from error


def _check_range(low, high, dtype: tf.DType) -> None:
    largest = 2 ** (np.finfo(dtype.as_numpy_dtype).nmant + 1)
    integers = all(map(is_integer, (low, high)))
    if not integers or not -largest <= low < high <= largest:
        raise ValueError(
            f"`low` and `high` must be integers in [-{largest}, {largest}] with low < high. "
            f"Received: low={low!r}, high={high!r}"
        )
