"""Keras models that bring their own objective: what `fit`, `evaluate` and a training step have in common."""

import contextlib
import inspect
import re

import keras
import tensorflow as tf

from tfdvae import random

_NOT_FINITE = "The loss is not finite"
_FIRST_WORDS = 40  # of a message, by which it is recognised: TensorFlow escapes the quotes further on
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


class TrainingDiverged(ValueError):
    """The loss of a step or its gradient is NaN or infinite; that step has changed no trainable weight."""


def _refuse_other_precisions(model) -> None:
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


class TrainedModel(keras.Model):
    """A model that `fit` trains on an objective of its own.

    A subclass has `seed`, the base seed of training, `step`, an integer weight that counts the updates, and
    `data_message`, what a batch with wrong values is told. It implements

    - `example_shape`, the shape of an input without the batch;
    - `_checked_input(x)`: a batch as a float tensor, after checks of type and shape;
    - `_is_valid(x)`: whether its values are, a boolean scalar;
    - `_step_objective(x)`: draws what has no gradient, such as the samples of a negative phase, and returns
      a function without arguments that gives a scalar, of which the gradient alone is meant, and figures, a
      dictionary of scalars that must be finite;
    - `_logged(figures, count)`: takes a step's figures into the running means and returns what is logged.

    `docs/keras.md` says which options of Keras work, and which are refused.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        _refuse_other_precisions(self)
        self._uses_xla = False
        self.group_optimizers = {}

    # --- compiling ---

    def parameter_groups(self) -> dict[str, list]:
        """The trainable variables by name of group."""
        return {"weights": self.trainable_variables}

    def compile(
        self,
        optimizer,
        group_optimizers=None,
        jit_compile=False,
        run_eagerly=False,
        steps_per_execution=1,
        **kwargs,
    ):
        """As `keras.Model.compile`, without a loss.

        Args:
          optimizer: for all parameter groups that `group_optimizers` does not name.
          group_optimizers: optional mapping from a group's name (see `parameter_groups`) to an optimizer.
          jit_compile: whether XLA compiles the forward and the backward pass; `"auto"` does on a GPU. Off by
            default: on CPUs, loops of small matrix products are slower under XLA. The checks of values stay
            outside of what is compiled, for XLA would drop them.
          run_eagerly: whether to make no graph; nothing is compiled by XLA then.
          steps_per_execution: as in Keras; it must divide the steps of an epoch, and be 1 on several
            replicas.
          **kwargs: passed on.

        Raises:
          ValueError: if a group is unknown, or an option is not supported.
        """
        _refuse_other_precisions(self)
        for name, why in _REFUSED_BY_COMPILE.items():
            value = kwargs.pop(name, None)
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
        optimizer = keras.optimizers.get(optimizer)
        group_optimizers = {k: keras.optimizers.get(v) for k, v in (group_optimizers or {}).items()}
        self._check_group_optimizers(optimizer, group_optimizers)
        super().compile(
            optimizer=optimizer,
            jit_compile=False,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            **kwargs,
        )
        self._uses_xla = bool(jit_compile) and not run_eagerly
        self.group_optimizers = group_optimizers
        for some_optimizer, variables in self._optimizers_and_variables():
            some_optimizer.build(variables)

    def _check_group_optimizers(self, optimizer, group_optimizers):
        groups = sorted(name for name, variables in self.parameter_groups().items() if variables)
        unknown = sorted(set(group_optimizers) - set(groups))
        if unknown:
            raise ValueError(f"`group_optimizers` names the groups {unknown}, but the model has {groups}")
        if group_optimizers and _unscaled(optimizer).use_ema:
            raise ValueError(
                "`use_ema` of the shared optimizer pairs its averages with all weights of the model. Beside "
                f"`group_optimizers` ({sorted(group_optimizers)}) give it an optimizer without, and name "
                "the groups that are to be averaged. Received: use_ema=True"
            )

    def get_compile_config(self):
        """Returns the compile configuration with the optimizers of groups."""
        config = super().get_compile_config()
        if config:  # of a model that was compiled
            config["jit_compile"] = self._uses_xla
            if self.group_optimizers:
                config["group_optimizers"] = {
                    k: keras.optimizers.serialize(v) for k, v in self.group_optimizers.items()
                }
        return config

    def compile_from_config(self, config):
        """Restores the compile configuration."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{k: v for k, v in config.items() if v is not None})

    def _optimizers_and_variables(self) -> list[tuple]:
        groups = self.parameter_groups()
        named = [(optimizer, groups[name]) for name, optimizer in self.group_optimizers.items()]
        taken = {id(v) for _, variables in named for v in variables}
        # In the order of Keras, which pairs averages of the weights with them by their place.
        shared = [v for v in self.trainable_variables if id(v) not in taken]
        return [*named, (self.optimizer, shared)] if shared else named

    # --- a step ---

    def train_step(self, data):
        """One update. A batch that is refused changes nothing on one device; a replica waits for its own
        share alone.
        """
        x = self._checked_batch(data)
        with tf.control_dependencies([x]):
            return self._update(x)

    def _update(self, x):
        optimizers = self._optimizers_and_variables()
        variables = [v for _, variables in optimizers for v in variables]

        def figures_and_gradients(x):
            pairwise = tf.distribute.get_replica_context().num_replicas_in_sync == 1
            figures, gradients = _figures_and_gradients(self._step_objective(x), variables, pairwise)
            return figures, gradients, tf.linalg.global_norm(gradients)

        figures, gradients, norm = self._through_xla(figures_and_gradients)(x)
        # A finite loss may have a gradient that is not, and a finite gradient a rate that is not.
        rates = {f"learning_rate of {o.name}": tf.cast(o.learning_rate, tf.float32) for o, _ in optimizers}
        finite = self._assert_finite({**figures, "gradient_norm": norm, **rates})
        gradients = iter(gradients)
        with tf.control_dependencies([finite]):
            for optimizer, variables in optimizers:
                own = [next(gradients) for _ in variables]
                optimizer.apply_gradients(zip(_scaled(own, optimizer), variables, strict=True))
        self.step.assign_add(1)
        return self._logged(figures, tf.shape(x)[0])

    def _through_xla(self, function):
        """`function` of tensors, compiled by XLA if `compile` says so; it must not check any value."""
        if not self._uses_xla:
            return function
        return tf.function(function, autograph=False, jit_compile=True)

    def predict_step(self, data):
        """The model's output for a batch of valid values."""
        return self._through_xla(lambda x: self(x, training=False))(self._checked_batch(data))

    def _checked_batch(self, data):
        """The input of a batch, which fails in the graph where a value is not valid."""
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            raise ValueError(_WEIGHTS_MESSAGE)
        if isinstance(x, dict):
            x = _only_input(x)
        x = self._checked_input(x)
        with tf.control_dependencies([tf.debugging.Assert(self._is_valid(x), [self.data_message], 1)]):
            return tf.identity(x)

    def _assert_finite(self, figures):
        """Fails, naming step and figures, where one of them is not finite; in a graph, an operation."""
        finite = tf.reduce_all(tf.math.is_finite(tf.stack(list(figures.values()))))
        if not tf.executing_eagerly():
            words = [word for name, value in figures.items() for word in (name, value)]
            return tf.debugging.Assert(finite, [_NOT_FINITE, self.step, *words], 1)
        if not finite:
            raise self._diverged(int(self.step.numpy()), {n: float(v) for n, v in figures.items()})
        return tf.no_op()

    def _diverged(self, step, figures):
        self.scheduled_values()  # says so if what follows a schedule has left its range
        named = ", ".join(f"{name} {value}" for name, value in figures.items())
        return TrainingDiverged(
            f"The training has diverged: the terms of step {step} are {named}. Go back to an earlier "
            "checkpoint and lower the learning rate, or clip the gradients"
        )

    def scheduled_values(self) -> dict[str, float]:
        """What follows a schedule of the step, at the present step, by name, for logs.

        Raises:
          ValueError: if a value is out of its range at this step.
        """
        return {}

    def _replica_seed(self, counter, salt):
        return random.replica_seed(self.seed, counter, salt=salt)

    # --- Keras' loops ---

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`. Targets (`y`) are not used.

        Raises:
          ValueError: for a batch with wrong values, weights of examples, and steps that `steps_per_execution`
            does not divide.
          TrainingDiverged: if a loss or gradient is not finite.
        """
        arguments = self._checked_arguments(keras.Model.fit, *args, **kwargs)
        if isinstance(arguments.get("x"), tf.data.Dataset):
            arguments.setdefault("shuffle", False)  # a dataset brings its own order
        with self._data_errors():
            history = super().fit(**arguments)
        for optimizer, variables in self._optimizers_and_variables():
            if optimizer is not self.optimizer:  # Keras does this for its own
                optimizer.finalize_variable_values(variables)
        return history

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`.

        Raises:
          ValueError: as `fit` does.
        """
        with self._data_errors():
            return super().evaluate(**self._checked_arguments(keras.Model.evaluate, *args, **kwargs))

    def predict(self, *args, **kwargs):
        """As `keras.Model.predict`.

        Raises:
          ValueError: as `fit` does.
        """
        with self._data_errors():
            return super().predict(**self._checked_arguments(keras.Model.predict, *args, **kwargs))

    def train_on_batch(self, *args, **kwargs):
        """As `keras.Model.train_on_batch`.

        Raises:
          ValueError: as `fit` does.
          TrainingDiverged: as `fit` does.
        """
        with self._data_errors():
            arguments = self._checked_arguments(keras.Model.train_on_batch, *args, **kwargs)
            return super().train_on_batch(**arguments)

    def test_on_batch(self, *args, **kwargs):
        """As `keras.Model.test_on_batch`.

        Raises:
          ValueError: as `fit` does.
        """
        with self._data_errors():
            return super().test_on_batch(
                **self._checked_arguments(keras.Model.test_on_batch, *args, **kwargs)
            )

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`.

        Raises:
          ValueError: as `fit` does.
        """
        with self._data_errors():
            return super().predict_on_batch(x)

    def _checked_arguments(self, method, *args, **kwargs) -> dict:
        """Arguments of a method of Keras by their names, without what would be ignored in silence."""
        arguments = inspect.signature(method).bind(self, *args, **kwargs).arguments
        del arguments["self"]
        arguments |= arguments.pop("kwargs", {})
        if any(arguments.get(name) is not None for name in ("sample_weight", "class_weight")):
            raise ValueError(_WEIGHTS_MESSAGE)
        for name in ("steps_per_epoch", "validation_steps", "steps"):
            if (arguments.get(name) or 0) % self.steps_per_execution:
                raise ValueError(
                    f"`{name}` must be a multiple of `steps_per_execution`, beyond which Keras would run on. "
                    f"Received: {name}={arguments[name]}, steps_per_execution={self.steps_per_execution}"
                )
        if keras.distribution.distribution() is not None:
            raise ValueError(
                "On the TensorFlow backend `keras.distribution` has no effect. Use "
                "`tf.distribute.MirroredStrategy`, and make the model in its scope. Received: "
                f"{type(keras.distribution.distribution()).__name__}"
            )
        return arguments

    @contextlib.contextmanager
    def _data_errors(self):
        """Turns a failed check into a `ValueError` without the graph's traceback."""
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            if _NOT_FINITE in str(error):
                values = re.search(rf"\[{_NOT_FINITE}\]((?: \[[^\]]*\])*)", str(error))[1]
                step, *words = re.findall(r"\[([^\]]*)\]", values)
                raise self._diverged(step, dict(zip(words[::2], words[1::2], strict=True))) from error
            if self.data_message[:_FIRST_WORDS] not in str(error):
                raise
            raise ValueError(self.data_message) from error

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras 3.15 reads a batch to build what is unbuilt (here nothing), and fails if the replicas' shares
        # of that batch are unequal.
        del iterator, data_batch

    # --- files ---

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs):
        """As `keras.Model.export`: the model's call, of float32 batches of any size.

        `tfdvae.export.export_generator` exports what a generator is served with.
        """
        if input_signature is None:
            shape = (None, *self.example_shape)
            input_signature = [keras.InputSpec(shape=shape, dtype="float32")]
        return super().export(filepath, format, verbose, input_signature, **kwargs)

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        """For `tf.train.Checkpoint`, which does not look into the lists of Keras 3."""
        children = super()._trackable_children(save_type, **kwargs)
        if save_type == "checkpoint":
            optimizers = [("", self.optimizer)] if self.compiled else []
            optimizers += [(f"_of_{name}", optimizer) for name, optimizer in self.group_optimizers.items()]
            holders = [("weight", self.weights), *((f"optimizer{n}", o.variables) for n, o in optimizers)]
            for name, variables in holders:
                children |= {f"{name}_{i}": v.value for i, v in enumerate(variables)}
        return children


_WEIGHTS_MESSAGE = "All examples count the same: `sample_weight` and `class_weight` are not supported"


def _only_input(batch: dict):
    """The images of a batch as TFDS yields it.

    Raises:
      ValueError: if it has none under that name.
    """
    if "image" not in batch:
        raise ValueError(
            'Batches that are dictionaries must have the key "image". Map the data set to its images, or '
            f"see `tfdvae.data.from_arrays`. Received: the keys {sorted(batch)}"
        )
    return batch["image"]


def _scaled(gradients, optimizer):
    """The gradients of the loss as Keras scales it, which `apply_gradients` divides by that again."""
    scale = optimizer.scale_loss(1.0)
    if isinstance(scale, float) and scale == 1.0:  # no pass over the gradients for nothing
        return gradients
    return [scale * gradient for gradient in gradients]


def _unscaled(optimizer):
    """The optimizer inside of a `LossScaleOptimizer`, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _figures_and_gradients(objective, variables, pairwise):
    """Calls `objective() -> (scalar, figures)`; returns the figures and the gradients of the scalar.

    A tape adds up three and more terms of a gradient in one operation, which begins with whichever term's
    buffer is free, so that the last bit depends on timing. `pairwise` additions do not; they need a graph
    of their own, in which replicas could not synchronize.
    """
    if tf.executing_eagerly() or not pairwise:
        with tf.GradientTape() as tape:
            scalar, figures = objective()
        return figures, tape.gradient(scalar, variables)

    @tf.function(autograph=False)
    def graph():
        scalar, figures = objective()
        method = tf.AggregationMethod.EXPERIMENTAL_TREE
        return figures, tf.gradients(scalar, [v.value for v in variables], aggregation_method=method)

    return graph()


def running_means(*names) -> dict[str, keras.metrics.Mean]:
    """A running mean for each name."""
    return {name: keras.metrics.Mean(name=name) for name in names}


def update_means(means, count, **values) -> dict:
    """Adds means over `count` examples, by name, to running means; returns what those are now."""
    for name, value in values.items():
        means[name].update_state(value, sample_weight=count)
    return {name: mean.result() for name, mean in means.items()}
