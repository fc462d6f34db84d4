"""The Boltzmann machine of a prior: which units of it are which latent groups."""

import keras
import tensorflow as tf

from tfdvae import random
from tfdvae.boltzmann import GibbsState, RestrictedBoltzmannMachine, gibbs_sweeps, row_gibbs_sweeps
from tfdvae.latents.laws import Bernoulli

SIDES = ("left", "right", "split")


def default_sides(num_groups: int) -> tuple[str, ...]:
    """One group is split in half; of several, the first half of the groups is the left side."""
    if num_groups == 1:
        return ("split",)
    num_left = num_groups // 2
    return ("left",) * num_left + ("right",) * (num_groups - num_left)


class BoltzmannPrior(keras.layers.Layer):
    """An RBM over binary groups (Vahdat et al. (2018), section 5), or one with hidden units beside them.

    With hidden units all groups are the left side, the hidden units are the right one, and the energy of
    latents is the free energy -log sum_h exp(-E(z, h)) ("Learning deep generative models with discrete latent
    variables", eq. 4).

    Args:
      latent_units: units of each group.
      sides: for each group `"left"`, `"right"` or `"split"` (its first half, rounded down, is left).
      hidden_units: units of the machine beside the latents; 0 for none.

    Raises:
      ValueError: for unknown sides, sides without units, and sides of groups beside hidden units.
    """

    family = Bernoulli

    def __init__(self, latent_units, sides=None, hidden_units=0, **kwargs):
        super().__init__(**kwargs)
        self.latent_units = tuple(latent_units)
        self.hidden_units = hidden_units
        if hidden_units and sides is not None:
            raise ValueError(
                "Beside hidden units all groups are on the left side. Received: "
                f"hidden_units={hidden_units}, sides={sides!r}"
            )
        if hidden_units:
            sides = ("left",) * len(self.latent_units)
        self.sides = tuple(sides) if sides is not None else default_sides(len(self.latent_units))
        if len(self.sides) != len(self.latent_units) or set(self.sides) - set(SIDES):
            raise ValueError(
                f"`sides` must give one of {SIDES} for each of the {len(self.latent_units)} groups. "
                f"Received: sides={self.sides}"
            )
        part = {"left": lambda n: n, "right": lambda n: 0, "split": lambda n: n // 2}
        self.left_units = tuple(part[s](n) for s, n in zip(self.sides, self.latent_units, strict=True))
        self.right_units = tuple(n - m for n, m in zip(self.latent_units, self.left_units, strict=True))
        num_left, num_right = sum(self.left_units), sum(self.right_units) + hidden_units
        if not num_left or not num_right:
            raise ValueError(
                f"Both sides of the Boltzmann machine need units. Received: sides={self.sides} for groups of "
                f"{self.latent_units} units, which leaves {num_left} on the left and {num_right} on the right"
            )
        self.rbm = RestrictedBoltzmannMachine(num_left, num_right, name="rbm")
        self.built = True

    def law(self, i, earlier, training=False) -> None:
        """No group has a law of its own."""
        del i, earlier, training

    def parts(self, values) -> tuple[list, list]:
        """Splits each group's `[..., units]` into its left and right parts."""
        parts = [(v[..., :n], v[..., n:]) for v, n in zip(values, self.left_units, strict=True)]
        return [left for left, _ in parts], [right for _, right in parts]

    def state(self, values) -> GibbsState:
        """A list of groups, `[..., units]`, as the sides of the machine; hidden units are 0."""
        lefts, rights = self.parts(values)
        if self.hidden_units:
            rights = [tf.zeros(tf.concat([tf.shape(lefts[0])[:-1], [self.hidden_units]], axis=0))]
        return GibbsState(tf.concat(lefts, axis=-1), tf.concat(rights, axis=-1))

    def groups(self, state: GibbsState) -> list[tf.Tensor]:
        """The inverse of `state`."""
        lefts = tf.split(state.left, self.left_units, axis=-1)
        if self.hidden_units:
            return lefts
        rights = tf.split(state.right, self.right_units, axis=-1)
        return [tf.concat(parts, axis=-1) for parts in zip(lefts, rights, strict=True)]

    def energy(self, values) -> tf.Tensor:
        """E(z) of a list of groups, `[..., units]`, or their free energy; returns `[...]`, in nats."""
        if self.hidden_units:
            return self.rbm.free_energy(tf.concat(values, axis=-1))
        return self.rbm.energy(*self.state(values))

    def sample(self, num_samples, *, seed, start=None, num_sweeps=100, given=None) -> list[tf.Tensor]:
        """Binary groups after `num_sweeps` Gibbs sweeps.

        With seeds of rows, `[num_samples, 2]`, a row's start and sweeps are its own, and `num_sweeps` may be
        a tensor `[num_samples]`.

        Args:
          num_samples: number of samples.
          seed: of the starts and the sweeps.
          start: where the chains begin, an object with `start(num_samples, seed=) -> left` such as the
            negative phase of a training; fair coins without one.
          num_sweeps: of each chain.
          given: optional values by number of group, `[num_samples, units]`: these are held, and the others
            are drawn given them.

        Returns:
          One array a group, `[num_samples, units]`.

        Raises:
          ValueError: if `given` comes with seeds of rows.
        """
        seed_start, seed_sweeps = random.split(seed)
        if start is None:
            left = random.bernoulli(tf.fill([num_samples, self.rbm.left_units], 0.5), seed=seed_start)
        else:
            left = tf.cast(start.start(num_samples, seed=seed_start), tf.float32)
        if random.are_row_seeds(seed):
            if given:
                raise ValueError("With a seed for each row no groups can be given")
            sweeps = tf.broadcast_to(num_sweeps, [num_samples])
            return self.groups(row_gibbs_sweeps(self.rbm.parameters, left, sweeps, seeds=seed_sweeps))
        state, clamped = GibbsState(left, tf.zeros([num_samples, self.rbm.right_units])), None
        if given:
            drawn = self.groups(state)
            state = self.state([given.get(i, v) for i, v in enumerate(drawn)])
            held = self.state([tf.fill([n], float(i in given)) for i, n in enumerate(self.latent_units)])
            clamped = GibbsState(*(side > 0.5 for side in held))
        return self.groups(
            gibbs_sweeps(self.rbm.parameters, state, num_sweeps, seed=seed_sweeps, clamped=clamped)
        )
