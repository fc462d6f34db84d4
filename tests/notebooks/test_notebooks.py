"""The notebook runs from start to end with few steps, and its numbers are right, here and as committed."""

import ast
import base64
import io
import os
import re
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from scipy import integrate

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "dvae.ipynb"
FEW_STEPS = {"NUM_STEPS": 20, "NUM_EPOCHS": 2, "NUM_SAMPLES": 20}
FIGURES = (
    "figure-1",
    "figure-5",
    "bounds-figure",
    "boltzmann-figure",
    "curves",
    "pictures",
    "likelihood-figure",
)
# Folders that name a machine or a user, on the usual systems.
PATHS = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|var|opt|usr|mnt|srv|private)/|[A-Z]:\\\\?Users")


def tagged(notebook, tag):
    """The one cell with a tag."""
    (cell,) = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    return cell


def parameters(notebook) -> dict:
    """What the cell tagged `parameters` assigns."""
    tree = ast.parse(tagged(notebook, "parameters").source)
    return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}


def with_parameters(notebook, values):
    """Replaces the assignments of the cell tagged `parameters`."""
    present = parameters(notebook)
    if unknown := sorted(set(values) - set(present)):
        raise ValueError(f"The notebook has the parameters {sorted(present)}. Received: {unknown}")
    lines = [f"{name} = {value!r}" for name, value in (present | values).items()]
    tagged(notebook, "parameters").source = "\n".join(lines)
    return notebook


def printed(notebook, tag) -> str:
    """What the cell with a tag wrote to standard output."""
    outputs = [o for o in tagged(notebook, tag).outputs if o.get("name") == "stdout"]
    return "".join(o.text for o in outputs)


def number(text, label) -> float:
    """The first number after a label."""
    return float(re.search(rf"{re.escape(label)}\s+(-?[\d.]+(?:e[+-]?\d+)?)", text)[1])


def problems(notebook) -> list[str]:
    """Reasons not to commit an executed notebook."""
    found = []
    for i, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        if cell.execution_count != i + 1:
            found.append(f"{cell.id}: not run in order, {cell.execution_count} in place of {i + 1}")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{cell.id}: {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                found.append(f"{cell.id}: wrote to standard error: {output.text}")
            # Encoded pictures may contain any letters.
            texts = [t for kind, t in output.get("data", {}).items() if not kind.startswith("image/")]
            if any(PATHS.search(str(text)) for text in [output.get("text", ""), *texts]):
                found.append(f"{cell.id}: names a path of the machine")
    if PATHS.search(str(notebook.metadata)):
        found.append("the metadata name a path of the machine")
    return found


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with the outputs of a run of a few steps, in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = with_parameters(nbformat.read(NOTEBOOK, 4), FEW_STEPS)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": python_path, "TFDS_DATA_DIR": str(folder / "data")}
    client = NotebookClient(
        notebook,
        timeout=1800,  # seconds: against hanging only, whatever the load of the machine
        startup_timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return notebook


@pytest.fixture(params=["executed", "committed"])
def notebook(request):
    """The notebook with outputs: of a short run now, and of the full one when it was committed."""
    if request.param == "committed":
        return nbformat.read(NOTEBOOK, 4)
    return request.getfixturevalue("executed")


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


def test_unknown_parameter_is_an_error():
    with pytest.raises(ValueError, match="NUM_STEP'"):
        with_parameters(nbformat.read(NOTEBOOK, 4), {"NUM_STEP": 1})


def test_figures_are_there_and_not_blank(notebook):
    figures = {
        cell.id: output.data["image/png"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    }
    assert tuple(figures) == FIGURES
    for name, encoded in figures.items():
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(encoded)))
        assert min(pixels.shape[:2]) > 150, name
        assert np.std(pixels[..., :3]) > 0.02, name


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


def test_training_has_the_number_of_steps_asked_for(notebook):
    assert number(printed(notebook, "training"), "trained") == parameters(notebook)["NUM_STEPS"]


def test_more_importance_samples_give_a_higher_bound(notebook):
    text = printed(notebook, "likelihood")
    rows = re.findall(r"bound with +(\d+) samples +(-[\d.]+)", text)
    num_samples, bounds = np.array(rows, float).T
    assert num_samples[0] == 1
    assert num_samples[-1] == parameters(notebook)["NUM_SAMPLES"]
    assert np.all(np.diff(bounds) > 0)
    assert number(text, "log likelihood") == bounds[-1]
    assert number(text, "test images") == 250
    assert 1 <= number(text, "effective sample size") <= num_samples[-1]


def test_committed_notebook_is_small_and_names_a_kernel_that_all_have():
    assert NOTEBOOK.stat().st_size < 600_000
    assert nbformat.read(NOTEBOOK, 4).metadata.kernelspec.name == "python3"
