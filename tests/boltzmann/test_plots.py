"""Plots of annealing paths and tempering ladders: what they show, and that they can be saved."""

import numpy as np
import pytest

from tfdvae.boltzmann import plots


def test_plot_of_an_annealing_path(tmp_path):
    increments = np.random.default_rng(0).normal(size=(5, 30))
    betas = np.linspace(0, 1, 6) ** 2
    figure = plots.plot_annealing_path(betas, increments)
    slopes, variance = figure.axes
    np.testing.assert_allclose(slopes.patches[0].get_data().values, increments.mean(1) / np.diff(betas))
    np.testing.assert_allclose(variance.lines[0].get_ydata()[-1], np.var(increments.sum(0)))
    figure.savefig(tmp_path / "path.png")
    with pytest.raises(ValueError, match=r"increments \[steps, chains\]. Received: \(6,\), \(4, 30\)"):
        plots.plot_annealing_path(betas, increments[:4])


def test_plot_of_a_tempering_ladder(tmp_path):
    info = {
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
