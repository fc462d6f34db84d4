"""log Z of a prior for a report: exact where that is possible, else bracketed and checked by tempering."""

from tfdvae import random
from tfdvae.boltzmann import RestrictedBoltzmannMachine, log_partition
from tfdvae.boltzmann.log_partition import LogPartitionEstimate

_EXACT_UNITS = 20  # 8 s with 784 units on the other side


def measure_log_partition(
    rbm: RestrictedBoltzmannMachine,
    *,
    seed,
    num_chains: int = 1024,
    num_temperatures: int = 10_000,
    num_ladders: int = 16,
    num_sweeps: int = 4_000,
) -> LogPartitionEstimate:
    """log Z with a lower and an upper side, by the best method for the size of the machine.

    Where a side has at most 20 units, `log_partition.exact`. Elsewhere `log_partition.parallel_tempering`,
    and then `log_partition.bracket` whose reverse direction starts from the tempered samples, and whose
    sides must agree with the tempering.

    Args:
      rbm: the machine.
      seed: the seed.
      num_chains: annealing chains from the base model up.
      num_temperatures: of the annealing, in both directions.
      num_ladders: of the tempering, at least 1.
      num_sweeps: of the tempering that count.

    Returns:
      The estimate, in nats; of a bracket that failed the value is NaN and `failure` says why. The diagnostics
      hold `tempering_value` and `tempering_standard_error` besides those of the bracket.

    Raises:
      ValueError: if a number is not a positive integer, or a weight is not finite.
    """
    if min(rbm.left_units, rbm.right_units) <= _EXACT_UNITS:
        return log_partition.exact(rbm)
    seed_tempering, seed_bracket = random.split(seed, salt="measure_log_partition")
    tempering = log_partition.parallel_tempering(
        rbm, num_ladders=num_ladders, num_sweeps=num_sweeps, seed=seed_tempering
    )
    estimate = log_partition.bracket(
        rbm,
        num_chains=num_chains,
        num_temperatures=num_temperatures,
        samples=tempering.diagnostics["samples"],
        tempering=tempering,
        base="centered",
        schedule="adaptive",
        seed=seed_bracket,
    )
    estimate.diagnostics["tempering_value"] = tempering.value
    estimate.diagnostics["tempering_standard_error"] = tempering.standard_error
    return estimate
