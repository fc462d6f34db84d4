"""DenseStack against NumPy, with inputs of mixed rank, in training and out of it."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.oracles import dense_stack
from tfdvae.layers import DenseStack

STACKS = {
    "affine": dict(input_units=(4, 2), output_units=3),
    "one hidden layer": dict(input_units=(4,), output_units=3, hidden_units=(5,)),
    "two hidden layers": dict(input_units=(4, 2, 1), output_units=3, hidden_units=(5, 6)),
    "no normalization": dict(
        input_units=(4, 2), output_units=3, hidden_units=(5, 6), batch_normalization=False
    ),
    "weight decay": dict(input_units=(4, 2), output_units=1, hidden_units=(5,), weight_decay=0.25),
}


@pytest.fixture(params=STACKS)
def stack(request):
    layer = DenseStack(**STACKS[request.param])
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        positive = weight.path.endswith(("gamma", "moving_variance"))
        weight.assign(rng.uniform(0.5, 2, weight.shape) if positive else rng.normal(size=weight.shape))
    return layer


def inputs_for(stack, *leading):
    rng = np.random.default_rng(1)
    leading = leading or ([7],) * len(stack.input_units)
    return [
        rng.normal(size=[*shape, units]).astype(np.float32)
        for shape, units in zip(leading, stack.input_units, strict=False)
    ]


def test_is_the_dense_network_of_the_concatenation(stack):
    inputs = inputs_for(stack)
    got = stack(inputs)
    assert got.shape == (7, stack.output_units)
    np.testing.assert_allclose(got, dense_stack(stack, inputs), rtol=1e-5, atol=1e-5)


def test_inputs_of_mixed_rank_broadcast(stack):
    # The first input is the image, the others are samples of latents.
    leading = ([7], *([[3, 7]] * (len(stack.input_units) - 1)))
    inputs = inputs_for(stack, *leading)
    got = stack(inputs)
    wide = [np.broadcast_to(v, [3, 7, v.shape[-1]]) if len(inputs) > 1 else v for v in inputs]
    np.testing.assert_allclose(got, dense_stack(stack, wide), rtol=1e-5, atol=1e-5)
    assert tuple(stack.compute_output_shape([v.shape for v in inputs])) == got.shape
    assert stack.compute_output_shape([(None, u) for u in stack.input_units]) == (None, stack.output_units)


def test_training_normalizes_with_the_batch():
    stack = DenseStack((4, 2), 3, hidden_units=(5,), batch_normalization_momentum=0.9)
    inputs = [10.0 * v + 3.0 for v in inputs_for(stack)]
    kernels = np.concatenate([layer.kernel.numpy() for layer in stack.input_layers])
    hidden = np.concatenate(inputs, axis=1) @ kernels
    mean, variance = hidden.mean(axis=0), hidden.var(axis=0)
    want = np.tanh((hidden - mean) / np.sqrt(variance + 1e-3)) @ stack.hidden_layers[0].kernel.numpy()
    np.testing.assert_allclose(stack(inputs, training=True), want, rtol=1e-3, atol=1e-4)
    moving = stack.normalizations[0]
    np.testing.assert_allclose(moving.moving_mean, 0.1 * mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moving.moving_variance, 0.9 + 0.1 * variance, rtol=1e-4)
    before = moving.moving_mean.numpy()
    stack(inputs)
    np.testing.assert_array_equal(moving.moving_mean, before)


def test_weights_are_as_few_as_possible():
    # A bias before normalization, or one for each input, would be idle.
    count = lambda **kwargs: DenseStack((4, 2), 3, **kwargs).count_params()  # noqa: E731
    assert count() == 6 * 3 + 3
    assert count(hidden_units=(5,)) == 6 * 5 + 4 * 5 + 5 * 3 + 3
    assert count(hidden_units=(5,), batch_normalization=False) == 6 * 5 + 5 + 5 * 3 + 3


def test_output_bias(stack):
    inputs = inputs_for(stack)
    before = stack(inputs)
    stack.output_bias.assign_add(np.arange(stack.output_units) + 1.0)
    np.testing.assert_allclose(
        stack(inputs) - before, np.tile(np.arange(stack.output_units) + 1.0, [7, 1]), rtol=1e-4
    )


def test_weight_decay_is_of_the_kernels(stack):
    kernels = [w.numpy() for w in stack.weights if w.path.endswith("kernel")]
    assert len(kernels) == len(stack.input_units) + len(stack.hidden_units)
    want = stack.weight_decay * sum(np.sum(np.float64(k) ** 2) for k in kernels)
    np.testing.assert_allclose(sum(float(v) for v in stack.losses), want, rtol=1e-5)


def test_configuration_round_trip(stack):
    config = json.loads(json.dumps(stack.get_config()))
    restored = DenseStack.from_config(config)
    assert json.loads(json.dumps(restored.get_config())) == config
    restored.set_weights(stack.get_weights())
    inputs = inputs_for(stack)
    np.testing.assert_array_equal(restored(inputs), stack(inputs))


def test_saved_inside_a_functional_model(stack, tmp_path):
    symbols = [keras.Input([units]) for units in stack.input_units]
    model = keras.Model(symbols, stack(symbols))
    assert model.output_shape == (None, stack.output_units)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    inputs = inputs_for(stack)
    np.testing.assert_allclose(restored(inputs), stack(inputs), rtol=1e-6)


def test_every_weight_has_a_gradient(stack):
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(stack(inputs_for(stack), training=True) ** 3)
    for gradient in tape.gradient(value, stack.trainable_variables):
        assert np.isfinite(gradient).all()


def test_dtype_reaches_the_sublayers():
    stack = DenseStack((4, 2), 3, hidden_units=(5,), dtype="float64")
    inputs = [v.astype(np.float64) for v in inputs_for(stack)]
    assert {w.dtype for w in stack.weights} == {"float64"}
    assert stack(inputs).dtype == tf.float64
    np.testing.assert_allclose(stack(inputs), dense_stack(stack, inputs), rtol=1e-12)


def test_activation():
    stack = DenseStack((4,), 3, hidden_units=(5,), activation="relu", batch_normalization=False)
    (x,) = inputs_for(stack)
    hidden = np.maximum(x @ stack.input_layers[0].kernel.numpy(), 0.0)
    np.testing.assert_allclose(
        stack([x]), hidden @ stack.hidden_layers[0].kernel.numpy(), rtol=1e-5, atol=1e-6
    )
    assert DenseStack.from_config(stack.get_config()).activation is keras.activations.relu


def test_errors(stack):
    inputs = inputs_for(stack)
    message = f"takes {len(inputs)} inputs of widths .* Received: {len(inputs) + 1} inputs"
    with pytest.raises(ValueError, match=message):
        stack([*inputs, inputs[0]])
    with pytest.raises(ValueError, match="expected axis -1"):
        stack([np.zeros([7, 9], np.float32), *inputs[1:]])
