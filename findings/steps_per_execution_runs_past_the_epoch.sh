#!/usr/bin/env bash
# Seen 2026-11-27 with tensorflow==2.21.0, keras==3.15.1: with `steps_per_epoch=5` and `steps_per_execution=2` an epoch of
# an endless data set has six steps, not five, without a warning; the optimizer's counter, schedules and the place in
# the data run ahead by one step an epoch. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
KERAS_BACKEND=tensorflow "$folder/venv/bin/python" - <<'PYTHON'
import keras
import tensorflow as tf

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", steps_per_execution=2)
data = tf.data.Dataset.from_tensors((tf.ones([4, 1]), tf.ones([4, 1]))).repeat()
model.fit(data, steps_per_epoch=5, epochs=3, verbose=0)
steps = int(model.optimizer.iterations)
print(keras.__version__, "steps in 3 epochs of 5:", steps)
assert steps == 18, "the behaviour has changed"
PYTHON
