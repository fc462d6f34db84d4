"""Reweighted wake-sleep (Bornschein and Bengio, 2015), contrastive where the prior is a Boltzmann machine."""

import keras
import tensorflow as tf

from tfdvae import numerics, random
from tfdvae._validation import not_negative, positive_integer
from tfdvae.boltzmann import GibbsState
from tfdvae.latents import draws
from tfdvae.objectives.sampled import Unscheduled, samples_of_posterior, scored, step_terms
from tfdvae.objectives.vimco import multi_sample_bound
from tfdvae.training import StepTerms


@keras.saving.register_keras_serializable(package="tfdvae")
class WakeSleep(Unscheduled):
    """Two objectives, one for p and one for q, as one scalar: they share no parameter.

    With samples z_k of q, the normalized weights w_k of p*(x, z_k) / q(z_k | x), and dreams (x', z') of p,

        wake phase of p:    sum_k w_k log p(x, z_k)    (its gradient is that of the K-sample bound)
        wake phase of q:    sum_k w_k log q(z_k | x)
        sleep phase of q:   log q(z' | x'), x' ~ p(x | z')

    The z' come from the prior; where it is a Boltzmann machine, they are the samples of its negative phase
    (algorithm 1 of "Learning deep generative models with discrete latent variables", contrastive
    wake-sleep).

    Args:
      num_samples: K, at least 1 (with 1, and the sleep phase alone, it is wake-sleep).
      wake_factor: of the wake phase of q.
      sleep_factor: of the sleep phase of q.

    Raises:
      ValueError: if the number is not positive, a factor is negative or both are 0; in `compile` if p and q
        share a parameter.
    """

    def __init__(self, num_samples=10, wake_factor=1.0, sleep_factor=1.0):
        self.num_samples = positive_integer("num_samples", num_samples)
        self.wake_factor = not_negative("wake_factor", wake_factor)
        self.sleep_factor = not_negative("sleep_factor", sleep_factor)
        if not self.wake_factor + self.sleep_factor:
            raise ValueError(
                "`wake_factor` and `sleep_factor` must not both be 0: nothing would train q. Received: "
                f"{wake_factor=}, {sleep_factor=}"
            )

    @property
    def bound_samples(self) -> int:
        """K of the bound."""
        return self.num_samples

    def check(self, model) -> None:
        """Checks that p and q share no parameter, from the gradients of both for an image.

        Raises:
          ValueError: if they do.
        """
        x = tf.zeros([1, *model.example_shape])
        variables = model.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
            samples = samples_of_posterior(model, x, 1, seed=0, stopped=True)
            sides = samples.log_joint, samples.log_posterior
        of_p, of_q = (tape.gradient(side, variables) for side in sides)
        shared = [
            v.path for v, p, q in zip(variables, of_p, of_q, strict=True) if p is not None and q is not None
        ]
        if shared:
            raise ValueError(
                "Wake-sleep has one objective for p and one for q, which must not share parameters. "
                f"{model.name!r} shares {len(shared)}, such as {shared[0]!r}. Train with "
                "`tfdvae.objectives.VIMCO`"
            )

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        seed_wake, seed_dreams, seed_dropout = random.split(seed, 3, salt="wake_sleep")
        samples = samples_of_posterior(model, x, self.num_samples, seed=seed_wake, stopped=True)
        weights = tf.stop_gradient(tf.nn.softmax(samples.log_weights, axis=0))
        scores = samples.log_joint + self.wake_factor * samples.log_posterior
        loss = -numerics.mean_or_zero(tf.reduce_sum(weights * scores, axis=0))
        if self.sleep_factor:
            dreams, latents = _dreams(model, tf.shape(x)[0], negative, seed=seed_dreams)
            asleep = scored(model, dreams, draws.Given(latents), seed=seed_dropout).log_posterior
            if negative is None or negative.log_weights is None:
                loss -= self.sleep_factor * numerics.mean_or_zero(asleep)
            else:
                loss -= self.sleep_factor * tf.reduce_sum(tf.nn.softmax(negative.log_weights) * asleep)
        value = -numerics.mean_or_zero(multi_sample_bound(samples.log_weights))
        return step_terms(model, samples, loss, value, negative)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "num_samples": self.num_samples,
            "wake_factor": self.wake_factor,
            "sleep_factor": self.sleep_factor,
        }


def _dreams(model, num_samples, negative, *, seed):
    """Images and latents that the model draws, under `stop_gradient`."""
    seed_z, seed_x = random.split(seed)
    values = {}
    if negative is not None:
        values = dict(enumerate(model.prior.groups(GibbsState(negative.left, negative.right))))
        num_samples = tf.shape(negative.left)[0]
    trace = model.trace(None, draws.Prior(model.group_seeds(seed_z), num_samples, values))
    images = model.generate(trace, seed=seed_x).images
    return tf.nest.map_structure(tf.stop_gradient, (images, trace.values))
