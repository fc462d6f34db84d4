"""Seeds of users: two that differ in one word share no random numbers, and each row may have its own."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.models import MODELS
from tests.graphs import slow_but
from tfdvae import random
from tfdvae.boltzmann import GibbsState, RestrictedBoltzmannMachine, gibbs_sweeps, log_partition
from tfdvae.evaluation import evaluate_likelihood
from tfdvae.export.signatures import ChainBank
from tfdvae.layers import Smoothing

PAIRS = [(7, i) for i in range(3)]


@pytest.fixture(scope="module")
def models():
    """The tiny models as they are made, with a log Z."""
    built = {}

    def model(name):
        if name not in built:
            built[name] = MODELS[name].construct()
            built[name]._log_weights_function = built[name].log_weights  # without a graph, which takes longer
            built[name].importance_rows = 6  # chunks of two samples of three images
            if built[name].rbm is not None:
                built[name].update_log_partition(seed=0)
        return built[name]

    return model


@pytest.fixture
def seeds_of(monkeypatch):
    """Calls a function with a seed; returns all seeds, outside of graphs, that went to the generator."""
    as_seed = random.as_seed

    def called(function, seed):
        used = set()

        def recorded(seed):
            seed = as_seed(seed)
            if isinstance(seed, tf.__internal__.EagerTensor):
                used.add(tuple(seed.numpy()))
            return seed

        with monkeypatch.context() as patch:
            patch.setattr(random, "as_seed", recorded)
            function(seed)
        return used

    return called


def machine():
    rng = np.random.default_rng(0)
    return RestrictedBoltzmannMachine.from_arrays(*(rng.normal(size=s) for s in ((3,), (2,), (3, 2))))


FUNCTIONS = {
    "log_likelihood": lambda m, x, seed: m.log_likelihood(x, 5, seed=seed),
    "evaluate_likelihood": lambda m, x, seed: evaluate_likelihood(m, [x, x, x], 1, seed=seed),
    "elbo_terms": lambda m, x, seed: m.elbo_terms(x, seed=seed, limit=m.limits[-1]),
    "posterior_means": lambda m, x, seed: m.posterior_means(x, seed=seed, num_samples=2),
    "reconstruct": lambda m, x, seed: m.reconstruct(x, seed=seed),
    "sample": lambda m, x, seed: m.sample(3, seed=seed, num_sweeps=2),
}
OTHERS = {
    "Smoothing": lambda seed: Smoothing("spike_and_exponential", beta=4.0)(
        tf.zeros([2]), seed=seed, training=True
    ),
    "gibbs_sweeps": lambda seed: gibbs_sweeps(
        machine().parameters, GibbsState(tf.zeros([2, 3]), tf.zeros([2, 2])), 3, seed=seed
    ),
    "exact_samples": lambda seed: log_partition.exact_samples(machine(), 3, seed=seed),
    "annealed_importance_sampling": lambda seed: log_partition.annealed_importance_sampling(
        machine(), num_chains=4, num_temperatures=5, seed=seed
    ),
    "bracket": lambda seed: log_partition.bracket(machine(), num_chains=4, num_temperatures=5, seed=seed),
    "parallel_tempering": lambda seed: log_partition.parallel_tempering(
        machine(), num_ladders=2, num_temperatures=3, num_sweeps=40, num_burn_in=40, seed=seed
    ),
    "raise_log_prob": lambda seed: log_partition.raise_log_prob(
        machine(), tf.zeros([3, 3]), num_chains=2, num_temperatures=3, seed=seed
    ),
}


def share_none(seeds_of, function):
    used = [seeds_of(function, seed) for seed in PAIRS]
    assert all(used)
    for i, some in enumerate(used):
        for others in used[:i]:
            assert not some & others


@pytest.mark.parametrize("function", FUNCTIONS)
def test_models_share_no_random_numbers_between_seeds(function, models, seeds_of):
    model, x = models("DVAE"), MODELS["DVAE"].images(3)
    share_none(seeds_of, lambda seed: FUNCTIONS[function](model, x, seed))


@pytest.mark.parametrize("function", OTHERS)
def test_functions_share_no_random_numbers_between_seeds(function, seeds_of):
    share_none(seeds_of, OTHERS[function])


def test_shared_numbers_would_be_found(seeds_of):
    with pytest.raises(AssertionError):
        share_none(seeds_of, lambda seed: [random.fold_in(seed, i) for i in range(2)])


ROWS = np.array([[1, 2], [1, 3], [-4, 2**31 - 1]], np.int32)


def methods_of_rows(model):
    """Methods of images and a seed for each; of what they return, the first axis is that of the images."""
    bank = None if model.rbm is None else ChainBank(tf.zeros([2, model.rbm.left_units]))

    def last_first(*values):
        return [np.moveaxis(np.asarray(v), -1, 0) for v in values]

    def terms(x, seed, limit):
        found = model.elbo_terms(x, seed=seed, limit=limit)
        weights = model.log_weights(x, 3, seed=seed, limit=limit)
        return last_first(found.reconstruction, found.kl_per_group, found.elbo, weights)

    def means(x, seed):
        return [
            model.reconstruct(x, seed=seed, mean=True),
            *model.posterior_means(x, seed=seed, num_samples=4),
        ]

    return {
        "encode": lambda x, seed: tf.nest.flatten(model.encode(x, seed=seed)),
        "reconstruct": lambda x, seed: [model.reconstruct(x, seed=seed)],
        "means": means,
        "terms": lambda x, seed: terms(x, seed, "binary"),
        "smoothed terms": lambda x, seed: terms(x, seed, model.limits[-1]),
        "log_likelihood": lambda x, seed: [model.log_likelihood(x, 5, seed=seed)],
        "sample": lambda x, seed: [model.sample(len(x), seed=seed, num_sweeps=2, chains=bank)],
    }


# The parts of "DVAE++" are in others.
@pytest.mark.parametrize("name", slow_but(("DVAE", "DVAE, directed"), [n for n in MODELS if n != "DVAE++"]))
def test_rows_have_seeds_of_their_own(name, models):
    """In every method: what becomes of an image depends neither on its place nor on its batch."""
    model, x, order = models(name), MODELS[name].images(3), [2, 1]
    for method, call in methods_of_rows(model).items():
        for values, some in zip(call(x, ROWS), call(x[order], tf.constant(ROWS[order])), strict=True):
            assert len(values) == 3, method
            np.testing.assert_allclose(np.array(values)[order], some, rtol=1e-4, atol=1e-5, err_msg=method)


@pytest.mark.parametrize("name", ["DVAE", "DVAE++, all binary"])
def test_rows_of_one_image_differ_with_their_seeds(name, models):
    model, x = models(name), np.repeat(MODELS[name].images(1), 40, axis=0)
    rows = np.stack([np.full(40, 3), np.arange(40)], axis=1)
    for method in ("encode", "log_likelihood", "smoothed terms", "sample"):
        values = np.reshape(methods_of_rows(model)[method](x, rows)[0], [40, -1])
        assert len(np.unique(values, axis=0)) > 1, method


def test_the_images_of_one_global_sample_have_no_seeds_of_their_own(models):
    with pytest.raises(ValueError, match="`seed` must be an integer or a pair of integers"):
        models("DVAE++, all binary").sample_by_global(1, 3, seed=ROWS)
