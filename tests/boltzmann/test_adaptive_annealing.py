"""log Z for as long as it takes: right within its error, or a failure that says so."""

import numpy as np
import pytest

from tests.boltzmann.hard_machines import ferromagnet, glass, hidden_pattern, planted
from tests.boltzmann.log_partition_cases import CASES
from tfdvae.boltzmann import RBMTrainer, log_partition
from tfdvae.boltzmann.log_partition import adaptive
from tfdvae.boltzmann.log_partition.adaptive import adaptive_annealing
from tfdvae.boltzmann.log_partition.coverage import anneal_from
from tfdvae.boltzmann.log_partition.estimate import log_mean_exp

SETTINGS = {"num_chains": 128, "num_temperatures": 200, "seed": 0}
HARD = {
    "pattern": lambda: hidden_pattern(14, 14),
    "pattern of equal mass": lambda: hidden_pattern(14, 14, gap=0.0),
    "ferromagnet": lambda: ferromagnet(14, 14, 3.6, 0.03),
    "ferromagnet without a field": lambda: ferromagnet(14, 14, 3.0, 0.0),
    "planted": lambda: planted(14, 14, 24.0, 0.5, 1.0, seed=0),
    "normal": lambda: glass(14, 14, 4.0, 2.0, seed=0),
}


@pytest.mark.slow
def test_the_machines_of_the_tests():
    """Those of moderate weights are measured; none is wrong by more than 5 errors without a word."""
    for case in CASES[::4]:
        estimate = adaptive_annealing(case.machine(), **SETTINGS)
        assert estimate.failure is None, case.name
        assert abs(estimate.value - case.log_z()) < 5 * estimate.standard_error + 1e-4, case.name


@pytest.mark.parametrize("name", HARD)
def test_hard_machines_are_right_or_say_that_they_are_not(name):
    """Annealing from one base alone is off by up to 6 nats here, with errors of 0.1 and less."""
    rbm = HARD[name]()
    exact = log_partition.exact(rbm).value
    estimate = adaptive_annealing(rbm, **SETTINGS)
    if estimate.failure is None:
        assert abs(estimate.value - exact) < 5 * estimate.standard_error
    else:
        assert np.isnan(estimate.value)
        assert estimate.lower < exact + 1


def test_the_default_base_finds_a_pattern_that_the_fields_hide():
    """From the biases' and the centered base every chain ends where the fields point, +- 0.0000."""
    rbm = hidden_pattern(14, 60, field=4.0, gap=4.0)
    exact = log_partition.exact(rbm).value
    annealing = {"num_chains": 100, "num_temperatures": 300, "seed": 0}
    for base in ("centered", None):
        blind = log_partition.annealed_importance_sampling(rbm, **annealing, base=base)
        assert exact - blind.value > 8 > 1000 * blind.standard_error
    estimate = log_partition.annealed_importance_sampling(rbm, **annealing)
    assert abs(estimate.value - exact) < 5 * estimate.standard_error < 1


def test_goes_on_until_the_chains_suffice():
    rbm = glass(14, 60, 5.0, 5.0, seed=0)
    few = {"num_chains": 100, "num_temperatures": 30, "seed": 0}
    estimate = adaptive_annealing(rbm, **few, max_temperatures=30)
    assert "The chains are worth" in estimate.failure
    assert "more than 30 temperatures" in estimate.failure
    assert estimate.lower <= log_partition.exact(rbm).value + 1
    longer = adaptive_annealing(rbm, **few, max_temperatures=100_000, min_effective_samples=20)
    assert longer.failure is None
    assert longer.diagnostics["num_temperatures"] in (120, 480, 1920, 7680)
    assert longer.effective_sample_size >= 20
    assert abs(longer.value - log_partition.exact(rbm).value) < 5 * longer.standard_error


@pytest.mark.parametrize(
    ("errors", "num_temperatures", "says"),
    [(4, 800, ()), (-40, 200, ("contradict one another, with 200 temperatures",))],
)
def test_bases_that_are_apart_by_chance_are_annealed_again(monkeypatch, errors, num_temperatures, says):
    """The second base's first weights are moved until the bases are so many standard errors apart."""

    def moved(parameters, bases, num_chains, betas, *, seed):
        first, second = anneal_from(parameters, bases, num_chains, betas, seed=seed)
        if len(betas) == SETTINGS["num_temperatures"] + 1:
            means = [log_mean_exp(p.log_weights) for p in (first, second)]
            apart = errors * np.hypot(*(m.standard_error for m in means))
            shift = means[0].value + apart - means[1].value
            second = second._replace(log_weights=second.log_weights + shift)
        return [first, second]

    monkeypatch.setattr(adaptive, "anneal_from", moved)
    estimate = adaptive_annealing(CASES[5].machine(), **SETTINGS)
    assert estimate.failure is None
    assert estimate.diagnostics["num_temperatures"] == num_temperatures
    assert len(estimate.warnings) == len(says)
    assert all(words in warning for words, warning in zip(says, estimate.warnings, strict=True))
    assert abs(estimate.value - CASES[5].log_z()) < 5 * estimate.standard_error


def test_a_failure_is_stored_and_refused(monkeypatch):
    """A machine whose enumeration would take too long, by decree."""
    monkeypatch.setattr("tfdvae.boltzmann.log_partition.stored.is_quick", lambda *_: False)
    rbm = glass(14, 60, 30.0, 30.0, seed=0)
    trainer = RBMTrainer(rbm)
    estimate = trainer.update_log_partition(seed=0, num_chains=20, num_temperatures=10, max_temperatures=10)
    assert np.isnan(estimate.value)
    with pytest.raises(ValueError, match=r"The measurement of log Z at step 0 failed: .* log Z is at least"):
        _ = trainer.log_partition
    assert trainer.stored_log_partition.estimate.lower == pytest.approx(estimate.lower)


def test_what_annealing_leaves_in_doubt_is_enumerated_where_that_takes_seconds(monkeypatch):
    """A machine whose enumeration takes more than a second and less than ten, by decree."""
    monkeypatch.setattr("tfdvae.boltzmann.log_partition.stored.is_quick", lambda _, seconds: seconds > 5)
    rbm = hidden_pattern(14, 14)
    doubtful = adaptive_annealing(rbm, num_chains=128, num_temperatures=200, max_temperatures=200, seed=0)
    assert doubtful.failure is None
    assert not doubtful.trustworthy
    estimate = RBMTrainer(rbm).update_log_partition(seed=0, num_chains=128, num_temperatures=200)
    assert (estimate.value, estimate.standard_error) == (log_partition.exact(rbm).value, 0.0)


def test_is_a_function_of_the_seed():
    rbm = CASES[5].machine()
    assert adaptive_annealing(rbm, **SETTINGS) == adaptive_annealing(rbm, **SETTINGS)
    assert adaptive_annealing(rbm, **SETTINGS) != adaptive_annealing(rbm, **{**SETTINGS, "seed": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_chains": 1}, "`num_chains` must be at least 2, one from each base. Received: num_chains=1"),
        ({"num_chains": 2.5}, "`num_chains` must be a positive integer. Received: num_chains=2.5"),
        (
            {"num_temperatures": 0},
            "`num_temperatures` must be a positive integer. Received: num_temperatures=0",
        ),
        (
            {"max_temperatures": "9"},
            "`max_temperatures` must be a positive integer. Received: max_temperatures='9'",
        ),
    ],
)
def test_rejects_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        adaptive_annealing(CASES[0].machine(), **{**SETTINGS, **arguments})
