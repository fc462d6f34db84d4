#!/usr/bin/env bash
# Seen 2026-11-27 with tensorflow==2.21.0 (CPU): inside of `tf.function(jit_compile=True)` a failed
# `tf.debugging.Assert` is dropped without a warning; the same function without XLA raises InvalidArgumentError.
# So a check of a batch's values that stands in a Keras `train_step` is gone as soon as `jit_compile=True` (or
# "auto" on one GPU). Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0
"$folder/venv/bin/python" - <<'PYTHON'
import tensorflow as tf


def checked(x):
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x >= 0), ["negative"])]):
        return tf.identity(x)


def outcome(jit_compile):
    try:
        return tf.function(checked, jit_compile=jit_compile)(tf.constant([1.0, -1.0])).numpy().tolist()
    except tf.errors.InvalidArgumentError:
        return "InvalidArgumentError"


print(tf.__version__, "without XLA:", outcome(False), "with XLA:", outcome(True))
assert outcome(False) == "InvalidArgumentError" and outcome(True) == [1.0, -1.0], "the behaviour has changed"
PYTHON
