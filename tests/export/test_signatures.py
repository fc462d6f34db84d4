"""What an exported generator computes: the model's own results, row by row, whatever the batch."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.boltzmann import chi_squared
from tests.export import cpp_loader
from tests.export.conftest import MAX_SWEEPS, MODELS, NUM_SAMPLES, make_colour, make_dvae
from tests.models import oracles
from tfdvae import random
from tfdvae.export import (
    GeneratorSignatures,
    export_generator,
    load_generator,
    make_chain_bank,
    row_seeds,
)
from tfdvae.export.layout import ALLOWED_BATCH_SIZES

FALSE_FAILURES = 1e-6
DISCRETE = ("images", "latents")


def flat(latents):
    return np.concatenate([np.reshape(v, [len(v), -1]) for field in latents for v in field], axis=1)


def enumerated(model, x):
    """The DVAE of two groups, the first of which is the left side."""
    first, second = model.latent_units
    return oracles.EnumeratedDVAE(model, x, [True] * first + [False] * second)


def inputs_of(exported, count, seed=0):
    """Inputs of every signature, all different."""
    seeds = row_seeds(seed, count)
    images = exported.images(count, seed)
    latents = exported.generator.predict("encode", images=images, seed=seeds)["latents"]
    sweeps = (np.arange(count, dtype=np.int32) * 7) % (MAX_SWEEPS + 4)
    return {
        "sample": {"seed": seeds, "num_sweeps": sweeps},
        "decode": {"latents": latents, "seed": seeds},
        "encode": {"images": images, "seed": seeds},
        "reconstruct": {"images": images, "seed": seeds},
        "log_prob": {"images": images, "seed": seeds},
        "energy": {"latents": latents},
    }


def assert_same_outputs(got, want):
    assert set(got) == set(want)
    for name in want:
        if name == "images":
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        else:
            np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_images_are_those_of_the_model(exported):
    model, seeds = exported.model, tf.constant(row_seeds(5, 40))
    sampled = model.sample(40, seed=seeds, num_sweeps=9, chains=exported.bank)
    np.testing.assert_array_equal(exported.generator.sample(40, seed=5, num_sweeps=9), sampled)
    assert 0.1 < np.mean(sampled) < 0.9
    assert len({row.tobytes() for row in sampled.numpy()}) > 10
    x = exported.images(40)
    latents = model.encode(x, seed=seeds)
    np.testing.assert_allclose(exported.generator.encode(x, seed=5), flat(latents), rtol=1e-5, atol=1e-5)
    images, means = (model.decode(latents, seed=seeds, mean=mean) for mean in (False, True))
    got = exported.generator.predict("decode", latents=flat(latents), seed=seeds)
    np.testing.assert_array_equal(got["images"], images)
    np.testing.assert_allclose(got["means"], means, atol=1e-5)
    reconstructed = model.reconstruct(x, seed=seeds)
    np.testing.assert_array_equal(exported.generator.reconstruct(x, seed=5), reconstructed)


def test_the_likelihood_is_that_of_the_models_weights(exported):
    x, seeds = exported.images(6), tf.constant(row_seeds(2, 6))
    weights = tf.concat(
        [
            exported.model.log_weights(x, 1, seed=random.fold_in(seeds, i)[tf.newaxis])
            for i in range(NUM_SAMPLES)
        ],
        axis=0,
    )
    weights -= exported.model.log_partition.value
    got = exported.generator.predict("log_prob", images=x, seed=seeds)
    want = tf.reduce_logsumexp(weights, axis=0) - np.log(NUM_SAMPLES)
    np.testing.assert_allclose(got["log_likelihood"], want, rtol=1e-5)
    np.testing.assert_allclose(got["elbo"], tf.reduce_mean(weights, axis=0), rtol=1e-5)
    assert np.all(got["log_likelihood"] > got["elbo"])


def test_the_likelihood_is_right_on_average():
    """Over many seeds the mean weight is p(x), by enumeration."""
    model = make_dvae()
    model.update_log_partition()
    x = oracles.images(model, 1)
    signatures = GeneratorSignatures(model, 100, 5, make_chain_bank(model, 4, 5, seed=0))
    count = 400
    batch = signatures.functions()["log_prob"](np.repeat(x, count, axis=0), row_seeds(0, count))
    estimates = np.exp(batch["log_likelihood"].numpy().astype(np.float64))
    want = np.exp(enumerated(model, x).log_p)[0]
    assert abs(estimates.mean() - want) < 5 * estimates.std() / np.sqrt(count)
    assert estimates.std() / np.sqrt(count) < 0.05 * want


def test_energy_is_that_of_the_machine(exported):
    latents = inputs_of(exported, 20)["energy"]["latents"]
    prior = exported.model.prior
    binary = latents[:, : sum(prior.latent_units)].astype(np.float64)
    left, right = binary[:, : prior.rbm.left_units], binary[:, prior.rbm.left_units :]
    a, b, w = (np.float64(v) for v in prior.rbm.get_weights())
    want = -left @ a - right @ b - np.einsum("ni,ij,nj->n", left, w, right)
    np.testing.assert_allclose(exported.generator.energy(latents), want, rtol=1e-5, atol=1e-5)
    assert np.std(want) > 0.1


def test_sweeps_are_clamped_to_the_range_of_the_export(exported):
    def sample(sweeps):
        seeds = row_seeds(0, 30)
        return exported.generator.predict("sample", seed=seeds, num_sweeps=np.full(30, sweeps))["latents"]

    np.testing.assert_array_equal(sample(-3), sample(1))
    np.testing.assert_array_equal(sample(10**9), sample(MAX_SWEEPS))
    assert np.any(sample(1) != sample(MAX_SWEEPS))


def request_lengths(count):
    """The rows of random requests, 1 to 8 each."""
    return np.random.default_rng(0).integers(1, 9, count)


def alone_and_merged(run, inputs, lengths):
    """Outputs of the rows in requests of so many rows each, and in those requests merged as a server does.

    In another order, as many as fit into 64 rows, filled up to an allowed size with copies of the last row.
    """
    ends = np.cumsum(lengths)
    assert ends[-1] == len(next(iter(inputs.values())))
    requests = [np.arange(end - n, end) for n, end in zip(lengths, ends, strict=True)]

    def outputs(rows):
        return run({name: values[rows] for name, values in inputs.items()})

    alone = [outputs(rows) for rows in requests]
    alone = {name: np.concatenate([part[name] for part in alone]) for name in alone[0]}
    merged = {name: np.full_like(values, -1.0) for name, values in alone.items()}
    waiting = [requests[i] for i in np.random.default_rng(1).permutation(len(requests))]
    while waiting:
        batch = []
        while waiting and sum(map(len, batch)) + len(waiting[0]) <= 64:
            batch.append(waiting.pop(0))
        rows = np.concatenate(batch)
        size = next(n for n in ALLOWED_BATCH_SIZES if n >= len(rows))
        padded = np.concatenate([rows, np.repeat(rows[-1], size - len(rows))])
        for name, values in outputs(padded).items():
            merged[name][rows] = values[: len(rows)]
    return alone, merged


@pytest.mark.parametrize("signature", ["sample", "decode", "encode", "reconstruct", "log_prob", "energy"])
def test_rows_do_not_depend_on_the_batch(exported, signature):
    """Random requests, alone and merged with padding, some with rows that are not valid."""
    lengths = request_lengths(60)
    count = lengths.sum()
    inputs = inputs_of(exported, count)[signature]
    invalid = np.random.default_rng(1).random(count) < 0.05
    for name in set(inputs) & {"images", "latents"}:
        inputs[name][invalid] = np.resize([np.nan, 0.5, -1.0, np.inf], invalid.sum())[
            (slice(None),) + (None,) * (inputs[name].ndim - 1)
        ]
    run = exported.generator.run
    alone, merged = alone_and_merged(lambda x: run(signature, x), inputs, lengths)
    assert_same_outputs(merged, alone)
    if signature != "sample":
        for values in alone.values():
            bad = np.isnan(values.reshape(count, -1)).all(axis=1)
            np.testing.assert_array_equal(bad, invalid)
        assert 0 < invalid.sum() < count / 5
    for name in DISCRETE:
        if name in alone:
            values = alone[name][~invalid]
            assert len({row.tobytes() for row in values}) > 20
            assert 0.05 < np.mean(values == 1.0) < 0.95


def test_the_check_of_batches_finds_a_sampler_with_one_seed_for_the_batch(exported):
    def with_one_seed(inputs):
        seeds = tf.constant(inputs["seed"])
        return {"images": exported.model.sample(len(seeds), seed=seeds[0], num_sweeps=3).numpy()}

    lengths = request_lengths(20)
    alone, merged = alone_and_merged(with_one_seed, {"seed": row_seeds(0, lengths.sum())}, lengths)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        assert_same_outputs(merged, alone)


@pytest.mark.slow
def test_colour_images(tmp_path):
    """A mixture of discretized logistics, whose images are whole numbers from 0 to 255."""
    model = make_colour()
    model.update_log_partition()
    export_generator(model, tmp_path, num_samples=2, max_sweeps=5, bank_states=20, bank_sweeps=5, seed=3)
    bank = make_chain_bank(model, 20, 5, seed=3)
    generator = load_generator(tmp_path)
    samples = generator.sample(40, seed=1, num_sweeps=4)
    assert samples.shape == (40, 4, 4, 3)
    np.testing.assert_array_equal(samples, np.round(samples))
    assert samples.min() >= 0
    assert 1 < samples.max() <= 255
    assert len(np.unique(samples)) > 50
    sampled = model.sample(40, seed=tf.constant(row_seeds(1, 40)), num_sweeps=4, chains=bank)
    np.testing.assert_array_equal(samples, sampled)
    x = samples[:12]
    seeds = row_seeds(2, 12)
    together = generator.predict("reconstruct", images=x, seed=seeds)
    assert 0 <= together["means"].min() < together["means"].max() <= 255
    for i in (0, 5):
        alone = generator.predict("reconstruct", images=x[i : i + 1], seed=seeds[i : i + 1])
        np.testing.assert_array_equal(alone["images"][0], together["images"][i])
    assert np.isfinite(generator.log_prob(x)).all()
    broken = np.array(x)
    broken[3, 0, 0, 0] = 0.5
    outputs = generator.run("reconstruct", {"images": broken, "seed": seeds})
    np.testing.assert_array_equal(np.isnan(outputs["images"]).all(axis=(1, 2, 3)), np.arange(12) == 3)
    np.testing.assert_array_equal(np.delete(outputs["images"], 3, 0), np.delete(together["images"], 3, 0))


def test_samples_follow_the_distribution_of_the_model():
    model = make_dvae()
    model.update_log_partition()
    every = oracles.states(6).reshape(-1, 2, 3, 1)
    probabilities = np.exp(enumerated(model, every).log_p)
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-5)
    bank = make_chain_bank(model, 2_000, 50, seed=1)
    sample = GeneratorSignatures(model, 1, 100, bank).functions()["sample"]

    def p_value(num_sweeps, bank_left=None):
        if bank_left is not None:
            bank.left.assign(bank_left)
        images = sample(row_seeds(7, 20_000), np.full(20_000, num_sweeps, np.int32))["images"].numpy()
        codes = images.reshape(-1, 6).astype(int) @ (1 << np.arange(6)[::-1])
        return chi_squared.p_value(np.bincount(codes, minlength=64), 20_000 * probabilities)

    assert p_value(30) > FALSE_FAILURES
    # One sweep from a bank of zeros is not enough: the test can fail.
    assert p_value(1, tf.zeros_like(bank.left)) < FALSE_FAILURES


def requests_of(exported):
    """Requests of every signature with 1, 7 and 64 rows."""
    return [
        (name, inputs)
        for count in (1, 7, 64)
        for name, inputs in inputs_of(exported, count, seed=count).items()
    ]


@pytest.fixture(scope="session")
def answers(exports, tmp_path_factory):
    """What a process that has only TensorFlow answers, with Python's loader and with that of C++."""
    path = tmp_path_factory.mktemp("answers") / "requests"
    jobs = [(str(e.directory / "1"), requests_of(e)) for e in map(exports, MODELS)]
    path.write_bytes(pickle.dumps(jobs))
    subprocess.run([sys.executable, cpp_loader.__file__, str(path)], check=True, cwd=path.parent)
    answers, imported = pickle.loads(path.read_bytes())
    assert imported == []
    return dict(zip((directory for directory, _ in jobs), answers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["Python", "C++"])
def test_a_process_that_has_only_tensorflow_gets_the_same(exported, answers, loader):
    """With C++ as TF Serving loads it, with TF Serving's requests."""
    requests, found = requests_of(exported), answers[str(exported.directory / "1")][loader]
    for (name, inputs), answer in zip(requests, found, strict=True):
        assert_same_outputs(answer, exported.generator.run(name, inputs))
