"""DiscretizedLogisticMixture against exact decimals, enumeration and its own samples."""

import decimal
import itertools
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.boltzmann import chi_squared
from tfdvae.distributions import DiscretizedLogisticMixture

tfd = tfp.distributions

NAMES = ("mixture_logits", "means", "log_scales", "coefficients")
ROWS = json.loads((Path(__file__).parents[1] / "reference.json").read_text())["discretized_logistic_mixture"]
# Of this row the reference is the rounding of its own 50 digits: green = 255 has the mass 1.66e-51 in the
# component that decides, and one minus a sigmoid of 169 bits gives 2**-168 = 2.67e-51 in its place. The
# test of exact decimals has the true value.
ROUNDED_ROW = 12
FALSE_FAILURES = 1e-6


def oracle(x, mixture_logits, means, log_scales, coefficients=None, low=0, high=255, digits=60):
    """log P of one pixel by loops, each bin a difference of two sigmoids in decimal arithmetic."""
    with decimal.localcontext() as context:
        context.prec = digits

        def decimals(values):
            return [v if isinstance(v, Decimal) else Decimal(float(v)) for v in values]

        def scaled(v):
            return 2 * (Decimal(int(v)) - low) / (high - low) - 1

        def sigmoid(a):
            return 1 / (1 + (-a).exp())

        weights = [w.exp() for w in decimals(mixture_logits)]
        total = Decimal(0)
        for k, weight in enumerate(weights):
            product = weight / sum(weights)
            for i, (mean, log_scale) in enumerate(
                zip(decimals(means[k]), decimals(log_scales[k]), strict=True)
            ):
                for j in range(i if coefficients is not None else 0):
                    mean += decimals(coefficients[k])[i * (i - 1) // 2 + j] * scaled(x[j])
                upper = (scaled(x[i]) + Decimal(1) / (high - low) - mean) / log_scale.exp()
                lower = (scaled(x[i]) - Decimal(1) / (high - low) - mean) / log_scale.exp()
                above = 1 if int(x[i]) == high else sigmoid(upper)
                product *= above - (0 if int(x[i]) == low else sigmoid(lower))
            total += product
        return total.ln()


def naive_log_prob(x, mixture_logits, means, log_scales, coefficients, low, high):
    """The same by loops in float64, for moderate parameters of one pixel."""
    half, probability = 1 / (high - low), 0.0
    s = [2 * (v - low) / (high - low) - 1 for v in x]
    for k, weight in enumerate(np.exp(mixture_logits) / np.sum(np.exp(mixture_logits))):
        shifts = [0.0] * len(x)
        if coefficients is not None:
            on = iter(coefficients[k])
            for i in range(len(x)):
                for j in range(i):
                    shifts[i] += next(on) * s[j]
        for i in range(len(x)):
            mean, scale = means[k][i] + shifts[i], np.exp(log_scales[k][i])
            above = 1.0 if x[i] == high else 1 / (1 + np.exp(-(s[i] + half - mean) / scale))
            below = 0.0 if x[i] == low else 1 / (1 + np.exp(-(s[i] - half - mean) / scale))
            weight *= above - below
        probability += weight
    return np.log(probability)


def random_parameters(batch, size, channels, *, seed, coefficients=True):
    rng = np.random.default_rng(seed)
    parameters = {
        "mixture_logits": rng.normal(size=[*batch, size]),
        "means": rng.uniform(-1.2, 1.2, size=[*batch, size, channels]),
        "log_scales": rng.uniform(-2.5, 0.5, size=[*batch, size, channels]),
    }
    if coefficients:
        pairs = channels * (channels - 1) // 2
        parameters["coefficients"] = np.tanh(rng.normal(size=[*batch, size, pairs]))
    return parameters


def as_tensors(parameters, dtype):
    return {name: tf.constant(np.asarray(value), dtype) for name, value in parameters.items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-9), (tf.float32, 1e-4)])
def test_reference_values(dtype, tolerance):
    x = tf.constant([row["x"] for row in ROWS], dtype)
    parameters = [tf.constant([row[name] for row in ROWS], dtype) for name in NAMES]
    log_prob = DiscretizedLogisticMixture(*parameters).log_prob(x)
    assert log_prob.dtype == dtype
    want = np.array([row["log_prob"] for row in ROWS])
    agrees = np.abs(log_prob - want) <= tolerance * (1 + np.abs(want))
    np.testing.assert_array_equal(np.flatnonzero(~agrees), [ROUNDED_ROW])


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-12), (tf.float32, 1e-6)])
def test_exact_decimals_of_the_reference(dtype, tolerance):
    x = tf.constant([row["x"] for row in ROWS], dtype)
    parameters = [tf.constant([row[name] for row in ROWS], dtype) for name in NAMES]
    log_prob = DiscretizedLogisticMixture(*parameters).log_prob(x)
    want = [float(oracle(row["x"], *(row[name] for name in NAMES), digits=300)) for row in ROWS]
    np.testing.assert_allclose(log_prob, want, rtol=tolerance)
    # The rounded row: the masses of green = 255 in the second component, exact and rounded.
    difference = ROWS[ROUNDED_ROW]["log_prob"] - want[ROUNDED_ROW]
    np.testing.assert_allclose(difference, np.log(2.0**-168 / 1.6642535195376765e-51), rtol=1e-9)


@pytest.mark.parametrize("with_coefficients", [True, False])
@pytest.mark.parametrize(("channels", "low", "high"), [(1, 0, 255), (2, -3, 9), (3, 1, 16), (4, 0, 7)])
def test_loops_in_float64(channels, low, high, with_coefficients):
    parameters = random_parameters([20], 3, channels, seed=channels, coefficients=with_coefficients)
    x = np.random.default_rng(0).integers(low, high + 1, size=[20, channels])
    x[:2] = [[low], [high]]
    distribution = DiscretizedLogisticMixture(**as_tensors(parameters, tf.float64), low=low, high=high)
    want = [
        naive_log_prob(
            x[n], *(parameters[name][n] if name in parameters else None for name in NAMES), low, high
        )
        for n in range(len(x))
    ]
    np.testing.assert_allclose(distribution.log_prob(x.astype(np.float64)), want, rtol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-11), (tf.float32, 1e-6)])
@pytest.mark.parametrize("log_scale", [-12.0, -9.0, -7.0, -4.0, 0.0, 4.0, 8.0])
def test_one_channel_sums_to_one(log_scale, dtype, tolerance):
    # In float32 an edge rounded before the mean is taken from it would be off by 0.01 scales at -12.
    means = np.random.default_rng(0).uniform(-1.2, 1.2, size=[200, 2, 1])
    means[:4] = [[[-400.0]], [[300.0]], [[-1.5]], [[1.00001]]]
    log_scales = np.full_like(means, log_scale)
    distribution = DiscretizedLogisticMixture(
        tf.zeros([2], dtype), tf.constant(means, dtype), tf.constant(log_scales, dtype)
    )
    log_prob = distribution.log_prob(tf.range(256.0)[:, tf.newaxis, tf.newaxis]).numpy()
    assert log_prob.shape == (256, 200)
    assert (log_prob <= 0.0).all()
    np.testing.assert_allclose(np.exp(log_prob.astype(np.float64)).sum(0), 1.0, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(tf.float64, 1e-12), (tf.float32, 1e-6)])
@pytest.mark.parametrize("log_scale", [None, -12.0, 8.0])
@pytest.mark.parametrize(("channels", "low", "high"), [(3, 0, 7), (3, -2, -1), (2, 5, 20)])
def test_all_pixels_sum_to_one(channels, low, high, log_scale, dtype, tolerance):
    parameters = random_parameters([5], 4, channels, seed=3)
    if log_scale is not None:
        parameters["log_scales"] = np.full_like(parameters["log_scales"], log_scale)
    distribution = DiscretizedLogisticMixture(**as_tensors(parameters, dtype), low=low, high=high)
    pixels = np.array(list(itertools.product(range(low, high + 1), repeat=channels)))
    log_prob = distribution.log_prob(tf.constant(pixels[:, np.newaxis], dtype)).numpy()
    assert log_prob.shape == ((high - low + 1) ** channels, 5)
    np.testing.assert_allclose(np.exp(log_prob.astype(np.float64)).sum(0), 1.0, rtol=0, atol=tolerance)


# x, mean and log-scale of a channel: the mean inside a narrow bin, just off its edge, bins away, far
# outside on either side; wide scales; end bins. The masses go down to exp(-700).
EXTREMES = [
    (128.0, 0.004, -12.0),
    (128.0, 0.007842, -12.0),
    (128.0, 0.012, -12.0),
    (131.0, 0.02, -7.0),
    (255.0, 0.95, -9.0),
    (0.0, -0.8, -7.9),
    (3.0, 40.0, -2.5),
    (3.0, -40.0, -2.5),
    (255.0, -20.0, -3.0),
    (0.0, 20.0, -3.0),
    (100.0, 0.3, 8.0),
    (100.0, 300.0, 8.0),
    (0.0, -5.0, 8.0),
    (255.0, -1.0, 0.0),
    (254.0, 1.0, -3.0),
]


@pytest.mark.parametrize(("x", "mean", "log_scale"), EXTREMES)
def test_extreme_values_and_gradients(x, mean, log_scale):
    # The second channel is an ordinary one, which the first shifts. All numbers are exact in float32.
    pixel, digits, step = [x, 30.0], 350, Decimal("1e-25")
    parameters = {
        "mixture_logits": [0.25, -0.5],
        "means": [[mean, 0.125], [mean, -0.25]],
        "log_scales": [[log_scale, -1.0], [log_scale, -1.5]],
        "coefficients": [[0.25], [-0.75]],
    }
    parameters = as_tensors(parameters, tf.float32)
    exact = {name: np.vectorize(lambda v: Decimal(float(v)))(value) for name, value in parameters.items()}
    want = float(oracle(pixel, **exact, digits=digits))
    derivatives = {name: np.zeros(value.shape) for name, value in exact.items()}
    for name, values in exact.items():
        for entry in np.ndindex(values.shape):
            ends = []
            for change in (step, -step):
                moved = values.copy()
                with decimal.localcontext(prec=digits):
                    moved[entry] += change
                ends.append(oracle(pixel, **(exact | {name: moved}), digits=digits))
            with decimal.localcontext(prec=digits):
                derivatives[name][entry] = (ends[0] - ends[1]) / (2 * step)
    for dtype, tolerance in ((tf.float64, 1e-10), (tf.float32, 1e-5)):
        parameters = {name: tf.cast(value, dtype) for name, value in parameters.items()}
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            log_prob = DiscretizedLogisticMixture(**parameters).log_prob(pixel)
        assert abs(log_prob - want) <= tolerance * (1 + abs(want))
        # A component's weight has the absolute error of its logarithm.
        tolerance += 8 * np.finfo(dtype.as_numpy_dtype).eps * abs(want)
        for name, gradient in tape.gradient(log_prob, parameters).items():
            errors = np.abs(gradient - derivatives[name]) / (1 + np.abs(derivatives[name]))
            assert errors.max() <= tolerance, (dtype, name)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_finite_over_the_stated_range(dtype):
    levels = [0.0, 1.0, 127.0, 128.0, 254.0, 255.0]
    centres = [-1000.0, -1.5, -1.0, 0.0, 1 / 255, 0.3, 1.0, 1000.0]
    grid = np.meshgrid(levels, centres, [-80.0, -30.0, -12.0, -7.0, 0.0, 8.0, 80.0], indexing="ij")
    x, means, log_scales = (tf.constant(values.reshape(-1, 1, 1), dtype) for values in grid)
    parameters = [
        tf.constant([0.0, 200.0, -np.inf], dtype),
        *(tf.tile(v, [1, 3, 3]) for v in (means, log_scales)),
    ]
    parameters.append(tf.fill([3, 3], tf.constant(0.9, dtype)))
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        log_prob = DiscretizedLogisticMixture(*parameters).log_prob(tf.tile(x[:, 0], [1, 3]))
    assert np.isfinite(log_prob).all()
    for gradient in tape.gradient(log_prob, parameters):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_not_a_pixel(dtype):
    means = tf.zeros([2, 3], dtype)
    x = tf.constant(
        [[-1, 5, 5], [5, 256, 5], [5, 5, 7.5], [np.inf, 5, 5], [5, 5, -np.inf], [5, np.nan, 5]], dtype
    )
    with tf.GradientTape() as tape:
        tape.watch(means)
        log_prob = DiscretizedLogisticMixture(tf.zeros([2], dtype), means, means, means).log_prob(x)
    np.testing.assert_array_equal(log_prob, [-np.inf] * 5 + [np.nan])
    with tf.GradientTape() as tape:
        tape.watch(means)
        log_prob = DiscretizedLogisticMixture(tf.zeros([2], dtype), means, means, means).log_prob(x[:5])
    np.testing.assert_array_equal(tape.gradient(log_prob, means), np.zeros([2, 3]))


def cells(samples, low, high):
    """The numbers of pixels, in the order of `itertools.product`."""
    return np.ravel_multi_index(
        tuple(np.moveaxis(samples.astype(int) - low, -1, 0)), [high - low + 1] * samples.shape[-1]
    )


def pixel_probabilities(distribution):
    pixels = itertools.product(
        range(distribution.low, distribution.high + 1), repeat=distribution.event_shape[0]
    )
    return np.exp(distribution.log_prob(np.array(list(pixels), distribution.dtype.as_numpy_dtype)))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize(("channels", "low", "high"), [(1, 0, 255), (2, -4, 9), (3, 0, 7)])
def test_samples_follow_the_probabilities(channels, low, high, dtype):
    count = 100_000
    parameters = as_tensors(random_parameters([], 3, channels, seed=11), dtype)
    distribution = DiscretizedLogisticMixture(**parameters, low=low, high=high)
    samples = distribution.sample(count, seed=[1, 2]).numpy()
    assert samples.shape == (count, channels)
    assert samples.dtype == dtype.as_numpy_dtype
    np.testing.assert_array_equal(samples, np.round(samples))
    assert samples.min() >= low
    assert samples.max() <= high
    num_cells = (high - low + 1) ** channels
    counts = np.bincount(cells(samples, low, high), minlength=num_cells)
    assert chi_squared.p_value(counts, count * pixel_probabilities(distribution)) > FALSE_FAILURES
    # The test sees each parameter: the means by a tenth of a scale, and so on.
    for name, change in parameters.items():
        if change.shape.num_elements():
            moved = parameters | {name: change + (0.1 if name != "mixture_logits" else [0.1, -0.1, 0.0])}
            wrong = DiscretizedLogisticMixture(**moved, low=low, high=high)
            assert chi_squared.p_value(counts, count * pixel_probabilities(wrong)) < FALSE_FAILURES, name


def test_samples_of_narrow_scales_and_of_certain_components():
    # Every draw is the value of the mean, that value's shift on the next channel, or an end.
    means = tf.constant([[[2 * 100 / 255 - 1, 0.0, -3.0]] * 2, [[2 * 7 / 255 - 1, 0.5, 3.0]] * 2])
    distribution = DiscretizedLogisticMixture(
        [[0.0, -np.inf], [-np.inf, 0.0]], means, tf.fill([2, 2, 3], -12.0), tf.fill([2, 2, 3], 0.5)
    )
    samples = distribution.sample(500, seed=4).numpy()
    second = [np.round(127.5 * (1 + m + 0.5 * (2 * v / 255 - 1))) for m, v in ((0.0, 100), (0.5, 7))]
    want = np.array([[100.0, second[0], 0.0], [7.0, second[1], 255.0]])
    np.testing.assert_array_equal(samples, np.broadcast_to(want, [500, 2, 3]))
    np.testing.assert_allclose(distribution.log_prob(want.astype(np.float32)), 0.0, atol=1e-6)


def test_samples_are_functions_of_the_seed():
    parameters = as_tensors(random_parameters([4], 3, 3, seed=0), tf.float32)
    distribution = DiscretizedLogisticMixture(**parameters)
    samples = distribution.sample([20, 2], seed=5)
    assert samples.shape == [20, 2, 4, 3]
    np.testing.assert_array_equal(samples, distribution.sample([20, 2], seed=5))
    assert tf.reduce_any(samples != distribution.sample([20, 2], seed=6))
    graph = tf.function(lambda seed: DiscretizedLogisticMixture(**parameters).sample([20, 2], seed=seed))
    assert graph.get_concrete_function(tf.constant([5, 0])).outputs[0].shape == [20, 2, 4, 3]
    np.testing.assert_array_equal(samples, graph(tf.constant([5, 0])))
    dynamic = tf.function(lambda count, seed: distribution.sample(count, seed=seed))
    np.testing.assert_array_equal(samples, dynamic(tf.constant([20, 2]), tf.constant([5, 0])))
    assert distribution.reparameterization_type == tfd.NOT_REPARAMETERIZED
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        distribution.sample()


def test_batch_shapes_broadcast():
    parameters = as_tensors(random_parameters([5, 4], 3, 3, seed=2), tf.float64)
    parameters["mixture_logits"] = parameters["mixture_logits"][0, 0]
    parameters["log_scales"] = parameters["log_scales"][:, :1]
    parameters["coefficients"] = parameters["coefficients"][0]
    distribution = DiscretizedLogisticMixture(**parameters)
    assert distribution.batch_shape == [5, 4]
    assert distribution.event_shape == [3]
    np.testing.assert_array_equal(distribution.batch_shape_tensor(), [5, 4])
    np.testing.assert_array_equal(distribution.event_shape_tensor(), [3])
    x = distribution.sample(6, seed=1)
    log_prob = distribution.log_prob(x)
    assert log_prob.shape == [6, 5, 4]
    for i, j in np.ndindex(5, 4):
        one = DiscretizedLogisticMixture(
            parameters["mixture_logits"],
            parameters["means"][i, j],
            parameters["log_scales"][i, 0],
            parameters["coefficients"][j],
        )
        assert one.batch_shape == []
        np.testing.assert_allclose(one.log_prob(x[:, i, j]), log_prob[:, i, j], rtol=1e-12)
    np.testing.assert_allclose(distribution[1:3, 2].log_prob(x[:, 1:3, 2]), log_prob[:, 1:3, 2], rtol=1e-12)
    np.testing.assert_allclose(distribution.log_prob(x[0, 0, 0])[0, 0], log_prob[0, 0, 0], rtol=1e-12)
    uncoupled = distribution.copy(coefficients=None, low=-1)
    assert uncoupled.batch_shape == [5, 4]
    assert (uncoupled.low, uncoupled.high, uncoupled.coefficients) == (-1, 255, None)


def test_images_as_independent_pixels():
    parameters = as_tensors(random_parameters([2, 5, 6], 4, 3, seed=7), tf.float32)
    pixels = DiscretizedLogisticMixture(**parameters)
    images = tfd.Independent(pixels, 2)
    x = images.sample(seed=1)
    assert x.shape == [2, 5, 6, 3]
    want = tf.reduce_sum(pixels.log_prob(x), axis=[1, 2])
    np.testing.assert_allclose(images.log_prob(x), want, rtol=1e-6)
    # Data sets hold bytes; and an unknown batch size is no obstacle.
    as_bytes = tf.cast(x, tf.uint8)
    np.testing.assert_array_equal(images.log_prob(as_bytes), images.log_prob(x))
    signature = [tf.TensorSpec([None, 5, 6, *value.shape[3:]]) for value in parameters.values()]

    @tf.function(input_signature=[tf.TensorSpec([None, 5, 6, 3]), *signature])
    def graph(x, *parameters):
        return DiscretizedLogisticMixture(*parameters).log_prob(x)

    np.testing.assert_allclose(graph(x, *parameters.values()), pixels.log_prob(x), rtol=1e-6)
    compiled = tf.function(graph.python_function, jit_compile=True)
    np.testing.assert_allclose(compiled(x, *parameters.values()), pixels.log_prob(x), rtol=1e-5)


def test_without_coefficients_means_coefficients_of_zero():
    parameters = as_tensors(random_parameters([6], 3, 3, seed=8, coefficients=False), tf.float64)
    x = np.random.default_rng(1).integers(0, 256, size=[6, 3]).astype(np.float64)
    zero = DiscretizedLogisticMixture(**parameters, coefficients=tf.zeros([3, 3], tf.float64))
    np.testing.assert_allclose(
        DiscretizedLogisticMixture(**parameters).log_prob(x), zero.log_prob(x), rtol=1e-13
    )
    np.testing.assert_array_equal(
        DiscretizedLogisticMixture(**parameters).sample(9, seed=3), zero.sample(9, seed=3)
    )


def test_parameters_are_readable_and_the_mean_is_not_defined():
    parameters = as_tensors(random_parameters([2], 3, 3, seed=8), tf.float32)
    distribution = DiscretizedLogisticMixture(**parameters)
    for name, value in parameters.items():
        np.testing.assert_array_equal(getattr(distribution, name), value)
    assert set(DiscretizedLogisticMixture.parameter_properties()) == set(NAMES)
    with pytest.raises(NotImplementedError, match="mean"):
        distribution.mean()


SHAPES = {"mixture_logits": [2], "means": [2, 3], "log_scales": [2, 3], "coefficients": [2, 3]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"mixture_logits": []},
        {"mixture_logits": [3]},
        {"mixture_logits": [0], "means": [0, 3], "log_scales": [0, 3], "coefficients": [0, 3]},
        {"means": [3]},
        {"means": []},
        {"means": [2, 0], "log_scales": [2, 0], "coefficients": [2, 0]},
        {"means": [2, 4]},
        {"log_scales": [2, 1]},
        {"log_scales": [2]},
        {"coefficients": [2, 2]},
        {"coefficients": [3]},
        {"means": [2, 2], "log_scales": [2, 2]},
        {"means": [2, 1], "log_scales": [2, 1]},
        {"means": [5, 2, 3], "log_scales": [4, 2, 3]},
        {"mixture_logits": [5, 2], "coefficients": [4, 2, 3]},
    ],
    ids=str,
)
def test_wrong_shapes(wrong):
    shapes = SHAPES | wrong
    with pytest.raises(ValueError, match="The shapes must be mixture_logits") as error:
        DiscretizedLogisticMixture(*(tf.zeros(shapes[name]) for name in NAMES))
    for name in NAMES:
        assert f"{name} {tf.TensorShape(shapes[name])}" in str(error.value)


def test_unknown_number_of_channels():
    @tf.function(input_signature=[tf.TensorSpec([2, None])])
    def graph(means):
        return DiscretizedLogisticMixture([0.0, 0.0], means, means).log_prob([1.0])

    with pytest.raises(ValueError, match=r"Received: mixture_logits \(2,\), means \(2, None\)"):
        graph(tf.zeros([2, 3]))


@pytest.mark.parametrize(
    ("low", "high"),
    [(255, 0), (4, 4), (0.0, 255), (0, 254.5), (False, True), (None, 3), (0, 2**24 + 1), (np.nan, 3)],
)
def test_wrong_ranges(low, high):
    with pytest.raises(ValueError, match=r"must be integers in .* with low < high") as error:
        DiscretizedLogisticMixture([0.0], [[0.0]], [[0.0]], low=low, high=high)
    assert f"Received: low={low!r}, high={high!r}" in str(error.value)


@pytest.mark.parametrize("dtype", [tf.int32, tf.float16, tf.bfloat16, tf.bool])
@pytest.mark.parametrize("name", NAMES)
def test_wrong_dtypes(name, dtype):
    parameters = {key: tf.zeros(shape) for key, shape in SHAPES.items()}
    with pytest.raises(
        ValueError, match=f"`{name}` must be float32 or float64. Received: dtype {dtype.name}"
    ):
        DiscretizedLogisticMixture(**(parameters | {name: tf.cast(parameters[name], dtype)}))
    with pytest.raises(ValueError, match=r"one floating dtype. Received: \['float32', 'float64'\]"):
        DiscretizedLogisticMixture(**(parameters | {name: tf.cast(parameters[name], tf.float64)}))


@pytest.mark.parametrize("shape", [[], [1], [5, 2], [3, 4]])
def test_wrong_values(shape):
    distribution = DiscretizedLogisticMixture(*(tf.zeros(SHAPES[name]) for name in NAMES))
    with pytest.raises(ValueError, match=r"`value` must have shape \[..., 3\]") as error:
        distribution.log_prob(tf.zeros(shape))
    assert f"Received: {tf.TensorShape(shape)}" in str(error.value)
