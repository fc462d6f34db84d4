#!/usr/bin/env bash
# Seen 2026-11-27 with tensorflow==2.21.0, keras==3.15.1: `tf.train.Checkpoint(model=...)` of a Keras 3 model leaves
# out the layers that an attribute holds in a list (in a tuple they are there). Restoring passes
# `assert_existing_objects_matched()`, and the weights of those layers stay as they were made: of the four variables
# below none comes back. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
KERAS_BACKEND=tensorflow "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import keras
import numpy as np
import tensorflow as tf


class Stack(keras.Model):
    def __init__(self, kind):
        super().__init__()
        self.blocks = kind([keras.layers.Dense(3), keras.layers.Dense(3)])
        for block in self.blocks:
            block.build((None, 3))
        self.built = True


def come_back(kind):
    one, other = Stack(kind), Stack(kind)
    for variable in one.weights:
        variable.assign(tf.ones_like(variable))
    path = tf.train.Checkpoint(model=one).save(sys.argv[1] + "/" + kind.__name__)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    return sum(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights()))


print(tf.__version__, keras.__version__, "of 4 variables come back: list", come_back(list), "tuple", come_back(tuple))
assert (come_back(list), come_back(tuple)) == (0, 4), "the behaviour has changed"
PYTHON
