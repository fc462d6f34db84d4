"""Export of a trained model's generator as a SavedModel that TF Serving can serve."""

import os
import pathlib

import keras
import tensorflow as tf
from absl import logging

import tfdvae
from tfdvae.export import layout
from tfdvae.export.audit import audit
from tfdvae.export.compaction import compact
from tfdvae.export.layout import ALLOWED_BATCH_SIZES
from tfdvae.export.loading import quiet
from tfdvae.export.signatures import DEFAULT, GeneratorSignatures, make_chain_bank
from tfdvae.files import user_path, write_json
from tfdvae.models import DiscreteVAE


def export_generator(
    model: DiscreteVAE,
    directory: str | os.PathLike,
    *,
    num_samples: int = 100,
    max_sweeps: int = 1_000,
    bank_states: int = 1_000,
    bank_sweeps: int = 1_000,
    card: dict | None = None,
    write_extras=None,
    seed: int = 0,
) -> pathlib.Path:
    """Writes `directory/<next integer>/`, all at once; returns that directory.

    The signatures are those of `GeneratorSignatures`. What is stored is the weights that they read, as one
    variable, and the bank of chains; the graph is compacted. Beside the SavedModel lie `model_card.json`,
    `batching_params.pbtxt` and, where tensorflow-serving-api (extra `serving`) is installed, warm-up requests
    of each signature and allowed batch size.

    Args:
      model: a trained model whose log Z is fresh (`update_log_partition`).
      directory: the generator's, whose subdirectories are its versions.
      num_samples: importance samples of the signature `log_prob`.
      max_sweeps: the most Gibbs sweeps that a sample may ask for.
      bank_states: states of the Boltzmann machine from which samples start.
      bank_sweeps: Gibbs sweeps that each of them is from the persistent chains.
      card: what the model card says besides: data set, licence, figures, command, ...
      write_extras: called with the directory, before it becomes visible, for further files.
      seed: of the bank.

    Raises:
      ValueError: if log Z is missing or stale, a number is not positive, or the audit finds a problem.
    """
    directory = user_path(directory, "directory")
    model.resolve_log_partition(None)  # a stale one is an error now, not after the work
    bank = None
    if model.rbm is not None:
        bank = make_chain_bank(model, bank_states, bank_sweeps, seed=seed)
    signatures = GeneratorSignatures(model, num_samples, max_sweeps, bank)
    functions = {name: f.get_concrete_function() for name, f in signatures.functions().items()}
    # No other variables: neither of the optimizer, nor metrics, nor training chains.
    module = tf.Module(name="generator")
    module.weights, module.chain_bank = signatures.weights.values, bank

    def write(path):
        named = {**functions, DEFAULT: functions["sample"]}
        # Its messages are of a temporary place, and of names of inputs that no reader of the file sees.
        with quiet():
            tf.saved_model.save(module, str(path), signatures=named)
        compact(path / "saved_model.pb")
        found = audit(path)
        if found.problems:
            raise ValueError("The generator is not fit for a server: " + "; ".join(found.problems))
        write_json(path / "model_card.json", {**_facts(model, signatures, functions, found), **(card or {})})
        (path / "batching_params.pbtxt").write_text(layout.batching_config(ALLOWED_BATCH_SIZES))
        _write_warmup(path, directory, functions)
        if write_extras is not None:
            write_extras(path)

    return layout.write_version(directory, write)


def _facts(model, signatures, functions, found):
    """What the card says of the model by itself."""
    estimate = model.resolve_log_partition(None)
    return {
        "model": type(model).__name__,
        "config": keras.saving.serialize_keras_object(model)["config"],
        "step": int(model.step.numpy()),
        "log_partition": estimate.summary(),
        "log_prob_samples": signatures.num_samples,
        "max_sweeps": signatures.max_sweeps,
        "signatures": {
            name: {
                "inputs": {s.name: _described(s) for s in f.structured_input_signature[0]},
                "outputs": {k: _described(s) for k, s in f.structured_outputs.items()},
            }
            for name, f in functions.items()
        },
        "variable_bytes": found.variable_bytes,
        "versions": {
            "tfdvae": tfdvae.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _described(spec):
    return f"{spec.dtype.name} [{', '.join('B' if n is None else str(n) for n in spec.shape)}]"


def _write_warmup(path, directory, functions):
    """Requests that a server runs before it takes others, one for each signature and allowed batch size."""
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        logging.warning("No warm-up requests: they need tensorflow-serving-api (pip install tfdvae[serving])")
        return
    extra = path / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for name, function in functions.items():
            for size in ALLOWED_BATCH_SIZES:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = directory.resolve().name
                request.model_spec.signature_name = name
                for spec in function.structured_input_signature[0]:
                    # One value stands for all, which keeps the file small.
                    tensor = request.inputs[spec.name]
                    tensor.dtype = spec.dtype.as_datatype_enum
                    tensor.tensor_shape.CopyFrom(tf.TensorShape([size, *spec.shape[1:]]).as_proto())
                    (tensor.float_val if spec.dtype.is_floating else tensor.int_val).append(1)
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(request)
                writer.write(log.SerializeToString())
