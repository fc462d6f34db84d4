"""The rows of `docs/keras.md`: each option of Keras works, or is refused at once in words."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.models import BATCH, IMAGES, MODELS
from tests.graphs import EAGER_OR_SLOW, slow_but
from tfdvae.boltzmann import RBMTrainer, RestrictedBoltzmannMachine, log_partition
from tfdvae.models import TrainingDiverged

VECTORS = np.random.default_rng(0).integers(0, 2, (IMAGES, 4)).astype(np.float32)
WEIGHTS = "All examples count the same"
SGD = keras.optimizers.SGD


def make_trainer(**kwargs):
    return RBMTrainer(RestrictedBoltzmannMachine(4, 3), num_chains=5, seed=1, **kwargs)


def make_model(**kwargs):
    return MODELS["DVAE"].construct(**kwargs)


KINDS = {"DVAE": (make_model, MODELS["DVAE"].images()), "RBMTrainer": (make_trainer, VECTORS)}


@pytest.fixture(params=KINDS)
def kind(request):
    """A function that makes a model, and data for it."""
    return KINDS[request.param]


def values(model):
    return [v.numpy() for v in model.trainable_variables]


def changes(make, x, optimizer, steps=1, **compile_arguments):
    """What `steps` steps of a new model change, of each trainable variable."""
    model = make()
    model.compile(optimizer, run_eagerly=True, **compile_arguments)
    before = values(model)
    model.fit(x, batch_size=len(x), epochs=steps, shuffle=False, verbose=0)
    return [after - start for after, start in zip(values(model), before, strict=True)]


def assert_close(one, other, **tolerances):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, **tolerances)


# --- compile ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "mse"}, r"brings its own objective\. Received: loss='mse'"),
        ({"loss_weights": [2.0]}, r"brings its own objective\. Received: loss_weights="),
        ({"metrics": ["mae"]}, r"logs the terms of its own bound.*Received: metrics=\['mae'\]"),
        ({"weighted_metrics": ["mae"]}, r"logs the terms of its own bound.*Received: weighted_metrics="),
    ],
)
def test_compile_refuses_what_it_would_ignore(kind, arguments, message):
    make, _ = kind
    with pytest.raises(ValueError, match=message):
        make().compile("sgd", **arguments)


@pytest.mark.parametrize(
    "scaled",
    [
        lambda: SGD(0.1, loss_scale_factor=1024.0),
        lambda: keras.optimizers.LossScaleOptimizer(SGD(0.1), initial_scale=512.0),
    ],
)
def test_a_loss_scale_changes_no_update(kind, scaled):
    make, x = kind
    plain = changes(make, x, SGD(0.1))
    assert max(np.abs(change).max() for change in plain) > 1e-3
    assert_close(changes(make, x, scaled()), plain, rtol=1e-4, atol=1e-7)


def test_a_loss_scale_of_a_group_changes_no_update():
    make, x = KINDS["DVAE"]
    plain = changes(make, x, SGD(0.1), group_optimizers={"prior": SGD(0.3)})
    scaled = changes(make, x, SGD(0.1), group_optimizers={"prior": SGD(0.3, loss_scale_factor=64.0)})
    assert_close(scaled, plain, rtol=1e-4, atol=1e-7)


def test_gradients_are_accumulated(kind):
    make, x = kind
    model = make()
    model.compile(SGD(0.1, gradient_accumulation_steps=2), run_eagerly=True)
    start = values(model)
    for moves in (False, True):
        model.train_on_batch(x)
        assert any(np.any(a != b) for a, b in zip(values(model), start, strict=True)) == moves
    assert int(model.step.numpy()) == 2


class Trajectory(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.values = [values(self.model)]

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(values(self.model))


@pytest.mark.parametrize("group", [None, "prior"])
def test_averages_of_the_weights_are_those_of_their_own_variables(kind, group):
    """Each variable ends as the average of its own course after the first step, with momentum 0.6."""
    make, x = kind
    model, course = make(), Trajectory()
    averaging = SGD(0.2, use_ema=True, ema_momentum=0.6)
    if group is None:
        model.compile(averaging, run_eagerly=True)
        averaged = model.trainable_variables
    elif isinstance(model, RBMTrainer):
        model.compile(group_optimizers={"weights": averaging}, run_eagerly=True)
        averaged = model.trainable_variables
    else:
        model.compile(SGD(0.2), group_optimizers={group: averaging}, run_eagerly=True)
        averaged = model.parameter_groups()[group]
    model.fit(x, batch_size=2, epochs=1, shuffle=False, callbacks=[course], verbose=0)
    assert len(course.values) == 4
    names = {v.path for v in averaged}
    for i, variable in enumerate(model.trainable_variables):
        _, mean, *later = (step[i] for step in course.values)
        for value in later:
            mean = 0.6 * mean + 0.4 * value
        want = mean if variable.path in names else later[-1]
        np.testing.assert_allclose(variable, want, rtol=1e-5, atol=1e-6, err_msg=variable.path)


def test_averages_of_a_part_of_the_weights_are_refused():
    with pytest.raises(ValueError, match=r"`use_ema` of the shared optimizer .* \(\['prior'\]\)"):
        make_model().compile(SGD(0.1, use_ema=True), group_optimizers={"prior": SGD(0.1)})


SLOW_DVAEPP = pytest.param("DVAE++", marks=pytest.mark.slow)  # its graphs are large
XLA_KINDS = {**KINDS, "DVAE++": (MODELS["DVAE++"].construct, MODELS["DVAE++"].images())}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RBMTrainer", "DVAE", SLOW_DVAEPP])
def test_xla_computes_the_same_and_keeps_all_checks(name):
    make, x = XLA_KINDS[name]
    models = []
    for jit_compile in (False, True):
        model = make()
        model.compile(SGD(0.05), jit_compile=jit_compile, run_eagerly=not jit_compile)
        model.fit(x[:BATCH], batch_size=BATCH, shuffle=False, verbose=0)
        models.append(model)
    assert_close(values(models[1]), values(models[0]), rtol=1e-3, atol=1e-4)
    logs = [model.evaluate(x, verbose=0, return_dict=True) for model in models]
    for key, value in logs[0].items():
        np.testing.assert_allclose(logs[1][key], value, rtol=1e-3, atol=1e-3, err_msg=key)
    assert models[1].get_compile_config()["jit_compile"]
    # Nothing changes where values are refused.
    before = values(model)
    wrong = x[:BATCH].copy()
    wrong[0] = np.nan
    for call in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=r"takes pixels in \{0, 1\}|must be binary"):
            pytest.fail(f"accepted: {call(wrong, verbose=0)}")
    assert_close(values(model), before, rtol=0)
    # Nor where a term is not finite.
    model.trainable_variables[-1].assign(np.full_like(before[-1], np.nan))
    with pytest.raises(TrainingDiverged, match="diverged: the terms of step"):
        model.fit(x[:BATCH], batch_size=BATCH, shuffle=False, verbose=0)
    assert_close(values(model)[:-1], before[:-1], rtol=0)


def test_xla_is_refused_on_several_replicas(strategy):
    with strategy.scope(), pytest.raises(ValueError, match=r"On several replicas .* XLA is not supported"):
        make_model().compile("sgd", jit_compile=True)


# --- fit, evaluate, predict ---


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_weights_of_examples_are_refused(kind, method):
    make, x = kind
    model = make()
    model.compile("sgd", run_eagerly=True)
    before = values(model)
    call = getattr(model, method)
    with pytest.raises(ValueError, match=WEIGHTS):
        call(x, sample_weight=np.zeros(len(x)))
    if method in ("fit", "train_on_batch"):
        with pytest.raises(ValueError, match=WEIGHTS):
            call(x, np.zeros(len(x)), class_weight={0: 2.0})
    if method in ("fit", "evaluate"):
        triples = tf.data.Dataset.from_tensors((x, np.zeros(len(x)), np.zeros(len(x))))
        with pytest.raises(ValueError, match=WEIGHTS):
            call(triples, verbose=0)
    assert_close(values(model), before, rtol=0)


def test_targets_and_other_keys_are_not_used(kind):
    make, x = kind
    results = []
    pairs = tf.data.Dataset.from_tensors((x, np.arange(len(x))))
    named = tf.data.Dataset.from_tensors({"image": x, "label": np.arange(len(x))})
    for data in (x, pairs, named):
        model = make()
        model.compile(SGD(0.1), run_eagerly=True)
        model.fit(data, batch_size=None if data is not x else len(x), shuffle=False, verbose=0)
        results.append(values(model))
    assert_close(results[1], results[0], rtol=0)
    assert_close(results[2], results[0], rtol=0)
    unnamed = tf.data.Dataset.from_tensors({"picture": x})
    with pytest.raises(ValueError, match=r'must have the key "image".*the keys \[\'picture\'\]'):
        model.fit(unnamed, verbose=0)


def test_steps_that_would_run_over_are_refused(kind):
    make, x = kind
    model = make()
    model.compile(SGD(0.1), steps_per_execution=2)
    data = tf.data.Dataset.from_tensors(x).repeat()
    for call, name in (
        (lambda: model.fit(data, steps_per_epoch=3, verbose=0), "steps_per_epoch"),
        (lambda: model.fit(x, validation_data=data, validation_steps=3, verbose=0), "validation_steps"),
        (lambda: model.evaluate(data, steps=3, verbose=0), "steps"),
        (lambda: model.predict(data, steps=3, verbose=0), "steps"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be a multiple .*{name}=3, .*execution=2"):
            call()
    assert int(model.step.numpy()) == 0


@pytest.mark.parametrize("name", slow_but(["DVAE"], ["DVAE", "DVAE++"]))
def test_predictions_do_not_depend_on_the_batch(name):
    case = MODELS[name]
    model, x = case.build(), case.images(24)
    model.update_log_partition()
    want = model(x).numpy()
    assert len(np.unique(want[x[:, 0, 0, 0] == x[0, 0, 0, 0]], axis=0)) > 1
    for batch_size in (24, 7, 1):
        np.testing.assert_allclose(model.predict(x, batch_size=batch_size, verbose=0), want, atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(x), want, atol=1e-5)
    # Two equal images have noise of their own.
    twice = model.predict(np.repeat(x[:1], 24, axis=0), verbose=0)
    assert len(np.unique(twice, axis=0)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("run_eagerly", EAGER_OR_SLOW)
def test_predictions_on_replicas_are_those_on_one(strategy, run_eagerly):
    case = MODELS["DVAE"]
    x = case.images(7)
    want = case.build()(x).numpy()
    with strategy.scope():
        model = case.build(run_eagerly=run_eagerly)
    np.testing.assert_allclose(model.predict(x, batch_size=3, verbose=0), want, atol=1e-5)


def test_predict_checks_its_values(kind):
    make, x = kind
    model = make()
    for wrong in (np.full_like(x, np.nan), 0.5 + 0.0 * x):
        for call in (lambda x: model.predict(x, verbose=0), model.predict_on_batch):
            with pytest.raises(ValueError, match=r"takes pixels in \{0, 1\}|must be binary"):
                pytest.fail(f"accepted: {call(wrong)}")


def test_train_on_batch_has_a_log_z():
    case = MODELS["DVAE"]
    model, x = case.build(), case.images(BATCH)
    steps = []
    for step in (0, 1, 99, 100, 150, 200):
        model.step.assign(step)
        logs = model.train_on_batch(x, return_dict=True)
        assert np.all(np.isfinite(list(logs.values())))
        steps.append(model.stored_log_partition.step)
    assert steps == [0, 0, 0, 100, 100, 200]
    model.step.assign(7)
    tested = model.test_on_batch(x, return_dict=True)
    assert model.stored_log_partition.is_fresh
    np.testing.assert_allclose(tested["elbo"], tested["reconstruction"] - tested["kl"], rtol=1e-5)


# --- precision, layout, devices ---


@pytest.fixture
def settings():
    """Keras' global settings, which come back after the test."""
    floatx, layout = keras.config.floatx(), keras.config.image_data_format()
    policy = keras.config.dtype_policy()
    yield keras.config
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(layout)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("set_dtype_policy", "mixed_bfloat16"),
        ("set_dtype_policy", "mixed_float16"),
        ("set_dtype_policy", "float64"),
        ("set_floatx", "float64"),
        ("set_floatx", "bfloat16"),
    ],
)
def test_other_precisions_are_refused(kind, settings, name, value):
    make, _ = kind
    model = make()
    getattr(settings, name)(value)
    with pytest.raises(ValueError, match=rf"computes in float32\. Received: the .* '{value}'"):
        make()
    if name == "set_floatx":
        with pytest.raises(ValueError, match="computes in float32"):
            model.compile("sgd")


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16"])
def test_other_precisions_of_one_model_are_refused(kind, dtype):
    make, _ = kind
    with pytest.raises(ValueError, match=rf"computes in float32\. Received: the dtype policy '{dtype}'"):
        make(dtype=dtype)


@pytest.mark.parametrize("name", ["DVAE", "DVAE++"])
def test_the_layout_of_images_is_fixed(settings, name):
    case = MODELS[name]
    want = case.construct().log_weights(case.images(), 2, seed=0).numpy()
    settings.set_image_data_format("channels_first")
    np.testing.assert_array_equal(case.construct().log_weights(case.images(), 2, seed=0), want)


def test_distributions_of_keras_are_refused(kind):
    make, x = kind
    model = make()
    model.compile("sgd", run_eagerly=True)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    try:
        for call in (model.fit, model.evaluate, model.predict):
            with pytest.raises(ValueError, match=r"`keras.distribution` has no effect.*DataParallel"):
                call(x, verbose=0)
    finally:
        keras.distribution.set_distribution(None)
    assert int(model.step.numpy()) == 0


# --- callbacks and files ---


@pytest.mark.slow
def test_callbacks_of_keras(tmp_path):
    case = MODELS["DVAE"]
    model, x = case.build(), case.images()
    history = model.fit(
        x,
        batch_size=BATCH,
        epochs=3,
        validation_data=(x,),
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping("val_elbo", patience=9, mode="max", restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau("val_elbo", mode="max"),
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ],
    ).history
    best = int(np.argmax(history["val_elbo"])) + 1
    loaded = keras.saving.load_model(tmp_path / f"{best}.keras")
    assert_close(values(model), values(loaded), rtol=0)


@pytest.mark.parametrize("name", ["DVAE", "DVAE++", "RBMTrainer"])
def test_a_checkpoint_of_tensorflow_holds_every_weight(name, tmp_path):
    make, x = XLA_KINDS[name]
    models = []
    for rate in (0.1, 0.2):
        model = make()
        model.compile(keras.optimizers.Adam(rate), run_eagerly=True)
        model.fit(x, batch_size=BATCH, verbose=0)
        models.append(model)
    trained, other = models
    assert any(np.any(a != b) for a, b in zip(values(trained), values(other), strict=True))
    path = tf.train.Checkpoint(model=trained).save(tmp_path / "checkpoint")
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    for a, b in zip(trained.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert_close(trained.optimizer.variables, other.optimizer.variables, rtol=0)


@pytest.mark.parametrize("name", ["RBMTrainer", "DVAE", SLOW_DVAEPP])
def test_export_holds_the_call(name, tmp_path):
    make, x = XLA_KINDS[name]
    model = make()
    model.export(tmp_path / "saved", verbose=False)
    exported = tf.saved_model.load(tmp_path / "saved")
    for images in (x, x[:2]):
        np.testing.assert_allclose(exported.serve(images), model(images), atol=1e-5)


def test_export_for_litert(tmp_path):
    make, _ = KINDS["RBMTrainer"]
    make().export(tmp_path / "model.tflite", format="litert", verbose=False)
    assert (tmp_path / "model.tflite").read_bytes()[4:8] == b"TFL3"


# --- log Z in the logs ---


def test_logs_of_a_training_without_validation_have_a_fresh_log_z():
    """Images of two opposite patterns: log Z grows by many nats."""
    rng = np.random.default_rng(0)
    pattern = (rng.uniform(size=(1, 4, 4, 1)) < 0.5).astype(np.float32)
    x = np.concatenate([np.repeat(pattern, 50, axis=0), np.repeat(1 - pattern, 50, axis=0)])
    # Shuffled here: by `fit` the order hangs on what ran before, and in some the machine learns little.
    np.random.default_rng(7).shuffle(x)
    model = MODELS["DVAE"].kind(
        image_shape=(4, 4, 1), latent_units=(8,), network=(), num_chains=50, num_sweeps=3
    )
    model.compile(keras.optimizers.Adam(0.05))
    starts = [model.update_log_partition().value]
    every = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: starts.append(log_partition.exact(model.rbm).value)
    )
    history = model.fit(x, batch_size=20, epochs=15, shuffle=False, callbacks=[every], verbose=0).history
    assert starts[-1] - starts[0] > 2
    assert min(history["kl"]) >= 0
    assert model.log_partition.value == pytest.approx(starts[-1], abs=1e-6)
    # At learning rate 0 the logs are those of these weights.
    model.optimizer.learning_rate = 0.0
    still = model.fit(x, batch_size=20, epochs=1, verbose=0).history
    assert abs(history["elbo"][-1] - still["elbo"][0]) < 0.5
    assert history["log_partition_error"] == [0.0] * 15


def test_a_log_z_that_makes_a_bound_impossible_is_not_shown(caplog):
    case = MODELS["DVAE"]
    model, x = case.build(), case.images()
    exact = model.update_log_partition()
    kl = model.evaluate(x, verbose=0, return_dict=True)["kl"]
    # Within the noise of a batch the KL is 0, beyond there is none.
    for shift, want in ((kl + 0.5, 0.0), (kl + 5.0, np.nan)):
        model.update_log_partition(type(exact)(exact.value - shift, 0.1))
        logs = model.evaluate(x, verbose=0, return_dict=True)
        np.testing.assert_array_equal(logs["kl"], np.float32(want))
        np.testing.assert_allclose(logs["elbo"], logs["reconstruction"] - want, rtol=1e-6)
        np.testing.assert_allclose(logs["loss"], -logs["elbo"])
        assert np.isfinite(logs["reconstruction"])
    assert "a KL is never negative" in caplog.text


@pytest.mark.parametrize("phase", ["pcd", "cd", "tempered"])
@pytest.mark.parametrize("what", ["learning rate", "weights"])
def test_a_machine_whose_training_diverges_keeps_its_weights(phase, what):
    trainer = make_trainer(negative_phase=phase)
    trainer.compile(SGD(float("nan") if what == "learning rate" else 0.1), run_eagerly=True)
    if what == "weights":
        trainer.rbm.coupling.assign(np.full((4, 3), 3e38))
    before = values(trainer)
    with pytest.raises(TrainingDiverged, match=r"the terms of step 0 are pseudo_log_likelihood .*rate"):
        trainer.fit(VECTORS, verbose=0)
    assert_close(values(trainer), before, rtol=0)
