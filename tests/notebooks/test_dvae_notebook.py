"""The numbers of `dvae.ipynb` are right, in a short run and as committed."""

import io

import numpy as np
import pytest
from scipy import integrate

from tests.notebooks.execution import number, parameters, printed


@pytest.fixture
def name():
    return "dvae"


def log_bounds(beta, prior=0.3, posterior=0.7):
    """Joint bound, marginal bound and log p(x) of the notebook's two-pixel model, by adaptive quadrature."""

    def mixture(q, zeta):
        normalizer = -np.expm1(-beta) / beta
        return ((1 - q) * np.exp(-beta * zeta) + q * np.exp(-beta * (1 - zeta))) / normalizer

    def log_x(zeta):
        return -np.log1p(np.exp(3 - 8 * zeta)) - np.log1p(np.exp(8 * zeta - 6))

    def integral(f):
        return integrate.quad(f, 0, 1, points=(0.02, 0.1, 0.9, 0.98), limit=500, epsabs=1e-10)[0]

    ratio = [posterior / prior, (1 - posterior) / (1 - prior)]
    reconstruction = integral(lambda zeta: mixture(posterior, zeta) * log_x(zeta))
    divergence = integral(
        lambda zeta: mixture(posterior, zeta) * np.log(mixture(posterior, zeta) / mixture(prior, zeta))
    )
    return (
        reconstruction - np.dot([posterior, 1 - posterior], np.log(ratio)),
        reconstruction - divergence,
        np.log(integral(lambda zeta: mixture(prior, zeta) * np.exp(log_x(zeta)))),
    )


def test_joint_bound_below_marginal_bound_below_likelihood(notebook):
    table = np.loadtxt(io.StringIO(printed(notebook, "bounds")), skiprows=1)
    betas, joint, marginal, likelihood = table.T
    assert len(betas) >= 10
    assert np.all(joint <= marginal)
    assert np.all(marginal <= likelihood)
    assert np.max(marginal - joint) > 0.1
    # The printed beta is rounded, and its wrong digits pass on to the bounds.
    np.testing.assert_allclose(table[:, 1:], [log_bounds(beta) for beta in betas], atol=2e-4)


def test_difference_of_the_bounds_is_that_of_appendix_d(notebook):
    assert number(printed(notebook, "appendix-d"), "largest deviation from appendix D:") < 1e-9


def test_annealing_agrees_with_enumeration(notebook):
    text = printed(notebook, "log-partition")
    exact = number(text, "exact")
    _, values, errors = np.loadtxt(io.StringIO(text), skiprows=2).T
    assert np.all(np.abs(values - exact) < 5 * errors + 1e-3)
    assert np.all(np.diff(errors) < 0)
    assert errors[-1] < 0.02


def test_surrogate_has_the_gradient_but_not_the_value(notebook):
    text = printed(notebook, "surrogate")
    log_z, value, shifted = (
        number(text, label)
        for label in ("log Z, enumerated", "value of the surrogate", "log Z minus the entropy")
    )
    assert log_z == number(printed(notebook, "log-partition"), "exact")
    assert abs(value - shifted) < 5 * number(text, "(standard error") + 1e-3
    assert value < log_z - 1
    # Each entry is a mean over independent chains of a number in [0, 1], whose deviation is at most 1/2.
    assert number(text, "error of the gradient") < 5 * 0.5 / np.sqrt(parameters(notebook)["NUM_CHAINS"])
