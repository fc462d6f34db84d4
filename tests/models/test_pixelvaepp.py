"""PixelVAE++ on images of 2x3 pixels, against sums over all images and all states of the latents."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.boltzmann.chi_squared import p_value
from tfdvae.latents import draws
from tfdvae.layers import WeightNormalizedConv2D
from tfdvae.models import PixelVAEPlusPlus
from trainers import experiment
from trainers.configs import pixelvaepp

EVERY = np.array(list(itertools.product([0.0, 1.0], repeat=6)), np.float32).reshape(64, 2, 3, 1)
GROUPS = {
    "none": dict(concatenated_units=0),
    "concatenated": dict(concatenated_units=(2, 2)),
    "conditioning": dict(concatenated_units=0, conditioning_units=4),
    "shared": dict(concatenated_units=0, shared_units=1),
    "concatenated, conditioning": dict(concatenated_units=2, conditioning_units=2),
    "concatenated, shared": dict(concatenated_units=2, shared_units=1),
    "all": dict(concatenated_units=2, conditioning_units=2, shared_units=1),
    "directed": dict(concatenated_units=2, conditioning_units=2, prior="bernoulli"),
}


def small(**arguments):
    """Not yet trained."""
    defaults = dict(image_shape=(2, 3, 1), filters=3, residual_layers=1, num_sizes=2)
    return PixelVAEPlusPlus(seed=1, **{**defaults, **arguments})


def with_random_weights(model, scale):
    """The model, its weights drawn anew."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0.0, scale, variable.shape))
    return model


@functools.cache
def model(name, scale=0.7):
    """With random weights, far from zero."""
    model = with_random_weights(small(**GROUPS[name]), scale)
    if model.rbm is not None:
        model.update_log_partition(seed=0)
    return model


def log_joint(model):
    """log p(x, z) for all images and all states, `[states, 64]`."""
    units = [shape[0] for field in model.latent_shapes for shape in field]
    states = np.array(list(itertools.product([0.0, 1.0], repeat=sum(units))), np.float32)
    rows = np.repeat(states, 64, axis=0)
    latents = model.structured(np.split(rows, np.cumsum(units)[:-1], axis=1) if units else [])
    x = np.tile(EVERY, (len(states), 1, 1, 1))
    return model.log_joint(x, latents).numpy().reshape(len(states), 64)


@pytest.mark.parametrize("name", GROUPS)
def test_probabilities_of_all_images_sum_to_one(name):
    np.testing.assert_allclose(np.exp(np.float64(log_joint(model(name)))).sum(), 1.0, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in GROUPS if name != "none"])
def test_importance_weights_have_the_mean_of_the_sum(name):
    weak, count = model(name, scale=0.5), 2_000  # of others the weights have a heavy tail
    log_p = np.logaddexp.reduce(np.float64(log_joint(weak)), axis=0)
    log_weights = np.float64(weak.log_weights(EVERY, count, seed=0)) - weak.log_partition.value
    weights = np.exp(log_weights - log_p)
    # Of all images together, for those of one image may have a heavy tail.
    per_sample = weights.mean(axis=1)
    error = 5.0 * per_sample.std() / np.sqrt(count)
    assert abs(per_sample.mean() - 1.0) < error
    assert error < 0.1, "the test must have power"


def test_without_latents_the_likelihood_is_exact():
    pixel_cnn = model("none")
    exact = log_joint(pixel_cnn)[0]
    np.testing.assert_allclose(pixel_cnn.log_likelihood(EVERY, 3, seed=0), exact, rtol=1e-6)
    terms = pixel_cnn.elbo_terms(EVERY, seed=0)
    np.testing.assert_allclose(terms.elbo, exact, rtol=1e-6)
    assert terms.kl_per_group.shape == (0, 64)


@pytest.mark.parametrize("name", ["none", "concatenated", "all", "directed"])
def test_samples_have_the_frequencies_of_the_sum(name):
    probs = np.exp(np.logaddexp.reduce(np.float64(log_joint(model(name))), axis=0))
    x = model(name).sample(20_000, seed=1).numpy().reshape(-1, 6)
    counts = np.bincount(np.int64(x @ (2.0 ** np.arange(5, -1, -1))), minlength=64)
    assert p_value(counts, len(x) * probs / probs.sum()) > 1e-6


def test_latents_matter():
    """Or the tests above would not see one that is lost."""
    joint = np.float64(log_joint(model("all")))
    given = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)  # log p(x | z)
    for unit in range(8):
        pairs = given.reshape(2**unit, 2, -1, 64)
        assert np.abs(pairs[:, 0] - pairs[:, 1]).max() > 1e-4, unit


def test_the_posterior_of_shared_latents_reads_the_image_and_the_others():
    def logits(x, z):
        trace = model("all").trace(x, draws.Given([tf.constant(v) for v in z]))
        return np.concatenate([group.q.logits for group in trace.groups[2:]], axis=-1)

    zeros = [np.zeros([1, n], np.float32) for n in (2, 2, 1, 1, 1, 1)]
    ones = [np.ones_like(v) for v in zeros]
    first = logits(EVERY[:1], zeros)
    assert np.mean(first != logits(EVERY[-1:], zeros)) > 0.5
    for changed in (0, 1):
        other = [ones[i] if i == changed else v for i, v in enumerate(zeros)]
        assert np.any(first != logits(EVERY[:1], other)), changed
    np.testing.assert_array_equal(first, logits(EVERY[:1], [*zeros[:2], *ones[2:]]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["static_mnist", "caltech101_silhouettes", "cifar10"])
def test_the_papers_architectures_are_causal(name):
    """Of some pixels: later parameters change with them, and no others; with latents that stay."""
    config = pixelvaepp.get_config(name)
    full = experiment.model(config, data_dir=False)
    rng = np.random.default_rng(0)
    height, width, _ = full.image_shape
    x = rng.integers(0, full.max_pixel + 1, (1, *full.image_shape))
    places = rng.integers(0, (height - 1, width), (5, 2))
    copies = np.repeat(x, 1 + len(places), axis=0).astype(np.float32)
    full.initialize(copies)
    for copy, (i, j) in zip(copies[1:], places, strict=True):
        copy[i, j] = full.max_pixel - copy[i, j]
    z = [tf.repeat(v, len(copies), axis=0) for v in full.posterior_trace(copies[:1], seed=0).values]
    parameters = full.trace(tf.constant(copies), draws.Given(z)).features.numpy()
    changed = np.any(parameters[1:] != parameters[:1], axis=-1).reshape(len(places), -1)
    for row, (i, j) in zip(changed, places, strict=True):
        assert not row[: i * width + j + 1].any()
        assert row[i * width + j + 1 :].any()


# --- images of which the first rows are known ---


@pytest.mark.parametrize(("name", "scale"), [("none", 2.0), ("conditioning", 1.0), ("all", 0.85)])
def test_completions_have_the_frequencies_of_the_sum(name, scale):
    """Given the first row, the second has eight states; latents with many samples each."""
    strong = model(name, scale)
    probs = np.exp(np.logaddexp.reduce(np.float64(log_joint(strong)), axis=0)).reshape(8, 8)
    given, count = probs / probs.sum(axis=1, keepdims=True), 4_000
    row = np.argmax(np.abs(given - probs.sum(axis=0)).sum(axis=1))  # the one that tells most
    x = np.repeat(EVERY[row * 8 : row * 8 + 1], count, axis=0)
    x[:, 1] = np.nan
    got = strong.complete(x, 1, seed=2, num_samples=100).numpy()
    np.testing.assert_array_equal(got[:, 0], x[:, 0])
    counts = np.bincount(np.int64(got[:, 1, :, 0] @ [4.0, 2.0, 1.0]), minlength=8)
    assert p_value(counts, count * given[row]) > 1e-6
    assert p_value(counts, count * probs.sum(axis=0)) < 1e-6, "the test must have power"


def test_all_rows_or_none_may_be_known():
    x = EVERY[3:7]
    np.testing.assert_array_equal(model("all").complete(x, 2, seed=0), x)
    assert np.any(model("all").complete(x, 0, seed=0) != x)


@pytest.mark.parametrize(
    ("x", "known", "message"),
    [
        (EVERY[:2], 3, "`known` must be a number of rows up to 2. Received: known=3"),
        (EVERY[:2], -1, "`known` must be an integer of at least 0. Received: known=-1"),
        (0.5 * EVERY[-2:], 1, "A Bernoulli likelihood takes pixels in {0, 1}"),
        (EVERY[:2, :1], 1, r"Images must have the shape \[batch, 2, 3, 1\]. Received: \(2, 1, 3, 1\)"),
    ],
)
def test_completions_that_are_refused(x, known, message):
    with pytest.raises(ValueError, match=message):
        model("all").complete(x, known, seed=0)


# --- initialization from data ---


def statistics(model, x):
    """The outputs of the first weight-normalized layers on the batch."""
    encoder = model.latent_networks.image_encoder.convolutions[0](x).numpy()
    assert isinstance(model.latent_networks.image_encoder.convolutions[0], WeightNormalizedConv2D)
    return encoder.mean(axis=(0, 1, 2)), encoder.std(axis=(0, 1, 2))


@pytest.mark.parametrize("kind", ["array", "dataset", "batch"])
def test_the_first_step_initializes_from_a_batch_and_no_other_does(kind):
    trained, x = small(concatenated_units=4), EVERY[5:25]
    trained.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    if kind == "batch":
        trained.train_on_batch(x)
    else:
        data = tf.data.Dataset.from_tensor_slices(x).batch(20) if kind == "dataset" else x
        trained.fit(data, batch_size=None if kind == "dataset" else 20, verbose=0)
    mean, std = statistics(trained, x)
    np.testing.assert_allclose(mean, 0.0, atol=1e-5)
    np.testing.assert_allclose(std, 1.0, rtol=1e-4)
    before = trained.get_weights()
    trained.fit(EVERY[30:50], batch_size=20, verbose=0)
    for old, new, weight in zip(before, trained.get_weights(), trained.weights, strict=True):
        if weight.trainable:
            np.testing.assert_array_equal(old, new)


def test_a_generator_is_not_looked_into():
    trained = small(concatenated_units=4)
    trained.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    trained.fit(((EVERY[:4],) for _ in range(2)), steps_per_epoch=2, verbose=0)
    assert int(trained.initialized) == 0


def test_the_progress_bar_counts_rows_and_changes_nothing(capsys):
    shown = model("all")
    without = shown.sample(3, seed=0)
    assert capsys.readouterr().out == ""
    with shown.progress_bar():
        images = shown.sample(3, seed=0)
    assert "2/2" in capsys.readouterr().out
    np.testing.assert_array_equal(images, without)
    shown.sample(3, seed=0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(prior="gaussian"), r"`prior` must be one of .*Received: prior='gaussian'"),
        (dict(prior="normal", sides=("left", "right")), r"Only the Boltzmann machine .*sides=\('left'"),
        (dict(sides=("up", "right")), r"'up'"),
        (dict(concatenated_units=(2, 0)), "`concatenated_units` .*=0"),
        (dict(conditioning_units=-1), r"`conditioning_units` .*-1"),
        (dict(shared_units=1.5), r"`shared_units` .*1\.5"),
        (dict(filters=0), "`filters` .*0"),
        (dict(dropout=1.0), "`dropout` .*1.0"),
        (dict(likelihood="poisson"), "`likelihood` must be one of .*'poisson'"),
    ],
)
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**{"concatenated_units": (2, 2), **arguments})


def test_features_of_importance_samples_are_bounded():
    """Numbers of one layer, of all samples that are evaluated at a time."""
    for shape, filters in (((28, 28, 1), 2), ((32, 32, 3), 4)):
        built = small(**GROUPS["none"], filters=filters, image_shape=shape)
        assert 2**23 < built.importance_rows * filters * shape[0] * shape[1] <= 2**24


def test_posterior_means_in_parts_are_those_of_all_samples(monkeypatch):
    """Groups that know others are averaged over samples of these, some at a time."""
    whole = model("all")
    parts = []
    trace = whole.posterior_trace

    def counted(x, *, seed, num_samples=None):
        parts.append(num_samples)
        return trace(x, seed=seed, num_samples=num_samples)

    monkeypatch.setattr(whole, "posterior_trace", counted)
    monkeypatch.setattr(whole, "importance_rows", 64 * 100)
    means = np.concatenate(whole.posterior_means(EVERY, seed=0, num_samples=1_050), axis=1)
    assert parts == [100] * 10 + [50]
    monkeypatch.setattr(whole, "importance_rows", 64 * 2_000)
    others = np.concatenate(whole.posterior_means(EVERY, seed=1, num_samples=2_000), axis=1)
    # Means in [0, 1]: Hoeffding with a false-failure rate of 1e-6 over all entries.
    bound = np.sqrt(np.log(2e6 * means.size) / 2 * (1 / 1_050 + 1 / 2_000))
    assert np.abs(means - others).max() < bound
    assert bound < 0.15 < 0.5 < means.max(), "the test must have power"
    assert [model(name).groups_are_independent for name in ("concatenated", "shared", "all")] == [
        True,
        True,
        False,
    ]


def test_batches_as_tfds_yields_them_initialize_too():
    batches = tf.data.Dataset.from_tensor_slices({"image": EVERY}).batch(8)
    for train in (
        lambda m: m.fit(batches, verbose=0),
        lambda m: m.fit({"image": EVERY}, batch_size=8, verbose=0),
        lambda m: m.train_on_batch({"image": EVERY}),
    ):
        model = small(**GROUPS["none"])
        model.compile()
        train(model)
        assert int(model.initialized) == 1


def test_what_is_not_trained_on_does_not_initialize(monkeypatch):
    model, seen = small(**GROUPS["none"]), []
    before = model.get_weights()
    with pytest.raises(ValueError, match="compile"):
        model.fit(EVERY, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match=r"must have images. Received: the shape \(0, 2, 3, 1\)"):
        model.initialize(EVERY[:0])
    model.compile()
    monkeypatch.setattr(model, "initialize", seen.append)
    model.fit(EVERY, validation_split=0.5, batch_size=64, verbose=0)
    assert {x.tobytes() for x in seen[0]} == {x.tobytes() for x in EVERY[:32]}


def test_an_image_of_one_pixel():
    one = small(image_shape=(1, 1, 1), concatenated_units=2, prior="bernoulli", num_sizes=1)
    both = np.array([0.0, 1.0], np.float32).reshape(2, 1, 1, 1)
    states = list(itertools.product([0.0, 1.0], repeat=2))
    total = sum(
        np.exp(one.log_joint(both, one.structured([np.tile(np.float32(z), (2, 1))])).numpy()).sum()
        for z in states
    )
    np.testing.assert_allclose(total, 1.0, rtol=1e-5)
    assert one.sample(3, seed=0).shape == (3, 1, 1, 1)


def test_a_likelihood_that_cannot_be_drawn_from_uniforms_is_refused():
    class Own:
        """All that other decoders ask for."""

        num_parameters = max_value = data_message = are_valid = scaled = log_prob = sample = mean = None

    with pytest.raises(ValueError, match="without from_uniforms, num_uniforms"):
        small(**GROUPS["none"], likelihood=Own())
