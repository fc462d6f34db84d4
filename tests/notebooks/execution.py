"""What the tests of all notebooks share: setting parameters, running, reading what was printed."""

import ast
import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
# The parameters of a short run of each notebook.
FEW_STEPS = {
    "dvae": {"NUM_STEPS": 20, "NUM_EPOCHS": 2, "NUM_SAMPLES": 20},
    "dvaepp": {"NUM_STEPS": 20, "NUM_EPOCHS": 2, "NUM_SAMPLES": 12},
    "estimators": {"NUM_DRAWS": 200, "NUM_STEPS": 20, "NUM_EPOCHS": 2, "NUM_SAMPLES": 10},
    "pixelvaepp": {"NUM_STEPS": 6, "NUM_EPOCHS": 2, "NUM_SAMPLES": 3},
    "serving": {"NUM_STEPS": 20, "NUM_EPOCHS": 2, "NUM_SAMPLES": 10},
}
# Folders that name a machine or a user, on the usual systems.
PATHS = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|var|opt|usr|mnt|srv|private)/|[A-Z]:\\\\?Users")


def path_of(name) -> Path:
    """The file of a notebook."""
    return ROOT / "notebooks" / f"{name}.ipynb"


def committed(name):
    """The notebook with the outputs of the full run."""
    return nbformat.read(path_of(name), 4)


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
    found = re.search(rf"{re.escape(label)}\s+(-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)", text)[1]
    return float(found.replace(",", ""))


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


def run_few_steps(name, folder):
    """The notebook with the outputs of a short run, in an empty folder."""
    notebook = with_parameters(committed(name), FEW_STEPS[name])
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": python_path, "TFDS_DATA_DIR": str(folder / "data")}
    client = NotebookClient(
        notebook,
        timeout=1800,  # seconds: against hanging only, whatever the load of the machine
        startup_timeout=600,
        allow_errors=True,  # they are outputs that `problems` finds; all tests share this one run
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return notebook
