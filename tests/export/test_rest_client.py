"""The REST client against a server in a thread, which answers as TF Serving's documentation says."""

import http.server
import json
import threading

import numpy as np
import pytest

from tests.export.conftest import make_dvae
from tfdvae import export
from tfdvae.export import client as client_module
from tfdvae.export.client import RestClient, ServerError


def described(dtype, shape):
    return {
        "dtype": {"float32": "DT_FLOAT", "int32": "DT_INT32"}[np.dtype(dtype).name],
        "tensor_shape": {"dim": [{"size": str(n), "name": ""} for n in (-1, *shape)], "unknown_rank": False},
        "name": "a_tensor:0",
    }


class Rest(http.server.BaseHTTPRequestHandler):
    """TF Serving's REST interface as its documentation describes it, on a loaded generator."""

    generator, failures = None, []
    change = staticmethod(lambda answer: answer)  # what a server that is none makes of it

    def log_message(self, *arguments):
        pass

    def _answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        signatures = {}
        for name, inputs in self.generator.specs.items():
            outputs = self.generator._signatures[name].structured_outputs
            signatures[name] = {
                "inputs": {key: described(spec.dtype, spec.shape) for key, spec in inputs.items()},
                "outputs": {
                    key: described(spec.dtype.as_numpy_dtype, spec.shape[1:])
                    for key, spec in outputs.items()
                    if key != "latents"
                },
            }
        if not self.path.startswith("/v1/models/toy/"):
            self._answer(404, {"error": "Could not find any versions of model"})
            return
        self._answer(200, {"metadata": {"signature_def": {"signature_def": signatures}}})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.failures:
            self._answer(self.failures.pop(), {"error": "busy"})
            return
        name, rows = request["signature_name"], request["instances"]
        inputs = {
            key: np.array([row[key] for row in rows], spec.dtype)
            for key, spec in self.generator.specs[name].items()
        }
        outputs = self.generator.run(name, inputs)
        outputs.pop("latents", None)
        if len(outputs) == 1:
            predictions = next(iter(outputs.values())).tolist()
        else:
            predictions = [{k: v[i].tolist() for k, v in outputs.items()} for i in range(len(rows))]
        self._answer(200, {"predictions": self.change(predictions)})


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    model = make_dvae()
    model.update_log_partition()
    directory = tmp_path_factory.mktemp("exported") / "toy"
    return export.load_generator(
        export.export_generator(model, directory, num_samples=4, max_sweeps=5, bank_states=20, bank_sweeps=10)
    )


@pytest.fixture
def rest(generator):
    handler = type("Handler", (Rest,), {"generator": generator, "failures": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_rest_gives_the_same(generator, rest):
    client = RestClient(rest[0], "toy")
    images = client.sample(20, seed=1, num_sweeps=3)
    np.testing.assert_array_equal(images, generator.sample(20, seed=1, num_sweeps=3))
    np.testing.assert_allclose(client.log_prob(images), generator.log_prob(images), rtol=1e-5)
    latents = generator.encode(images)
    np.testing.assert_allclose(client.energy(latents), generator.energy(latents), rtol=1e-5)
    with pytest.raises(ValueError, match="refused the rows"):
        client.log_prob(7 + 0 * images)


def test_rest_tries_again_where_that_may_help(rest, monkeypatch):
    url, handler = rest
    waits = []
    monkeypatch.setattr(client_module, "sleep", waits.append)
    client = RestClient(url, "toy", attempts=3)
    handler.failures += [503, 429]
    assert client.sample(2).shape == (2, 2, 3, 1)
    assert len(waits) == 2
    handler.failures += [400]
    with pytest.raises(ServerError, match="HTTP 400: busy"):
        client.sample(2)
    assert len(waits) == 2
    with pytest.raises(ServerError, match="HTTP 404: Could not find"):
        RestClient(url, "toys")
    with pytest.raises(ServerError, match="after 3 attempts: no connection"):
        RestClient("http://127.0.0.1:1", "toy", attempts=3)


def test_an_answer_that_is_not_the_servers_is_an_error(rest):
    url, handler = rest

    def proxy(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    client = RestClient(url, "toy", version=0)
    assert client._url.endswith("/v1/models/toy/versions/0")
    handler.do_POST = proxy
    with pytest.raises(ServerError, match="no JSON object with 'predictions': b'<html>'"):
        client.sample(2)


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:2], "has 2 rows of 'images', and 3 were asked for"),
        (lambda rows: [*rows, rows[0]], "has 4 rows of 'images', and 3 were asked for"),
        (lambda rows: [], "has 0 rows of 'images', and 3 were asked for"),
        (lambda rows: {"images": 1}, r"toy are no list of rows: \{'images': 1\}"),
        (lambda rows: [rows[0], without(rows[1], "images"), rows[2]], "lacks the output 'images' in row 1: "),
        (lambda rows: [1, 2, 3], "lacks the output 'images' in row 0: 1"),
        (
            lambda rows: [{**row, "images": [[0.0]]} for row in rows],
            r"must be float32 of shape \[3, 2, 3, 1\]\. Received: float32 of shape \[3, 1, 1\]",
        ),
        (
            lambda rows: [{**rows[0], "images": [1]}, *rows[1:]],
            "'images' of .* must be numbers, as many in each row",
        ),
        (lambda rows: [{**row, "images": "none"} for row in rows], "must be numbers, .* Received: ..none"),
        (
            lambda rows: [{**row, "means": None} for row in rows],
            "'means' of .* must be numbers",
        ),
    ],
)
def test_rest_answers_that_were_not_asked_for(rest, change, message):
    url, handler = rest
    client = RestClient(url, "toy")
    handler.change = staticmethod(change)
    with pytest.raises(ServerError, match=message) as error:
        client.sample(3)
    assert f"{url}/v1/models/toy" in str(error.value)
    assert len(str(error.value)) < 500


def test_rest_answers_of_one_output(rest):
    url, handler = rest
    client = RestClient(url, "toy")
    latents = np.zeros([3, 7])
    for change, message in (
        (lambda rows: rows[1:], "has 2 rows of 'energy', and 3 were asked for"),
        (lambda rows: ["a", "b", "c"], "'energy' of .* must be numbers"),
        (lambda rows: [True] * 3, "'energy' of .* must be numbers"),
        (
            lambda rows: [[1], [2], [3]],
            r"must be float32 of shape \[3\]\. Received: float32 of shape \[3, 1\]",
        ),
    ):
        handler.change = staticmethod(change)
        with pytest.raises(ServerError, match=message):
            client.energy(latents)
    handler.change = staticmethod(lambda rows: [0, 1, 2])  # JSON has one kind of numbers
    np.testing.assert_array_equal(client.energy(latents), np.array([0, 1, 2], np.float32))


@pytest.mark.parametrize(
    "signatures", [None, [], {}, {"signature_def": {"sample": {"inputs": {"seed": {}}, "outputs": {}}}}]
)
def test_rest_metadata_that_is_none(rest, monkeypatch, signatures):
    url, handler = rest
    handler.do_GET = lambda self: self._answer(200, {"metadata": {"signature_def": signatures}})
    with pytest.raises(
        ServerError, match="/v1/models/toy/metadata does not describe signatures as TF Serving"
    ):
        RestClient(url, "toy")
