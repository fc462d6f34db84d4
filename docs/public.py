"""What of `tfdvae` is public: the modules that have a page, and the names on it, read from the package."""

import importlib
import inspect
import pathlib
import types

import tfdvae

# Top-level modules that serve the library itself.
INTERNAL = ("numerics",)


def public_modules() -> dict[str, types.ModuleType]:
    """The public modules by full name, in alphabetical order.

    These are what lies directly in `tfdvae` without an underscore, and the modules that one of them exports.
    """
    folder = pathlib.Path(tfdvae.__file__).parent
    paths = [*folder.glob("*.py"), *(path.parent for path in folder.glob("*/__init__.py"))]
    names = [path.stem for path in paths if path.stem[0] != "_" and path.stem not in INTERNAL]
    waiting = [importlib.import_module(f"tfdvae.{name}") for name in names]
    modules = {}
    while waiting:
        module = waiting.pop()
        modules[module.__name__] = module
        waiting += [value for value in exports(module).values() if inspect.ismodule(value)]
    return dict(sorted(modules.items()))


def exports(module: types.ModuleType) -> dict[str, object]:
    """What a module exports, by name: its `__all__`, or else the classes and functions defined in it."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in vars(module).items()
        if name[0] != "_"
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


def own_members(cls: type) -> dict[str, object]:
    """The public methods and properties of a class that `tfdvae` defines, base classes included."""
    found = {}
    for name in dir(cls):
        value = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
        if name[0] != "_" and is_own(value):
            found[name] = value
    return found


def is_own(member) -> bool:
    """Whether a member of a class is a method or a property that `tfdvae` defines.

    What Keras and TensorFlow Probability define is not, nor are the fields of tuples and dataclasses, which
    stand in the docstring of their class.
    """
    function = getattr(member, "fget", None) or getattr(member, "__func__", member)
    return inspect.isfunction(function) and function.__module__.partition(".")[0] == "tfdvae"
