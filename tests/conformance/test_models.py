"""What every model does: the public methods, training, saving, resuming, two replicas, and bad input."""

import contextlib
import dataclasses
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from tests.conformance.models import BATCH, IMAGES, MODELS, VARIANTS
from tests.graphs import without_graphs
from tfdvae import callbacks, random
from tfdvae.boltzmann.log_partition import LogPartitionEstimate

ROOT = Path(__file__).resolve().parents[2]
CASES = {**MODELS, **VARIANTS}
METRICS = {"loss", "elbo", "reconstruction", "kl"}


def figures_of(model):
    """What is logged: the metrics, and the error of log Z where there is one."""
    return METRICS if model.rbm is None else METRICS | {"log_partition_error"}


SAMPLES = 7  # of the latents of each image


@pytest.fixture(params=[name for name in MODELS if name != "DVAE++"])  # its parts are in others
def name(request):
    return request.param


# --- one training, which most of the tests look at ---


def first_epoch(model, case, **kwargs):
    """Two steps with unequal batches, and a validation, which measures log Z."""
    x = case.images()
    return model.fit(
        x,
        batch_size=BATCH,
        validation_data=(x,),
        validation_batch_size=IMAGES,
        shuffle=False,
        verbose=0,
        **kwargs,
    )


def third_step(model, case, **kwargs):
    arguments = dict(batch_size=BATCH, initial_epoch=1, epochs=2, shuffle=False, verbose=0)
    model.fit(case.images(BATCH), **arguments, **kwargs)
    return model


def state(model):
    """All arrays of a training: weights (with chains, step and log Z) and optimizers."""
    found = [(v.path.rpartition("/")[2], v.numpy()) for v in model.weights]
    for optimizer in (model.optimizer, *model.group_optimizers.values()):
        found += [(f"variable {i} of {optimizer.name}", v.numpy()) for i, v in enumerate(optimizer.variables)]
    return found


def assert_same(one, other):
    for (name, a), (_, b) in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def results(model, x):
    """What the weights, the step, the chains and the estimate of log Z make of images."""
    with without_graphs():
        log_likelihood = model.log_likelihood(x, SAMPLES, seed=1).numpy()
    return {
        "log_likelihood": log_likelihood,
        **{limit: model.elbo_terms(x, seed=2, limit=limit).elbo.numpy() for limit in model.limits},
        "samples": model.sample(5, seed=3, num_sweeps=2).numpy(),
    }


class FirstLoss(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.value = logs["loss"]


@dataclasses.dataclass
class Training:
    """A model after three steps without an interruption (two if it is one of the `VARIANTS`), and what it
    was before. Tests leave it as it is.
    """

    model: keras.Model
    folder: Path
    start: list
    saved_state: list
    saved_results: dict
    state: list
    history: dict
    first_loss: float

    @property
    def file(self):
        """The model after two steps."""
        return self.folder / "model.keras"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    trainings = {}

    def train(name):
        if name in trainings:
            return trainings[name]
        case, folder, first = CASES[name], tmp_path_factory.mktemp("training"), FirstLoss()
        checkpoint = callbacks.TrainingCheckpoint(folder / "checkpoints")
        model = case.build()
        start = [v.numpy() for v in model.trainable_variables]
        history = first_epoch(model, case, callbacks=[checkpoint, first]).history
        saved_state, saved_results = state(model), results(model, case.images())
        model.save(folder / "model.keras")
        if name in MODELS:
            third_step(model, case, callbacks=[checkpoint])
        end = state(model)
        if model.rbm is not None:
            model.update_log_partition()
        trainings[name] = Training(
            model, folder, start, saved_state, saved_results, end, history, first.value
        )
        return trainings[name]

    return train


def test_training_moves_every_weight_and_reports_the_bound(name, trained):
    training, case = trained(name), MODELS[name]
    model, history = training.model, training.history
    assert int(model.step.numpy()) == int(model.optimizer.iterations.numpy()) == 3
    figures = figures_of(model)
    several = {"multi_sample_bound"}
    evaluated = figures | (several if hasattr(model.objective, "bound_samples") else set())
    assert set(history) == figures | {f"val_{name}" for name in evaluated}
    assert {metric.name for metric in model.metrics} == METRICS | several
    assert np.all(np.isfinite(list(history.values())))
    for weight, start in zip(model.trainable_variables, training.start, strict=True):
        assert np.any(weight.numpy() != start), weight.path
    before = state(model)
    logs = model.evaluate(case.images(), batch_size=BATCH, verbose=0, return_dict=True)
    assert set(logs) == evaluated
    assert logs["elbo"] != history["val_elbo"][-1]  # one step later
    np.testing.assert_allclose(logs["elbo"], logs["reconstruction"] - logs["kl"], rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], -logs["elbo"], rtol=1e-6)
    assert model.evaluate(case.images(), batch_size=BATCH, verbose=0, return_dict=True) == logs
    assert_same(state(model), before)


# --- configuration ---


@pytest.mark.parametrize("name", CASES)
def test_configuration_round_trip(name, trained):
    case, training = CASES[name], trained(name)
    config = json.loads(json.dumps(training.model.get_config()))
    # Every argument but the data mean, which is a weight.
    arguments = {n for n, p in inspect.signature(case.kind).parameters.items() if p.kind != p.VAR_KEYWORD}
    assert set(config) == (arguments | {"name"}) - {"data_mean"}
    restored = case.kind.from_config(config)
    assert restored.get_config() == training.model.get_config()
    assert json.loads(json.dumps(restored.get_config())) == config
    mean = {name: value for name, value in case.arguments.items() if name == "data_mean"}
    again = case.kind.from_config({**config, **mean})
    for weight, start in zip(again.trainable_variables, training.start, strict=True):
        np.testing.assert_array_equal(weight, start, err_msg=weight.path)  # the seed is a part of it


@pytest.mark.parametrize("kind", sorted({case.kind for case in MODELS.values()}, key=lambda k: k.__name__))
def test_registered_with_keras(kind):
    assert keras.saving.get_registered_name(kind) == f"tfdvae>{kind.__name__}"
    assert keras.saving.get_registered_object(f"tfdvae>{kind.__name__}") is kind


# --- the public methods ---


def test_shapes_of_log_probabilities(name, trained):
    model, case = trained(name).model, MODELS[name]
    for count, limit in ((0, "binary"), *((IMAGES, limit) for limit in model.limits)):
        x = case.images(count)
        log_weights = model.log_weights(x, SAMPLES, seed=0, limit=limit)
        assert (log_weights.shape, log_weights.dtype) == ((SAMPLES, count), tf.float32)
        terms = model.elbo_terms(x, seed=0, limit=limit)
        assert terms.reconstruction.shape == terms.kl.shape == terms.elbo.shape == (count,)
        assert terms.kl_per_group.shape == (case.num_kl, count)
        assert terms.log_partition.shape == ()
        assert {t.dtype for t in terms} == {tf.float32}
        for values in (log_weights, *terms):
            assert np.all(np.isfinite(values))
        np.testing.assert_allclose(
            terms.elbo, terms.reconstruction - np.sum(terms.kl_per_group, axis=0), rtol=1e-5
        )


def test_the_likelihood_is_the_mean_weight_without_log_z(name, trained):
    """In batches of all sizes, and where the samples come in several chunks."""
    model, case = trained(name).model, MODELS[name]
    x = case.images()
    with contextlib.nullcontext() if name == "DVAE" else without_graphs():
        for count, samples in ((IMAGES, SAMPLES), (BATCH, 3), (1, 1), (0, 2)):
            got = model.log_likelihood(x[:count], samples, seed=5)
            assert (got.shape, got.dtype) == ((count,), tf.float32)
            (seed,) = random.split(5, 1, salt="importance_chunks")
            seed = random.fold_in(seed, 0)  # of the first chunk, here the only one
            weights = np.float64(model.log_weights(x[:count], samples, seed=seed))
            want = logsumexp(weights, axis=0) - np.log(samples) - model.log_partition.value
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
        chunks = list(model.importance_chunks(x, SAMPLES, seed=5, rows=3 * IMAGES))
        assert [len(chunk) for chunk in chunks] == [3, 3, 1]
        want = logsumexp(np.float64(tf.concat(chunks, axis=0)), axis=0) - np.log(SAMPLES)
        want -= model.log_partition.value
        model.importance_rows, rows = 3 * IMAGES, model.importance_rows
        try:
            got = model.log_likelihood(x, SAMPLES, seed=5)
        finally:
            model.importance_rows = rows
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


def test_log_z_enters_the_bounds_once(name, trained):
    model, x = trained(name).model, MODELS[name].images()
    estimate = model.log_partition
    terms = model.elbo_terms(x, seed=0)
    np.testing.assert_allclose(terms.log_partition, estimate.value, rtol=1e-6)
    more = LogPartitionEstimate(estimate.value + 1.0, 0.0, None, None, {})
    if model.rbm is None:
        assert estimate.value == 0.0
        for call in (
            lambda: model.elbo_terms(x, seed=0, log_partition=more),
            lambda: model.log_likelihood(x, 2, seed=0, log_partition=more),
        ):
            with pytest.raises(ValueError, match=r"is normalized: its log Z is 0\. Received: log_partition="):
                call()
        return
    shifted = model.elbo_terms(x, seed=0, log_partition=more)
    np.testing.assert_allclose(shifted.kl_per_group[0], terms.kl_per_group[0] + 1, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(shifted.kl_per_group[1:], terms.kl_per_group[1:])
    np.testing.assert_array_equal(shifted.reconstruction, terms.reconstruction)
    with without_graphs():
        likelihoods = [model.log_likelihood(x, 2, seed=0, log_partition=z) for z in (estimate, more)]
    np.testing.assert_allclose(likelihoods[1], likelihoods[0] - 1, rtol=1e-5, atol=1e-5)


def check_pixels(images, case, count):
    assert images.shape == (count, *case.image_shape)
    assert images.dtype == tf.float32
    values = np.unique(images)
    assert set(values) <= set(range(case.levels))
    if count > 1:
        assert len(values) > (1 if case.levels == 2 else 10)


def check_means(images, case, count):
    assert images.shape == (count, *case.image_shape)
    assert images.dtype == tf.float32
    assert np.all((images.numpy() >= 0) & (images.numpy() <= case.levels - 1))


def latent_groups(latents):
    """All groups of a model's named tuple of lists."""
    return [group for groups in latents for group in groups]


def test_images_and_latents(name, trained):
    model, case = trained(name).model, MODELS[name]
    for count in (0, 1, IMAGES):
        x = case.images(count)
        latents = model.encode(x, seed=0)
        assert latents._fields
        groups = latent_groups(latents)
        assert [group.shape for group in groups] == [(count, *shape) for shape, _ in case.groups]
        assert {group.dtype for group in groups} == {tf.float32}
        for group, (_, binary) in zip(groups, case.groups, strict=True):
            values = np.unique(group)
            assert np.all(np.isfinite(values))
            if count:
                assert (set(values) <= {0.0, 1.0}) == binary
        check_pixels(model.decode(latents, seed=1), case, count)
        check_pixels(model.reconstruct(x, seed=0), case, count)
    check_means(model.decode(latents, seed=1, mean=True), case, count)
    x = case.images()
    means = model(x)
    check_means(means, case, IMAGES)
    assert len(np.unique(means)) > 2
    np.testing.assert_array_equal(model(x), means)
    np.testing.assert_allclose(model(x[:2]), means[:2], atol=1e-5 * case.levels)
    for count in (1, 9):
        check_pixels(model.sample(count, seed=0, num_sweeps=2), case, count)
    check_means(model.sample(3, seed=0, num_sweeps=2, mean=True), case, 3)
    means = model.posterior_means(x, seed=0)
    assert [m.shape for m in means] == [(IMAGES, np.prod(shape)) for shape, _ in case.groups]


def flat(latents):
    return np.concatenate([np.reshape(group, [len(group), -1]) for group in latent_groups(latents)], axis=1)


def test_the_seed_decides(name, trained):
    model, case = trained(name).model, MODELS[name]
    x = case.images(24)  # of binary latents and pixels: so many that two draws are not equal by chance
    latents = model.encode(x, seed=0)
    for call in (
        lambda seed: model.log_weights(x, 3, seed=seed),
        lambda seed: model.elbo_terms(x, seed=seed).elbo,
        lambda seed: model.sample(24, seed=seed, num_sweeps=2),
        lambda seed: model.reconstruct(x, seed=seed),
        lambda seed: flat(model.encode(x, seed=seed)),
        lambda seed: model.decode(latents, seed=seed),
    ):
        values = call(1)
        np.testing.assert_array_equal(values, call([1, 0]))  # an integer is the first of two words
        assert not np.array_equal(values, call(2))


def test_the_seed_of_the_model_decides(name, trained):
    training, case = trained(name), MODELS[name]
    model = case.build(seed=4)
    variables = list(zip(model.trainable_variables, training.start, strict=True))
    assert any(np.any(variable.numpy() != start) for variable, start in variables)
    # With equal weights, too: it is the seed of the training.
    for variable, start in variables:
        variable.assign(start)
    if model.rbm is not None:
        model.update_log_partition()
    loss = model.train_on_batch(case.images(BATCH), return_dict=True)["loss"]
    assert np.isfinite(loss)
    assert loss != training.first_loss


# --- saved, loaded, resumed, split ---


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_comes_back_whole(name, trained):
    training, case = trained(name), CASES[name]
    loaded = keras.saving.load_model(training.file)
    assert type(loaded) is case.kind
    assert loaded.get_config() == training.model.get_config()
    assert loaded.run_eagerly
    assert set(loaded.group_optimizers) == set(case.group_optimizers)
    assert_same(state(loaded), training.saved_state)
    np.testing.assert_equal(results(loaded, case.images()), training.saved_results)
    if name in MODELS:
        third_step(loaded, case)
    assert_same(state(loaded), training.state)


# What another process does: no more than what stands here is imported.
OTHER_PROCESS = """
import json, sys
import keras, numpy as np
import tfdvae.models
from tensorflow import config
from tfdvae import random

random.enable_reproducibility()
for name, folder in json.loads(sys.argv[1]).items():
    x = np.load(folder + "/images.npy")
    model = keras.saving.load_model(folder + "/model.keras")
    config.run_functions_eagerly(True)
    found = {"log_likelihood": model.log_likelihood(x, SAMPLES, seed=1).numpy()}
    config.run_functions_eagerly(False)
    if name in MODELS:
        model.fit(x[:BATCH], batch_size=BATCH, initial_epoch=1, epochs=2, shuffle=False, verbose=0)
    optimizers = (model.optimizer, *model.group_optimizers.values())
    variables = [*model.weights, *(v for optimizer in optimizers for v in optimizer.variables)]
    found |= {f"state {i:03d}": v.numpy() for i, v in enumerate(variables)}
    np.savez(folder + "/found.npz", **found)
assert "tests" not in sys.modules and "trainers" not in sys.modules
"""


@pytest.fixture(scope="module")
def found_elsewhere(trained):
    """For each model what a new process, which loads all of them, makes of its file."""
    folders = {name: str(trained(name).folder) for name in CASES}
    for name, folder in folders.items():
        np.save(f"{folder}/images.npy", CASES[name].images())
    script = (
        OTHER_PROCESS.replace("SAMPLES", str(SAMPLES))
        .replace("BATCH", str(BATCH))
        .replace("MODELS", str(list(MODELS)))
    )
    process = subprocess.run(
        [sys.executable, "-c", script, json.dumps(folders)],
        cwd=ROOT,
        # As many threads as in this process: sums are rounded alike.
        env={**os.environ, "TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return {name: np.load(f"{folder}/found.npz") for name, folder in folders.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_new_process_loads_it_and_goes_on(name, trained, found_elsewhere):
    training, found = trained(name), found_elsewhere[name]
    np.testing.assert_array_equal(found["log_likelihood"], training.saved_results["log_likelihood"])
    assert np.all(np.isfinite(found["log_likelihood"]))
    arrays = [found[key] for key in sorted(found.files) if key.startswith("state")]
    assert_same([(n, a) for (n, _), a in zip(training.state, arrays, strict=True)], training.state)


def test_a_truncated_file_is_an_error(name, trained, tmp_path):
    data = trained(name).file.read_bytes()
    (tmp_path / "model.keras").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"ensure the file is an accessible `\.keras` zip file"):
        keras.saving.load_model(tmp_path / "model.keras")


def test_a_resumed_training_ends_as_the_uninterrupted_one(name, trained, tmp_path):
    training, case = trained(name), MODELS[name]
    half = "step-00000002.weights.h5"
    (tmp_path / half).symlink_to(training.folder / "checkpoints" / half)
    resumed = case.build()
    assert callbacks.TrainingCheckpoint(tmp_path).restore(resumed) == 2
    assert_same(state(resumed), training.saved_state)
    assert_same(state(third_step(resumed, case)), training.state)
    # The last state of the uninterrupted one, over these weights.
    for variable in resumed.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    assert callbacks.TrainingCheckpoint(training.folder / "checkpoints").restore(resumed) == 3
    assert_same(state(resumed), training.state)


def test_two_replicas(name, strategy):
    case = MODELS[name]
    with strategy.scope():
        model = case.build()
    replicas = strategy.experimental_local_results
    start = [v.numpy() for v in model.trainable_variables]
    # Shares of two images and of one.
    history = model.fit(case.images(3), batch_size=3, verbose=0).history
    assert set(history) == figures_of(model)
    assert np.all(np.isfinite(list(history.values())))
    assert [int(step.numpy()) for step in replicas(model.step.value)] == [1, 1]
    assert any(np.any(v.numpy() != a) for v, a in zip(model.trainable_variables, start, strict=True))
    for variable in model.trainable_variables:
        first, second = (value.numpy() for value in replicas(variable.value))
        np.testing.assert_array_equal(first, second, err_msg=variable.path)
    assert (model.negative_phase is None) == (model.rbm is None)
    if model.rbm is not None:
        chains = zip(*(replicas(v.value) for v in model.negative_phase.variables), strict=True)
        first, second = (np.concatenate([side.numpy() for side in replica], axis=1) for replica in chains)
        assert np.any(first != second)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DVAE", pytest.param("DVAE++", marks=pytest.mark.slow)])
def test_steps_per_execution_and_the_kind_of_data_change_nothing(name):
    case, outcomes = MODELS[name], []
    data = tf.data.Dataset.from_tensor_slices(case.images()).batch(BATCH)
    arrays = {"x": case.images(), "batch_size": BATCH, "shuffle": False}
    for steps, arguments in ((1, {"x": data}), (2, arrays)):
        model = case.build(steps_per_execution=steps, run_eagerly=False)
        history = model.fit(**arguments, epochs=2, verbose=0).history
        assert int(model.step.numpy()) == 4
        outcomes.append((state(model), history))
    assert_same(outcomes[0][0], outcomes[1][0])
    assert outcomes[0][1] == outcomes[1][1]


# --- bad input ---


def bad_images(case):
    """Batches that are refused, and what is said; a graph may not know a size that has changed."""
    x = case.images()
    height, width, channels = case.image_shape
    shape = rf"the shape \[batch, {height}, {width}, {channels}\]\. Received: "
    valid = r"takes pixels in \{0, 1"
    return {
        "one channel more": (
            np.concatenate([x, x[..., :1]], axis=-1),
            shape + rf"\(({IMAGES}|None), {height}, {width}, ({channels + 1}|None)\)",
        ),
        "no channels": (x[..., 0], shape + rf"\(({IMAGES}|None), {height}, {width}\)"),
        "one image": (x[0], shape + rf"\(({height}|None), {width}, {channels}\)"),
        "another size": (x[:, :1], shape + rf"\(({IMAGES}|None), 1, {width}, {channels}\)"),
        "fractions": (x / case.levels + 0.25, valid),
        "too large": (x + case.levels, valid),
        "large integers": ((x + case.levels).astype(np.int64), valid),
        "negative": (-1 - x, valid),
        "NaN": (np.where(np.arange(IMAGES)[:, None, None, None] == IMAGES - 1, np.nan, x), valid),
        "infinite": (np.full_like(x, np.inf), valid),
        "complex": (x.astype(np.complex64), "must be numbers. Received: dtype complex64"),
        "strings": (x.astype(str), "must be numbers. Received: dtype string|Invalid dtype: str"),
    }


def test_images_are_checked(name, trained):
    """By all methods and by the training, in which a batch that is refused changes nothing."""
    model, case = trained(name).model, MODELS[name]
    before = state(model)
    for bad, (x, message) in bad_images(case).items():
        for call in (
            lambda x: model.log_likelihood(x, 2, seed=0),
            lambda x: model.log_weights(x, 2, seed=0),
            lambda x: model.elbo_terms(x, seed=0),
            lambda x: model.encode(x, seed=0),
            lambda x: model.reconstruct(x, seed=0),
            lambda x: model.posterior_means(x, seed=0),
            lambda x: model.fit(x, verbose=0),
            lambda x: model.evaluate(x, verbose=0),
        ):
            with pytest.raises(ValueError, match=message):
                pytest.fail(f"{bad} was accepted: {call(x)}")
    assert_same(state(model), before)


@pytest.mark.slow
def test_images_are_checked_in_a_graph():
    case = MODELS["DVAE"]
    model, x = case.build(run_eagerly=False), np.minimum(case.images(), 1.0)
    model.compile(keras.optimizers.SGD(0.01))  # a small graph
    model.fit(x, verbose=0)
    logs = model.evaluate(x, verbose=0, return_dict=True)
    # A dataset keeps the type, which Keras would make float32 of an array.
    data = tf.data.Dataset.from_tensors(x.astype("uint8"))
    assert model.evaluate(data, verbose=0, return_dict=True) == logs
    before = state(model)
    kinds = bad_images(case)
    values = ("fractions", "too large", "negative", "NaN", "infinite")
    for bad in (*values, "another size", "complex"):  # each other type or size is another graph
        x, message = kinds[bad]
        message = message.partition(r"\. Received")[0]  # Keras drops sizes that change
        for call in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match=message):
                pytest.fail(f"{bad} was accepted: {call(x, verbose=0)}")
    assert_same(state(model), before)


def test_images_of_any_number_type(name, trained):
    model, x = trained(name).model, np.minimum(MODELS[name].images(), 1.0)
    want = model.log_weights(x, 2, seed=0)
    for dtype in ("uint8", "int32", "float64", "bool"):
        np.testing.assert_array_equal(model.log_weights(x.astype(dtype), 2, seed=0), want, err_msg=dtype)


def test_numbers_and_limits_are_checked(name, trained):
    model, x = trained(name).model, MODELS[name].images()
    for call in (
        lambda n: model.log_likelihood(x, n, seed=0),
        lambda n: model.sample(n, seed=0),
    ):
        for count in (0, -1, 2.5, True):
            with pytest.raises(
                ValueError, match=f"`num_samples` must be a positive integer. Received: num_samples={count}"
            ):
                call(count)
    with pytest.raises(ValueError, match=r"`num_sweeps` must be a positive integer\. Received: num_sweeps=0"):
        model.sample(1, seed=0, num_sweeps=0)
    for call in (
        lambda: model.log_likelihood(x, 2, seed=0, limit="discrete"),
        lambda: model.log_weights(x, 2, seed=0, limit="discrete"),
        lambda: model.elbo_terms(x, seed=0, limit="discrete"),
    ):
        with pytest.raises(
            ValueError, match=r"`limit` must be one of \('binary', 'smoothed'\)\. Received: limit='discrete'"
        ):
            call()


def test_an_estimate_of_log_z_goes_stale(name, trained):
    model, x = trained(name).model, MODELS[name].images()
    if model.rbm is None:
        with pytest.raises(ValueError, match="is normalized: it has no log Z to measure"):
            model.update_log_partition()
        return
    fresh = model.elbo_terms(x, seed=0).elbo
    bias = model.rbm.left_bias.numpy()
    model.rbm.left_bias.assign(bias + 1.0)
    try:
        for call in (
            lambda: model.log_likelihood(x, 2, seed=0),
            lambda: model.elbo_terms(x, seed=0),
            lambda: model.log_partition,
        ):
            with pytest.raises(
                ValueError,
                match="measured at step 3 for other weights of the machine; the model is at step",
            ):
                call()
    finally:
        model.rbm.left_bias.assign(bias)
    np.testing.assert_array_equal(model.elbo_terms(x, seed=0).elbo, fresh)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [(name, *refused) for name, case in MODELS.items() for refused in case.refused],
)
def test_arguments_are_checked(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        MODELS[name].construct(**arguments)
