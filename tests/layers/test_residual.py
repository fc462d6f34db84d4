"""SEResidualBlock and ResidualStack against loops in float64 NumPy, along even and odd sizes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae.layers import ResidualStack, SEResidualBlock
from tfdvae.layers.residual import apply_to_images, halved_sizes, parse_blocks

# --- the oracle ---


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))


def taps(size, stride):
    """The triples (pixel of the output, tap, pixel of the input) of a convolution with 3 taps.

    Of the padding, one pixel more comes after than before where it does not divide evenly.
    """
    output = -(-size // stride)
    before = max((output - 1) * stride + 3 - size, 0) // 2
    triples = [(i, t, i * stride + t - before) for i in range(output) for t in range(3)]
    return [(i, t, n) for i, t, n in triples if 0 <= n < size]


def convolution(x, kernel, stride):
    height, width = x.shape[-3:-1]
    y = np.zeros([*x.shape[:-3], -(-height // stride), -(-width // stride), kernel.shape[-1]])
    for i, a, row in taps(height, stride):
        for j, b, column in taps(width, stride):
            y[..., i, j, :] += np.einsum("...c,cf->...f", x[..., row, column, :], kernel[a, b])
    return y


def transposed_convolution(x, kernel):
    """The adjoint of the convolution with stride 2, from images of twice the size."""
    height, width = 2 * x.shape[-3], 2 * x.shape[-2]
    y = np.zeros([*x.shape[:-3], height, width, kernel.shape[-2]])
    for i, a, row in taps(height, 2):
        for j, b, column in taps(width, 2):
            y[..., row, column, :] += np.einsum("...c,fc->...f", x[..., i, j, :], kernel[a, b])
    return y


def se_residual_block(block, x):
    """The block of the concatenated input, from its weights and its configuration."""

    def joined(layers, axis):
        return np.concatenate([np.float64(layer.kernel) for layer in layers], axis=axis)

    def affine(x, layer):
        return x @ np.float64(layer.kernel) + np.float64(layer.bias)

    up, stride = block.resize == "up", 2 if block.resize == "down" else 1
    height, width = x.shape[-3:-1]
    if up:
        height, width = block.output_size or (2 * height, 2 * width)
        y = transposed_convolution(x, joined(block.first, 3))[..., :height, :width, :]
    else:
        y = convolution(x, joined(block.first, 2), stride)
    y = elu(y + np.float64(block.first[0].bias))
    y = convolution(y, np.float64(block.second.kernel), 1) + np.float64(block.second.bias)
    s = 1 / (1 + np.exp(-affine(selu(affine(y.mean(axis=(-3, -2)), block.squeeze)), block.excite)))
    skip = np.zeros(y.shape)
    is_identity = not any(layer.weights for layer in block.skips)
    for i, j in np.ndindex(y.shape[-3:-1]):
        source = x[..., i // 2, j // 2, :] if up else x[..., stride * i, stride * j, :]
        skip[..., i, j, :] = source if is_identity else source @ joined(block.skips, 2)[0, 0]
    total = skip + s[..., None, None, :] * y
    return elu(total) if block.activation is keras.activations.elu else total


def randomize(layer, seed=0, scale=0.5):
    """Gives every weight a random value, so that no bias is 0 and nothing is small."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(scale * rng.normal(size=weight.shape))
    return layer


def images(*shape, seed=1, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_the_oracles_transposed_convolution_is_the_adjoint():
    kernel = images(3, 3, 2, 4)
    for height, width in ((2, 2), (8, 14)):
        u, v = images(height, width, 2, seed=2), images(height // 2, width // 2, 4, seed=3)
        inner = np.sum(convolution(u, kernel, 2) * v)
        np.testing.assert_allclose(np.sum(u * transposed_convolution(v, kernel)), inner, rtol=1e-12)


# --- the block ---

# resize, size of the input, size of the output
RESIZES = [
    (None, (1, 1), (1, 1)),
    (None, (5, 4), (5, 4)),
    ("down", (14, 14), (7, 7)),
    ("down", (7, 7), (4, 4)),
    ("down", (5, 8), (3, 4)),
    ("down", (3, 1), (2, 1)),
    ("up", (1, 1), (2, 2)),
    ("up", (4, 4), (7, 7)),
    ("up", (7, 7), (14, 14)),
    ("up", (3, 4), (5, 8)),
    ("up", (2, 1), (3, 1)),
]
CHANNELS = {"as many": ((4,), 4), "other": ((3,), 4), "several": ((3, 1, 2), 6), "one": ((2,), 1)}


@pytest.mark.parametrize("activation", ["elu", None])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("resize", "size", "output_size"), RESIZES)
def test_block_is_that_of_the_concatenated_input(resize, size, output_size, channels, activation):
    input_filters, filters = CHANNELS[channels]
    block = SEResidualBlock(
        input_filters,
        filters,
        resize,
        output_size if resize == "up" else None,
        activation,
        dtype="float64",
    )
    randomize(block)
    inputs = [images(5, *size, n, seed=n) for n in input_filters]
    got = block(inputs)
    assert got.shape == (5, *output_size, filters)
    np.testing.assert_allclose(
        got, se_residual_block(block, np.concatenate(inputs, -1)), rtol=1e-10, atol=1e-10
    )


def test_block_in_single_precision():
    block = randomize(SEResidualBlock((3, 2), 4, "down"))
    inputs = [images(2, 28, 28, n, dtype=np.float32) for n in (3, 2)]
    want = se_residual_block(block, np.float64(np.concatenate(inputs, -1)))
    np.testing.assert_allclose(block(inputs), want, rtol=1e-4, atol=1e-4)


def test_up_doubles_the_size_by_default():
    assert randomize(SEResidualBlock((2,), 3, "up"))([images(4, 5, 7, 2)]).shape == (4, 10, 14, 3)


@pytest.mark.parametrize(("resize", "size"), [(None, (3, 3)), ("down", (4, 3)), ("up", (2, 3))])
def test_every_weight_matters(resize, size):
    block = randomize(SEResidualBlock((2, 1), 8, resize, dtype="float64"))
    inputs = [images(3, *size, n, seed=n) for n in (2, 1)]
    with tf.GradientTape() as tape:
        before = block(inputs)
        value = tf.reduce_sum(before**3)
    for gradient in tape.gradient(value, block.trainable_variables):
        assert np.isfinite(gradient).all()
        assert np.any(gradient != 0)
    for weight in block.weights:
        kept = weight.numpy()
        weight.assign(kept + 0.1)
        assert np.abs(block(inputs) - before).max() > 1e-4, weight.path
        weight.assign(kept)


def test_weights_are_as_few_as_possible():
    # One bias beside each convolution's sum over the inputs, and none in the skip connection.
    def count(*args, **kwargs):
        return SEResidualBlock(*args, **kwargs).count_params()

    rest = (9 * 8 * 8 + 8) + (8 * 2 + 2) + (2 * 8 + 8)
    assert count((8,), 8) == (9 * 8 * 8 + 8) + rest
    for kwargs in ({"activation": None}, {"resize": "down"}, {"resize": "up"}):
        assert count((8,), 8, **kwargs) == (9 * 8 * 8 + 8) + rest + 8 * 8
    assert count((5, 3), 8) == (9 * 8 * 8 + 8) + rest + 8 * 8
    assert SEResidualBlock((2,), 3).squeeze.kernel.shape == (3, 1)  # not 0 of 3 filters


@pytest.mark.parametrize("resize", [None, "down", "up"])
@pytest.mark.parametrize("ranks", ["bs", "sb", "sbs", "ss", "bbsb"])
def test_inputs_with_and_without_samples_broadcast(ranks, resize):
    # "b": [batch, ...], what does not depend on the sample; "s": [samples, batch, ...].
    filters = (3, 2, 1, 2)[: len(ranks)]
    block = randomize(SEResidualBlock(filters, 4, resize, dtype="float64"))
    leading = {"b": [5], "s": [3, 5]}
    inputs = [
        images(*leading[r], 4, 3, n, seed=i) for i, (r, n) in enumerate(zip(ranks, filters, strict=True))
    ]
    got = block(inputs)
    tiled = [np.broadcast_to(x, [3, 5, *x.shape[-3:]]) for x in inputs]
    assert got.shape[:2] == (3, 5)
    np.testing.assert_allclose(got, block(tiled), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        got, se_residual_block(block, np.concatenate(tiled, -1)), rtol=1e-10, atol=1e-10
    )


def test_what_does_not_depend_on_the_sample_is_computed_once():
    block = randomize(SEResidualBlock((3, 2), 4))
    seen = []
    for layer in (*block.first, *block.skips, block.second):
        kernel = layer.call
        layer.call = lambda x, kernel=kernel: seen.append(x.shape[0]) or kernel(x)
    block([images(5, 4, 4, 3), images(7, 5, 4, 4, 2)])
    assert sorted(seen) == [5, 5, 35, 35, 35]


def test_apply_to_images_keeps_leading_dimensions():
    x = images(2, 3, 4, 6, 6, 2)
    layer = keras.layers.Conv2D(3, 3, strides=2, padding="same", dtype="float64")
    layer.build((None, 6, 6, 2))
    randomize(layer)
    want = convolution(x, layer.kernel.numpy(), 2) + layer.bias.numpy()
    for leading in ((), (0,), (0, 0)):
        np.testing.assert_allclose(apply_to_images(layer, tf.constant(x[leading])), want[leading], rtol=1e-12)


# --- initial weights ---


def test_initial_kernels_are_functions_of_seed_and_name():
    def kernels(seed, name="block", **kwargs):
        block = SEResidualBlock((4, 4), 4, seed=seed, name=name, **kwargs)
        return [w.numpy() for w in block.weights if w.path.endswith("kernel")]

    for a, b in zip(kernels(1), kernels(1), strict=True):
        np.testing.assert_array_equal(a, b)
    for others in (kernels(2), kernels(1, "other")):
        assert all(np.all(a != b) for a, b in zip(kernels(1), others, strict=True))
    first_0, first_1, second, skip_0, skip_1, *_ = kernels(1)
    for a, b in ((first_0, first_1), (first_0, second), (first_1, second), (skip_0, skip_1)):
        assert np.all(a != b)


def test_initial_kernels_without_a_seed_follow_keras_global_seed():
    def kernels(seed):
        keras.utils.set_random_seed(seed)
        return SEResidualBlock((4,), 4).get_weights()

    for a, b in zip(kernels(0), kernels(0), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.all(kernels(0)[0] != kernels(1)[0])


def test_blocks_begin_with_different_kernels():
    def stack(seed, name="stack"):
        return ResidualStack([(4, 4, 2)], "2 2 2", name=name, seed=seed)

    for a, b in zip(stack(3).get_weights(), stack(3).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # The stacks of a model share its seed; their names tell them apart.
    stacks = (stack(3), stack(4), stack(3, "other"))
    kernels = [block.second.kernel.numpy() for s in stacks for block in s.blocks]
    assert len(np.unique(kernels)) == np.size(kernels)


def test_parameters_of_a_distribution_begin_small():
    usual = SEResidualBlock((4, 2), 6, name="block", seed=0)
    small = SEResidualBlock((4, 2), 6, activation=None, name="block", seed=0)
    for a, b in zip(usual.weights, small.weights, strict=True):
        factor = 0.01 if a.path.startswith(("second", "skip")) else 1.0
        np.testing.assert_allclose(b, factor * a.numpy(), rtol=1e-4, atol=1e-7)
    # Glorot's uniform law: the bound holds, and the largest of many draws comes near it.
    bound = np.sqrt(6 / (9 * 6 + 9 * 6))
    largest = np.abs(usual.second.kernel).max()
    assert 0.95 * bound < largest <= bound


# --- stacks ---


def test_halved_sizes():
    assert halved_sizes(28, 28) == [(n, n) for n in (28, 14, 7, 4, 2, 1)]
    assert halved_sizes(32, 32) == [(n, n) for n in (32, 16, 8, 4, 2, 1)]
    assert halved_sizes(5, 7) == [(5, 7), (3, 4), (2, 2), (1, 1)]
    assert halved_sizes(1, 9) == [(1, 9), (1, 5), (1, 3), (1, 2), (1, 1)]
    assert halved_sizes(1, 1) == [(1, 1)]


def test_parse_blocks():
    assert parse_blocks("32down 7\n 128up") == [(32, "down"), (7, None), (128, "up")]
    assert parse_blocks(" ") == []


SIZES = [(28, 28), (5, 7), (8, 8), (1, 6), (1, 1)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_stack_goes_along_the_halved_sizes_and_back(height, width):
    sizes = halved_sizes(height, width)
    steps = len(sizes) - 1
    row = " ".join(["2"] + ["3down"] * steps + ["2"] + ["3up"] * steps + ["4"])
    stack = ResidualStack([(height, width, 1)], row)
    x, found = images(2, height, width, 1), []
    for block in stack.blocks:
        x = block([x])
        found.append(tuple(x.shape[1:3]))
    assert found == [sizes[0], *sizes[1:], sizes[-1], *sizes[-2::-1], sizes[0]]
    assert stack.output_shape_of_images == (height, width, 4)


@pytest.mark.parametrize(("start", "row"), [((7, 7), "2up 3up"), ((4, 4), "2 2up 2down 3"), ((1, 1), "1up")])
def test_sizes_of_the_image_tell_where_up_leads(start, row):
    sizes = halved_sizes(28, 28)
    stack = ResidualStack([(*start, 2)], row, sizes)
    place = sizes.index(start) - row.count("up") + row.count("down")
    filters = int(row.split()[-1].removesuffix("up"))
    assert stack.output_shape_of_images == (*sizes[place], filters)
    assert stack([images(3, *start, 2)]).shape == (3, *sizes[place], filters)


@pytest.mark.parametrize("output_activation", ["elu", None])
def test_a_stack_is_its_blocks_one_after_the_other(output_activation):
    stack = ResidualStack(
        [(5, 7, 2), (5, 7, 1)], "3down 3 2down 4up", output_activation=output_activation, dtype="float64"
    )
    randomize(stack)
    inputs = [images(5, 5, 7, 2), images(3, 5, 5, 7, 1)]
    x = np.concatenate([np.broadcast_to(inputs[0], [3, 5, 5, 7, 2]), inputs[1]], axis=-1)
    assert [block.resize for block in stack.blocks] == ["down", None, "down", "up"]
    assert [block.activation is keras.activations.elu for block in stack.blocks] == [
        *[True] * 3,
        output_activation == "elu",
    ]
    for block in stack.blocks:
        x = se_residual_block(block, x)
    got = stack(inputs)
    assert got.shape == (3, 5, 3, 4, 4)
    assert got.dtype == tf.float64
    np.testing.assert_allclose(got, x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("row", ["3down 2", "3 4up"])
def test_unknown_numbers_of_samples_and_images(row):
    stack = randomize(ResidualStack([(4, 3, 2), (4, 3, 1)], row, halved_sizes(7, 5)), scale=0.3)
    graph = tf.function(
        lambda *inputs: stack(inputs),
        input_signature=[tf.TensorSpec([None, None, 4, 3, 2]), tf.TensorSpec([None, 4, 3, 1])],
    )
    assert graph.get_concrete_function().outputs[0].shape.as_list() == [
        None,
        None,
        *stack.output_shape_of_images,
    ]
    for samples, batch in ((3, 2), (1, 5), (4, 1)):
        inputs = [images(samples, batch, 4, 3, 2, dtype="float32"), images(batch, 4, 3, 1, dtype="float32")]
        np.testing.assert_allclose(graph(*inputs), stack(inputs), rtol=1e-5, atol=1e-5)


def test_output_shape():
    stack = ResidualStack([(4, 4, 2), (4, 4, 1)], "3down 5")
    assert stack.compute_output_shape([(7, 4, 4, 2), (7, 4, 4, 1)]) == (7, 2, 2, 5)
    assert stack.compute_output_shape([(7, 4, 4, 2), (3, 7, 4, 4, 1)]) == (3, 7, 2, 2, 5)
    assert stack.compute_output_shape([(None, 4, 4, 2), (3, None, 4, 4, 1)]) == (3, None, 2, 2, 5)


# --- configuration, saving ---

BLOCKS = {
    "plain": dict(input_filters=(4,), filters=4),
    "parameters": dict(input_filters=(4,), filters=4, activation=None, seed=3),
    "several inputs": dict(input_filters=(4, 2), filters=3, weight_decay=0.25),
    "down": dict(input_filters=(4,), filters=4, resize="down"),
    "up": dict(input_filters=(4,), filters=4, resize="up", output_size=(5, 6)),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_block_configuration_round_trip(kind):
    block = SEResidualBlock(**BLOCKS[kind])
    config = json.loads(json.dumps(block.get_config()))
    restored = SEResidualBlock.from_config(config)
    assert json.loads(json.dumps(restored.get_config())) == config
    if block.seed is not None:
        for a, b in zip(restored.get_weights(), block.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    randomize(block)
    restored.set_weights(block.get_weights())
    inputs = [images(2, 3, 3, n) for n in block.input_filters]
    np.testing.assert_array_equal(restored(inputs), block(inputs))


STACKS = {
    "one block": dict(input_shapes=[(5, 7, 2)], blocks="3"),
    "parameters": dict(input_shapes=[(5, 7, 2)], blocks="2 2", output_activation=None, seed=1),
    "several inputs": dict(input_shapes=[(4, 4, 2), (4, 4, 3)], blocks="3down 2 4up", weight_decay=0.5),
    "in the middle": dict(input_shapes=[(3, 4, 2)], blocks="3up 2down", sizes=[(5, 7), (3, 4), (2, 2)]),
    "in half precision": dict(input_shapes=[(4, 4, 2)], blocks="3down", dtype="mixed_bfloat16"),
}


@pytest.fixture(params=STACKS)
def stack(request):
    return ResidualStack(**STACKS[request.param])


def inputs_for(stack, *leading):
    return [images(*(leading or (2,)), *shape, dtype="float32") for shape in stack.input_shapes]


def test_stack_configuration_round_trip(stack):
    config = json.loads(json.dumps(stack.get_config()))
    restored = ResidualStack.from_config(config)
    assert json.loads(json.dumps(restored.get_config())) == config
    randomize(stack)
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(stack)))
    inputs = inputs_for(stack)
    for copy in (restored, keras.saving.deserialize_keras_object(serialized)):
        copy.set_weights(stack.get_weights())
        np.testing.assert_array_equal(copy(inputs), stack(inputs))
        assert copy.output_shape_of_images == stack.output_shape_of_images


def test_saved_inside_a_functional_model(stack, tmp_path):
    randomize(stack)
    symbols = [keras.Input(shape) for shape in stack.input_shapes]
    model = keras.Model(symbols, stack(symbols))
    assert model.output_shape == (None, *stack.output_shape_of_images)
    assert model.output.dtype == "float32"
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    inputs = inputs_for(stack)
    np.testing.assert_array_equal(restored(inputs), stack(inputs))
    np.testing.assert_array_equal(model(inputs), stack(inputs))


def test_weight_decay_is_of_the_kernels(stack):
    randomize(stack)
    kernels = [w.numpy() for w in stack.weights if w.path.endswith("kernel")]
    biases = [w for w in stack.weights if w.path.endswith("bias")]
    assert len(kernels) + len(biases) == len(stack.weights)
    want = stack.weight_decay * sum(np.sum(np.float64(k) ** 2) for k in kernels)
    np.testing.assert_allclose(sum(float(v) for v in stack.losses), want, rtol=1e-5)
    assert len(stack.losses) == (len(kernels) if stack.weight_decay else 0)


# --- half precision ---


def test_half_precision_convolutions():
    arguments = dict(input_shapes=[(7, 7, 3), (7, 7, 2)], blocks="8down 8 8up 4", output_activation=None)
    half = randomize(ResidualStack(**arguments, dtype="mixed_bfloat16"), scale=0.2)
    exact = ResidualStack(**arguments)
    exact.set_weights(half.get_weights())
    assert {w.dtype for w in half.weights} == {"float32"}
    inputs = [images(5, 7, 7, 3, dtype="float32"), images(3, 5, 7, 7, 2, dtype="float32")]
    for block in half.blocks:
        assert {layer.compute_dtype for layer in (*block.first, *block.skips, block.second)} == {"bfloat16"}
    assert half.blocks[0](inputs).dtype == tf.bfloat16
    got, want = half(inputs), exact(inputs)
    assert got.dtype == want.dtype == tf.float32
    error = np.std(got - want) / np.std(want)
    # bfloat16 has 8 bits: relative errors of 2**-9, of some tens of roundings one after the other.
    assert 2**-12 < error < 0.03
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(half(inputs) ** 2)
    for gradient in tape.gradient(value, half.trainable_variables):
        assert gradient.dtype == tf.float32
        assert np.isfinite(gradient).all()


# --- errors ---


@pytest.mark.parametrize("word", ["32left", "down", "0", "0up", "-3", "3.5", "32Down", "x", "32↓"])
def test_unknown_block(word):
    with pytest.raises(ValueError, match="Residual blocks are written as numbers") as error:
        ResidualStack([(4, 4, 1)], f"2 {word} 3")
    assert f"Received: {word!r} in {f'2 {word} 3'!r}" in str(error.value)


@pytest.mark.parametrize("row", ["", "  "])
def test_no_block(row):
    with pytest.raises(ValueError, match=f"`empty` needs at least one block. Received: {row!r}"):
        ResidualStack([(4, 4, 1)], row, name="empty")


@pytest.mark.parametrize(
    ("start", "row", "way", "place"),
    [
        ((4, 4), "2up", "up", (4, 4)),
        ((4, 4), "2down 2up 3up", "up", (4, 4)),
        ((4, 4), "2down 2down 2down", "down", (1, 1)),
        ((1, 1), "2down", "down", (1, 1)),
    ],
)
def test_nothing_left_to_go_to(start, row, way, place):
    sizes = halved_sizes(*start)
    with pytest.raises(ValueError, match="`st` cannot go") as error:
        ResidualStack([(*start, 1)], row, name="st")
    assert f"cannot go {way} from the size {place} in {row!r}: the sizes are {sizes}" in str(error.value)


@pytest.mark.parametrize("row", ["2", "2down", "2up"])
def test_a_size_that_is_not_among_the_sizes(row):
    with pytest.raises(ValueError, match=r"from the size \(3, 4\) in .*: the sizes are \[\(28, 28\), "):
        ResidualStack([(3, 4, 1)], row, halved_sizes(28, 28))


def test_wrong_number_of_inputs():
    block = SEResidualBlock((3, 2), 4, name="block")
    x = images(2, 4, 4, 3)
    for inputs in ([x], [x, x[..., :2], x]):
        message = rf"`block` takes 2 inputs of \(3, 2\) channels. Received: {len(inputs)} inputs"
        with pytest.raises(ValueError, match=message):
            block(inputs)


@pytest.mark.parametrize("resize", ["Down", "left", 2, True])
def test_wrong_resize(resize):
    with pytest.raises(ValueError, match='`resize` must be None, "down" or "up"') as error:
        SEResidualBlock((3,), 4, resize)
    assert f"Received: resize={resize!r}" in str(error.value)
