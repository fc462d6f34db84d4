"""Binary Concrete latents (Maddison et al., 2017; Jang et al., 2017), whatever smoothing the model has."""

import keras
import tensorflow as tf

from tfdvae.latents import draws
from tfdvae.layers import Smoothing
from tfdvae.objectives.elbo import Elbo

KL_FORMS = ("density", "bernoulli")


@keras.saving.register_keras_serializable(package="tfdvae")
class Concrete(Elbo):
    """The bound of latents that are relaxed to binary Concrete variables, of a directed binary prior.

    There are two forms of the KL, and the difference matters:

    - `"density"`: log q(zeta | x) - log p(zeta) of the relaxed variables, with the prior relaxed at the same
      temperature (Maddison et al., 2017): a bound, of the relaxed model;
    - `"bernoulli"`: the closed form of the Bernoulli variables that are relaxed (Jang et al., 2017): less
      noise, and no bound of any model.

    Args:
      temperature: of posterior and prior, a number or a schedule of the step.
      kl: the form.
      **elbo: arguments of `Elbo`.

    Raises:
      ValueError: for another form, and arguments out of range; at the first step for a model with another
        prior.
    """

    def __init__(self, temperature=0.5, kl="density", **elbo):
        super().__init__(**elbo)
        if kl not in KL_FORMS:
            raise ValueError(f"`kl` must be one of {KL_FORMS}. Received: kl={kl!r}")
        self.kl, self.smoothing = kl, Smoothing("binary_concrete", temperature=temperature)

    def scheduled_values(self, step) -> dict[str, float]:
        """The KL factor and the temperature at a step."""
        self.smoothing.check(step)
        temperature = float(self.smoothing.parameter(step)["temperature"])
        return {**super().scheduled_values(step), "concrete_temperature": temperature}

    def terms(self, model, x, *, seed, seed_dropout):
        """The terms of the bound of relaxed values."""
        draw = draws.Smoothed(model.group_seeds(seed), self.smoothing, model.step)
        trace = model.trace(x, draw, seed=seed_dropout)
        unfit = [i for i, g in enumerate(trace.groups) if g.p is None or g.q.logits is None]
        if unfit:
            raise ValueError(
                "Binary Concrete latents are for directed binary priors: z is a function of the relaxed "
                "value, and a Boltzmann machine has no density of it. Of "
                f"{model.name!r} the groups {unfit} are others"
            )
        kl = tf.stack([self._kl(model, group) for group in trace.groups])
        return model.log_prob_of_pixels(x, trace), kl

    def _kl(self, model, group):
        if self.kl == "bernoulli":
            return group.q.kl(group.p())
        prior = group.p().smoothed(self.smoothing, model.step)
        return group.q.total(group.smoothed.log_prob(group.value) - prior.log_prob(group.value))

    def get_config(self):
        """The constructor's arguments."""
        temperature = self.smoothing.get_config()["temperature"]
        return {**super().get_config(), "temperature": temperature, "kl": self.kl}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        config = dict(config)
        if isinstance(config["temperature"], dict):
            config["temperature"] = keras.saving.deserialize_keras_object(config["temperature"])
        return cls(**config)
