"""A compacted graph is smaller and computes the same."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfdvae.export.compaction import compact


def nodes_of(directory):
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    (function,) = [f for f in functions if f.signature.name.startswith("__inference_computed")]
    return list(function.node_def)


@pytest.fixture
def saved(tmp_path):
    """A module whose function repeats constants and shapes, reads around a write, and computes in vain."""
    module = tf.Module()
    module.count = tf.Variable(0.0)

    def computed(x):
        tf.linalg.inv(x, name="in_vain")
        before = tf.identity(module.count)
        module.count.assign_add(3.0)
        after = tf.identity(tf.identity(module.count))
        module.count.assign_add(4.0)  # no output of this call depends on it
        rows = tf.reshape(x, [tf.shape(x)[0], 4]) + tf.reshape(x, [tf.shape(x)[0], 4])
        noise = [tf.raw_ops.RandomUniform(shape=[100], dtype=tf.float32) for _ in range(2)]
        return {"rows": rows, "before": before, "after": after, "noise": tf.stack(noise)}

    module.computed = tf.function(computed, input_signature=[tf.TensorSpec([None, 2, 2])], autograph=False)
    tf.saved_model.save(module, str(tmp_path), signatures={"f": module.computed})
    return tmp_path


def test_equal_and_dead_nodes_go(saved):
    before = nodes_of(saved)
    size = (saved / "saved_model.pb").stat().st_size
    compact(saved / "saved_model.pb")
    after = nodes_of(saved)
    assert (saved / "saved_model.pb").stat().st_size < size
    assert not (saved / "fingerprint.pb").exists()

    def count(nodes, op):
        return sum(node.op == op for node in nodes)

    assert [count(before, op) for op in ("MatrixInverse", "Shape", "Reshape")] == [1, 2, 2]
    assert [count(after, op) for op in ("MatrixInverse", "Shape", "Reshape")] == [0, 1, 1]
    constants = [(n.attr["value"].SerializeToString(), *n.input) for n in after if n.op == "Const"]
    assert len(set(constants)) == len(constants) < count(before, "Const")
    # The three copies go; those of the four outputs wait for the effects.
    assert [count(nodes, "Identity") for nodes in (before, after)] == [7, 4]
    # What reads or changes a state is not merged, nor are random numbers.
    for op in ("ReadVariableOp", "AssignAddVariableOp", "RandomUniform"):
        assert count(after, op) == count(before, op) > 0


def test_what_is_computed_stays_the_same(saved):
    compact(saved / "saved_model.pb")
    run = tf.saved_model.load(str(saved)).signatures["f"]
    x = np.arange(12.0, dtype=np.float32).reshape(3, 2, 2)
    for call in range(2):
        outputs = run(tf.constant(x))
        np.testing.assert_array_equal(outputs["rows"], 2 * x.reshape(3, 4))
        assert (outputs["before"], outputs["after"]) == (7.0 * call, 7.0 * call + 3.0)
    assert np.all(outputs["noise"][0] != outputs["noise"][1])


def test_twice_is_as_once(saved):
    path = saved / "saved_model.pb"
    compact(path)
    once = path.read_bytes()
    compact(path)
    assert path.read_bytes() == once
