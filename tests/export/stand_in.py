"""A stand-in for TF Serving, for tests of the client: this is not TF Serving, only its gRPC messages.

It loads generators with TensorFlow's C++ loader, serves the latest version of each, replays the warm-up
requests before a version takes over, and merges requests as batching_params.pbtxt says: rows of several
requests in one batch, filled up to an allowed size with copies of the last row. Its errors have TF Serving's
codes.

    python -m tests.export.stand_in DIRECTORY_OF_MODELS

It listens on a free port of 127.0.0.1, which it prints, and ends when its standard input does.
"""

import concurrent.futures
import pathlib
import queue
import re
import sys
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from tests.export.cpp_loader import Session

_POLL = 0.1  # seconds between looks for a new version
_COMPANY = 0.002  # seconds that a request waits for others


class Refused(Exception):
    """A request's error, with its gRPC code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Servable:
    """A version of a model with its queue of requests, which one thread takes in batches."""

    def __init__(self, directory):
        self.session = Session(directory)
        text = (directory / "batching_params.pbtxt").read_text()
        self.sizes = [int(n) for n in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
        for record in tf.data.TFRecordDataset(
            str(directory / "assets.extra" / "tf_serving_warmup_requests")
        ).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            self.session.predict(log.predict_log.request)
        self._queue = queue.Queue()
        threading.Thread(target=self._serve, daemon=True).start()

    def predict(self, signature, inputs):
        definition = self.session.signatures.get(signature)
        if definition is None:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature name: "{signature}" not found in signature def',
            )
        if set(inputs) != set(definition.inputs):
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input size does not match signature: {sorted(inputs)}, not {sorted(definition.inputs)}",
            )
        sizes = {len(value) for value in inputs.values()}
        if len(sizes) != 1 or max(sizes) > self.sizes[-1]:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Task size {sorted(sizes)} is mixed, or larger than maximum input batch {self.sizes[-1]}",
            )
        for name, value in inputs.items():
            info = definition.inputs[name]
            shape = [d.size for d in info.tensor_shape.dim]
            if tf.as_dtype(value.dtype) != tf.as_dtype(info.dtype) or list(value.shape[1:]) != shape[1:]:
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"{name} has dtype {value.dtype} and shape {value.shape}, the signature {shape}",
                )
        future = concurrent.futures.Future()
        self._queue.put((signature, inputs, future))
        return future.result()

    def _serve(self):
        waiting = None
        while True:
            task, waiting = waiting or self._queue.get(), None
            tasks, rows = [task], len(next(iter(task[1].values())))
            while True:
                try:
                    other = self._queue.get(timeout=_COMPANY)
                except queue.Empty:
                    break
                count = len(next(iter(other[1].values())))
                if other[0] != task[0] or rows + count > self.sizes[-1]:
                    waiting = other
                    break
                tasks.append(other)
                rows += count
            self._run(tasks, rows)

    def _run(self, tasks, rows):
        size = min(n for n in self.sizes if n >= rows)
        merged = {}
        for name in tasks[0][1]:
            values = np.concatenate([inputs[name] for _, inputs, _ in tasks])
            merged[name] = np.concatenate([values, np.repeat(values[-1:], size - rows, axis=0)])
        try:
            outputs = self.session.run(tasks[0][0], merged)
        except RuntimeError as error:
            for _, _, future in tasks:
                future.set_exception(Refused(grpc.StatusCode.INTERNAL, str(error)))
            return
        start = 0
        for _, inputs, future in tasks:
            stop = start + len(next(iter(inputs.values())))
            future.set_result({name: value[start:stop] for name, value in outputs.items()})
            start = stop


class StandIn(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves all models of a directory."""

    def __init__(self, directory):
        self._directory = pathlib.Path(directory)
        self._servables = {}
        self._look()
        threading.Thread(target=self._watch, daemon=True).start()

    def _look(self):
        for path in self._directory.iterdir():
            numbers = [int(p.name) for p in path.glob("*") if p.name.isdecimal()]
            if numbers and max(numbers) != self._servables.get(path.name, (0,))[0]:
                # The old version answers until the new one is ready; requests that hold it finish on it.
                self._servables[path.name] = (max(numbers), Servable(path / str(max(numbers))))

    def _watch(self):
        stopped = threading.Event()
        while not stopped.wait(_POLL):
            self._look()

    def _servable(self, spec, context):
        version, servable = self._servables.get(spec.name, (None, None))
        wanted = spec.version.value if spec.HasField("version") else version
        if servable is None or wanted != version:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {spec.name} {wanted}")
        return version, servable

    def Predict(self, request, context):
        """Answers a request."""
        version, servable = self._servable(request.model_spec, context)
        name = request.model_spec.signature_name or "serving_default"
        try:
            outputs = servable.predict(name, {k: tf.make_ndarray(v) for k, v in request.inputs.items()})
        except Refused as error:
            context.abort(error.code, str(error))
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = version
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        """The signatures of a model."""
        _, servable = self._servable(request.model_spec, context)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.session.signatures.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response


def main():
    """Serves until standard input ends."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(StandIn(sys.argv[1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
