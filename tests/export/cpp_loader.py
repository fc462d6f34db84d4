"""TensorFlow's C++ loader through its C API: what TF Serving loads a SavedModel with.

Nothing of the Python loader is used: the library of the wheel is called by `ctypes`, with the tag `serve`. It
has to be loaded after `tensorflow` is imported. Requests are TF Serving's own messages.
"""

import ctypes
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

_POINTER = ctypes.c_void_p


class _Buffer(ctypes.Structure):
    _fields_ = [("data", _POINTER), ("length", ctypes.c_size_t), ("deallocator", _POINTER)]


class _Output(ctypes.Structure):
    _fields_ = [("operation", _POINTER), ("index", ctypes.c_int)]


def _library():
    library = ctypes.CDLL(str(pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"))
    for name, result, arguments in (
        ("TF_NewStatus", _POINTER, []),
        ("TF_GetCode", ctypes.c_int, [_POINTER]),
        ("TF_Message", ctypes.c_char_p, [_POINTER]),
        ("TF_DeleteStatus", None, [_POINTER]),
        ("TF_NewSessionOptions", _POINTER, []),
        ("TF_SetConfig", None, [_POINTER, ctypes.c_char_p, ctypes.c_size_t, _POINTER]),
        ("TF_NewGraph", _POINTER, []),
        ("TF_NewBuffer", ctypes.POINTER(_Buffer), []),
        ("TF_GraphOperationByName", _POINTER, [_POINTER, ctypes.c_char_p]),
        ("TF_AllocateTensor", _POINTER, [ctypes.c_int, _POINTER, ctypes.c_int, ctypes.c_size_t]),
        ("TF_TensorData", _POINTER, [_POINTER]),
        ("TF_TensorType", ctypes.c_int, [_POINTER]),
        ("TF_NumDims", ctypes.c_int, [_POINTER]),
        ("TF_Dim", ctypes.c_int64, [_POINTER, ctypes.c_int]),
        ("TF_TensorByteSize", ctypes.c_size_t, [_POINTER]),
        ("TF_DeleteTensor", None, [_POINTER]),
        (
            "TF_LoadSessionFromSavedModel",
            _POINTER,
            [_POINTER, _POINTER, ctypes.c_char_p, _POINTER, ctypes.c_int, _POINTER, _POINTER, _POINTER],
        ),
        (
            "TF_SessionRun",
            None,
            [
                *[_POINTER] * 4,
                ctypes.c_int,
                *[_POINTER] * 2,
                ctypes.c_int,
                _POINTER,
                ctypes.c_int,
                *[_POINTER] * 2,
            ],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Session:
    """A SavedModel in a C++ session.

    Attributes:
      signatures: the `SignatureDef`s by name.
    """

    def __init__(self, directory):
        self._library = _library()
        self._graph = self._library.TF_NewGraph()
        options = self._library.TF_NewSessionOptions()
        config = config_pb2.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=2)
        # As a model server, which disables XLA at its start.
        config.graph_options.optimizer_options.global_jit_level = config_pb2.OptimizerOptions.OFF
        serialized = config.SerializeToString()
        self._checked(self._library.TF_SetConfig, options, serialized, len(serialized))
        meta_graph = self._library.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = self._checked(
            self._library.TF_LoadSessionFromSavedModel,
            options,
            None,
            str(directory).encode(),
            tags,
            1,
            self._graph,
            meta_graph,
        )
        data = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        self.signatures = dict(meta_graph_pb2.MetaGraphDef.FromString(data).signature_def)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature."""
        definition = self.signatures[signature]
        names = list(definition.outputs)
        values = [self._tensor(inputs[name]) for name in definition.inputs]
        results = (_POINTER * len(names))()
        try:
            self._checked(
                self._library.TF_SessionRun,
                self._session,
                None,
                self._outputs(definition.inputs.values()),
                (_POINTER * len(values))(*values),
                len(values),
                self._outputs(definition.outputs.values()),
                results,
                len(names),
                None,
                0,
                None,
            )
            return {name: self._array(result) for name, result in zip(names, results, strict=True)}
        finally:
            for tensor in [*values, *results]:
                if tensor:
                    self._library.TF_DeleteTensor(tensor)

    def predict(self, request) -> dict[str, np.ndarray]:
        """Answers a `PredictRequest`."""
        signature = request.model_spec.signature_name or "serving_default"
        return self.run(signature, {name: tf.make_ndarray(value) for name, value in request.inputs.items()})

    def _checked(self, function, *arguments):
        status = self._library.TF_NewStatus()
        try:
            result = function(*arguments, status)
            if self._library.TF_GetCode(status):
                raise RuntimeError(self._library.TF_Message(status).decode())
            return result
        finally:
            self._library.TF_DeleteStatus(status)

    def _outputs(self, infos):
        outputs = (_Output * len(infos))()
        for output, info in zip(outputs, infos, strict=True):
            operation, _, index = info.name.partition(":")
            output.operation = self._library.TF_GraphOperationByName(self._graph, operation.encode())
            output.index = int(index)
        return outputs

    def _tensor(self, array):
        array = np.ascontiguousarray(array)
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        kind = tf.as_dtype(array.dtype).as_datatype_enum
        tensor = self._library.TF_AllocateTensor(kind, dims, array.ndim, array.nbytes)
        ctypes.memmove(self._library.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
        return tensor

    def _array(self, tensor):
        shape = [self._library.TF_Dim(tensor, i) for i in range(self._library.TF_NumDims(tensor))]
        dtype = tf.as_dtype(self._library.TF_TensorType(tensor)).as_numpy_dtype
        data = ctypes.string_at(self._library.TF_TensorData(tensor), self._library.TF_TensorByteSize(tensor))
        return np.frombuffer(data, dtype).reshape(shape)


def by_python(directory, requests):
    """The answers of TensorFlow's Python loader."""
    module = tf.saved_model.load(directory)
    for name, inputs in requests:
        outputs = module.signatures[name](**{k: tf.constant(v) for k, v in inputs.items()})
        yield {k: v.numpy() for k, v in outputs.items()}


def by_cpp(directory, requests):
    """Those of the C++ loader to the same as `PredictRequest`s."""
    from tensorflow_serving.apis import predict_pb2

    session = Session(directory)
    for name, inputs in requests:
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = name
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        yield session.predict(predict_pb2.PredictRequest.FromString(request.SerializeToString()))


def main():
    """Answers the requests of a file, for a test: a fresh process with TensorFlow alone."""
    import pickle
    import sys

    path = pathlib.Path(sys.argv[1])
    answers = [
        {"Python": list(by_python(*job)), "C++": list(by_cpp(*job))}
        for job in pickle.loads(path.read_bytes())
    ]
    imported = sorted({"tfdvae", "tensorflow_probability"} & set(sys.modules))
    path.write_bytes(pickle.dumps((answers, imported)))


if __name__ == "__main__":
    main()
