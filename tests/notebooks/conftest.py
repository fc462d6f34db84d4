"""Every notebook with two sets of outputs: of a short run now, and of the full one when it was committed."""

import functools

import pytest

from tests.notebooks import execution


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """A function of a notebook's name: the notebook after a short run, which all tests share."""
    return functools.cache(
        lambda name: execution.run_few_steps(name, tmp_path_factory.mktemp(f"notebook-{name}"))
    )


@pytest.fixture(params=execution.FEW_STEPS)
def name(request):
    """The name of the notebook; a file of tests on one notebook overrides it."""
    return request.param


@pytest.fixture(params=[pytest.param("executed", marks=pytest.mark.slow), "committed"])
def notebook(request, name, executed):
    """The notebook with outputs."""
    return executed(name) if request.param == "executed" else execution.committed(name)
