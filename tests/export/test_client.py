"""The gRPC client against a stand-in for TF Serving in a process of its own."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.export.conftest import MAX_SWEEPS, make_dvae
from tfdvae import export
from tfdvae.export import client as client_module
from tfdvae.export import layout
from tfdvae.export.client import GrpcClient, RestClient, ServerError

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def models(exports, tmp_path_factory):
    """A directory of models, with one version of `toy`; and the two that it may be."""
    directory = tmp_path_factory.mktemp("models")
    model = make_dvae()
    model.rbm.left_bias.assign(model.rbm.left_bias + 1)
    model.update_log_partition()
    options = {"num_samples": 4, "max_sweeps": MAX_SWEEPS, "bank_states": 20, "bank_sweeps": 10}
    second = export.export_generator(model, directory / ".version-2" / "toy", **options)
    first = exports("DVAE")
    versions = [first.directory / "1", second]
    copy_version(versions[0], directory / "toy")
    return directory, versions, [first.generator, export.load_generator(second)]


def copy_version(version, directory):
    layout.write_version(directory, lambda path: shutil.copytree(version, path, dirs_exist_ok=True))


@contextlib.contextmanager
def serving(directory):
    """The address of a server of all models of a directory."""
    command = [sys.executable, "-m", "tests.export.stand_in", str(directory)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        process.wait()


@pytest.fixture(scope="module")
def address(models):
    with serving(models[0]) as address:
        yield address


@pytest.fixture
def client(address):
    client = GrpcClient(address, "toy")
    yield client
    client.close()


def test_the_clients_results_are_those_of_the_generator(models, client):
    generator = models[2][0]
    assert client.specs == generator.specs
    images = client.sample(300, seed=1, num_sweeps=3)  # more than the largest batch
    np.testing.assert_array_equal(images, generator.sample(300, seed=1, num_sweeps=3))
    assert 0.1 < images.mean() < 0.9
    np.testing.assert_allclose(client.log_prob(images[:9]), generator.log_prob(images[:9]), rtol=1e-5)
    latents = client.encode(images[:9], seed=2)
    np.testing.assert_array_equal(latents, generator.encode(images[:9], seed=2))
    np.testing.assert_array_equal(client.decode(latents), generator.decode(latents))
    np.testing.assert_array_equal(client.reconstruct(images[:9]), generator.reconstruct(images[:9]))
    np.testing.assert_allclose(client.energy(latents), generator.energy(latents), rtol=1e-5)


@pytest.mark.slow
def test_so_are_those_of_a_convolutional_model(exports, tmp_path):
    generator = exports("DVAEPlusPlus").generator
    copy_version(exports("DVAEPlusPlus").directory / "1", tmp_path / "toy++")
    with serving(tmp_path) as address:
        client = GrpcClient(address, "toy++")
        images = client.sample(20, seed=1, num_sweeps=3)
        np.testing.assert_array_equal(images, generator.sample(20, seed=1, num_sweeps=3))
        np.testing.assert_array_equal(client.reconstruct(images), generator.reconstruct(images))
        np.testing.assert_allclose(client.log_prob(images), generator.log_prob(images), rtol=1e-5)
        client.close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.sample(3, num_sweeps=2**40), "`num_sweeps` must fit int32"),
        (lambda c: c.log_prob(np.full([2, 2, 3, 1], np.nan)), "`images` must be finite"),
        (lambda c: c.log_prob(np.full([2, 2, 3, 1], 7.0)), r"refused the rows \[0, 1\]"),
        (lambda c: c.log_prob(np.zeros([2, 3, 3, 1])), r"`images` must have the shape \[batch, 2, 3, 1\]"),
        (lambda c: c.predict("nothing"), "`signature` must be one of"),
    ],
)
def test_wrong_input_is_refused_by_the_client(client, call, message):
    with pytest.raises(ValueError, match=message):
        call(client)
    assert client.sample(2).shape == (2, 2, 3, 1)


def test_unknown_models_and_versions_are_named(address):
    with pytest.raises(ServerError, match=r"'toys' on 127\.0\.0\.1:.*NOT_FOUND: Servable not found"):
        GrpcClient(address, "toys")
    with pytest.raises(ServerError, match="NOT_FOUND"):
        GrpcClient(address, "toy", version=9)
    client = GrpcClient(address, "toy")
    assert client.sample(2).shape == (2, 2, 3, 1)
    client._model = "toys"
    with pytest.raises(ServerError, match="NOT_FOUND: Servable not found"):
        client.sample(2)
    client._model = "toy"
    assert client.sample(2).shape == (2, 2, 3, 1)
    client.close()


def predict(address, signature, inputs):
    """Sends a request to `toy` without the client's checks."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(address) as channel:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
    return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


@pytest.mark.parametrize(
    ("signature", "change", "code"),
    [
        ("nothing", {}, grpc.StatusCode.FAILED_PRECONDITION),
        ("sample", {"seed": None}, grpc.StatusCode.INVALID_ARGUMENT),
        ("sample", {"seed": np.zeros([1, 3], np.int32)}, grpc.StatusCode.INVALID_ARGUMENT),
        ("sample", {"seed": np.zeros([1, 2], np.float32)}, grpc.StatusCode.INVALID_ARGUMENT),
        (
            "sample",
            {"seed": np.zeros([300, 2], np.int32), "num_sweeps": np.ones(300, np.int32)},
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
def test_wrong_requests_past_the_client_are_refused_by_the_server(address, client, signature, change, code):
    inputs = {"seed": np.zeros([1, 2], np.int32), "num_sweeps": np.ones(1, np.int32), **change}
    with pytest.raises(grpc.RpcError) as error:
        predict(address, signature, {k: v for k, v in inputs.items() if v is not None})
    assert error.value.code() is code
    assert client.sample(2).shape == (2, 2, 3, 1)


def test_a_row_that_is_not_valid_is_nan_past_the_client_and_sweeps_are_clamped(models, address):
    seeds = export.row_seeds(4, 3)
    images = np.ones([3, 2, 3, 1], np.float32)
    images[1, 0, 0] = np.nan
    got = predict(address, "reconstruct", {"images": images, "seed": seeds})["images"]
    assert np.isnan(got[1]).all()
    want = models[2][0].reconstruct(np.ones_like(images), seed=4)
    np.testing.assert_array_equal(got[[0, 2]], want[[0, 2]])
    for sweeps, clamped in ((-3, 1), (10**9, MAX_SWEEPS)):
        inputs = {"seed": seeds, "num_sweeps": np.full(3, sweeps, np.int32)}
        got = predict(address, "sample", inputs)["images"]
        np.testing.assert_array_equal(got, models[2][0].sample(3, seed=4, num_sweeps=clamped))


def test_a_server_that_is_not_there_is_tried_again(monkeypatch):
    waits = []
    monkeypatch.setattr(client_module, "sleep", waits.append)
    with pytest.raises(ServerError, match="after 4 attempts: UNAVAILABLE"):
        GrpcClient("127.0.0.1:1", "toy", attempts=4, backoff=0.2)
    assert len(waits) == 3
    for i, wait in enumerate(waits):
        assert 0.1 * 2**i <= wait <= 0.2 * 2**i


def test_a_server_that_comes_back_is_found(client, monkeypatch):
    """The first attempts fail as gRPC reports a server that is away."""

    class Away(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

        def details(self):
            return "connection refused"

    predict, failures, waits = client._stub.Predict, [Away(), Away()], []

    def sometimes(request, timeout):
        if failures:
            raise failures.pop()
        return predict(request, timeout=timeout)

    want = client.sample(3, seed=1)
    monkeypatch.setattr(client_module, "sleep", waits.append)
    monkeypatch.setattr(client._stub, "Predict", sometimes)
    np.testing.assert_array_equal(client.sample(3, seed=1), want)
    assert (len(waits), failures) == (2, [])


def test_a_deadline_is_kept():
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    with silent:
        with pytest.raises(ServerError, match="DEADLINE_EXCEEDED"):
            GrpcClient(f"127.0.0.1:{port}", "toy", timeout=0.2)
        with pytest.raises(ServerError, match=r"no answer within 0\.2 s|timed out"):
            RestClient(f"http://127.0.0.1:{port}", "toy", timeout=0.2, attempts=1)


@pytest.mark.slow
def test_a_version_switches_under_load_without_a_failed_or_wrong_answer(models, address):
    directory, versions, generators = models
    count, sweeps = 600, 3
    counts = np.random.default_rng(0).integers(1, 9, count)
    expected = [g.sample(count + 8, seed=7, num_sweeps=sweeps) for g in generators]
    assert np.any(expected[0] != expected[1])
    switched = threading.Event()

    def request(client, i):
        seeds = export.row_seeds(7, count + 8)[i : i + counts[i]]
        images = client.sample(counts[i], seed=seeds, num_sweeps=sweeps)
        answers = [np.array_equal(images, e[i : i + counts[i]]) for e in expected]
        if i == 150 and not switched.is_set():
            switched.set()
            copy_version(versions[1], directory / "toy")
        return answers

    def work(worker):
        client = GrpcClient(address, "toy")
        answers = [request(client, i) for i in range(worker, count, 8)]
        # All clients go on until the new version answers, which it does when its warm-up is done.
        for _ in range(100_000):
            images = client.sample(64, seed=7, num_sweeps=sweeps)
            answers.append([np.array_equal(images, e[:64]) for e in expected])
            if answers[-1] == [False, True]:
                break
        client.close()
        return answers

    with ThreadPoolExecutor(8) as pool:
        workers = list(pool.map(work, range(8)))
    answers = np.array([a for worker in workers for a in worker])
    assert len(answers) >= count + 8
    assert answers.any(axis=1).all()
    assert (answers[:, 0] & ~answers[:, 1]).any()
    assert all(worker[-1] == [False, True] for worker in workers)


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {**x, "images": x["images"][:2]}, "has 2 rows of 'images', and 3 were asked for"),
        (lambda x: {**x, "images": x["images"].repeat(2, axis=0)}, "has 6 rows of 'images', and 3"),
        (lambda x: {**x, "images": np.float32(1)}, "has no rows of 'images', and 3"),
        (lambda x: without(x, "images"), r"lacks the output 'images'\. Received: \['.*means'\]"),
        (
            lambda x: {**x, "images": x["images"][:, :1]},
            r"must be float32 of shape \[3, 2, 3, 1\]\. Received: float32 of shape \[3, 1, 3, 1\]",
        ),
        (lambda x: {**x, "images": x["images"].astype(np.float64)}, "Received: float64 of shape"),
        (lambda x: {**x, "images": np.full([3, 2, 3, 1], "a")}, "Received: object of shape"),
    ],
)
def test_grpc_answers_that_were_not_asked_for(client, monkeypatch, change, message):
    predict = client._stub.Predict

    def changed(request, timeout):
        response = predict(request, timeout=timeout)
        outputs = change({name: tf.make_ndarray(value) for name, value in response.outputs.items()})
        answer = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer

    monkeypatch.setattr(client._stub, "Predict", changed)
    with pytest.raises(ServerError, match=message) as error:
        client.sample(3)
    assert "'toy' on 127.0.0.1:" in str(error.value)


def test_a_grpc_answer_that_holds_no_tensor(client, monkeypatch):
    answer = predict_pb2.PredictResponse()
    answer.outputs["images"].tensor_content = b"?"
    monkeypatch.setattr(client._stub, "Predict", lambda request, timeout: answer)
    with pytest.raises(ServerError, match=r"The answer of 'toy' on .* holds no tensor"):
        client.sample(3)


@pytest.mark.parametrize("make", [GrpcClient, RestClient])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": 1.0}, "`version` must be an integer of at least 0. Received: version=1.0"),
        ({"attempts": 2.5}, "`attempts` must be a positive integer. Received: attempts=2.5"),
        ({"attempts": 0}, "`attempts` must be a positive integer. Received: attempts=0"),
        ({"timeout": 0}, "`timeout` must be positive. Received: timeout=0"),
        ({"timeout": "1"}, "`timeout` must be finite and not negative. Received: timeout='1'"),
        ({"backoff": -1.0}, "`backoff` must be finite and not negative. Received: backoff=-1.0"),
    ],
)
def test_numbers_of_a_client_are_checked(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make("http://127.0.0.1:1", "toy", **arguments)
