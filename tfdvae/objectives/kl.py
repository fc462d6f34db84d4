"""The terms of a bound and of importance weights, from the groups of a trace; all without log Z."""

from collections.abc import Sequence

import tensorflow as tf

from tfdvae import numerics
from tfdvae.latents import BoltzmannPrior, Trace
from tfdvae.latents.trace import Group
from tfdvae.objectives.boltzmann_kl import GroupMoments, unnormalized_boltzmann_kl

BOUNDS = ("joint", "marginal")


def kl_per_group(model, trace: Trace) -> tf.Tensor:
    """One KL term for each group of a `trace`, `[groups, batch]`, in nats; those of a machine are one, the
    first.

    Smoothed groups with a law p of their own: in closed form given the values of earlier groups
    (`model.bound` "joint", Vahdat et al. (2018), eq. 4), or log q(zeta) - log p(zeta) ("marginal", eq. 5).
    """
    terms = [boltzmann_kl(model.prior, trace.held)] if trace.held else []
    terms += [_kl(model, group) for group in trace.directed]
    return tf.stack(terms)


def boltzmann_kl(prior: BoltzmannPrior, groups: list[Group]) -> tf.Tensor:
    """KL(q || p) - log Z of the groups that a machine holds, `[batch]`, in nats.

    A free energy is not linear in the units, and its mean is not one of moments: with hidden units it is that
    of the groups' values, of hard samples alone.

    Raises:
      ValueError: for smoothed values beside hidden units.
    """
    logits = [group.q.logits for group in groups]
    if prior.hidden_units:
        if any(group.smoothed is not None for group in groups):
            raise ValueError(
                "With hidden units the energy of the latents is a free energy, for which the bound of "
                "smoothed latents does not hold. Train with an objective of hard samples, such as "
                "`tfdvae.objectives.VIMCO`"
            )
        entropy = sum(tf.reduce_sum(numerics.bernoulli_entropy(x), axis=-1) for x in logits)
        return prior.energy([group.value for group in groups]) - entropy
    means = prior.parts([tf.sigmoid(x) for x in logits])
    posterior = prior.parts([group.posterior_probs() for group in groups])
    moments = [GroupMoments(*m) for m in zip(*means, *posterior, strict=True)]
    return unnormalized_boltzmann_kl(prior.rbm, logits, moments)


def _kl(model, group):
    if _is_marginal(model, group):
        return -_marginal_log_ratio(model, group)
    return group.q.kl(group.p())


def log_ratios(model, trace: Trace, *, seeds) -> list[tf.Tensor]:
    """Terms whose sum is log p*(latents) - log q(latents | x) of the values, each `[..., batch]`, in nats.

    One of the groups that a machine holds, one of the others, as far as there are such. Of smoothed groups
    the ratio is that of z ~ q(z | x, zeta), or in the marginal bound that of zeta itself.

    Args:
      model: as of `kl_per_group`.
      trace: with q and p.
      seeds: one for each group, of z.
    """
    pairs = list(zip(trace.groups, seeds, strict=True))
    held = [(group, seed) for group, seed in pairs if group.p is None]
    directed = [(group, seed) for group, seed in pairs if group.p is not None]
    terms = [boltzmann_log_ratio(model.prior, *zip(*held, strict=True))] if held else []
    return terms + ([sum(_log_ratio(model, group, seed) for group, seed in directed)] if directed else [])


def boltzmann_log_ratio(prior: BoltzmannPrior, groups: Sequence[Group], seeds) -> tf.Tensor:
    """-E(z) - log q(z | x) for z ~ q(z | x, zeta), `[..., batch]`, in nats."""
    z = [group.hard(seed=s) for group, s in zip(groups, seeds, strict=True)]
    log_posteriors = [group.q.log_prob(v) for group, v in zip(groups, z, strict=True)]
    return -prior.energy(z) - sum(tf.reduce_sum(x, axis=-1) for x in log_posteriors)


def _log_ratio(model, group, seed):
    if _is_marginal(model, group):
        return _marginal_log_ratio(model, group)
    z = group.hard(seed=seed)
    return group.q.total(group.p().log_prob(z) - group.q.log_prob(z))


def _is_marginal(model, group):
    return group.smoothed is not None and model.bound == "marginal"


def _marginal_log_ratio(model, group):
    prior = group.p().smoothed(model.smoothing, model.step)
    return group.q.total(prior.log_prob(group.value) - group.smoothed.log_prob(group.value))


def log_prior(model, trace: Trace) -> tf.Tensor:
    """log p*(z) of the values, `[..., batch]`, in nats."""
    terms = [-model.prior.energy([group.value for group in trace.held])] if trace.held else []
    for group in trace.directed:
        p = group.p()
        terms.append(p.total(p.log_prob(group.value)))
    return sum(terms)


def log_posterior(trace: Trace) -> tf.Tensor:
    """log q(z | x) of the values, `[..., batch]`, in nats."""
    return sum(group.q.total(group.q.log_prob(group.value)) for group in trace.groups)
