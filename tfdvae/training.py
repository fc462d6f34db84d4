"""Keras models that bring their own objective: what `fit`, `evaluate` and a training step have in common."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import keras
import tensorflow as tf

from tfdvae import _faults as faults
from tfdvae import random
from tfdvae._gradients import (
    check_groups,
    figures_and_gradients,
    optimizers_and_trained,
    optimizers_and_variables,
    scaled,
)
from tfdvae._keras_options import (
    checked_arguments,
    checked_compile_options,
    input_of_batch,
    refuse_other_precisions,
)


class StepTerms(NamedTuple):
    """What a step descends; of the first two the gradients alone are meant.

    Attributes:
      loss: a mean over the examples of the batch, on several replicas over a replica's share of it.
      common: what does not belong to examples, such as a surrogate for log Z; 0 without any.
      figures: scalars by name that must be finite, and that may be logged.
    """

    loss: tf.Tensor
    common: tf.Tensor | float
    figures: dict[str, tf.Tensor]


class Objective(Protocol):
    """What `compile` takes as `objective`. To be saved with a model it must be a registered Keras object.

    More may be there: `trains` names the parameter groups that get a gradient (`None`: all of them);
    `samples_machine` is false where the negative phase need not be run;
    `bound_samples` is K, where it trains the bound of K samples: `evaluate` measures that bound too;
    `check(model)`, which `compile` calls, raises a `ValueError` where the model does not fit;
    `make_layer(model)` makes a built Keras layer of what the objective itself learns, which `compile` makes
    `model.objective_layer`, saved with the model.

    Of a model with a bound the figures are `loss`, as if log Z were 0, `log_partition_factor`, with which
    log Z adds to it, and, where the objective knows them, `reconstruction` and `kl`; each is a mean over the
    examples.
    """

    def __call__(self, model, x, *, seed, negative) -> StepTerms:
        """The terms of a step for a batch, with the samples of the model's negative phase (or `None`)."""

    def scheduled_values(self, step) -> dict[str, float]:
        """What follows a schedule of the step, by name, for logs.

        Raises:
          ValueError: if a value is out of its range at this step.
        """


def share_of_batch(x):
    """The share of a replica's examples `x` in the whole batch, times the number of replicas.

    Each example then counts the same, even if the replicas' shares differ.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return 1.0
    local = tf.cast(tf.shape(x)[0], tf.float32)
    return context.num_replicas_in_sync * local / context.all_reduce(tf.distribute.ReduceOp.SUM, local)


class TrainedModel(keras.Model):
    """A model that `fit` trains on an objective.

    A subclass has `seed`, the base seed of training, `data_message`, what a batch with wrong values is told,
    and `default_objective`. At the end of its constructor it calls `_add_step`, which makes `step`, an
    integer weight that counts the updates. It implements

    - `example_shape`, the shape of an input without the batch;
    - `_checked_input(x)`: a batch as a float tensor, after checks of type and shape;
    - `_is_valid(x)`: whether its values are, a boolean scalar;
    - `_logged(figures, count)`: takes a step's figures into the running means and returns what is logged.

    `docs/keras.md` says which options of Keras work, and which are refused.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        refuse_other_precisions(self)
        self._uses_xla = False
        self.objective = None
        self.objective_layer = None
        self.group_optimizers = {}

    def _add_step(self):
        self.step = self.add_weight(
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            autocast=False,
            name="step",
            aggregation="only_first_replica",
        )

    # --- compiling ---

    def parameter_groups(self) -> dict[str, list]:
        """The trainable variables by name of group."""
        return {"weights": self.trainable_variables}

    def compile(
        self,
        optimizer,
        objective=None,
        group_optimizers=None,
        jit_compile=False,
        run_eagerly=False,
        steps_per_execution=1,
        **kwargs,
    ):
        """As `keras.Model.compile`, with an objective in place of a loss.

        Args:
          optimizer: for all parameter groups that `group_optimizers` does not name.
          objective: what a step descends, an `Objective`; by default the model's `default_objective`.
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
        refuse_other_precisions(self)
        uses_xla = checked_compile_options(steps_per_execution, jit_compile, kwargs)
        objective = self.default_objective if objective is None else objective
        if not callable(objective) or not hasattr(objective, "scheduled_values"):
            raise ValueError(
                "`objective` must be one of `tfdvae.objectives`, or an object with the methods of "
                f"`tfdvae.objectives.Objective`. Received: objective={objective!r}"
            )
        if hasattr(objective, "check"):
            # As a replica: only there variables have gradients.
            tf.distribute.get_strategy().run(objective.check, args=(self,))
        self._set_objective_layer(objective.make_layer(self) if hasattr(objective, "make_layer") else None)
        optimizer = keras.optimizers.get(optimizer)
        group_optimizers = {k: keras.optimizers.get(v) for k, v in (group_optimizers or {}).items()}
        check_groups(self, objective, optimizer, group_optimizers)
        super().compile(
            optimizer=optimizer,
            jit_compile=False,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            **kwargs,
        )
        self._uses_xla = uses_xla and not run_eagerly
        self.objective = objective
        self.group_optimizers = group_optimizers
        for some_optimizer, variables in optimizers_and_variables(self):
            some_optimizer.build(variables)

    def _set_objective_layer(self, layer):
        if self.objective_layer is not None:
            self._tracker.untrack(self.objective_layer)  # Keras goes on to count what is replaced or deleted
        self.objective_layer = layer

    def get_compile_config(self):
        """Returns the compile configuration with the objective and the optimizers of groups."""
        config = super().get_compile_config()
        if config:  # of a model that was compiled
            config["jit_compile"] = self._uses_xla
            config["objective"] = keras.saving.serialize_keras_object(self.objective)
            if self.group_optimizers:
                config["group_optimizers"] = {
                    k: keras.optimizers.serialize(v) for k, v in self.group_optimizers.items()
                }
        return config

    def compile_from_config(self, config):
        """Restores the compile configuration."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{k: v for k, v in config.items() if v is not None})

    # --- a step ---

    def train_step(self, data):
        """One update. A batch that is refused changes nothing on one device; a replica waits for its own
        share alone.
        """
        x = self._checked_batch(data)
        with tf.control_dependencies([x]):
            return self._update(x)

    def _update(self, x):
        optimizers = optimizers_and_trained(self)
        variables = [v for _, variables in optimizers for v in variables]

        def gradient(x):
            pairwise = tf.distribute.get_replica_context().num_replicas_in_sync == 1
            figures, gradients = figures_and_gradients(self._step(x), variables, pairwise)
            return figures, gradients, tf.linalg.global_norm(gradients)

        figures, gradients, norm = self._through_xla(gradient)(x)
        # A finite loss may have a gradient that is not, and a finite gradient a rate that is not.
        rates = {f"learning_rate of {o.name}": tf.cast(o.learning_rate, tf.float32) for o, _ in optimizers}
        finite = faults.assert_finite(self, {**figures, "gradient_norm": norm, **rates})
        gradients = iter(gradients)
        with tf.control_dependencies([finite]):
            for optimizer, variables in optimizers:
                own = [next(gradients) for _ in variables]
                optimizer.apply_gradients(zip(scaled(own, optimizer), variables, strict=True))
        self.step.assign_add(1)
        return self._logged(figures, tf.shape(x)[0])

    def _step(self, x) -> Callable:
        """Draws what has no gradient; returns a function that gives a scalar, whose gradients are summed over
        replicas, and figures.
        """
        num_replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        seed, seed_negative = self._seeds_of_step()
        negative = self._negative_samples(x, seed=seed_negative)
        share = share_of_batch(x)

        def objective():
            terms = self.objective(self, x, seed=seed, negative=negative)
            decay = tf.convert_to_tensor(sum(self.losses, start=0.0))
            scalar = share * terms.loss + decay + terms.common
            return scalar / num_replicas, {**terms.figures, "weight_decay": decay}

        return objective

    def _seeds_of_step(self) -> list[random.Seed]:
        """The seeds of the objective and of the negative phase."""
        return random.split(self._replica_seed(self.step, "train_step"))

    def _negative_samples(self, x, *, seed):
        """The samples of a negative phase; a model without one has none."""
        del x, seed

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
        x = self._checked_input(input_of_batch(data))
        return faults.checked_values(x, self._is_valid(x))

    def scheduled_values(self) -> dict[str, float]:
        """What follows a schedule of the step, at the present step, by name, for logs.

        Raises:
          ValueError: if a value is out of its range at this step.
        """
        return {} if self.objective is None else self.objective.scheduled_values(self.step)

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
        arguments = checked_arguments(self, keras.Model.fit, *args, **kwargs)
        if isinstance(arguments.get("x"), tf.data.Dataset):
            arguments.setdefault("shuffle", False)  # a dataset brings its own order
        with faults.raised(self):
            history = super().fit(**arguments)
        for optimizer, variables in optimizers_and_variables(self):
            if optimizer is not self.optimizer:  # Keras does this for its own
                optimizer.finalize_variable_values(variables)
        return history

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`; fails as `fit` does."""
        with faults.raised(self):
            return super().evaluate(**checked_arguments(self, keras.Model.evaluate, *args, **kwargs))

    def predict(self, *args, **kwargs):
        """As `keras.Model.predict`; fails as `fit` does."""
        with faults.raised(self):
            return super().predict(**checked_arguments(self, keras.Model.predict, *args, **kwargs))

    def train_on_batch(self, *args, **kwargs):
        """As `keras.Model.train_on_batch`; fails as `fit` does."""
        with faults.raised(self):
            arguments = checked_arguments(self, keras.Model.train_on_batch, *args, **kwargs)
            return super().train_on_batch(**arguments)

    def test_on_batch(self, *args, **kwargs):
        """As `keras.Model.test_on_batch`; fails as `fit` does."""
        with faults.raised(self):
            return super().test_on_batch(
                **checked_arguments(self, keras.Model.test_on_batch, *args, **kwargs)
            )

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; fails as `fit` does."""
        with faults.raised(self):
            return super().predict_on_batch(x)

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
