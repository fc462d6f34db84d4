"""Priors over groups of units, each a layer with

- `rbm`: the Boltzmann machine, or `None` where the prior is normalized;
- `family`: the class of the groups' laws;
- `law(i, earlier, training)`: a function that makes the law p of group `i` given the values of the earlier
  ones, or `None` where the Boltzmann machine holds it.
"""

import functools

import keras
import tensorflow as tf

from tfdvae.latents import BoltzmannPrior
from tfdvae.latents.laws import LAWS
from tfdvae.layers import Smoothing
from tfdvae.layers.dense import DenseStack
from tfdvae.objectives.kl import BOUNDS

PRIORS = ("rbm", *LAWS)


class DirectedPrior(keras.layers.Layer):
    """Directed factorial groups, p(z_i | zeta_<i) (Vahdat et al. (2018), section 4) or p(h_i | h_<i).

    The first group's parameters are weights, or zero where the law says so: continuous variables are standard
    normal there.

    Args:
      latent_units: units of each group.
      family: the class of the laws, as `Bernoulli` or `Normal`.
      network: keyword arguments of the `DenseStack`s of the later groups.
    """

    rbm = None

    def __init__(self, latent_units, family, network, **kwargs):
        super().__init__(**kwargs)
        self.latent_units = tuple(latent_units)
        self.family = family
        parameters = family.parameters_per_unit
        self.first_logits = None
        if not family.standard_first:
            self.first_logits = self.add_weight(
                shape=(parameters * self.latent_units[0],), initializer="zeros", name="first_logits"
            )
        self.networks = [
            DenseStack(self.latent_units[:i], parameters * units, name=f"prior_{i}", **network)
            for i, units in enumerate(self.latent_units)
            if i > 0
        ]
        self.built = True

    def law(self, i, earlier, training=False):
        """Makes p of group `i`."""
        return functools.cache(lambda: self.family(self._parameters(i, earlier, training)))

    def _parameters(self, i, earlier, training):
        if i > 0:
            return self.networks[i - 1](earlier, training=training)
        if self.first_logits is None:
            return tf.zeros([self.family.parameters_per_unit * self.latent_units[0]])
        return tf.convert_to_tensor(self.first_logits)


def make_prior(name, latent_units, *, bound, smoothing, sides, network):
    """The prior of that name, `"rbm"`, `"bernoulli"` or `"normal"`, after checks that its bound is valid.

    Args:
      name: one of `PRIORS`.
      latent_units: units of each group.
      bound: of the directed binary prior, `"joint"` or `"marginal"`.
      smoothing: the layer that smooths binary groups.
      sides: of the Boltzmann machine; see `BoltzmannPrior`.
      network: keyword arguments of the `DenseStack`s of a directed prior.

    Raises:
      ValueError: for unknown names, empty sides, and combinations that have no valid bound.
    """
    _check_name(name, sides)
    if bound not in BOUNDS:
        raise ValueError(f"`bound` must be one of {BOUNDS}. Received: bound={bound!r}")
    if name != "bernoulli" and bound == "marginal":
        raise ValueError(
            f'The marginal bound is one of the directed binary prior ("bernoulli"). Received: prior={name!r}'
        )
    if name != "normal":
        check_smoothing(smoothing, "joint" if name == "rbm" else bound)
    if name == "rbm":
        return BoltzmannPrior(latent_units, sides, name="prior")
    return DirectedPrior(latent_units, LAWS[name], network, name="prior")


class FactorialPrior(keras.layers.Layer):
    """Independent factorial groups, p(z_i).

    Their parameters are weights, or zero where the law says so: continuous variables are standard normal.

    Args:
      latent_units: units of each group.
      family: the class of the laws, as `Bernoulli` or `Normal`.
    """

    rbm = None

    def __init__(self, latent_units, family, **kwargs):
        super().__init__(**kwargs)
        self.latent_units = tuple(latent_units)
        self.family = family
        self.parameters = []
        for i, units in enumerate(self.latent_units):
            shape = (family.parameters_per_unit * units,)
            if family.standard_first:
                self.parameters.append(tf.zeros(shape))
            else:
                self.parameters.append(self.add_weight(shape=shape, initializer="zeros", name=f"logits_{i}"))
        self.built = True

    def law(self, i, earlier, training=False):
        """Makes p of group `i`."""
        del earlier, training
        return functools.cache(lambda: self.family(tf.convert_to_tensor(self.parameters[i])))


def make_factorial_prior(name, latent_units, *, sides, smoothing):
    """The prior of that name over groups that are independent unless a Boltzmann machine holds them; `None`
    without groups. Arguments and errors are those of `make_prior`.
    """
    _check_name(name, sides)
    if not latent_units:
        return None
    if name == "rbm":
        check_smoothing(smoothing, "joint")
        return BoltzmannPrior(latent_units, sides, name="prior")
    return FactorialPrior(latent_units, LAWS[name], name="prior")


def _check_name(name, sides):
    if name not in PRIORS:
        raise ValueError(f"`prior` must be one of {PRIORS}. Received: prior={name!r}")
    if name != "rbm" and sides is not None:
        raise ValueError(
            f'Only the Boltzmann machine of prior="rbm" has sides. Received: prior={name!r}, sides={sides!r}'
        )


def smoothing_or_default(smoothing) -> Smoothing:
    """The `Smoothing` that is given, or the overlapping exponential with beta 8.

    Raises:
      ValueError: if it is something else.
    """
    if smoothing is None:
        return Smoothing("overlapping_exponential", beta=8.0)
    if not isinstance(smoothing, Smoothing):
        raise ValueError(
            "`smoothing` must be a `tfdvae.layers.Smoothing`, such as "
            f'Smoothing("overlapping_exponential", beta=8.0). Received: smoothing={smoothing!r}'
        )
    return smoothing


def check_smoothing(smoothing, bound) -> None:
    """Checks that the smoothing has what a bound needs; the Boltzmann machine needs what `"joint"` does.

    Raises:
      ValueError: if not, or if the smoothed variables do not tend to 0 and 1.
    """
    if bound == "marginal" and not smoothing.has_density:
        raise ValueError(
            "The marginal bound needs a density of zeta, and the mixed law of "
            f"{smoothing.smoothing!r} has none (its reparameterized gradient would miss the spike). "
            'Use bound="joint"'
        )
    config = smoothing.get_config()
    locations = config.get("loc0", 0.0), config.get("loc1", 1.0)
    if locations != (0.0, 1.0):
        raise ValueError(
            "The latents of the binary limit are 0 and 1, so the smoothing must tend to them. Received: "
            f"{smoothing.smoothing!r} with (loc0, loc1)={locations}"
        )
    if bound == "joint" and not smoothing.has_posterior:
        raise ValueError(
            f"With {smoothing.smoothing!r}, z is a function of zeta, whose law given z depends on "
            'x: the joint and the Boltzmann bounds do not apply. Use prior="bernoulli" with '
            'bound="marginal", or another smoothing'
        )
