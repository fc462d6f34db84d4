"""How Sphinx makes the documentation; `make docs` runs it."""

import inspect
import pathlib
import sys

from sphinx.util import inspect as sphinx_inspect

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import tfdvae
from docs import docstrings, public

project = "tfdvae"
version = release = tfdvae.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "myst_parser"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
smartquotes = False  # names in quotes are copied into programs

html_theme = "furo"
html_title = f"tfdvae {version}"
html_copy_source = False
html_show_copyright = False

# --- the reference: a page for each public module, from what it exports ---

MODULES = public.public_modules()
# Where a name is defined, and where it is documented.
DOCUMENTED = {
    f"{value.__module__}.{value.__qualname__}": f"{module_name}.{name}"
    for module_name, module in MODULES.items()
    for name, value in public.exports(module).items()
    if not inspect.ismodule(value)
}


def _kind(value) -> str:
    """What follows "auto" in the directive for an object."""
    if inspect.isclass(value):
        return "exception" if issubclass(value, Exception) else "class"
    return "module" if inspect.ismodule(value) else "function"


autosummary_context = {
    "modules_with_a_page": list(MODULES),
    "exports": {
        module_name: [(name, _kind(value)) for name, value in public.exports(module).items()]
        for module_name, module in MODULES.items()
    },
}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 120
toc_object_entries_show_parents = "hide"
default_role = "py:obj"
napoleon_use_ivar = True
napoleon_custom_sections = [("Call arguments", "params_style"), "Input shape", "Output shape"]


def skip_member(app, what, name, member, skip, options):
    """Leaves out what Keras, TensorFlow Probability and Python's tuples define."""
    return None if what == "module" else skip or not public.is_own(member)


def class_signature(app, what, name, cls, options, signature, return_annotation):
    """The signature of `__init__`, where Sphinx would show that of the `__new__` of Keras' layers."""
    if what != "class" or not public.is_own(cls.__init__):
        return None
    signature = sphinx_inspect.signature(cls.__init__, bound_method=True)
    text = sphinx_inspect.stringify_signature(
        signature, show_return_annotation=False, unqualified_typehints=True
    )
    return text, None


def resolve(app, env, node, contnode):
    """Finds what is written without its module, or with the module that defines it."""
    target = node.get("reftarget", "")
    found = [DOCUMENTED[target]] if target in DOCUMENTED else []
    if target and not found:
        found = [name for name in DOCUMENTED.values() if name.endswith(f".{target}")]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, contnode)


def process_docstring(app, what, name, obj, options, lines):
    """Makes reStructuredText of a docstring, in place."""
    lines[:] = docstrings.to_rst(lines)


def setup(app):
    """Registers the functions above."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-signature", class_signature)
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # napoleon's is 500
    app.connect("missing-reference", resolve)
