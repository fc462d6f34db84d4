"""The numbers of `dvaepp.ipynb` are right, in a short run and as committed."""

import io
import re

import numpy as np
import pytest

from tests.notebooks.execution import number, parameters, printed


@pytest.fixture
def name():
    return "dvaepp"


def residual_block(inputs, filters):
    """Parameters of two 3x3 convolutions, squeeze-and-excitation, and the 1x1 convolution beside them."""
    squeezed = max(1, filters // 4)
    convolutions = 9 * inputs * filters + filters + 9 * filters * filters + filters
    excitation = filters * squeezed + squeezed + squeezed * filters + filters
    return convolutions + excitation + inputs * filters


def stack(inputs, *filters):
    """Parameters of blocks that all resize, or change the number of channels."""
    return sum(residual_block(a, b) for a, b in zip((inputs, *filters[:-1]), filters, strict=True))


def test_shapes_of_the_latents(notebook):
    lines = printed(notebook, "model").splitlines()[:4]
    shapes = [re.search(r"(\w+) +\(([\d, ]+)\)", line).groups() for line in lines]
    sizes = [(name, tuple(int(n) for n in re.findall(r"\d+", shape))) for name, shape in shapes]
    assert sizes == [("z_1", (8,)), ("z_2", (8,)), ("h_1", (4, 4, 8)), ("h_2", (4, 4, 8))]
    for line in lines[:2]:
        assert re.fullmatch(r"\[[01](?: [01]){7}\]", line.split(")")[1].strip())


def test_parameters_are_those_of_the_rows_of_blocks(notebook):
    """Counted by hand from the rows that stand in the notebook."""
    text = printed(notebook, "model")
    means_and_scales = 2 * 8
    flat = 2 * 2 * 64
    expected = {
        "down 1, down 2": stack(1, 8, 16, 32) + stack(32, 64) + 2 * (1 + 32 + 64),
        "upsample": stack(16, 32, 16),
        "q(z)": (flat * 8 + 8) + (flat * 8 + 8 * 8 + 8),
        "p(z)": 8 + 8 + 8 * 8,
        "q(h)": stack(32 + 16, 32, means_and_scales) + stack(32 + 16 + 8, 32, means_and_scales),
        "p(h)": stack(16, means_and_scales) + stack(16 + 8, means_and_scales),
        "decoder": stack(16 + 8 + 8, 32)
        - 32 * 32  # the shape is kept: no convolution beside
        + stack(32 + 8, 24)
        + stack(24 + 8, 16)
        + stack(16 + 8, 8)
        + 3 * stack(1, 8)
        + sum(9 * filters + 1 for filters in (32, 24, 16, 8)),
    }
    assert {part: number(text, part) for part in expected} == expected
    assert number(text, "all parameters") == sum(expected.values())


def test_each_pixel_belongs_to_one_scale(notebook):
    table = np.genfromtxt(io.StringIO(printed(notebook, "scales").replace("x", " ")), skip_header=1)
    scale, stride, height, width, new_pixels = table.T
    # The stride of a pixel is the largest of 8, 4, 2, 1 that divides its row and its column.
    finest = [next(s for s in (8, 4, 2, 1) if i % s == j % s == 0) for i in range(28) for j in range(28)]
    np.testing.assert_array_equal(scale, [0, 1, 2, 3])
    np.testing.assert_array_equal(stride, [8, 4, 2, 1])
    np.testing.assert_array_equal(height, [4, 7, 14, 28])
    np.testing.assert_array_equal(height, width)
    np.testing.assert_array_equal(new_pixels, [finest.count(s) for s in stride])
    assert new_pixels.sum() == 28 * 28


def test_the_probabilities_of_all_images_sum_to_one(notebook):
    text = printed(notebook, "toy")
    assert number(text, "sum of p(x) over 65,536 images:") == pytest.approx(1, abs=1e-5)
    bits_1, bits_2, prior, sums, all_pixels = np.loadtxt(io.StringIO(text), skiprows=1, max_rows=4).T
    assert list(zip(bits_1, bits_2, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert prior.sum() == pytest.approx(1, abs=2e-4)  # four digits are printed
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    # A pixel counted twice: its square for each value, and so less than 1 in all.
    assert np.all(all_pixels < 0.5)


def test_coefficients_are_those_of_appendix_h(notebook):
    rows = np.loadtxt(io.StringIO(printed(notebook, "balancing")))
    kl, coefficients, total, weighted = rows[:, :4], rows[:, 4:8], rows[:, 8], rows[:, 9]
    assert len(rows) == 5
    # The share of a group in all of KL + 0.1, relative to the share of a quarter.
    share = (kl + 0.1) / (kl + 0.1).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(coefficients, share / 0.25, atol=6e-4)
    np.testing.assert_allclose(coefficients.sum(axis=1), 4, atol=3e-3)
    np.testing.assert_allclose(total, kl.sum(axis=1))
    np.testing.assert_allclose(weighted, (share / 0.25 * kl).sum(axis=1), atol=2e-3)
    equal = np.ptp(kl, axis=1) == 0
    np.testing.assert_allclose(weighted[equal], total[equal], atol=2e-3)
    assert np.all(weighted[~equal] > total[~equal])


def test_log_z_is_the_sum_over_all_states(notebook):
    text = printed(notebook, "terms")
    assert "(exact)" in text
    enumerated = number(text, "log Z of 65,536 states")
    assert number(text, "log Z of the model") == pytest.approx(enumerated, abs=1e-3)
    # The evaluation of the test images uses the same one.
    assert number(printed(notebook, "likelihood"), "log Z") == pytest.approx(enumerated, abs=0.006)


def test_terms_of_the_bound_add_up(notebook):
    text = printed(notebook, "terms")
    rows = [line.split() for line in text.splitlines() if re.match(r"(z|h_\d) ", line)]
    assert [(row[0], int(row[1])) for row in rows] == [("z", 16), ("h_1", 128), ("h_2", 128)]
    kl_per_group = np.array([row[2] for row in rows], float)
    kl, reconstruction, bound = (
        number(text, label) for label in ("KL of the bound", "reconstruction", "\nbound")
    )
    assert np.all(kl_per_group > 0)
    assert kl_per_group.sum() == pytest.approx(kl, abs=3e-3)
    assert reconstruction - kl == pytest.approx(bound, abs=2e-3)


def test_training_beats_independent_pixels(notebook):
    """Fair coins for all pixels have 28 * 28 * log 2 = 543 nats."""
    text = printed(notebook, "likelihood")
    log_likelihood, plain = number(text, "log likelihood"), number(text, "plain bound")
    assert -543 < plain < log_likelihood < 0
    bits = -log_likelihood / (28 * 28 * np.log(2))
    assert number(text, "bits per pixel") == pytest.approx(bits, abs=1e-4)
    if parameters(notebook)["NUM_STEPS"] >= 100:
        assert log_likelihood > -130


def test_active_variables_are_some_of_those_there(notebook):
    line = re.search(r"active variables +(.*)", printed(notebook, "likelihood"))[1]
    active, there = np.array(re.findall(r"(\d+) of (\d+)", line), int).T
    assert list(there) == [8, 8, 128, 128]
    assert np.all(active <= there)
    assert active.sum() > 0
