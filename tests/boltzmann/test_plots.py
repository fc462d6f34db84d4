"""Plots of annealing paths and tempering ladders: what they show, and that they can be saved."""

import numpy as np
import pytest

from tfdvae.boltzmann import log_partition, plots


def slope_of_log_z(machine, beta):
    """d log Z / d beta = E_beta[-E] of a path that scales all parameters, by enumeration."""
    left_bias, right_bias, coupling = (w.astype(float) for w in machine.get_weights())
    left, right = (np.array(list(np.ndindex(*[2] * n))) for n in coupling.shape)
    minus_energy = (left @ left_bias)[:, None] + right @ right_bias + left @ coupling @ right.T
    weights = np.exp(beta * minus_energy)
    return np.sum(weights * minus_energy) / np.sum(weights)


@pytest.mark.parametrize("estimator", ["annealed_importance_sampling", "reverse_annealing"])
def test_plot_of_an_annealing_path(estimator, make_machine, tmp_path):
    machine, num_chains = make_machine(5, 4, 1.0), 2000
    schedule = np.linspace(0, 1, 51) ** 1.5
    estimate = getattr(log_partition, estimator)(
        machine, num_chains=num_chains, num_temperatures=50, seed=0, schedule=schedule, base="zero"
    )
    figure = plots.plot_annealing_path(estimate.diagnostics)
    slope, variance = figure.axes
    steps, line = slope.patches[0].get_data(), variance.lines[0].get_xydata()
    np.testing.assert_allclose(steps.edges, schedule)
    middle = (schedule[1:] + schedule[:-1]) / 2
    want = [slope_of_log_z(machine, beta) for beta in middle]
    # sd(-E) is below 2.3 nats; 5.5 standard errors, and the bias of the finite step.
    np.testing.assert_allclose(steps.values, want, atol=5.5 * 2.3 / np.sqrt(num_chains) + 0.05)
    assert np.ptp(want) > 1
    # The last point of the walk is the variance of the weights.
    last = line[0] if estimator == "reverse_annealing" else line[-1]
    assert last[0] == (0 if estimator == "reverse_annealing" else 1)
    np.testing.assert_allclose(last[1], estimate.diagnostics["log_weights_variance"])
    figure.savefig(tmp_path / "path.png")


def test_plot_of_a_tempering_ladder(tmp_path):
    info = {
        "method": "parallel_tempering",
        "inverse_temperatures": np.array([0, 0.3, 1]),
        "swap_acceptance": np.array([0.4, 0.6]),
        "round_trips": np.array([3, 0, 2]),
    }
    figure = plots.plot_tempering_ladder(info)
    ladder, acceptance, ladders = figure.axes
    np.testing.assert_array_equal(ladder.lines[0].get_ydata(), info["inverse_temperatures"])
    np.testing.assert_array_equal(acceptance.patches[0].get_data().values, info["swap_acceptance"])
    assert [bar.get_height() for bar in ladders.patches] == [3, 0, 2]
    figure.savefig(tmp_path / "ladder.png")


def test_plots_say_whose_diagnostics_they_take(make_machine):
    machine = make_machine(5, 4)
    both = log_partition.bracket(machine, num_chains=60, num_temperatures=5, seed=0)
    for direction in ("forward", "reverse"):
        plots.plot_annealing_path(both.diagnostics[direction])
    with pytest.raises(ValueError, match=r"annealed_importance_sampling or reverse.*those of 'bracket'"):
        plots.plot_annealing_path(both.diagnostics)
    with pytest.raises(ValueError, match=r"by parallel_tempering. Received: a LogPartitionEstimate"):
        plots.plot_tempering_ladder(both)
