#!/usr/bin/env bash
# Seen 2026-11-28 with tensorflow==2.21.0, keras==3.15.1: a subclass of `keras.layers.Conv2D` (or `Dense`) that adds a
# weight of its own in `build` trains, and `model.save` writes a file without a word; but these layers store kernel and
# bias alone, the added weight is not in the file, and `load_model` refuses it ("expected 3 variables, but received 2").
# What was trained is lost. A subclass has to override `save_own_variables` and `load_own_variables`. Fails if that
# changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
cd "$folder"
KERAS_BACKEND=tensorflow "$folder/venv/bin/python" - <<'PYTHON'
import zipfile

import h5py
import keras
import numpy as np


def with_gain(kind):
    class WithGain(kind):
        def build(self, input_shape):
            super().build(input_shape)
            self.gain = self.add_weight(shape=(), initializer="ones", name="gain")

        def call(self, inputs):
            return self.gain * super().call(inputs)

    return keras.saving.register_keras_serializable(package="finding", name=kind.__name__)(WithGain)


for kind, arguments, shape in ((keras.layers.Conv2D, (2, 3), (8, 8, 1)), (keras.layers.Dense, (2,), (4,))):
    layer = with_gain(kind)(*arguments)
    model = keras.Sequential([keras.layers.Input(shape), layer])
    model(np.zeros((1, *shape)))
    model.save("model.keras")
    with zipfile.ZipFile("model.keras") as archive:
        archive.extract("model.weights.h5")
    stored = []
    with h5py.File("model.weights.h5") as file:
        file.visititems(lambda name, item: stored.append(name) if isinstance(item, h5py.Dataset) else None)
    print(f"{kind.__name__}: {len(layer.weights)} weights, {len(stored)} stored")
    assert (len(layer.weights), len(stored)) == (3, 2), "the behaviour has changed"
    try:
        keras.saving.load_model("model.keras")
    except ValueError as error:
        print("loading:", *[line for line in str(error).splitlines() if "expected 3 variables" in line])
    else:
        raise AssertionError("the behaviour has changed")
PYTHON
