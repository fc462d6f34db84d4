"""Priors over latent groups, behind one interface.

Each prior is a Keras layer with
- `rbm`: the Boltzmann machine, or `None` where the prior is normalized;
- `family`: that of its groups; see `posteriors`;
- `kl_per_group(posteriors, step, training)`: KL terms of one sample, `[groups, ...]`, without log Z;
- `log_ratio(posteriors, step, seed)`: log p*(latents) - log q(latents | x) of that sample;
- `sample(num_samples, seed, ...)`: a list of latents, one array a group.
"""

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann import GibbsState, RestrictedBoltzmannMachine, gibbs_sweeps, row_gibbs_sweeps
from tfdvae.layers.dense import DenseStack
from tfdvae.models.posteriors import BinaryFamily, NormalFamily
from tfdvae.objectives import GroupMoments, unnormalized_boltzmann_kl

PRIORS = ("rbm", "bernoulli", "normal")
BOUNDS = ("joint", "marginal")
SIDES = ("left", "right", "split")


def default_sides(num_groups: int) -> tuple[str, ...]:
    """One group is split in half; of several, the first half of the groups is the left side."""
    if num_groups == 1:
        return ("split",)
    num_left = num_groups // 2
    return ("left",) * num_left + ("right",) * (num_groups - num_left)


class BoltzmannPrior(keras.layers.Layer):
    """An RBM over all binary groups (Vahdat et al. (2018), section 5).

    Args:
      latent_units: units of each group.
      family: the `BinaryFamily` of the groups.
      sides: for each group `"left"`, `"right"` or `"split"` (its first half, rounded down, is left).
    """

    def __init__(self, latent_units, family, sides=None, **kwargs):
        super().__init__(**kwargs)
        self.family = family
        self.latent_units = tuple(latent_units)
        self.sides = tuple(sides) if sides is not None else default_sides(len(self.latent_units))
        if len(self.sides) != len(self.latent_units) or set(self.sides) - set(SIDES):
            raise ValueError(
                f"`sides` must give one of {SIDES} for each of the {len(self.latent_units)} groups. "
                f"Received: sides={self.sides}"
            )
        part = {"left": lambda n: n, "right": lambda n: 0, "split": lambda n: n // 2}
        self.left_units = tuple(part[s](n) for s, n in zip(self.sides, self.latent_units, strict=True))
        num_left, num_right = sum(self.left_units), sum(self.latent_units) - sum(self.left_units)
        if not num_left or not num_right:
            raise ValueError(
                f"Both sides of the Boltzmann machine need units. Received: sides={self.sides} for groups of "
                f"{self.latent_units} units, which leaves {num_left} on the left and {num_right} on the right"
            )
        self.rbm = RestrictedBoltzmannMachine(num_left, num_right, name="rbm")
        self.built = True

    def _sides(self, values):
        """Splits each group's `[..., units]` into its left and right parts."""
        parts = [(v[..., :n], v[..., n:]) for v, n in zip(values, self.left_units, strict=True)]
        return [left for left, _ in parts], [right for _, right in parts]

    def energy(self, values) -> tf.Tensor:
        """E(z) of a list of groups, `[..., units]`; returns `[...]`."""
        left, right = self._sides(values)
        return self.rbm.energy(tf.concat(left, axis=-1), tf.concat(right, axis=-1))

    def kl_per_group(self, posteriors, *, step, training=False) -> tf.Tensor:
        """KL(q || p) - log Z, the machine being one group: `[1, batch]`."""
        del step, training
        logits = [p.logits for p in posteriors]
        means = self._sides([tf.sigmoid(x) for x in logits])
        posterior = self._sides([p.posterior_probs for p in posteriors])
        moments = [GroupMoments(*m) for m in zip(*means, *posterior, strict=True)]
        return unnormalized_boltzmann_kl(self.rbm, logits, moments)[tf.newaxis]

    def log_ratio(self, posteriors, *, step, seed) -> tf.Tensor:
        """-E(z) - log q(z | x) for z ~ q(z | x, zeta)."""
        del step
        seeds = random.split(seed, len(posteriors))
        z = [p.draw_binary(seed=s) for p, s in zip(posteriors, seeds, strict=True)]
        log_posteriors = [p.log_prob_binary(v) for p, v in zip(posteriors, z, strict=True)]
        return -self.energy(z) - sum(tf.reduce_sum(x, axis=-1) for x in log_posteriors)

    def sample(self, num_samples, *, seed, chains=None, num_sweeps=100) -> list[tf.Tensor]:
        """Binary groups after `num_sweeps` Gibbs sweeps from random members of `chains`.

        With seeds of rows, `[num_samples, 2]`, a row's start and sweeps are its own, and `num_sweeps` may be
        a tensor `[num_samples]`.
        """
        seed_start, seed_sweeps = random.split(seed)
        if chains is None:
            left = random.bernoulli(tf.fill([num_samples, self.rbm.left_units], 0.5), seed=seed_start)
        else:
            stored = tf.convert_to_tensor(chains.left)
            rows = tf.math.floormod(random.bits([num_samples], seed=seed_start), tf.shape(stored)[0])
            left = tf.cast(tf.gather(stored, rows), tf.float32)
        if random.are_row_seeds(seed):
            sweeps = tf.broadcast_to(num_sweeps, [num_samples])
            left, right = row_gibbs_sweeps(self.rbm.parameters, left, sweeps, seeds=seed_sweeps)
        else:
            state = GibbsState(left, tf.zeros([num_samples, self.rbm.right_units]))
            left, right = gibbs_sweeps(self.rbm.parameters, state, num_sweeps, seed=seed_sweeps)
        lefts = tf.split(left, self.left_units, axis=-1)
        rights = tf.split(
            right, [n - m for n, m in zip(self.latent_units, self.left_units, strict=True)], axis=-1
        )
        return [tf.concat(parts, axis=-1) for parts in zip(lefts, rights, strict=True)]


class DirectedPrior(keras.layers.Layer):
    """Directed factorial groups, p(z_i | zeta_<i) (Vahdat et al. (2018), section 4) or p(h_i | h_<i).

    The first group's logits are weights if it is binary; a continuous one is standard normal.

    Args:
      latent_units: units of each group.
      family: `BinaryFamily` or `NormalFamily`.
      network: keyword arguments of the `DenseStack`s of the later groups.
    """

    rbm = None

    def __init__(self, latent_units, family, network, **kwargs):
        super().__init__(**kwargs)
        self.latent_units = tuple(latent_units)
        self.family = family
        parameters = family.parameters_per_unit
        self.first_logits = None
        if isinstance(family, BinaryFamily):
            self.first_logits = self.add_weight(
                shape=(self.latent_units[0],), initializer="zeros", name="first_logits"
            )
        self.networks = [
            DenseStack(self.latent_units[:i], parameters * units, name=f"prior_{i}", **network)
            for i, units in enumerate(self.latent_units)
            if i > 0
        ]
        self.built = True

    def _first_parameters(self):
        if self.first_logits is None:
            return tf.zeros([self.family.parameters_per_unit * self.latent_units[0]])
        return tf.convert_to_tensor(self.first_logits)

    def parameters(self, values, training) -> list[tf.Tensor]:
        """Parameters of every group given the earlier groups' values."""
        later = [net(values[: i + 1], training=training) for i, net in enumerate(self.networks)]
        return [self._first_parameters(), *later]

    def kl_per_group(self, posteriors, *, step, training=False) -> tf.Tensor:
        """One KL a group, `[groups, batch]`."""
        parameters = self.parameters([p.value for p in posteriors], training)
        pairs = zip(posteriors, parameters, strict=True)
        return tf.stack([self.family.kl(p, theta, step=step) for p, theta in pairs])

    def log_ratio(self, posteriors, *, step, seed) -> tf.Tensor:
        """log p - log q of the sample."""
        parameters = self.parameters([p.value for p in posteriors], training=False)
        seeds = random.split(seed, len(posteriors))
        triples = zip(posteriors, parameters, seeds, strict=True)
        return sum(self.family.log_ratio(p, theta, step=step, seed=s) for p, theta, s in triples)

    def sample(self, num_samples, *, seed, chains=None, num_sweeps=None) -> list[tf.Tensor]:
        """Groups by ancestral sampling."""
        del chains, num_sweeps
        first = self._first_parameters()
        parameters, values = tf.broadcast_to(first, [num_samples, *first.shape]), []
        for i, s in enumerate(random.split(seed, len(self.latent_units))):
            if i > 0:
                parameters = self.networks[i - 1](values, training=False)
            values.append(self.family.sample(parameters, seed=s))
        return values


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
    if name not in PRIORS:
        raise ValueError(f"`prior` must be one of {PRIORS}. Received: prior={name!r}")
    if bound not in BOUNDS:
        raise ValueError(f"`bound` must be one of {BOUNDS}. Received: bound={bound!r}")
    if name != "bernoulli" and bound == "marginal":
        raise ValueError(
            f'The marginal bound is one of the directed binary prior ("bernoulli"). Received: prior={name!r}'
        )
    if name != "rbm" and sides is not None:
        raise ValueError(
            f'Only the Boltzmann machine of prior="rbm" has sides. Received: prior={name!r}, sides={sides!r}'
        )
    if name == "normal":
        return DirectedPrior(latent_units, NormalFamily(), network, name="prior")
    check_smoothing(smoothing, "joint" if name == "rbm" else bound)
    if name == "rbm":
        return BoltzmannPrior(latent_units, BinaryFamily(smoothing), sides, name="prior")
    return DirectedPrior(latent_units, BinaryFamily(smoothing, bound), network, name="prior")


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
