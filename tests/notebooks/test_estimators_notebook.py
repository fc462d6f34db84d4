"""What `estimators.ipynb` says of bias, noise and bounds is so, in a short run and as committed."""

import re

import pytest

from tests.notebooks.execution import number, parameters, printed

UNBIASED = ("NVIL", "MuProp", "REBAR", "leave one out, 2", "leave one out, 8", "DisARM")
BIASED = ("straight-through", "Concrete")


@pytest.fixture
def name():
    return "estimators"


def test_samples_have_the_mean_of_the_sum(notebook):
    text = printed(notebook, "exact")
    mean, error = map(float, re.search(r"mean of 200 samples +(-[\d.]+) \+- ([\d.]+)", text).groups())
    assert abs(mean - number(text, "summed over 64 states")) < 5 * error + 1e-3


def test_estimators_are_biased_where_it_says_so(notebook):
    rows = re.findall(r"^(.+?) +([\d.]+) +([\d.]+) +([\d.]+)$", printed(notebook, "bias"), re.MULTILINE)
    found = {name: tuple(map(float, row)) for name, *row in rows}
    assert len(found) == 10
    for name in UNBIASED:
        bias, noise, _ = found[name]
        assert bias < 2 * noise, name
    if parameters(notebook)["NUM_DRAWS"] >= 1000:
        for name in BIASED:
            bias, noise, _ = found[name]
            assert bias > 3 * noise, name
    assert found["leave one out, 8"][2] < found["leave one out, 2"][2]


def test_more_samples_give_a_higher_bound(notebook):
    text = printed(notebook, "bounds")
    bounds = [float(b) for b in re.findall(r"bound +(-[\d.]+)", text)]
    assert len(bounds) == 8
    assert bounds == sorted(bounds)
    assert bounds[-1] < number(text, "log p(x), summed") + 0.05


def test_all_trainings_have_figures(notebook):
    text = printed(notebook, "training")
    assert number(text, "after") == parameters(notebook)["NUM_STEPS"]
    values = [float(v) for v in re.findall(r" (-[\d.]+)$", text, re.MULTILINE)]
    assert len(values) == 8
    assert values == sorted(values, reverse=True)
