#!/usr/bin/env bash
# Seen 2026-11-27 with tensorflow==2.21.0, keras==3.15.1: `LossScaleOptimizer` (put around the optimizer by `compile` under
# the policy "mixed_float16") and `loss_scale_factor` divide the gradients in `apply_gradients` whether or not the
# loss was multiplied. A `train_step` of one's own that does not call `optimizer.scale_loss` trains with updates that
# are too small by the scale (32,768 at first), without a word. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
KERAS_BACKEND=tensorflow "$folder/venv/bin/python" - <<'PYTHON'
import keras
import tensorflow as tf


class Model(keras.Model):
    def __init__(self):
        super().__init__()
        self.w = self.add_weight(shape=(), initializer="zeros", dtype="float32", autocast=False)
        self.built = True

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.convert_to_tensor(self.w)
        self.optimizer.apply_gradients([(tape.gradient(loss, self.w.value), self.w)])
        return {"out": loss}


moves = []
for policy in ("float32", "mixed_float16"):
    keras.config.set_dtype_policy(policy)
    model = Model()
    model.compile(keras.optimizers.SGD(1.0))
    model.train_on_batch(tf.zeros([1, 1]))
    moves.append(abs(float(model.w)))
print(keras.__version__, "one step of size 1 moves by", moves)
assert moves == [1.0, 2.0**-15], "the behaviour has changed"
PYTHON
