"""Annealed importance sampling."""

import math

import numpy as np

from tfdvae import random
from tfdvae._validation import positive_integer
from tfdvae.boltzmann.log_partition.estimate import LogPartitionEstimate, log_mean_exp
from tfdvae.boltzmann.log_partition.path import base_biases, base_log_partition, base_samples, walk
from tfdvae.boltzmann.log_partition.temperatures import inverse_temperatures
from tfdvae.boltzmann.rbm import RestrictedBoltzmannMachine, finite_parameters


def annealed_importance_sampling(
    rbm: RestrictedBoltzmannMachine,
    *,
    num_chains: int,
    num_temperatures: int,
    seed,
    base="zero",
    schedule="linear",
) -> LogPartitionEstimate:
    """log Z by annealed importance sampling (Neal, 2001; Salakhutdinov and Murray, 2008, section 4.1).

    Chains start from exact samples of a base model of independent units and pass through
    p_k ~ exp(-(1 - beta_k) E_base - beta_k E), from beta_0 = 0 to beta_K = 1, with one Gibbs sweep at each.
    The right side is summed out of the weights: w = prod_k f_k(left_{k-1}) / f_{k-1}(left_{k-1}) with
    f_k(left) = sum_right p_k(left, right), which gives a smaller variance than weights of pairs.

    mean(w) is an unbiased estimate of Z / Z_base. So the value is below log Z in expectation, and
    P(value > log Z + c) <= exp(-c) (Markov): it is a stochastic lower bound. The standard error grows without
    limit as the weights drift apart (see `log_mean_exp`), and does not see modes that no chain has found;
    more temperatures help against those, and so does another base. `adaptive_annealing` sees to both.

    Args:
      rbm: the machine.
      num_chains: number of independent chains, at least 1.
      num_temperatures: number of steps from the base model to the machine, at least 1; one of 1 is plain
        importance sampling.
      seed: the seed.
      base: the base model: `"zero"` for uniform states, so that beta scales the whole energy; `"centered"`
        for the fields of the units as spins, so that beta scales the coupling between spins (see
        `centered_base`); `None` for the machine's own biases, so that beta scales the coupling alone; or
        biases `(left [left], right [right])`, for instance those of `base_from_data_means`. See
        `base_biases`.
      schedule: the inverse temperatures: `"linear"`, `"sigmoid"`, `"adaptive"` or an increasing array
        `[num_temperatures + 1]` from 0 to 1 (see `schedules`). All of them keep mean(w) unbiased:
        `"adaptive"` too, for its pilot run has a seed of its own and the path is fixed before the first chain
        starts.

    Returns:
      The estimate, in nats: `value = lower = log Z_base + log(mean(w))`, `standard_error` =
      sd(w) / (mean(w) sqrt(num_chains)) (delta method; infinite with one chain) and `effective_sample_size` =
      sum(w)^2 / sum(w^2), or worse where the weights differ by large factors (see `log_mean_exp`),
      `upper = None`. The diagnostics hold `num_chains`, `num_temperatures`, `effective_sample_size`,
      `log_weights` (float64, `[num_chains]`, with log Z_base), `log_weights_variance`, `left` (the last
      states of the chains, float32, `[num_chains, left]`), `inverse_temperatures` (float64,
      `[num_temperatures + 1]`), and what `plots.plot_annealing_path` shows: `log_weights_means` and
      `log_weights_variances` over the chains after every step, without log Z_base (float64,
      `[num_temperatures]`).

    Raises:
      ValueError: if a number is not a positive integer, a weight is not finite, or `base` or `schedule` does
        not fit.
    """
    num_chains = positive_integer("num_chains", num_chains)
    num_temperatures = positive_integer("num_temperatures", num_temperatures)
    parameters = finite_parameters(rbm)
    base = base_biases(base, parameters)
    betas = inverse_temperatures(schedule, num_temperatures, parameters, base, seed=seed)
    seed_start, seed_path = random.split(seed, salt="annealed_importance_sampling")

    left = base_samples(base, num_chains, seed=seed_start)
    up = walk(parameters, base, left, betas, seed=seed_path)
    log_weights = up.log_weights.numpy() + base_log_partition(base)
    mean = log_mean_exp(log_weights)
    return LogPartitionEstimate(
        value=mean.value,
        standard_error=mean.standard_error,
        lower=mean.value,
        upper=None,
        diagnostics={
            "method": "annealed_importance_sampling",
            "num_chains": num_chains,
            "num_temperatures": num_temperatures,
            "effective_sample_size": mean.effective_sample_size,
            "log_weights": log_weights,
            "left": up.left.numpy(),
            "log_weights_variance": float(np.var(log_weights, ddof=1)) if num_chains > 1 else math.nan,
            "inverse_temperatures": betas,
            "log_weights_means": up.means.numpy(),
            "log_weights_variances": up.variances.numpy(),
        },
    )
