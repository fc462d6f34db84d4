"""Running means over examples, which `fit` and `evaluate` log."""

import keras


def running_means(*names) -> dict[str, keras.metrics.Mean]:
    """A running mean for each name."""
    return {name: keras.metrics.Mean(name=name) for name in names}


def update_means(means, count, **values) -> dict:
    """Adds means over `count` examples, by name, to running means; returns what those are now."""
    for name, value in values.items():
        means[name].update_state(value, sample_weight=count)
    return {name: mean.result() for name, mean in means.items()}
