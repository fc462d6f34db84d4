"""The two stages of pretraining with a Boltzmann prior: an autoencoder, then the machine on its codes.

"Learning deep generative models with discrete latent variables", section 3.1.
"""

import keras
import tensorflow as tf

from tfdvae import _faults as faults
from tfdvae import numerics, random
from tfdvae._validation import rate
from tfdvae.boltzmann.chains import contrastive_samples, log_partition_surrogate
from tfdvae.latents import draws
from tfdvae.objectives import schedules
from tfdvae.objectives.sampled import Unscheduled
from tfdvae.training import StepTerms

_BATCH_THAT_VARIES = 16  # images, of which some have another code by all reason
_LEAST_VARIANCE = 1e-6


@keras.saving.register_keras_serializable(package="tfdvae")
class Autoencoding(Unscheduled):
    """log p(x | code), where the code is the encoder's output, soft-binarized with noise (eq. 3).

    The code is f(l + u) with u uniform in (-1/2, 1/2) and f clipping to [0, 1], so that outputs beyond -1/2
    and 3/2 give clean bits. No prior is trained, and there is no bound.

    Args:
      dropout: the rate at which units of the code are left out; the others are scaled up as usual.

    Raises:
      ValueError: if the rate is not in [0, 1); in `compile` if a group's law has no logits, or the model has
        networks that the autoencoder does not reach.
    """

    trains = ("networks",)
    samples_machine = False

    def __init__(self, dropout=0.0):
        self.dropout = rate("dropout", dropout)

    def check(self, model) -> None:
        """Checks, with an image, that all networks get a gradient.

        Raises:
          ValueError: if one does not, or a group has no logits.
        """
        variables = model.parameter_groups()["networks"]
        with tf.GradientTape() as tape:
            loss = self(model, tf.zeros([1, *model.example_shape]), seed=0, negative=None).loss
        gradients = tape.gradient(loss, variables)
        idle = [v.path for v, g in zip(variables, gradients, strict=True) if g is None]
        if idle:
            raise ValueError(
                f"An autoencoder is made of q and p(x | z). {model.name!r} has networks of a prior besides, "
                f"with {len(idle)} weights that it would not train, such as {idle[0]!r}"
            )

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step."""
        del negative
        seed_codes, seed_dropout = random.split(seed, salt="autoencoding")
        draw = draws.SoftBinarized(model.group_seeds(seed_codes), dropout=self.dropout)
        trace = model.trace(x, draw, seed=seed_dropout)
        loss = -numerics.mean_or_zero(model.log_prob_of_pixels(x, trace))
        figures = {"loss": loss, "log_partition_factor": tf.constant(0.0), "reconstruction": -loss}
        return StepTerms(loss, 0.0, figures)

    def get_config(self):
        """The constructor's arguments."""
        return {"dropout": self.dropout}


@keras.saving.register_keras_serializable(package="tfdvae")
class MachineOnCodes:
    """-log p(z) of the Boltzmann machine, for z ~ q(z | x): the law that the encoder's output stands for.

    Only the machine is trained, with the model's negative phase or by contrastive divergence from these z.
    The paper begins with one sweep, rises to 25, and ends with persistent chains (appendix C).

    Args:
      contrastive_sweeps: the k of contrastive divergence, a number or a schedule of the step, whose values
        are rounded down; `None` for the model's own negative phase.

    Raises:
      ValueError: if the sweeps are fewer than 1; in `compile` if the model has no Boltzmann machine; at a
        step if the codes of a group are the same for all images of a batch of 16 or more.
    """

    trains = ("prior",)

    def __init__(self, contrastive_sweeps=None):
        self.contrastive_sweeps = contrastive_sweeps
        if contrastive_sweeps is not None:
            self.contrastive_sweeps = schedules.checked("contrastive_sweeps", contrastive_sweeps, low=1)

    @property
    def samples_machine(self) -> bool:
        """Whether the model's negative phase is to be run."""
        return self.contrastive_sweeps is None

    def check(self, model) -> None:
        """Checks that there is a machine.

        Raises:
          ValueError: if there is none.
        """
        if model.rbm is None:
            raise ValueError(
                f"The prior of {model.name!r} is normalized: there is no Boltzmann machine to train on codes"
            )

    def scheduled_values(self, step) -> dict[str, float]:
        """The sweeps of contrastive divergence at a step."""
        if self.contrastive_sweeps is None:
            return {}
        return {"contrastive_sweeps": float(self._sweeps(step))}

    def _sweeps(self, step):
        value = schedules.value_at(self.contrastive_sweeps, step, name="contrastive_sweeps", low=1)
        return tf.floor(value)

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step."""
        seed_codes, seed_chains = random.split(seed, salt="machine_on_codes")
        trace = model.trace(x, model.draw("binary", seed=seed_codes))
        codes = [tf.stop_gradient(_varying(group).value) for group in trace.held]
        if self.contrastive_sweeps is not None:
            left = model.prior.state(codes).left
            sweeps = tf.cast(self._sweeps(model.step), tf.int32)
            negative = contrastive_samples(model.rbm, left, sweeps, seed=seed_chains)
        loss = numerics.mean_or_zero(model.prior.energy(codes))
        return StepTerms(
            loss,
            log_partition_surrogate(model.rbm, negative),
            {"loss": loss, "log_partition_factor": tf.constant(1.0)},
        )

    def get_config(self):
        """The constructor's arguments."""
        sweeps = self.contrastive_sweeps
        return {"contrastive_sweeps": None if sweeps is None else schedules.serialize(sweeps)}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)


def _varying(group):
    """The group, which fails where no unit of its code varies over a batch, neither by q nor by the image."""
    mean = group.q.mean
    variance = tf.math.reduce_variance(mean, axis=0) + tf.reduce_mean(mean * (1.0 - mean), axis=0)
    varies = (tf.shape(mean)[0] < _BATCH_THAT_VARIES) | (tf.reduce_max(variance) > _LEAST_VARIANCE)
    return group._replace(
        value=faults.checked(
            group.value,
            varies,
            "All images of a batch have the same code: the machine has nothing to learn from it. The encoder "
            "has collapsed, or its outputs are saturated: train the networks first, with `Autoencoding`",
        )
    )
