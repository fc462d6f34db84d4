"""The package's modules import one another in one direction only."""

import ast
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A module imports only from its own entry of this list and from those before it.
LAYERS = (
    "_validation",
    "random",
    "files",
    "numerics",
    "_faults",
    "_gradients",
    "_keras_options",
    "_means",
    "training",
    "_schedules",
    "bijectors",
    "distributions",
    "layers",
    "boltzmann",
    "latents",
    "objectives",
    "models",
    "data",
    "evaluation",
    "callbacks",
    "export",
)
# Folders of the checkout that are not installed.
NOT_INSTALLED = ("trainers", "tests", "benchmarks", "notebooks", "exported")


def find_modules(root: Path) -> dict[str, Path]:
    """The modules of `root/tfdvae`, dotted name to file; a package is named without `__init__`."""
    modules = {}
    for path in sorted(root.glob("tfdvae/**/*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imported_names(module: str, path: Path) -> set[str]:
    """Every dotted name that a file imports, wherever in the file the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                base = package.split(".")
                base = base[: len(base) - (node.level - 1)]
                source = ".".join([*base, source] if source else base)
            names.update(f"{source}.{alias.name}" for alias in node.names)
    return names


def violations(root: Path) -> list[str]:
    """Backward, unknown, cyclic and outward imports of `root/tfdvae`, as messages."""
    modules = find_modules(root)
    graph: dict[str, set[str]] = {}
    problems = []
    for module, path in modules.items():
        graph[module] = set()
        layer = module.split(".")[1] if "." in module else None
        if layer is not None and layer not in LAYERS:
            problems.append(f"{module} has no place in the import order")
            continue
        for name in sorted(imported_names(module, path)):
            top, *rest = name.split(".")
            if top in NOT_INSTALLED:
                problems.append(f"{module} imports {name}, which is not part of the package")
            if top != "tfdvae":
                continue
            # `from tfdvae.a import b` names the module tfdvae.a.b, or something defined in tfdvae.a.
            target = name
            while target not in modules:
                target = target.rpartition(".")[0]
            graph[module].add(target)
            wanted = rest[0] if target != "tfdvae" else None
            if layer and wanted in LAYERS and LAYERS.index(wanted) > LAYERS.index(layer):
                problems.append(f"{module} imports {name} backwards: {wanted} comes after {layer}")
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        problems.append("cyclic import: " + " <- ".join(error.args[1]))
    return problems


def write_package(root: Path, sources: dict[str, str]) -> None:
    """Writes files below `root/tfdvae`; every folder on the way becomes a package."""
    for name, source in sources.items():
        path = root / "tfdvae" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        for folder in (path.parent, root / "tfdvae"):
            (folder / "__init__.py").touch()


def test_package_imports_one_way():
    assert len(find_modules(ROOT)) >= 3
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    "source",
    [
        "from tfdvae import models",
        "from tfdvae.models import base",
        "from tfdvae.models.base import Model",
        "import tfdvae.models.base as base",
        "from .. import models",
        "from ..models.base import Model",
        "def late():\n    from tfdvae.models import base\n    return base",
    ],
)
def test_backward_import_is_found(tmp_path, source):
    write_package(tmp_path, {"models/base.py": "Model = int", "layers/dense.py": source})
    (problem,) = violations(tmp_path)
    assert problem.startswith("tfdvae.layers.dense imports")
    assert problem.endswith("backwards: models comes after layers")


@pytest.mark.parametrize("source", ["import trainers.train", "from trainers import train"])
def test_import_from_outside_the_package_is_found(tmp_path, source):
    write_package(tmp_path, {"layers/dense.py": source})
    (problem,) = violations(tmp_path)
    assert problem == "tfdvae.layers.dense imports trainers.train, which is not part of the package"


@pytest.mark.parametrize("source", ["from .second import b", "from tfdvae.layers import second"])
def test_cycle_within_a_subpackage_is_found(tmp_path, source):
    second = "from tfdvae.layers.first import a"
    write_package(tmp_path, {"layers/first.py": source, "layers/second.py": second})
    (problem,) = violations(tmp_path)
    assert problem.startswith("cyclic import: ")
    assert "tfdvae.layers.first" in problem
    assert "tfdvae.layers.second" in problem


def test_module_without_a_place_is_found(tmp_path):
    write_package(tmp_path, {"utils.py": ""})
    assert violations(tmp_path) == ["tfdvae.utils has no place in the import order"]


def test_forward_imports_are_accepted(tmp_path):
    write_package(
        tmp_path,
        {
            "random.py": "import numpy as np\nimport tensorflow as tf",
            "layers/__init__.py": "from tfdvae.layers.dense import x",
            "layers/dense.py": "from tfdvae import random\nfrom .. import random as again",
            "models/base.py": "from tfdvae.layers.dense import x\nfrom tfdvae.random import split",
            "models/net.py": "from .base import y\nfrom tfdvae import __version__",
        },
    )
    assert violations(tmp_path) == []


@pytest.mark.parametrize("backend", ["jax", "numpy"])
def test_another_backend_fails_at_import_with_a_message(backend):
    outcome = subprocess.run(
        [sys.executable, "-c", "import tfdvae"],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert outcome.returncode != 0
    last_line = outcome.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError: tfdvae needs the TensorFlow backend of Keras")
    assert repr(backend) in last_line


def test_an_import_leaves_the_devices_alone():
    """A program may still set up its devices, as the one for several replicas on one processor does."""
    modules = ", ".join(f"tfdvae.{layer}" for layer in LAYERS)
    program = (
        f"import {modules}; import tensorflow as tf; "
        "cpu = tf.config.list_physical_devices('CPU')[0]; "
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert outcome.returncode == 0, outcome.stderr
