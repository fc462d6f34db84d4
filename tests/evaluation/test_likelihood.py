"""evaluate_likelihood against enumeration and against the model's own methods called by hand."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.models import oracles
from tfdvae import random
from tfdvae.boltzmann.log_partition import LogPartitionEstimate
from tfdvae.evaluation import evaluate_likelihood
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE

SHAPE = (2, 3, 1)
SIDES = [True] * 3 + [False] * 2


def build(prior="rbm", **kwargs):
    model = DVAE(image_shape=SHAPE, latent_units=(3, 2), network=(5,), prior=prior, **kwargs)
    oracles.randomize(model, seed=2, scale=0.7)
    if model.rbm is not None:
        model.update_log_partition()
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def batches():
    """Batches of unequal size: every image must count the same."""
    x = np.random.default_rng(0).integers(0, 2, (9, *SHAPE)).astype(np.float32)
    return [x[:4], x[4:8], x[8:]]


@pytest.fixture(scope="module")
def report(model, batches):
    return evaluate_likelihood(model, batches, 5000, seed=3)


def seeds(seed, batch):
    (seed,) = random.split(seed, 1, salt="evaluate")
    return random.split(random.fold_in(seed, batch), 3)


@pytest.mark.parametrize("prior", ["rbm", "bernoulli"])
def test_agrees_with_enumeration(prior, batches):
    model = build(prior)
    report = evaluate_likelihood(model, batches, 20_000, seed=1)
    x = np.concatenate(batches)
    exact = oracles.EnumeratedDVAE(model, x, SIDES)
    tolerance = np.mean(exact.relative_error(20_000))
    assert tolerance < 0.2
    assert abs(report.log_likelihood - exact.log_p.mean()) < 1.2 * tolerance
    np.testing.assert_allclose(
        report.standard_error, exact.log_p.std(ddof=1) / 3, atol=2 * tolerance / np.sqrt(len(x))
    )
    # Independent over images: the mean of means has the mean of the variances over their number.
    error = oracles.normal_bound(np.sqrt(np.mean(exact.elbo_deviation**2)), len(x) * 20_000)
    assert abs(report.elbo - exact.elbo.mean()) < error + 1e-4
    assert report.num_examples == 9
    assert report.num_samples == 20_000
    assert report.limit == "binary"
    assert len(report.kl_per_group) == (1 if prior == "rbm" else 2)


def test_is_the_mean_of_log_likelihood(model, batches, report):
    values = np.concatenate(
        [model.log_likelihood(x, 5000, seed=seeds(3, i)[0]) for i, x in enumerate(batches)]
    )
    np.testing.assert_allclose(report.log_likelihood, np.float64(values).mean(), rtol=1e-6)
    np.testing.assert_allclose(report.standard_error, np.float64(values).std(ddof=1) / 3, rtol=1e-5)
    np.testing.assert_allclose(report.bits_per_dim, -report.log_likelihood / (6 * np.log(2)), rtol=1e-12)


def test_terms_are_those_of_the_model(model, batches, report):
    terms = [model.elbo_terms(x, seed=seeds(3, i)[1]) for i, x in enumerate(batches)]
    reconstruction = np.concatenate([t.reconstruction for t in terms])
    kl = np.concatenate([t.kl_per_group for t in terms], axis=1)
    np.testing.assert_allclose(report.reconstruction, reconstruction.mean(), rtol=1e-5)
    np.testing.assert_allclose(report.kl_per_group, kl.mean(axis=1), rtol=1e-5)
    # They are from one sample of each image, `elbo` from all: equal within the former's error.
    exact = oracles.EnumeratedDVAE(model, np.concatenate(batches), SIDES)
    error = oracles.normal_bound(np.sqrt(np.mean(exact.elbo_deviation**2)), 9)
    assert abs(report.reconstruction - sum(report.kl_per_group) - report.elbo) < error


def test_bounds_of_fewer_samples_are_prefixes(model, batches, report):
    assert list(report.bound_by_num_samples) == [1, 10, 100, 1000, 5000]
    log_w = [
        np.concatenate(list(model.importance_chunks(x, 5000, seed=seeds(3, i)[0])))
        for i, x in enumerate(batches)
    ]
    for count, bound in report.bound_by_num_samples.items():
        by_hand = np.concatenate([np.log(np.mean(np.exp(np.float64(w[:count])), axis=0)) for w in log_w])
        np.testing.assert_allclose(bound, by_hand.mean() - model.log_partition.value, rtol=1e-6)
    assert report.bound_by_num_samples[5000] == report.log_likelihood


def test_chunks_have_the_asked_number_of_samples_and_a_common_prefix(model, batches):
    x = batches[0]
    for num_samples in (1, 2047, 2048, 2049, 5000):
        sizes = [len(chunk) for chunk in model.importance_chunks(x, num_samples, seed=0)]
        assert sum(sizes) == num_samples
        assert max(sizes) <= 2048
    long = np.concatenate(list(model.importance_chunks(x, 5000, seed=0)))
    short = np.concatenate(list(model.importance_chunks(x, 3000, seed=0)))
    np.testing.assert_array_equal(long[:3000], short)
    assert len(np.unique(long[:, 0])) > 5
    assert not np.array_equal(long[:2048], long[2048:4096])


@pytest.mark.slow
def test_bound_rises_in_expectation(model):
    x = np.repeat(oracles.images(model, 1), 3000, axis=0)
    report = evaluate_likelihood(model, [x], 1000, seed=0)
    log_p = oracles.EnumeratedDVAE(model, x[:1], SIDES).log_p[0]
    bounds = list(report.bound_by_num_samples.values())
    assert np.all(np.diff(bounds) > 0)
    assert bounds[-1] < log_p + 5 * report.standard_error
    assert bounds[0] < log_p - 0.1


def test_effective_sample_size(model, batches, report):
    assert 1 < report.effective_sample_size < 5000
    single = evaluate_likelihood(model, batches, 1, seed=0)
    np.testing.assert_allclose(single.effective_sample_size, 1.0)
    np.testing.assert_allclose(single.log_likelihood, single.elbo, rtol=1e-6)
    assert list(single.bound_by_num_samples) == [1]
    # Over all samples its limit is K / (1 + relative variance of the weights).
    exact = oracles.EnumeratedDVAE(model, np.concatenate(batches), SIDES)
    variance = np.sum(exact.q * (np.exp(exact.log_w - exact.log_p[:, None]) - 1) ** 2, axis=1)
    np.testing.assert_allclose(report.effective_sample_size, np.mean(5000 / (1 + variance)), rtol=0.1)


def test_active_units_leaves_out_dead_units():
    model = DVAE(image_shape=SHAPE, latent_units=(4, 3), network="linear")
    first, second = model.encoders
    rng = np.random.default_rng(0)
    kernel = rng.choice([-3.0, 3.0], size=[6, 4])
    kernel[:, 1:3] = 0.0  # of no use to the posterior
    first.input_layers[0].kernel.assign(kernel)
    first.output_bias.assign([0.0, 0.0, 5.0, 0.0])
    # The second group: one unit sees the image; one only the noise of a dead unit; one nothing.
    image, latents = np.zeros([6, 3]), np.zeros([4, 3])
    image[:, 0] = 3.0
    latents[1, 1] = 20.0
    second.input_layers[0].kernel.assign(image)
    second.input_layers[1].kernel.assign(latents)
    second.output_bias.assign([-9.0, -10.0, 0.0])
    model.update_log_partition()
    x = rng.integers(0, 2, (200, *SHAPE)).astype(np.float32)
    assert evaluate_likelihood(model, [x[:150], x[150:]], 2, seed=0).active_units == (2, 1)


@pytest.mark.parametrize("prior", ["rbm", "bernoulli"])
def test_posterior_means_are_marginal_over_the_earlier_groups(prior):
    model = build(prior)
    x = oracles.images(model, 3)
    exact = oracles.EnumeratedDVAE(model, x, SIDES)
    want = exact.q @ oracles.states(5)
    got = np.concatenate(model.posterior_means(x, seed=0, num_samples=4000), axis=1)
    np.testing.assert_allclose(got[:, :3], want[:, :3], rtol=1e-5)
    # Means in [0, 1]: Hoeffding with a false-failure rate of 1e-6 over 6 entries.
    assert np.abs(got - want).max() < np.sqrt(np.log(2 * 6e6) / (2 * 4000))


def test_given_log_partition_is_used(model, batches):
    x = np.concatenate(batches)
    shifted = LogPartitionEstimate(model.log_partition.value + 2.0, 0.25, diagnostics={"method": "shifted"})
    stored, given = (evaluate_likelihood(model, [x], 100, seed=0, log_partition=z) for z in (None, shifted))
    for name, change in {
        "log_likelihood": -2,
        "elbo": -2,
        "reconstruction": 0,
        "effective_sample_size": 0,
    }.items():
        np.testing.assert_allclose(getattr(given, name) - getattr(stored, name), change, atol=1e-5)
    np.testing.assert_allclose(np.subtract(given.kl_per_group, stored.kl_per_group), [2.0], atol=1e-5)
    assert given.log_partition is shifted
    assert stored.log_partition == model.log_partition
    # Its error is common to all images: it is reported apart.
    np.testing.assert_allclose(given.standard_error, stored.standard_error, rtol=1e-6)


def test_bounds_on_log_partition_are_carried_through(model, batches):
    value = model.log_partition.value

    def evaluate(lower, upper):
        bracket = LogPartitionEstimate(value, 0.01, lower, upper, {"method": "bracket"})
        return evaluate_likelihood(model, batches, 50, seed=0, log_partition=bracket)

    narrow = evaluate(value - 0.03, value + 0.05)
    np.testing.assert_allclose(narrow.log_likelihood_lower, narrow.log_likelihood - 0.05)
    np.testing.assert_allclose(narrow.log_likelihood_upper, narrow.log_likelihood + 0.03)
    assert narrow.caveat is None
    wide = evaluate(value - 0.2, value + 0.3)
    assert wide.log_likelihood == narrow.log_likelihood
    assert "leaves 0.500 nats open, more than the 0.1" in wide.caveat
    assert wide.to_dict()["caveat"] == wide.caveat
    below = evaluate(value - 0.01, None)
    assert below.log_likelihood_lower is None
    assert "log Z has no upper bound (method 'bracket'): use `log_partition.bracket`" in below.caveat
    assert "no lower bound" in evaluate(None, value).caveat


def test_a_bracket_that_failed_gives_no_figure(model, batches):
    failed = LogPartitionEstimate(float("nan"), float("nan"), diagnostics={"failure": "It is inverted"})
    with pytest.raises(ValueError, match="`log_partition` has no finite value: It is inverted"):
        evaluate_likelihood(model, batches, 10, seed=0, log_partition=failed)


@pytest.mark.slow
def test_smoothed_and_binary_are_kept_apart(batches):
    model = build("bernoulli", bound="marginal", smoothing=Smoothing("overlapping_exponential", beta=3.0))
    binary, smoothed = (
        evaluate_likelihood(model, batches, 300, seed=0, limit=n) for n in ("binary", "smoothed")
    )
    assert (binary.limit, smoothed.limit) == ("binary", "smoothed")
    assert abs(binary.log_likelihood - smoothed.log_likelihood) > 0.01
    assert binary.log_partition.value == 0.0


def test_data_sets_of_any_kind(model, batches):
    x = np.concatenate(batches)
    want = evaluate_likelihood(model, [x[:6], x[6:]], 20, seed=0)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(6)
    kinds = {
        "dataset": dataset,
        "with labels": tf.data.Dataset.zip(dataset, tf.data.Dataset.range(2)),
        "generator": (x[i : i + 6] for i in (0, 6)),
        "integers": [x[:6].astype(int), x[6:].astype(bool)],
        "unknown cardinality": dataset.filter(lambda _: True),
    }
    for kind, data in kinds.items():
        assert evaluate_likelihood(model, data, 20, seed=0, verbose=int(kind == "dataset")) == want, kind
    assert evaluate_likelihood(model, dataset, 20, seed=1) != want


def test_to_dict_is_json(report):
    text = json.dumps(report.to_dict())
    assert json.loads(text)["log_partition"] == {
        "value": report.log_partition.value,
        "standard_error": 0.0,
        "lower": report.log_partition.value,
        "upper": report.log_partition.value,
        "upper_kind": "exact",
        "effective_sample_size": None,
        "trustworthy": True,
        "failure": None,
        "warnings": [],
        "method": "stored",
        "step": 0,
    }
    assert json.loads(text)["bound_by_num_samples"]["5000"] == report.log_likelihood


def test_one_image_has_no_standard_error(model, batches):
    report = evaluate_likelihood(model, [batches[2]], 10, seed=0)
    assert report.num_examples == 1
    assert np.isnan(report.standard_error)
    assert np.isfinite(report.log_likelihood)


@pytest.mark.parametrize("num_samples", [0, -1, 2.5, True, "3"])
def test_number_of_samples_must_be_positive(model, batches, num_samples):
    with pytest.raises(ValueError, match=r"`num_samples` must be a positive integer. Received: num_samples="):
        evaluate_likelihood(model, batches, num_samples, seed=0)
    with pytest.raises(ValueError, match=r"`num_samples` must be a positive integer. Received: num_samples="):
        model.log_likelihood(batches[0], num_samples, seed=0)


@pytest.mark.parametrize(
    "data", [[], [np.zeros([0, *SHAPE], np.float32)]], ids=["no batch", "an empty batch"]
)
def test_no_images(model, data):
    with pytest.raises(ValueError, match="no images"):
        evaluate_likelihood(model, data, 10, seed=0)


def test_unknown_limit(model, batches):
    with pytest.raises(ValueError, match=r"`limit` must be one of .* Received: limit='relaxed'"):
        evaluate_likelihood(model, batches, 10, seed=0, limit="relaxed")


def test_missing_and_stale_log_partition(batches):
    model = DVAE(image_shape=SHAPE, latent_units=(3, 2), network="linear")
    for call in (
        lambda: evaluate_likelihood(model, batches, 10, seed=0),
        lambda: model.log_likelihood(batches[0], 10, seed=0),
        lambda: model.elbo_terms(batches[0], seed=0),
    ):
        with pytest.raises(ValueError, match="No log Z is stored"):
            call()
    model.update_log_partition()
    evaluate_likelihood(model, batches, 10, seed=0)
    for weight in (model.rbm.coupling, model.rbm.left_bias, model.rbm.right_bias):
        before = weight.numpy()
        weight.assign_add(np.full(weight.shape, 1e-6, np.float32))
        with pytest.raises(ValueError, match="measured at step 0 for other weights"):
            evaluate_likelihood(model, batches, 10, seed=0)
        # An estimate that is given is taken, and the old weights make the stored one fresh again.
        evaluate_likelihood(model, batches, 10, seed=0, log_partition=LogPartitionEstimate(3.5, 0.0))
        weight.assign(before)
        evaluate_likelihood(model, batches, 10, seed=0)
    # The other weights have nothing to do with log Z.
    model.decoder.output_bias.assign_add(np.ones(6))
    evaluate_likelihood(model, batches, 10, seed=0)


def test_a_normalized_prior_has_no_log_partition(batches):
    model = build("bernoulli")
    with pytest.raises(ValueError, match="has no log Z"):
        model.update_log_partition()
    with pytest.raises(ValueError, match="normalized"):
        evaluate_likelihood(model, batches, 10, seed=0, log_partition=LogPartitionEstimate(3.5, 0.0))
    with pytest.raises(ValueError, match="normalized"):
        model.log_likelihood(batches[0], 10, seed=0, log_partition=LogPartitionEstimate(3.5, 0.0))


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_log_partition_must_be_an_estimate(model, batches, value):
    with pytest.raises(ValueError, match="`log_partition` must be a `LogPartitionEstimate`"):
        evaluate_likelihood(model, batches, 10, seed=0, log_partition=value)
    with pytest.raises(ValueError, match="`log_partition` must be a `LogPartitionEstimate`"):
        model.log_likelihood(batches[0], 10, seed=0, log_partition=value)
