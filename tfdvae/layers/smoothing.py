"""The smoothing transformations as one Keras layer."""

import inspect

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae._schedules import check_all_steps, is_schedule, number_or_schedule
from tfdvae.bijectors import _parameters
from tfdvae.distributions import (
    BinaryConcrete,
    OverlappingExponential,
    OverlappingLogistic,
    SpikeAndExponential,
)
from tfdvae.distributions.smoothed_bernoulli import RelaxedBernoulli

_SMOOTHINGS = {
    "overlapping_exponential": OverlappingExponential,
    "overlapping_logistic": OverlappingLogistic,
    "spike_and_exponential": SpikeAndExponential,
    "binary_concrete": BinaryConcrete,
}
# Of a distribution's constructor, what is no parameter of the smoothing.
_OTHER_ARGUMENTS = ("self", "logits", "probs", "validate_args", "allow_nan_stats", "name")


@keras.saving.register_keras_serializable(package="tfdvae")
class Smoothing(keras.layers.Layer):
    """Draws smoothed binary variables in training, and binary ones otherwise.

    ```python
    decay = keras.optimizers.schedules.PolynomialDecay(5.0, decay_steps=10_000, end_learning_rate=8.0)
    smoothing = Smoothing("overlapping_exponential", beta=decay)
    zeta = smoothing(logits, seed=seed, training=True, step=step)
    q = smoothing.distribution(logits, step=step)
    ```

    One seed serves both modes: the same uniform rho is pushed through the quantile function of the
    smoothed law or of its binary limit, so that the two agree as the smoothing is removed.

    The layer has no weights and no state. Logits in half precision are cast to float32.

    A smoothing of your own is a subclass with the attribute `distribution_class`, a `RelaxedBernoulli` or
    `SmoothedBernoulli` (see there what it implements), whose constructor takes `logits`, `probs` and the
    parameters; the subclass is constructed with the parameters alone.

    Args:
      smoothing: "overlapping_exponential" (parameter `beta`), "overlapping_logistic" (`scale`, and
        `loc0`, `loc1` if not 0 and 1), "spike_and_exponential" (`beta`) or "binary_concrete"
        (`temperature`); none for a subclass with a distribution of its own.
      name: name of the layer.
      trainable: as in `keras.layers.Layer`; without effect, as there are no weights.
      dtype: as in `keras.layers.Layer`; the result has the dtype of the logits.
      **parameters: each a number, or a `keras.optimizers.schedules.LearningRateSchedule` of the step. All
        values of Keras' `PolynomialDecay`, `ExponentialDecay`, `PiecewiseConstantDecay` and `CosineDecay` are
        checked at once, those of other schedules at each step (see `distribution`).

    Call arguments:
      logits: log-odds of z = 1; float tensor, any shape.
      seed: two int32 words, or an int (see `tfdvae.random`).
      training: whether to smooth.
      step: integer at which schedules are evaluated.

    Input shape:
      Any.

    Output shape:
      That of `logits`. In training zeta, in the support of the smoothing; otherwise z in {0, 1}.

    Raises:
      ValueError: if the smoothing is unknown, or a parameter is missing, unknown or out of range: of a
        schedule says at which step.
    """

    distribution_class: type[RelaxedBernoulli] | None = None

    def __init__(self, smoothing: str | None = None, *, name=None, trainable=True, dtype=None, **parameters):
        super().__init__(name=name, trainable=trainable, dtype=dtype, autocast=False)
        if self.distribution_class is None:
            if smoothing not in _SMOOTHINGS:
                raise ValueError(f"`smoothing` must be one of {sorted(_SMOOTHINGS)}. Received: {smoothing!r}")
            self.distribution_class = _SMOOTHINGS[smoothing]
        elif smoothing is not None:
            raise ValueError(
                f"{type(self).__name__} is a smoothing of its own and takes no name. Received: {smoothing!r}"
            )
        self.smoothing = smoothing or type(self).__name__
        required, optional = self._names(self.distribution_class)
        for parameter in required:
            if parameter not in parameters:
                raise ValueError(
                    f"The smoothing {self.smoothing!r} needs the parameter `{parameter}`. "
                    f"Received: {parameters}"
                )
        for parameter, value in parameters.items():
            if parameter not in required + optional:
                raise ValueError(
                    f"The smoothing {self.smoothing!r} has the parameters {required + optional}. "
                    f"Received: {parameter}={value!r}"
                )
            number_or_schedule(parameter, value)
        self._parameters = {
            parameter: value if is_schedule(value) else float(value)
            for parameter, value in parameters.items()
        }
        check_all_steps(self.check, self._parameters.values())
        self.built = True

    @staticmethod
    def _names(distribution_class):
        """The parameters of a law that must be given (their default is `None`), and the others."""
        arguments = inspect.signature(distribution_class.__init__).parameters
        defaults = {n: a.default for n, a in arguments.items() if n not in _OTHER_ARGUMENTS}
        required = [n for n, default in defaults.items() if default in (None, inspect.Parameter.empty)]
        return required, [n for n in defaults if n not in required]

    @property
    def has_density(self) -> bool:
        """Whether the distribution defines `log_prob`."""
        return self.distribution_class.has_density

    @property
    def has_posterior(self) -> bool:
        """Whether the distribution defines `posterior_probs`."""
        return self.distribution_class.has_posterior

    def parameter(self, step=0) -> dict[str, float | tf.Tensor]:
        """The parameters at a step: floats, and scalar tensors where there is a schedule."""
        return {
            name: tf.convert_to_tensor(value(step)) if is_schedule(value) else value
            for name, value in self._parameters.items()
        }

    def check(self, step) -> None:
        """Checks the parameters at a step.

        Raises:
          ValueError: if one is out of range: says which, its value and the step.
        """
        self.distribution(tf.zeros([]), step)

    def distribution(self, logits, step=0) -> RelaxedBernoulli:
        """The smoothed law of the variables with these logits, with the parameters of that step.

        In a graph, where the values of schedules are not known, all that it gives is NaN if one is out of
        range.

        Raises:
          ValueError: as `check`, where the values are known.
        """
        logits = _at_least_float32(logits)
        parameters = {
            name: tf.cast(value, logits.dtype) if tf.is_tensor(value) else value
            for name, value in self.parameter(step).items()
        }
        # The distribution checks the ranges of its parameters.
        scheduled = any(map(is_schedule, self._parameters.values()))
        with _parameters.at_step(tf.get_static_value(tf.convert_to_tensor(step)) if scheduled else None):
            return self.distribution_class(logits=logits, **parameters)

    def call(self, logits, *, seed, training=None, step=0):
        """Draws zeta (in training) or z; see the class."""
        logits = _at_least_float32(logits)
        rho = random.uniform(tf.shape(logits), seed=seed, dtype=logits.dtype)
        if training:
            return self.distribution(logits, step).quantile(rho)
        return tf.cast(rho > tf.sigmoid(-logits), logits.dtype)

    def compute_output_spec(self, logits, *, seed=None, training=None, step=0):
        """The shape of the logits; float32, or float64 if they are."""
        dtype = "float64" if keras.backend.standardize_dtype(logits.dtype) == "float64" else "float32"
        return keras.KerasTensor(logits.shape, dtype)

    def get_config(self):
        """The constructor's arguments, schedules serialized."""
        config = super().get_config()
        config.pop("autocast", None)
        parameters = {
            name: keras.saving.serialize_keras_object(value) if is_schedule(value) else value
            for name, value in self._parameters.items()
        }
        own = type(self).distribution_class is not None
        return {**config, **({} if own else {"smoothing": self.smoothing}), **parameters}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the layer, schedules included."""
        of_layers = ("name", "trainable", "dtype", "smoothing")
        config = {
            name: value if name in of_layers else keras.saving.deserialize_keras_object(value)
            for name, value in config.items()
        }
        return super().from_config(config)


def _at_least_float32(logits) -> tf.Tensor:
    logits = tf.convert_to_tensor(logits)
    return tf.cast(logits, tf.float32) if logits.dtype.size < 4 else logits
