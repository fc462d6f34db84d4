"""Every notebook runs from start to end with few steps, and is committed with the outputs of a full run."""

import base64
import io

import matplotlib.image
import nbformat
import numpy as np
import pytest

from tests.notebooks.execution import (
    FEW_STEPS,
    ROOT,
    committed,
    number,
    parameters,
    path_of,
    printed,
    problems,
    tagged,
    with_parameters,
)

FIGURES = {
    "dvae": (
        "figure-1",
        "figure-5",
        "bounds-figure",
        "boltzmann-figure",
        "curves",
        "pictures",
        "likelihood-figure",
    ),
    "dvaepp": ("scales", "balancing", "curves", "pictures", "likelihood"),
    "estimators": ("bias-figure", "bounds", "curves"),
    "pixelvaepp": ("causal", "training", "rows", "complete"),
    "serving": ("pictures",),
}


def test_all_notebooks_are_tested():
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == set(FEW_STEPS)


def test_every_cell_runs_without_errors_and_warnings(notebook):
    nbformat.validate(notebook)
    assert problems(notebook) == []


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (nbformat.v4.new_output("stream", name="stderr", text="a warning"), "standard error"),
        (nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]), "ValueError: no"),
        (nbformat.v4.new_output("stream", name="stdout", text="see /home/me/x.png"), "names a path"),
        (nbformat.v4.new_output("display_data", {"text/plain": "'/tmp/x'"}), "names a path"),
    ],
)
def test_problems_are_found(output, expected):
    cell = nbformat.v4.new_code_cell("1", outputs=[output], execution_count=1)
    (problem,) = problems(nbformat.v4.new_notebook(cells=[cell]))
    assert expected in problem


def test_cells_out_of_order_are_found():
    cells = [nbformat.v4.new_code_cell("1", execution_count=n) for n in (1, 3)]
    (problem,) = problems(nbformat.v4.new_notebook(cells=cells))
    assert "not run in order" in problem


def test_few_steps_are_fewer(name):
    notebook = committed(name)
    full = parameters(notebook)
    short = parameters(with_parameters(notebook, FEW_STEPS[name]))
    assert short == full | FEW_STEPS[name]
    assert all(short[key] < full[key] for key in FEW_STEPS[name])


def test_unknown_parameter_is_an_error(name):
    with pytest.raises(ValueError, match="NUM_STEP'"):
        with_parameters(committed(name), {"NUM_STEP": 1})


def test_figures_are_there_and_not_blank(name, notebook):
    figures = {
        cell.id: output.data["image/png"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    }
    assert tuple(figures) == FIGURES[name]
    for identifier, encoded in figures.items():
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(encoded)))
        assert min(pixels.shape[:2]) > 150, identifier
        assert np.std(pixels[..., :3]) > 0.02, identifier


@pytest.mark.parametrize("name", ["dvae", "dvaepp", "serving"])
def test_training_has_the_number_of_steps_asked_for(notebook):
    text = printed(notebook, "training")
    steps, epochs = (parameters(notebook)[key] for key in ("NUM_STEPS", "NUM_EPOCHS"))
    assert number(text, "trained") == steps
    kept = number(text, "kept those of step")
    assert 0 < kept <= steps
    assert kept % (steps // epochs) == 0


@pytest.mark.parametrize("name", ["dvae", "dvaepp"])
def test_more_importance_samples_give_a_higher_bound(notebook):
    text = printed(notebook, "likelihood")
    rows = [line.split() for line in text.splitlines() if line.startswith("bound with")]
    num_samples, bounds = np.array([(row[2], row[4]) for row in rows], float).T
    assert num_samples[0] == 1
    assert num_samples[-1] == parameters(notebook)["NUM_SAMPLES"]
    assert np.all(np.diff(num_samples) > 0)
    assert np.all(np.diff(bounds) > 0)
    assert number(text, "log likelihood") == bounds[-1]
    assert number(text, "test images") == 250
    assert 1 <= number(text, "effective sample size") <= num_samples[-1]


def test_committed_notebook_is_small_and_names_a_kernel_that_all_have(name):
    assert path_of(name).stat().st_size < 600_000
    assert committed(name).metadata.kernelspec.name == "python3"


def test_cells_have_names_of_their_own(name):
    cells = committed(name).cells
    assert len({cell.id for cell in cells}) == len(cells)
    assert tagged(committed(name), "parameters").id == "parameters"
