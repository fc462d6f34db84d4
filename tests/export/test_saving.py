"""What lies in an exported version: the audit, the card, the warm-up; and how it gets there."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.export.conftest import MAX_SWEEPS, NUM_SAMPLES, make_dvae
from tests.models import oracles, test_dvaepp
from tfdvae import export, random
from tfdvae.export import layout, saving
from tfdvae.export.compaction import compact
from tfdvae.models import DVAE, DVAEPlusPlus

ROOT = Path(__file__).resolve().parents[2]


def test_only_what_the_signatures_read_is_stored(exported):
    found = export.audit(exported.directory / "1")
    assert found.problems == ()
    model = exported.model
    expected = sum(int(np.prod(w.shape)) * 4 for w in model.weights if w.dtype == "float32")
    chains = sum(int(np.prod(w.shape)) * 4 for w in model.negative_phase.weights)
    bank = int(np.prod(exported.bank.left.shape))
    assert set(found.variables) == {"weights", "chain_bank/left"}
    assert bank < found.variable_bytes <= expected - chains + bank
    assert found.variable_bytes < found.file_bytes
    assert found.operations["VarHandleOp"] == len(found.variables)


def test_the_graph_is_compact(exported, tmp_path):
    graph = (exported.directory / "1" / "saved_model.pb").read_bytes()
    copy = tmp_path / "saved_model.pb"
    copy.write_bytes(graph)
    compact(copy)
    assert copy.read_bytes() == graph


def test_a_model_on_replicas_is_exported_as_one_on_a_single_device(strategy, exports, tmp_path):
    with strategy.scope():
        model = make_measured()
    export.export_generator(model, tmp_path / "toy", num_samples=NUM_SAMPLES, bank_states=5, bank_sweeps=2)
    x = np.ones((3, *model.image_shape), np.float32)
    got, want = (
        generator.log_prob(x, seed=0)
        for generator in (export.load_generator(tmp_path / "toy"), exports("DVAE").generator)
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("prior", ["bernoulli", "normal"])
def test_a_model_without_a_machine(prior, tmp_path):
    """No bank, no energy, no sweeps that matter; the rest as with one."""
    model = DVAE(image_shape=(2, 3, 1), latent_units=(4, 3), network=(5,), prior=prior)
    oracles.randomize(model)
    export.export_generator(model, tmp_path / "toy", num_samples=2)
    generator = export.load_generator(tmp_path / "toy")
    assert set(export.audit(tmp_path / "toy" / "1").variables) == {"weights"}
    assert "energy" not in generator.specs
    seeds = export.row_seeds(5, 9)
    outputs = [generator.predict("sample", seed=seeds, num_sweeps=np.full(9, n)) for n in (1, 7)]
    for name, values in outputs[0].items():
        np.testing.assert_array_equal(values, outputs[1][name])
    np.testing.assert_array_equal(outputs[0]["images"], model.sample(9, seed=tf.constant(seeds)))
    x = np.ones((9, 2, 3, 1), np.float32)
    assert np.all(np.isfinite(generator.log_prob(x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "num_binary"),
    [
        ({"global_prior": "none", "local_prior": "bernoulli", "convolution_dtype": "bfloat16"}, 2),
        pytest.param({"global_prior": "bernoulli", "local_prior": "normal"}, 8, marks=pytest.mark.slow),
    ],
)
def test_convolutional_models_without_a_machine(arguments, num_binary, tmp_path):
    model = test_dvaepp.randomize(DVAEPlusPlus(**{**test_dvaepp.ONE_BLOCK, "local_groups": 2}, **arguments))
    export.export_generator(model, tmp_path / "toy", num_samples=2)
    generator = export.load_generator(tmp_path / "toy")
    assert set(export.audit(tmp_path / "toy" / "1").variables) == {"weights"}
    assert "energy" not in generator.specs
    seeds = export.row_seeds(5, 40)
    outputs = generator.predict("sample", seed=seeds, num_sweeps=np.ones(40, int))
    np.testing.assert_array_equal(outputs["images"], model.sample(40, seed=tf.constant(seeds)))
    assert len(np.unique(outputs["images"].reshape(40, -1), axis=0)) > 1
    decoded = generator.decode(outputs["latents"], seed=1)
    assert set(np.unique(decoded)) == {0.0, 1.0}
    encoded = generator.predict("encode", images=decoded, seed=seeds)
    assert encoded["logits"].shape == (40, num_binary)
    assert set(np.unique(encoded["latents"][:, :num_binary])) == {0.0, 1.0}
    assert generator.reconstruct(decoded).shape == decoded.shape
    pairs = [random.fold_in(tf.constant(seeds), i)[tf.newaxis] for i in range(2)]
    weights = [model.log_weights(decoded, 1, seed=pair) for pair in pairs]
    got = generator.predict("log_prob", images=decoded, seed=seeds)
    tolerance = 0.05 if "convolution_dtype" in arguments else 1e-5
    np.testing.assert_allclose(got["elbo"], np.mean(weights, axis=(0, 1)), rtol=tolerance)


def spoilt(kind):
    module = tf.Module()
    module.variable = tf.Variable([1.0])
    module.other = tf.Variable([1.0 if "equal" in kind else 2.0])
    module.generator = tf.random.Generator.from_seed(0) if "Rng" in kind else None

    def read():
        return module.variable + module.other

    bodies = {
        "fine": lambda x: x + read() + tf.random.stateless_uniform([1], [0, 0]),
        "the operation RandomUniform has": lambda x: x + tf.random.uniform([1]) + read(),
        "the operation TruncatedNormal has": lambda x: x + tf.random.truncated_normal([1]) + read(),
        "the operation Multinomial has": lambda x: (
            x + tf.cast(tf.random.categorical([[0.0]], 1)[0], tf.float32) + read()
        ),
        "the operation RngReadAndSkip has": lambda x: x + module.generator.uniform([1]) + read(),
        "the operation EagerPyFunc needs Python": lambda x: (
            tf.py_function(lambda v: v, [x], tf.float32) + read()
        ),
        "must be compiled by XLA": lambda x: compiled(x) + read(),
        "no signature reads the variable": lambda x: x + module.variable,
        "the variables other and variable are equal": lambda x: x + read(),
    }
    compiled = tf.function(lambda x: 2.0 * x, jit_compile=True)
    module.function = tf.function(
        lambda x: {"y": bodies[kind](x)}, input_signature=[tf.TensorSpec([None], tf.float32)]
    )
    return module


@pytest.mark.parametrize(
    "kind",
    [
        "fine",
        "the operation RandomUniform has",
        "the operation TruncatedNormal has",
        "the operation Multinomial has",
        "the operation RngReadAndSkip has",
        "the operation EagerPyFunc needs Python",
        "must be compiled by XLA",
        "no signature reads the variable",
        "the variables other and variable are equal",
    ],
)
def test_the_audit_finds_what_a_server_cannot_run(kind, tmp_path):
    module = spoilt(kind)
    tf.saved_model.save(module, str(tmp_path), signatures={"f": module.function})
    problems = export.audit(tmp_path).problems
    if kind == "fine":
        assert problems == ()
    else:
        assert len(problems) == 1
        assert kind in problems[0]


def test_an_export_with_a_problem_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "audit", lambda path: export.Audit({}, {}, 0, 0, ("it is bad",)))
    with pytest.raises(ValueError, match="not fit for a server: it is bad"):
        export.export_generator(make_measured(), tmp_path / "bad", num_samples=1, bank_sweeps=1)
    assert list((tmp_path / "bad").iterdir()) == []


def make_measured():
    model = make_dvae()
    model.update_log_partition()
    return model


def test_a_stale_log_partition_is_refused(tmp_path):
    model = make_measured()
    model.rbm.coupling.assign(model.rbm.coupling + 1.0)
    with pytest.raises(ValueError, match="other weights of the machine"):
        export.export_generator(model, tmp_path / "stale")
    assert not (tmp_path / "stale").exists()


def test_the_card_says_what_the_generator_is(exported):
    card = exported.generator.card
    assert card["data_set"] == "none"
    assert card["model"] == type(exported.model).__name__
    assert card["log_prob_samples"] == NUM_SAMPLES
    assert card["max_sweeps"] == MAX_SWEEPS
    assert card["log_partition"]["value"] == exported.model.log_partition.value
    height, width, channels = exported.model.image_shape
    assert card["signatures"]["sample"] == {
        "inputs": {"seed": "int32 [B, 2]", "num_sweeps": "int32 [B]"},
        "outputs": {
            "images": f"float32 [B, {height}, {width}, {channels}]",
            "means": f"float32 [B, {height}, {width}, {channels}]",
            "latents": f"float32 [B, {exported.generator.specs['energy']['latents'].shape[0]}]",
        },
    }


def test_warm_up_requests_are_those_of_the_signatures(exported):
    path = exported.directory / "1" / "assets.extra" / "tf_serving_warmup_requests"
    requests = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        for record in tf.data.TFRecordDataset(str(path))
    ]
    signatures = set(exported.generator.specs) - {"serving_default"}
    sizes = layout.ALLOWED_BATCH_SIZES
    assert len(requests) == len(signatures) * len(sizes) <= 1000
    got = set()
    for request in requests:
        assert request.model_spec.name == "toy"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        (size,) = {len(value) for value in inputs.values()}
        got.add((request.model_spec.signature_name, size))
        if size == sizes[0]:
            outputs = exported.generator.run(request.model_spec.signature_name, inputs)
            assert all(np.isfinite(value).all() for value in outputs.values())
    assert got == {(name, size) for name in signatures for size in sizes}


def test_batching_config_ends_with_the_largest_batch(exported):
    text = (exported.directory / "1" / "batching_params.pbtxt").read_text()
    sizes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("allowed_batch_sizes")]
    assert sizes == list(layout.ALLOWED_BATCH_SIZES)
    assert f"max_batch_size {{ value: {sizes[-1]} }}" in text


# --- versions ---


def write_file(path):
    (path / "saved_model.pb").write_text("whole")


def test_the_next_export_is_the_next_version(tmp_path):
    directory = tmp_path / "toy"
    assert export.versions(directory) == []
    for version in (1, 2, 3):
        assert layout.write_version(directory, write_file) == directory / str(version)
    (directory / "6").mkdir()
    (directory / "7").write_text("a file in the way")
    (directory / "009").mkdir()  # no version
    assert layout.write_version(directory, write_file) == directory / "8"
    assert export.versions(directory) == [1, 2, 3, 6, 8]
    assert export.version_directory(directory) == directory / "8"
    assert export.version_directory(directory, 2) == directory / "2"
    assert export.version_directory(directory / "2") == directory / "2"


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_a_version_is_open_to_whom_the_umask_allows(tmp_path, umask):
    before = os.umask(umask)
    try:
        version = layout.write_version(tmp_path / "toy", write_file)
    finally:
        os.umask(before)
    assert version.stat().st_mode & 0o777 == 0o777 & ~umask
    assert {path.stat().st_mode & 0o777 for path in version.iterdir()} == {0o666 & ~umask}


def test_models_config_names_the_generators_of_a_folder(tmp_path):
    for name in ("b", 'a "quoted" one'):
        layout.write_version(tmp_path / name, write_file)
    (tmp_path / "data" / "2024").mkdir(parents=True)  # an integer, and no generator
    (tmp_path / "file").write_text("")
    assert layout.generators(tmp_path) == ['a "quoted" one', "b"]
    text = layout.models_config(layout.generators(tmp_path))
    assert text.count("config {") == 2
    assert r'name: "a \"quoted\" one" base_path: "/models/a \"quoted\" one"' in text


def test_an_error_leaves_no_version(tmp_path):
    def write(path):
        write_file(path)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        layout.write_version(tmp_path, write)
    assert list(tmp_path.iterdir()) == []


# The module alone, as the package would import TensorFlow.
KILLED = """
import runpy, sys

def write(path):
    (path / "saved_model.pb").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()

runpy.run_path(sys.argv[2])["write_version"](sys.argv[1], write)
"""


@pytest.mark.slow
def test_kill_9_leaves_no_version_and_the_next_export_cleans_up(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), layout.__file__]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    assert len(list(tmp_path.iterdir())) == 1
    assert export.versions(tmp_path) == []
    # Another export at the same time leaves it alone.
    assert layout.write_version(tmp_path, write_file) == tmp_path / "1"
    assert len(list(tmp_path.iterdir())) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert export.versions(tmp_path) == [1]
    assert layout.write_version(tmp_path, write_file) == tmp_path / "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


EXPORTING = """
import os, sys
sys.path.insert(0, sys.argv[2])
os.environ["KERAS_BACKEND"] = "tensorflow"
from tests.export.test_saving import make_measured
from tfdvae import export

def wait(path):
    print("writing", flush=True)
    sys.stdin.read()

export.export_generator(make_measured(), sys.argv[1], num_samples=1, bank_sweeps=1, write_extras=wait)
"""


@pytest.mark.slow
def test_kill_9_during_an_export(tmp_path):
    """The last moment before a version becomes visible: all files are there, under another name."""
    command = [sys.executable, "-c", EXPORTING, str(tmp_path), str(ROOT)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.stdout.readline() not in ("writing\n", ""):
        pass
    (temporary,) = tmp_path.iterdir()
    assert (temporary / "saved_model.pb").exists()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert export.versions(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="holds no version"):
        export.load_generator(tmp_path)
    version = export.export_generator(make_measured(), tmp_path, num_samples=1, bank_sweeps=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [version.name] == ["1"]
    assert np.isfinite(export.load_generator(tmp_path).log_prob(np.ones([2, 2, 3, 1]))).all()


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="which is a file"):
        layout.write_version(tmp_path / "file", write_file)


# --- loading ---


def test_what_is_not_there_or_damaged_is_an_error(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no version of a generator"):
        export.load_generator(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"holds no version 7 of a generator. Versions there: \[1\]"):
        export.load_generator(exported.directory, version=7)
    (tmp_path / "1").mkdir()
    with pytest.raises(FileNotFoundError, match=r"saved_model\.pb is missing"):
        export.load_generator(tmp_path)
    whole = (exported.directory / "1" / "saved_model.pb").read_bytes()
    (tmp_path / "1" / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        export.load_generator(tmp_path)
    shutil.copytree(exported.directory / "1", tmp_path / "2")
    (values,) = (tmp_path / "2" / "variables").glob("*.data-*")
    os.truncate(values, values.stat().st_size // 2)
    with pytest.raises(ValueError, match="cannot be read"):
        export.load_generator(tmp_path)


# --- what is committed ---


@pytest.mark.parametrize("name", ["digits", "static_mnist"])
def test_committed_generators(name):
    directory = ROOT / "exported" / name
    version = export.version_directory(directory)
    assert sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) < 3e6
    assert export.audit(version).problems == ()
    generator = export.load_generator(directory)
    images = generator.sample(16, seed=0)
    assert set(np.unique(images)) == {0.0, 1.0}
    figures = generator.card["figures"]
    assert f"{figures['log_likelihood']:.2f}" in (ROOT / "exported" / "README.md").read_text()
    # The images of the model are more probable under it than noise with as many pixels.
    noise = np.random.default_rng(0).permuted(images.reshape(16, -1), axis=1).reshape(images.shape)
    assert generator.log_prob(images).mean() > generator.log_prob(noise).mean() + 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, x: g.sample(0), r"`num_samples` must be a positive integer\. Received: num_samples=0"),
        (lambda g, x: g.sample(4, num_sweeps=0), r"`num_sweeps` must be a positive integer"),
        (lambda g, x: g.sample(4, seed=0.5), r"`seed` must be a 32-bit integer, or 4 pairs"),
        (lambda g, x: g.sample(4, seed=np.zeros([3, 2], int)), r"an array of shape \(3, 2\)"),
        (lambda g, x: g.sample(4, seed=2**31), r"`seed` must be a 32-bit integer"),
        (lambda g, x: g.log_prob(x[..., 0]), r"`images` must have the shape \[batch, "),
        (lambda g, x: g.log_prob(x * np.nan), r"`images` must be finite"),
        (lambda g, x: g.log_prob(np.full(x.shape, 1e300)), r"`images` must be finite in float32"),
        (lambda g, x: g.log_prob(None), r"`images` must be float32\. Received: dtype object"),
        (lambda g, x: g.log_prob(5), r"`images` must have the shape \[batch, .*Received: \(\)"),
        (lambda g, x: g.log_prob([[1], [1, 2]]), r"`images` must be an array of numbers"),
        (lambda g, x: g.log_prob(x + 0.5), r"`images` must be 0 and 1, or the whole numbers"),
        (
            lambda g, x: g.log_prob(x * 3),
            r"refused the rows \[0, 1, 2\] of `log_prob`: its outputs are NaN",
        ),
        (lambda g, x: g.log_prob(np.full(x.shape, "a")), r"`images` must be float32\. Received: dtype"),
        (lambda g, x: g.log_prob(x[:0]), r"the same number of rows, at least 1\. Received: \{.*'images': 0"),
        (lambda g, x: g.predict("train", images=x), r"`signature` must be one of .*'train'"),
        (lambda g, x: g.predict("log_prob", images=x), r"has the inputs \['images', 'seed'\]"),
        (
            lambda g, x: g.predict("log_prob", images=x, seed=np.zeros([2, 2], int)),
            r"Received: \{'images': 3, 'seed': 2\}|Received: \{'seed': 2, 'images': 3\}",
        ),
        (
            lambda g, x: g.predict("log_prob", images=x, seed=np.full([3, 2], 2**40)),
            r"`seed` must fit int32\. Received: values from 1099511627776",
        ),
        (lambda g, x: g.energy(0.5 + np.zeros([2, *g.specs["energy"]["latents"].shape])), "binary latents"),
    ],
)
def test_bad_input_is_an_error_and_the_next_call_succeeds(exported, call, message):
    x = np.ones([3, *exported.model.image_shape], np.float32)
    with pytest.raises(ValueError, match=message):
        call(exported.generator, x)
    assert np.isfinite(exported.generator.log_prob(x)).all()


def test_more_rows_than_a_call_takes_are_cut(exported):
    count = exported.generator.max_batch_size + 3
    images = exported.generator.sample(count, seed=1, num_sweeps=2)
    assert len(images) == count
    np.testing.assert_array_equal(images[:10], exported.generator.sample(10, seed=1, num_sweeps=2))
    assert np.any(images[:10] != images[-10:])


def test_the_card_is_json_on_disk(exported):
    assert json.loads((exported.directory / "1" / "model_card.json").read_text()) == exported.generator.card
