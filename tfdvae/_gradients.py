"""Gradients, and the optimizers of parameter groups: which variables are whose."""

import keras
import tensorflow as tf


def check_groups(model, objective, optimizer, group_optimizers) -> None:
    """Checks the groups that are named in `compile`.

    Raises:
      ValueError: if one is unknown, or the shared optimizer would average the weights of others.
    """
    groups = sorted(name for name, variables in model.parameter_groups().items() if variables)
    trains = getattr(objective, "trains", None) or ()
    for what, names in (("group_optimizers", group_optimizers), ("objective.trains", trains)):
        unknown = sorted(set(names) - set(groups))
        if unknown:
            raise ValueError(f"`{what}` names the groups {unknown}, but the model has {groups}")
    # Of a `LossScaleOptimizer`, the one inside.
    if group_optimizers and getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        raise ValueError(
            "`use_ema` of the shared optimizer pairs its averages with all weights of the model. Beside "
            f"`group_optimizers` ({sorted(group_optimizers)}) give it an optimizer without, and name "
            "the groups that are to be averaged. Received: use_ema=True"
        )


def optimizers_and_variables(model) -> list[tuple[keras.optimizers.Optimizer, list]]:
    """The optimizers of a compiled model, those of groups first, each with its variables."""
    groups = model.parameter_groups()
    named = [(optimizer, groups[name]) for name, optimizer in model.group_optimizers.items()]
    taken = {id(v) for _, variables in named for v in variables}
    # In the order of Keras, which pairs averages of the weights with them by their place.
    shared = [v for v in model.trainable_variables if id(v) not in taken]
    return [*named, (model.optimizer, shared)] if shared else named


def optimizers_and_trained(model) -> list[tuple[keras.optimizers.Optimizer, list]]:
    """The same, with those variables alone that get a gradient from the model's objective."""
    pairs, trains = optimizers_and_variables(model), getattr(model.objective, "trains", None)
    if trains is None:
        return pairs
    groups = model.parameter_groups()
    trained = {id(v) for name in trains for v in groups[name]}
    pairs = [(optimizer, [v for v in variables if id(v) in trained]) for optimizer, variables in pairs]
    return [(optimizer, variables) for optimizer, variables in pairs if variables]


def scaled(gradients, optimizer):
    """The gradients of the loss as Keras scales it, which `apply_gradients` divides by that again."""
    scale = optimizer.scale_loss(1.0)
    if isinstance(scale, float) and scale == 1.0:  # no pass over the gradients for nothing
        return gradients
    return [scale * gradient for gradient in gradients]


def figures_and_gradients(objective, variables, pairwise):
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
