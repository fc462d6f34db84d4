"""Options of Keras that would be ignored in silence, or do something else here, and what is said of them.

`docs/keras.md` says which of Keras' options work, and which are refused.
"""

import inspect

import keras
import numpy as np
import tensorflow as tf

from tfdvae import random

_WITHOUT_LOSS = "The model brings its own objective"
_WITHOUT_METRICS = (
    "The model logs the terms of its own bound, and has no prediction that a metric could compare with a "
    "target. Compute other figures in a callback"
)
_REFUSED_BY_COMPILE = {
    "loss": _WITHOUT_LOSS,
    "loss_weights": _WITHOUT_LOSS,
    "metrics": _WITHOUT_METRICS,
    "weighted_metrics": _WITHOUT_METRICS,
}
WEIGHTS_MESSAGE = "All examples count the same: `sample_weight` and `class_weight` are not supported"


def refuse_other_precisions(model) -> None:
    """Refuses settings of Keras in which the model would not be the one of float32 that is tested.

    Raises:
      ValueError: if the dtype policy of the model or `keras.config.floatx()` is another than float32.
    """
    for name, value in (
        ("dtype policy", model.dtype_policy.name),
        ("keras.config.floatx()", keras.config.floatx()),
    ):
        if value != "float32":
            raise ValueError(
                f"{type(model).__name__} computes in float32. Received: the {name} {value!r}. Set it to "
                '"float32"'
            )


def checked_compile_options(steps_per_execution, jit_compile, others: dict) -> bool:
    """Refuses what cannot be compiled; returns whether XLA is to be used.

    `others` are further arguments of `keras.Model.compile`; those that are refused are taken out.

    Raises:
      ValueError: for a loss, metrics, and what does not work on several replicas.
    """
    for name, why in _REFUSED_BY_COMPILE.items():
        value = others.pop(name, None)
        if value is not None:
            raise ValueError(f"{why}. Received: {name}={value!r}")
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1 and steps_per_execution > 1:
        raise ValueError(
            f"On several replicas (here {replicas}) `steps_per_execution` must be 1: with more, `fit` of "
            f"Keras 3.15 fails. Received: steps_per_execution={steps_per_execution}"
        )
    if jit_compile == "auto":
        jit_compile = replicas == 1 and bool(tf.config.list_logical_devices("GPU"))
    if jit_compile and replicas > 1:
        raise ValueError(
            f"On several replicas (here {replicas}) XLA is not supported. Received: {jit_compile=}"
        )
    return bool(jit_compile)


def checked_arguments(model, method, *args, **kwargs) -> dict:
    """Arguments of a method of `keras.Model` by their names, without what would be ignored in silence.

    Raises:
      ValueError: for weights of examples, steps that `steps_per_execution` does not divide, and
        `keras.distribution`.
    """
    arguments = inspect.signature(method).bind(model, *args, **kwargs).arguments
    del arguments["self"]
    arguments |= arguments.pop("kwargs", {})
    if any(arguments.get(name) is not None for name in ("sample_weight", "class_weight")):
        raise ValueError(WEIGHTS_MESSAGE)
    for name in ("steps_per_epoch", "validation_steps", "steps"):
        if (arguments.get(name) or 0) % model.steps_per_execution:
            raise ValueError(
                f"`{name}` must be a multiple of `steps_per_execution`, beyond which Keras would run on. "
                f"Received: {name}={arguments[name]}, steps_per_execution={model.steps_per_execution}"
            )
    if keras.distribution.distribution() is not None:
        raise ValueError(
            "On the TensorFlow backend `keras.distribution` has no effect. Use "
            "`tf.distribute.MirroredStrategy`, and make the model in its scope. Received: "
            f"{type(keras.distribution.distribution()).__name__}"
        )
    return arguments


def input_of_batch(data):
    """The input of a batch of Keras: the images of one as TFDS yields it; targets are dropped.

    Raises:
      ValueError: if there are weights of examples, or a dictionary has no images.
    """
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if sample_weight is not None:
        raise ValueError(WEIGHTS_MESSAGE)
    if not isinstance(x, dict):
        return x
    if "image" not in x:
        raise ValueError(
            'Batches that are dictionaries must have the key "image". Map the data set to its images, or '
            f"see `tfdvae.data.from_arrays`. Received: the keys {sorted(x)}"
        )
    return x["image"]


def first_batch(arguments, seed):
    """Images of the first batch of what `fit` is given; `None` of a generator, and where there are none."""
    x = arguments.get("x")
    if isinstance(x, dict):
        x = input_of_batch(x)
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x), None)
    elif isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif hasattr(x, "shape"):
        rows = int(len(x) * (1.0 - (arguments.get("validation_split") or 0.0)))  # others are not trained on
        rows = np.random.default_rng(random.integer(seed, salt="initialize")).permutation(rows)
        rows = rows[: arguments.get("batch_size") or 32]
        batch = np.asarray(x)[rows]
    else:
        return None
    if batch is None:
        return None
    batch = input_of_batch(tuple(batch) if isinstance(batch, list) else batch)
    return batch if len(batch) else None
