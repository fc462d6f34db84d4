"""The two stages of pretraining with a Boltzmann prior: an autoencoder, then the machine on its codes.

"Learning deep generative models with discrete latent variables", section 3.1.
"""

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae.boltzmann.chains import log_partition_surrogate
from tfdvae.latents import draws
from tfdvae.objectives.sampled import Unscheduled
from tfdvae.training import StepTerms


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

    def __init__(self, dropout=0.0):
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout!r}")
        self.dropout = float(dropout)

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
class MachineOnCodes(Unscheduled):
    """-log p(z) of the Boltzmann machine, for z ~ q(z | x): the law that the encoder's output stands for.

    Only the machine is trained. Its negative phase is the model's: contrastive divergence begins at these z.

    Raises:
      ValueError: at the first step, if the model has no Boltzmann machine.
    """

    trains = ("prior",)

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step."""
        if negative is None:
            raise ValueError(
                f"The prior of {model.name!r} is normalized: there is no Boltzmann machine to train on codes"
            )
        trace = model.trace(x, model.draw("binary", seed=seed))
        codes = [tf.stop_gradient(group.value) for group in trace.held]
        loss = numerics.mean_or_zero(model.prior.energy(codes))
        return StepTerms(
            loss,
            log_partition_surrogate(model.rbm, negative),
            {"loss": loss, "log_partition_factor": tf.constant(1.0)},
        )

    def get_config(self):
        """There are no arguments."""
        return {}
