"""The convolutions of all models: what their graphs hold, no images, large images, with oneDNN on and off."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.models import MODELS
from tfdvae.models import DVAEPlusPlus

ROOT = Path(__file__).resolve().parents[2]
CONVOLUTIONAL = [name for name, case in MODELS.items() if case.kind is DVAEPlusPlus]


def operations(graph):
    """The operations of a graph and of all functions that it calls."""
    found = graph.get_operations()
    for function in graph._functions.values():
        found += operations(function.graph)
    return found


def convolutions(graph):
    """(type, kernel size, strides) of all convolutions and gradients of convolutions."""
    found = []
    for operation in operations(graph):
        if "Conv" not in operation.type:
            continue
        assert operation.type in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
        assert operation.get_attr("data_format") == b"NHWC"
        backward = operation.type == "Conv2DBackpropFilter"
        kernel = operation.outputs[0] if backward else operation.inputs[1]
        found.append((operation.type, tuple(kernel.shape[:2]), tuple(operation.get_attr("strides")[1:3])))
    return found


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_no_kernel_is_smaller_than_its_stride(name):
    case = MODELS[name]
    model = case.construct()

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            terms = model.bound_terms(x, model.draw(model.limits[-1], seed=0), seed=0)
            bound = tf.reduce_sum(terms.reconstruction) - tf.reduce_sum(terms.kl_per_group)
        return tape.gradient(bound, model.trainable_variables)

    found = convolutions(gradient.get_concrete_function(case.images(4)).graph)
    assert {kind for kind, *_ in found} == {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"}
    assert {strides for *_, strides in found} == {(1, 1), (2, 2)}
    for kind, kernel, strides in found:
        assert all(k >= s for k, s in zip(kernel, strides, strict=True)), (kind, kernel, strides)


def test_all_convolutions_come_from_one_module():
    """Which keeps those of later layers off the same faults."""
    kernels = re.compile(r"\b(keras\.layers|ops|nn)\.\w*([Cc]onv|[Pp]ool)")
    assert kernels.search("keras.layers.Conv2D(3, 3)")
    sources = sorted(ROOT.glob("tfdvae/**/*.py"))
    found = [path.name for path in sources if kernels.search(path.read_text(encoding="utf-8"))]
    assert found == ["convolution.py"]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_no_images_have_no_log_weights(name):
    case = MODELS[name]
    model = case.construct()
    assert model.log_weights(case.images(0), 3, seed=0).shape == (3, 0)
    assert model.reconstruct(case.images(0), seed=0).shape == (0, *case.image_shape)


def test_a_replica_without_images(strategy):
    case = MODELS["DVAE++"]
    with strategy.scope():
        model = case.build()
    start = [v.numpy() for v in model.trainable_variables]
    # Shares of one image and of none.
    history = model.fit(case.images(1), batch_size=2, verbose=0).history
    assert np.all(np.isfinite(list(history.values())))
    assert any(np.any(v.numpy() != a) for v, a in zip(model.trainable_variables, start, strict=True))
    for variable in model.trainable_variables:
        first, second = (value.numpy() for value in strategy.experimental_local_results(variable.value))
        np.testing.assert_array_equal(first, second, err_msg=variable.path)
        assert np.all(np.isfinite(first))


def test_large_images_train():
    model = DVAEPlusPlus(
        (48, 48, 1),
        global_prior="none",
        local_groups=1,
        local_channels=1,
        down1="2down 2down",
        q_h="2",
        context="2up",
        decoder=("2up",),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    x = np.random.default_rng(0).integers(0, 2, (4, 48, 48, 1)).astype(np.float32)
    history = model.fit(x, batch_size=2, verbose=0).history
    assert int(model.step.numpy()) == 2
    assert np.all(np.isfinite(list(history.values())))


def test_keras_image_data_format_changes_nothing():
    case, kept, found = MODELS["DVAE++, conditional decoder"], keras.config.image_data_format(), []
    try:
        for data_format in ("channels_last", "channels_first"):
            keras.config.set_image_data_format(data_format)
            found.append(case.construct().log_weights(case.images(), 2, seed=0))
    finally:
        keras.config.set_image_data_format(kept)
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_with_onednn():
    """The same with the kernels of oneDNN, which only a new process can turn on."""
    layers = "tests/layers/test_convolution.py"
    process = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q"),
            f"{layers}::test_no_images_give_no_images",
            f"{layers}::test_residual_blocks_of_no_images",
            f"{__file__}::test_no_images_have_no_log_weights[DVAE++]",
            f"{__file__}::test_large_images_train",
        ],
        cwd=ROOT,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-1000:]
