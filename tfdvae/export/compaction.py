"""The same graph in fewer bytes."""

import itertools
import os
import string

from tensorflow.core.framework import function_pb2
from tensorflow.core.protobuf import saved_model_pb2

from tfdvae.files import user_path

# Operations that the functions have many equal ones of: constants, and what is made of shapes and weights.
_MERGED = {"Const", "Shape", "StridedSlice", "Pack", "ConcatV2", "Prod", "Reshape", "Cast", "ExpandDims"}
# Inferred shapes, and hints for placing operations, for collectives and for automatic control dependencies.
_UNUSED_ATTRIBUTES = ("_output_shapes", "_class", "_collective_manager_ids", "_read_only_resource_inputs")


def compact(path: str | os.PathLike) -> None:
    """Rewrites a `saved_model.pb`: what its functions compute stays the same, bit for bit.

    Of each function, nodes that neither an output nor an effect depends on go, equal ones of some pure
    operations become one, identities are bypassed, names shortened, and attributes dropped that are inferred
    or hints. A resource that is known by the name of its node alone (a hash table, say) must not be in a
    function. The fingerprint of the SavedModel, which loaders do not need, is then of another graph and goes.
    """
    path = user_path(path)
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.ClearField("experimental_debug_info")
            for name in _UNUSED_ATTRIBUTES:
                node.attr.pop(name, None)
        _drop_dead_nodes(function)
        _bypass_identities(function)
        _merge_equal_nodes(function)
        _drop_dead_nodes(function)
        _shorten_names(function)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    path.with_name("fingerprint.pb").unlink(missing_ok=True)


def _source(value: str) -> str:
    """The node (or argument) of `node:output:index`, `^node`, `node` or `argument`."""
    return value.removeprefix("^").partition(":")[0]


def _replace(function: function_pb2.FunctionDef, replaced) -> None:
    """Replaces every value that is used by `replaced` of it."""
    for node in function.node_def:
        node.input[:] = [replaced(value) for value in node.input]
    for returned in (function.ret, function.control_ret):
        for key, value in list(returned.items()):
            returned[key] = replaced(value)


def _rename(function, names: dict[str, str]):
    """Replaces names of nodes wherever a value of them is used."""

    def renamed(value):
        name = _source(value)
        return value.replace(name, names.get(name, name), 1)

    _replace(function, renamed)


def _drop(function, names):
    """Drops the nodes of these names."""
    kept = [node for node in function.node_def if node.name not in names]
    del function.node_def[:]
    function.node_def.extend(kept)


def _bypass_identities(function):
    """Uses what goes into an identity instead of it.

    Those stay that have or are a control input, a device or a hint, and those of a function's argument, which
    cannot be returned without a node.
    """
    nodes = {node.name for node in function.node_def}
    ordering = {_source(value) for node in function.node_def for value in node.input if value.startswith("^")}
    ordering.update(function.control_ret.values())
    origins = {
        f"{node.name}:output:0": node.input[0]
        for node in function.node_def
        if node.op == "Identity"
        and node.name not in ordering
        and len(node.input) == 1
        and not node.device
        and node.attr.keys() == {"T"}
        and _source(node.input[0]) in nodes
    }

    def origin(value):
        while value in origins:
            value = origins[value]
        return value

    _replace(function, origin)


def _merge_equal_nodes(function):
    """Each pass merges nodes of equal inputs, until the inputs that it merged make no others equal."""
    while True:
        first, names = {}, {}
        for node in function.node_def:
            if node.op in _MERGED:
                unnamed = type(node)()
                unnamed.CopyFrom(node)
                unnamed.name = ""
                kept = first.setdefault(unnamed.SerializeToString(deterministic=True), node.name)
                if kept != node.name:
                    names[node.name] = kept
        if not names:
            return
        _rename(function, names)
        _drop(function, names)


def _drop_dead_nodes(function):
    nodes = {node.name: node for node in function.node_def}
    waiting = [_source(value) for r in (function.ret, function.control_ret) for value in r.values()]
    alive = set()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in alive:
            alive.add(name)
            waiting += map(_source, nodes[name].input)
    _drop(function, nodes.keys() - alive)


def _shorten_names(function):
    arguments = {argument.name for argument in function.signature.input_arg}
    free = (name for name in _short_names() if name not in arguments)
    names = {node.name: next(free) for node in function.node_def}
    _rename(function, names)
    for node in function.node_def:
        node.name = names[node.name]


def _short_names():
    """a, b, ..., z, aa, ab, ...; digits too after the first letter."""
    letters = string.ascii_lowercase
    for length in itertools.count():
        for name in itertools.product(letters, *[letters + string.digits] * length):
            yield "".join(name)
