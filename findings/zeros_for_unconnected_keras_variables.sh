#!/usr/bin/env bash
# Seen 2026-11-28 with tensorflow==2.21.0, keras==3.15.1: `tape.gradient(loss, model.trainable_variables,
# unconnected_gradients="zero")` raises an AttributeError about a `str` as soon as one variable has no part in the loss:
# Keras' variables, which the tape takes otherwise, have a dtype that TensorFlow's zeros cannot read. The tf.Variables
# behind them (`v.value`) get their zeros. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
KERAS_BACKEND=tensorflow "$folder/venv/bin/python" - <<'PYTHON'
import keras
import tensorflow as tf

used, idle = keras.Variable([1.0, 2.0]), keras.Variable([3.0])


def gradients(variables, **options):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(tf.convert_to_tensor(used)))
    return tape.gradient(loss, variables, **options)


print("as they come:", [None if g is None else g.numpy().tolist() for g in gradients([used, idle])])
for option in ("zero", tf.UnconnectedGradients.ZERO):
    try:
        gradients([used, idle], unconnected_gradients=option)
    except AttributeError as error:
        print("with zeros:", type(error).__name__, error)
    else:
        raise AssertionError("the behaviour has changed")
zeros = gradients([used.value, idle.value], unconnected_gradients="zero")[1].numpy().tolist()
print("of the variables behind them:", zeros)
assert zeros == [0.0], "the behaviour has changed"
PYTHON
