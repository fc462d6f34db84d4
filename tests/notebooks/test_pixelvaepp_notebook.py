"""The numbers of `pixelvaepp.ipynb` are right, in a short run and as committed."""

import re

import numpy as np
import pytest

from tests.notebooks.execution import number, parameters, printed


@pytest.fixture
def name():
    return "pixelvaepp"


def test_the_probabilities_of_all_images_sum_to_one(notebook):
    text = printed(notebook, "toy")
    assert number(text, "states of 8 bits") == 2**8
    assert number(text, "sum of p(x) over 64 images:") == pytest.approx(1, abs=1e-5)
    gaps = [float(gap) for gap in re.findall(r"too low by +(\S+)", text)]
    assert len(gaps) == 4
    assert np.all(np.diff(gaps) < 0)
    assert gaps[-1] < 0.1


def test_a_pixel_depends_on_those_before_it_alone(notebook):
    pattern = r"pixel \( *(\d+), +(\d+)\): +(\d+) of the +(\d+) before it, (\d+) others"
    rows = np.array(re.findall(pattern, printed(notebook, "causal")), int)
    assert len(rows) == 3
    row, column, seen, before, others = rows.T
    np.testing.assert_array_equal(before, 28 * row + column)
    np.testing.assert_array_equal(others, 0)
    assert np.all(seen > 0.8 * before)


def test_the_sampler_draws_the_pixels_of_a_pass_for_each(notebook):
    text = printed(notebook, "cached")
    assert number(text, "passes of the network, plainly") == 784
    assert number(text, "pixels that differ") == 0


def test_figures_of_both_models(notebook):
    with_bits, without = printed(notebook, "likelihood").split("without latents\n")
    log_likelihood, bound, kl, _ = (
        number(with_bits, name) for name in ("log likelihood", "bound", "KL", "log Z")
    )
    assert -543 < bound < log_likelihood < 0  # fair coins for all pixels
    assert kl > 0
    # Without latents the likelihood is exact.
    assert number(without, "log likelihood") == number(without, "bound") > -543
    assert number(without, "KL") == number(without, "log Z") == 0
    if parameters(notebook)["NUM_STEPS"] >= 100:
        assert log_likelihood > -75


def test_known_pixels_stay(notebook):
    text = printed(notebook, "complete")
    assert number(text, "known pixels that changed") == 0
    assert 0 < number(text, "pixels that differ between two completions") < 6 * 14 * 28
