"""What Keras models that bring their own objective share: compiling, checking batches, seeds."""

import contextlib
import re

import keras
import tensorflow as tf

from tfdvae import random

_NOT_FINITE = "The loss is not finite"


class TrainingDiverged(ValueError):
    """The loss of a step or its gradient is NaN or infinite; that step has changed no trainable weight."""


def _diverged(step, terms) -> TrainingDiverged:
    named = ", ".join(f"{name} {value}" for name, value in terms.items())
    return TrainingDiverged(
        f"The training has diverged: the terms of step {step} are {named}. Go back to an earlier checkpoint "
        "and lower the learning rate, or clip the gradients"
    )


class OwnObjective:
    """A mixin, before `keras.Model` among the bases.

    The model has `seed`, the base seed of training; `step`; `data_message`, what a batch with wrong values is
    told; and calls `_with_checked_values` on each batch.
    """

    def compile(self, optimizer, jit_compile=False, **kwargs):
        """As `keras.Model.compile`, without a loss."""
        if kwargs.get("loss") is not None:
            raise ValueError("The model brings its own objective. Received: loss=" + repr(kwargs["loss"]))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1 and kwargs.get("steps_per_execution", 1) > 1:
            raise ValueError(
                f"On several replicas (here {replicas}) `steps_per_execution` must be 1: with more, `fit` of "
                f"Keras 3.15 fails. Received: steps_per_execution={kwargs['steps_per_execution']}"
            )
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)

    def compile_from_config(self, config):
        """Restores the compile configuration."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{k: v for k, v in config.items() if v is not None})

    def fit(self, x=None, *args, **kwargs):
        """As `keras.Model.fit`; a batch with wrong values is a `ValueError`."""
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # a dataset brings its own order
        with self._data_errors():
            return super().fit(x, *args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`; a batch with wrong values is a `ValueError`."""
        with self._data_errors():
            return super().evaluate(*args, **kwargs)

    def _with_checked_values(self, x, valid):
        """The batch, which fails in the graph where `valid`, a boolean scalar, is false."""
        with tf.control_dependencies([tf.debugging.Assert(valid, [self.data_message], 1)]):
            return tf.identity(x)

    def _assert_finite(self, **terms):
        """Fails, naming step and terms, where a term is not finite; in a graph, an operation."""
        finite = tf.reduce_all(tf.math.is_finite(tf.stack(list(terms.values()))))
        if not tf.executing_eagerly():
            words = [word for name, value in terms.items() for word in (name, value)]
            return tf.debugging.Assert(finite, [_NOT_FINITE, self.step, *words], 1)
        if not finite:
            raise _diverged(int(self.step.numpy()), {n: float(v) for n, v in terms.items()})
        return tf.no_op()

    @contextlib.contextmanager
    def _data_errors(self):
        """Turns a failed check into a `ValueError` without the graph's traceback."""
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            if _NOT_FINITE in str(error):
                values = re.search(rf"\[{_NOT_FINITE}\]((?: \[[^\]]*\])*)", str(error))[1]
                step, *words = re.findall(r"\[([^\]]*)\]", values)
                raise _diverged(step, dict(zip(words[::2], words[1::2], strict=True))) from error
            if self.data_message[:40] not in str(error):  # TensorFlow escapes the quotes further on
                raise
            raise ValueError(self.data_message) from error

    def scheduled_values(self) -> dict[str, float]:
        """What follows a schedule of the step, at the present step, by name, for logs."""
        return {}

    def _replica_seed(self, counter, salt):
        return random.replica_seed(self.seed, counter, salt=salt)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras 3.15 reads a batch to build what is unbuilt (here nothing), and fails if the replicas' shares
        # of that batch are unequal.
        del iterator, data_batch


def running_means(*names) -> dict[str, keras.metrics.Mean]:
    """A running mean for each name."""
    return {name: keras.metrics.Mean(name=name) for name in names}


def update_means(means, count, **values) -> dict:
    """Adds means over `count` examples, by name, to running means; returns what those are now."""
    for name, value in values.items():
        means[name].update_state(value, sample_weight=count)
    return {name: mean.result() for name, mean in means.items()}
