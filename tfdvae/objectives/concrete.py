"""Binary Concrete latents (Maddison et al., 2017; Jang et al., 2017), whatever smoothing the model has."""

import dataclasses

import keras
import tensorflow as tf

from tfdvae.latents import draws
from tfdvae.layers import Smoothing
from tfdvae.objectives.elbo import Elbo

KL_FORMS = ("density", "bernoulli", "energy")


@keras.saving.register_keras_serializable(package="tfdvae")
class Concrete(Elbo):
    """The bound of latents that are relaxed to binary Concrete variables.

    There are three forms of the KL, and the difference matters:

    - `"density"`: log q(zeta | x) - log p(zeta) of the relaxed variables, with the prior relaxed at the same
      temperature (Maddison et al., 2017): a bound, of the relaxed model; of a directed binary prior;
    - `"bernoulli"`: the closed form of the Bernoulli variables that are relaxed (Jang et al., 2017): less
      noise, and no bound of any model; of a directed binary prior;
    - `"energy"`: the relaxed values in place of binary ones in the energy of a Boltzmann machine (or the
      log-probabilities of a directed prior), and in those of q ("PixelVAE++", eq. 3): a surrogate and no
      bound, so that of a training step the loss alone is logged. Continuous groups have their closed form.

    Args:
      temperature: of posterior and prior, a number or a schedule of the step.
      kl: the form.
      path_derivative: whether log q(zeta | x) has the gradient that goes through zeta alone (Roeder et al.,
        2017): without bias in the form `"density"`, where the rest has mean 0; in `"energy"` a choice of
        "PixelVAE++" (appendix B); in `"bernoulli"` there is no log q(zeta | x).
      **elbo: arguments of `Elbo`.

    Raises:
      ValueError: for another form, and arguments out of range; at the first step for a model with another
        prior.
    """

    def __init__(self, temperature=0.5, kl="density", path_derivative=False, **elbo):
        super().__init__(**elbo)
        if kl not in KL_FORMS:
            raise ValueError(f"`kl` must be one of {KL_FORMS}. Received: kl={kl!r}")
        if path_derivative and kl == "bernoulli":
            raise ValueError(
                'The closed form of kl="bernoulli" has no log q(zeta | x). Received: path_derivative=True'
            )
        self.kl, self.smoothing = kl, Smoothing("binary_concrete", temperature=temperature)
        self.path_derivative = bool(path_derivative)

    def scheduled_values(self, step) -> dict[str, float]:
        """The KL factor and the temperature at a step."""
        self.smoothing.check(step)
        temperature = float(self.smoothing.parameter(step)["temperature"])
        return {**super().scheduled_values(step), "concrete_temperature": temperature}

    def terms(self, model, x, *, seed, seed_dropout):
        """The terms of the bound of relaxed values."""
        draw = draws.Smoothed(model.group_seeds(seed), self.smoothing, model.step)
        trace = model.trace(x, draw, seed=seed_dropout)
        reconstruction = model.log_prob_of_pixels(x, trace)
        if self.kl == "energy":
            return reconstruction, tf.stack(self._energies(model, trace))
        unfit = [i for i, g in enumerate(trace.groups) if g.p is None or g.q.logits is None]
        if unfit:
            raise ValueError(
                "Binary Concrete latents are for directed binary priors: z is a function of the relaxed "
                "value, and a Boltzmann machine has no density of it. Of "
                f'{model.name!r} the groups {unfit} are others. kl="energy" is a surrogate for them'
            )
        return reconstruction, tf.stack([self._kl(model, group) for group in trace.groups])

    def __call__(self, model, x, *, seed, negative):
        """The terms of a step; the gradient of log Z comes from the negative samples."""
        terms = super().__call__(model, x, seed=seed, negative=negative)
        if self.kl != "energy":
            return terms
        logged = ("loss", "log_partition_factor")
        return terms._replace(figures={name: terms.figures[name] for name in logged})

    def _q(self, group):
        """The law of q whose logarithm is taken."""
        if not self.path_derivative:
            return group.q
        return dataclasses.replace(group.q, logits=tf.stop_gradient(group.q.logits))

    def _kl(self, model, group):
        if self.kl == "bernoulli":
            return group.q.kl(group.p())
        prior = group.p().smoothed(self.smoothing, model.step)
        posterior = self._q(group).smoothed(self.smoothing, model.step)
        return group.q.total(posterior.log_prob(group.value) - prior.log_prob(group.value))

    def _energies(self, model, trace):
        """Terms of eq. 3 without log Z: one of the groups of a machine, one of each other group."""

        def log_q(group):
            return group.q.total(self._q(group).log_prob(group.value))

        terms = []
        if trace.held:
            energy = model.prior.energy([group.value for group in trace.held])
            terms.append(energy + sum(log_q(group) for group in trace.held))
        for group in trace.directed:
            if group.q.logits is None:
                terms.append(group.q.kl(group.p()))
            else:
                terms.append(log_q(group) - group.q.total(group.p().log_prob(group.value)))
        return terms

    def get_config(self):
        """The constructor's arguments."""
        temperature = self.smoothing.get_config()["temperature"]
        more = {"kl": self.kl, "path_derivative": self.path_derivative}
        return {**super().get_config(), "temperature": temperature, **more}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        config = dict(config)
        if isinstance(config["temperature"], dict):
            config["temperature"] = keras.saving.deserialize_keras_object(config["temperature"])
        return cls(**config)
