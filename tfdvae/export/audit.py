"""What a SavedModel contains: its operations and variables, and whether a server can run it faithfully."""

import collections
import dataclasses
import os
import re

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfdvae.files import user_path

# A server runs no Python, and disables XLA at start.
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
_COMPILED = ("XlaMustCompile", "_XlaMustCompile")
# Also the operations that make, or advance, a random state. Those called "Stateless..." have none.
_RANDOM = re.compile(
    "(?!Stateless).*(Random|Rng|Multinomial|TruncatedNormal|StandardNormal|StatefulUniform|Sampler|NonDeterministic)"
)
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True)
class Audit:
    """What a SavedModel contains.

    Attributes:
      operations: how often each type of operation stands in the graph and its functions.
      variables: shape and dtype of each variable of the checkpoint.
      variable_bytes: bytes of all variables.
      file_bytes: bytes of graph and variables on the disk.
      problems: what keeps a server from running it faithfully, and what it holds in vain; empty if nothing.
    """

    operations: dict[str, int]
    variables: dict[str, tuple[tuple[int, ...], str]]
    variable_bytes: int
    file_bytes: int
    problems: tuple[str, ...]


def audit(directory: str | os.PathLike) -> Audit:
    """Reads a SavedModel without running it.

    Args:
      directory: of the SavedModel, that of a version.

    Raises:
      FileNotFoundError: if there is none.
    """
    directory = user_path(directory, "directory")
    path = directory / "saved_model.pb"
    if not path.is_file():
        raise FileNotFoundError(f"There is no SavedModel in {directory}: {path.name} is missing")
    meta_graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0]
    graph, functions = meta_graph.graph_def, meta_graph.graph_def.library.function
    operations = collections.Counter(node.op for node in graph.node)
    for function in functions:
        operations.update(node.op for node in function.node_def)
    reader = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
    dtypes = reader.get_variable_to_dtype_map()
    variables = {
        name.removesuffix(_SUFFIX): (tuple(shape), dtypes[name].name)
        for name, shape in sorted(reader.get_variable_to_shape_map().items())
        if name.endswith(_SUFFIX)
    }
    stateful = [op for op in sorted(operations) if _RANDOM.match(op)]
    compiled = [
        f.signature.name for f in functions if any(f.attr[name].b for name in _COMPILED if name in f.attr)
    ]
    problems = [
        *(f"the operation {op} has a random state of the server's own" for op in stateful),
        *(f"the operation {op} needs Python" for op in _PYTHON if op in operations),
        *(f"the function {name} must be compiled by XLA" for name in compiled),
        *(f"no signature reads the variable {name}" for name in _unread_variables(meta_graph)),
        *(f"the variables {' and '.join(names)} are equal" for names in _equal(reader, variables)),
    ]
    files = [path, *(directory / "variables").iterdir()]
    return Audit(
        operations=dict(sorted(operations.items())),
        variables=variables,
        variable_bytes=sum(
            tf.TensorShape(shape).num_elements() * tf.as_dtype(dtype).size
            for shape, dtype in variables.values()
        ),
        file_bytes=sum(file.stat().st_size for file in files),
        problems=tuple(problems),
    )


def _equal(reader, variables) -> list[list[str]]:
    """Groups of variables that have the same values."""
    names = collections.defaultdict(list)
    for name in variables:
        value = reader.get_tensor(name + _SUFFIX)
        names[value.dtype, value.shape, value.tobytes()].append(name)
    return [group for group in names.values() if len(group) > 1]


def _unread_variables(meta_graph) -> list[str]:
    """Variables that no signature depends on: copies, training state."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    waiting = [
        output.name
        for name, signature in meta_graph.signature_def.items()
        if not name.startswith("__")  # the loader's own
        for output in signature.outputs.values()
    ]
    seen = set()
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name not in seen:
            seen.add(name)
            waiting += nodes[name].input
    return [
        n.attr["shared_name"].s.decode()
        for n in nodes.values()
        if n.op == "VarHandleOp" and n.name not in seen
    ]
