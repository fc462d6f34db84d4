"""Clients of TF Serving: the methods of `Generator`, run by a model server over gRPC or REST.

gRPC needs the extra `serving` (`pip install tfdvae[serving]`); REST needs nothing. Both cut their requests to
the server's largest batch, give each a deadline, and repeat those that the server could not take, waiting
longer each time. Results depend on seeds alone: repeating a request is harmless. Without a `version`, the
parts of a long input may reach different ones while the server switches. An answer must have the rows that
were asked for, and the outputs, shapes and dtypes of the signature that the server has announced.
"""

import http.client
import itertools
import json
import random as python_random
import urllib.error
import urllib.request
from collections.abc import Callable
from time import sleep

import numpy as np
import tensorflow as tf

from tfdvae._validation import not_negative, not_negative_integer, positive_integer
from tfdvae.export.generator import Generator, Spec
from tfdvae.export.layout import ALLOWED_BATCH_SIZES


class ServerError(RuntimeError):
    """The server answered with an error or not as asked, or not at all; the message says which and what."""


class GrpcClient(Generator):
    """A generator on a model server, over gRPC.

    Args:
      address: `"host:port"` (TF Serving's default port is 8500).
      model: the model's name on the server.
      version: its version, or `None` for the latest one of each moment.
      max_batch_size: the most rows of a request: the server's `max_batch_size`.
      timeout: seconds that one attempt may take.
      attempts: how often a request is made while the server is unavailable.
      backoff: seconds before the second attempt; doubled before each later one, and shortened at random.

    Raises:
      ImportError: without the extra `serving`.
      ServerError: if the server does not answer or does not know the model.
      ValueError: if a number is out of range.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        max_batch_size: int = ALLOWED_BATCH_SIZES[-1],
        timeout: float = 60.0,
        attempts: int = 5,
        backoff: float = 0.1,
    ):
        try:
            import grpc
            from tensorflow_serving.apis import (
                get_model_metadata_pb2,
                predict_pb2,
                prediction_service_pb2_grpc,
            )
        except ImportError as error:
            message = "The gRPC client needs the extra `serving`: pip install tfdvae[serving]"
            raise ImportError(message) from error
        self._grpc, self._predict_pb2, self._metadata_pb2 = grpc, predict_pb2, get_model_metadata_pb2
        self._model = model
        self._version, self._timeout, self._attempts, self._backoff = _checked_numbers(
            version, timeout, attempts, backoff
        )
        self._where = f"{model!r} on {address}"
        # A batch of 256 images in colour has 3 MB, near gRPC's limit of 4 MB.
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        try:
            inputs, self._outputs = self._signatures()
            super().__init__(inputs, max_batch_size)
        except BaseException:
            self.close()
            raise

    def run(self, signature, inputs):
        """Sends a request, again while the server is unavailable."""
        request = self._predict_pb2.PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        response = self._call(self._stub.Predict, request)
        try:
            outputs = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
        except (TypeError, ValueError) as error:
            raise ServerError(f"The answer of {self._where} holds no tensor: {error}") from error
        count = len(next(iter(inputs.values())))
        return _checked_outputs(outputs, self._outputs[signature], count, self._where)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _signatures(self):
        request = self._metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name(request.model_spec)
        response = self._call(self._stub.GetModelMetadata, request)
        signatures = self._metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        known = {k: v for k, v in signatures.signature_def.items() if not k.startswith("__")}
        return (
            {
                # Sorted: a map of protocol buffers has an order of its own in each process.
                name: {k: _spec(v.dtype, v.tensor_shape) for k, v in sorted(getattr(signature, side).items())}
                for name, signature in known.items()
            }
            for side in ("inputs", "outputs")
        )

    def _name(self, spec):
        spec.name = self._model
        if self._version is not None:
            spec.version.value = self._version

    def _call(self, method, request):
        def attempt():
            try:
                return method(request, timeout=self._timeout)
            except self._grpc.RpcError as error:
                again = error.code() is self._grpc.StatusCode.UNAVAILABLE
                raise _Failed(f"{error.code().name}: {error.details()}", again) from error

        return _repeated(attempt, self._attempts, self._backoff, self._where)


class RestClient(Generator):
    """A generator on a model server, over REST.

    Args:
      url: such as `"http://host:8501"` (TF Serving's default port).
      model: the model's name on the server.
      version: its version, or `None` for the latest one of each moment.
      max_batch_size: the most rows of a request: the server's `max_batch_size`.
      timeout: seconds that one attempt may take.
      attempts: how often a request is made while the server is unavailable.
      backoff: seconds before the second attempt; doubled before each later one, and shortened at random.

    Raises:
      ServerError: if the server does not answer or does not know the model.
      ValueError: if a number is out of range.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None = None,
        max_batch_size: int = ALLOWED_BATCH_SIZES[-1],
        timeout: float = 60.0,
        attempts: int = 5,
        backoff: float = 0.1,
    ):
        version, self._timeout, self._attempts, self._backoff = _checked_numbers(
            version, timeout, attempts, backoff
        )
        self._url = f"{url.rstrip('/')}/v1/models/{model}" + (
            "" if version is None else f"/versions/{version}"
        )
        metadata = self._call("/metadata", "metadata")
        try:
            known = metadata["signature_def"]["signature_def"].items()
            inputs, self._outputs = (
                {
                    name: {k: _json_spec(v) for k, v in sorted(signature[side].items())}
                    for name, signature in known
                    if not name.startswith("__")
                }
                for side in ("inputs", "outputs")
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(
                f"{self._url}/metadata does not describe signatures as TF Serving does ({error!r}): "
                f"{str(metadata)[:200]}"
            ) from error
        super().__init__(inputs, max_batch_size)

    def run(self, signature, inputs):
        """Sends a request, again while the server is unavailable."""
        names, count = list(inputs), len(next(iter(inputs.values())))
        rows = [{name: inputs[name][i].tolist() for name in names} for i in range(count)]
        answer = self._call(":predict", "predictions", {"signature_name": signature, "instances": rows})
        specs = self._outputs[signature]
        if not isinstance(answer, list):
            raise ServerError(f"The predictions of {self._url} are no list of rows: {str(answer)[:200]}")
        if len(specs) == 1:  # the server then leaves the name out
            answer = [{name: row} for row in answer for name in specs]
        outputs = {}
        for name, spec in specs.items():
            lacking = [i for i, row in enumerate(answer) if not isinstance(row, dict) or name not in row]
            if lacking:
                raise ServerError(
                    f"The answer of {self._url} lacks the output {name!r} in row {lacking[0]}: "
                    f"{str(answer[lacking[0]])[:200]}"
                )
            outputs[name] = _from_json([row[name] for row in answer], spec, name, self._url)
        return _checked_outputs(outputs, specs, count, self._url)

    def _call(self, path, field, body=None):
        """That field of the answer to a request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})

        def attempt():
            try:
                with urllib.request.urlopen(request, timeout=self._timeout) as response:
                    return _field(response.read(), field)
            except urllib.error.HTTPError as error:
                raise _Failed(f"HTTP {error.code}: {_message(error)}", error.code in (429, 503)) from error
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
                raise _Failed(f"no connection: {error}", True) from error
            except TimeoutError as error:
                raise _Failed(f"no answer within {self._timeout} s", False) from error

        return _repeated(attempt, self._attempts, self._backoff, self._url)


class _Failed(Exception):
    """An attempt failed; `again` says whether another one may succeed."""

    def __init__(self, message, again):
        super().__init__(message)
        self.again = again


def _checked_numbers(version, timeout, attempts, backoff):
    """The arguments that both clients have, after checks."""
    if not not_negative("timeout", timeout):
        raise ValueError(f"`timeout` must be positive. Received: timeout={timeout}")
    return (
        None if version is None else not_negative_integer("version", version),
        timeout,
        positive_integer("attempts", attempts),
        not_negative("backoff", backoff),
    )


def _repeated(attempt: Callable, attempts: int, backoff: float, where: str):
    for i in itertools.count():
        try:
            return attempt()
        except _Failed as error:
            if not error.again or i == attempts - 1:
                tried = f" after {i + 1} attempts" if i else ""
                raise ServerError(f"The server refused a request to {where}{tried}: {error}") from error
        # At random, so that clients that failed together do not come back together.
        sleep(backoff * 2**i * python_random.uniform(0.5, 1.0))


def _checked_outputs(outputs, specs, count, where):
    """Those outputs that the server has announced, after checks of their rows, shapes and dtypes."""
    for name, spec in specs.items():
        if name not in outputs:
            raise ServerError(f"The answer of {where} lacks the output {name!r}. Received: {sorted(outputs)}")
        array = outputs[name]
        if array.ndim == 0 or len(array) != count:
            rows = len(array) if array.ndim else "no"
            raise ServerError(
                f"The answer of {where} has {rows} rows of {name!r}, and {count} were asked for"
            )
        fits = len(array.shape[1:]) == len(spec.shape) and all(
            size in (n, -1) for n, size in zip(array.shape[1:], spec.shape, strict=True)
        )
        if not fits or array.dtype != spec.dtype:
            shape = ", ".join(map(str, (count, *spec.shape)))
            raise ServerError(
                f"The output {name!r} of {where} must be {spec.dtype} of shape [{shape}]. Received: "
                f"{array.dtype} of shape {list(array.shape)}"
            )
    return {name: outputs[name] for name in specs}


def _from_json(values, spec, name, where):
    """The values of an output, a list with an entry for each row, as an array of its dtype."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in ("iuf" if spec.dtype.kind == "f" else "iu") and array.size:
        raise ServerError(
            f"The output {name!r} of {where} must be numbers, as many in each row. Received: "
            f"{str(values)[:200]}"
        )
    return array.astype(spec.dtype)


def _spec(dtype, shape):
    return Spec(np.dtype(tf.as_dtype(dtype).as_numpy_dtype), tuple(d.size for d in shape.dim[1:]))


def _json_spec(tensor):
    dtype = tf.as_dtype(tensor["dtype"].removeprefix("DT_").lower().replace("float", "float32"))
    dims = tensor["tensor_shape"].get("dim", [])
    return Spec(np.dtype(dtype.as_numpy_dtype), tuple(int(d["size"]) for d in dims[1:]))


def _field(text, name):
    try:
        return json.loads(text)[name]
    except (ValueError, KeyError, TypeError) as error:
        raise _Failed(f"the answer is no JSON object with {name!r}: {text[:200]!r}", False) from error


def _message(error):
    text = error.read().decode(errors="replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return text[:200]
