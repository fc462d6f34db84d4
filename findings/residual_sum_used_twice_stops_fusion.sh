#!/usr/bin/env bash
# Seen 2026-12-01 with tensorflow==2.21.0 (CPU, oneDNN on): in a graph where `x + bias_add(conv2d(x))` is activated
# and used once more besides, as in every pre-activation residual network, the optimizer of the graph gives up:
# "remapper failed: INVALID_ARGUMENT: Mutation::Apply error: fanout ... exist for missing node ..." is printed as an
# error, and no convolution of the whole graph is fused with its activation, not even those that have nothing to do
# with the sum. The results are the same. With oneDNN off, or with the sum used once, all are fused. Fails if that
# changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0
cat > "$folder/count.py" <<'PYTHON'
import tensorflow as tf
from tensorflow.python.eager import context

kernel, bias = tf.random.normal([3, 3, 8, 8]), tf.zeros([8])


def convolution(x):
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)


def fused(uses):
    def network(x):
        total = x + convolution(x)
        results = [tf.nn.elu(total), tf.nn.relu(convolution(tf.abs(x)))]
        return results if uses == 1 else [*results, 2.0 * total]

    function = tf.function(network)
    context.enable_run_metadata()
    function(tf.random.normal([2, 8, 8, 8]))
    graphs = context.export_run_metadata().function_graphs
    context.disable_run_metadata()
    return sum("FusedConv2D" in node.op for graph in graphs for part in graph.partition_graphs for node in part.node)


print("fused of 2 convolutions, the sum used once and twice:", fused(1), fused(2))
PYTHON
for onednn in 0 1; do
    export TF_ENABLE_ONEDNN_OPTS=$onednn
    "$folder/venv/bin/python" "$folder/count.py" > "$folder/out" 2> "$folder/log"
    echo "oneDNN $onednn: $(cat "$folder/out"), errors printed: $(grep -c 'remapper failed' "$folder/log" || true)"
done | tee "$folder/summary"
diff "$folder/summary" - <<'EXPECTED' || { echo "the behaviour has changed"; exit 1; }
oneDNN 0: fused of 2 convolutions, the sum used once and twice: 2 2, errors printed: 0
oneDNN 1: fused of 2 convolutions, the sum used once and twice: 2 0, errors printed: 1
EXPECTED
