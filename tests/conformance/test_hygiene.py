"""Rules that hold for every file of the package, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(ROOT.glob("tfdvae/**/*.py"))


def asserts_and_prints(source: str) -> list[str]:
    """`assert` statements and calls of `print`, as "line N: what"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: assert")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.append(f"line {node.lineno}: print")
    return found


def folders_without_init(package: Path) -> list[str]:
    """Folders of Python files that setuptools would leave out of the installed package."""
    folders = {path.parent for path in package.rglob("*.py")}
    return sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists())


def test_library_neither_asserts_nor_prints():
    assert SOURCES
    problems = {
        str(path.relative_to(ROOT)): found
        for path in SOURCES
        if (found := asserts_and_prints(path.read_text(encoding="utf-8")))
    }
    assert problems == {}, "raise a ValueError that quotes what arrived; log with absl.logging"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("assert x > 0", ["line 1: assert"]),
        ("def f():\n    print('x')", ["line 2: print"]),
        ("def f():\n    '''assert nothing, print(nothing)'''\n    tf.print('x')", []),
    ],
)
def test_asserts_and_prints_are_found(source, expected):
    assert asserts_and_prints(source) == expected


def test_every_folder_of_the_package_is_installed():
    assert folders_without_init(ROOT / "tfdvae") == []


def test_folder_without_init_is_found(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "inner" / "module.py").touch()
    assert folders_without_init(tmp_path) == [str(tmp_path / "inner")]
