"""DVAE saved and loaded: what is in the file, and states that a finished training does not have."""

import h5py
import keras
import numpy as np
import pytest

from tests.models import oracles
from tfdvae.models import DVAE

SHAPE = (2, 3, 1)


def images():
    return np.random.default_rng(0).integers(0, 2, (24, *SHAPE)).astype(np.float32)


def build(**kwargs):
    model = DVAE(image_shape=SHAPE, num_chains=6, num_sweeps=2, **kwargs)
    model.compile(
        keras.optimizers.Adam(0.02),
        group_optimizers={"prior": keras.optimizers.SGD(0.05, momentum=0.9)},
        steps_per_execution=2,
    )
    return model


def train(model):
    """Six steps."""
    model.fit(images(), batch_size=4, shuffle=False, verbose=0)


def test_the_machine_is_saved_once(tmp_path):
    model = build(latent_units=(2, 3), sides=("right", "split"), network=(4,))
    model.save_weights(tmp_path / "state.weights.h5")
    paths = []
    with h5py.File(tmp_path / "state.weights.h5") as file:
        file.visititems(lambda path, item: paths.append((path, getattr(item, "shape", None))))
    assert tuple(model.rbm.coupling.shape) == (1, 4)
    assert len([path for path, shape in paths if shape == (1, 4) and "optimizer" not in path]) == 1


def test_an_estimate_that_was_stale_is_stale_after_loading(tmp_path):
    model = build(latent_units=(4,), network="linear")
    train(model)
    model.rbm.left_bias.assign(model.rbm.left_bias + 1.0)
    model.save(tmp_path / "stale.keras")
    restored = keras.saving.load_model(tmp_path / "stale.keras")
    for m in (model, restored):
        with pytest.raises(
            ValueError, match="measured at step 6 for other weights of the machine; the model is at step 6"
        ):
            m.log_likelihood(images(), 2, seed=0)


def test_a_model_without_optimizer_is_saved_too(tmp_path):
    model = oracles.randomize(DVAE(image_shape=SHAPE, latent_units=(2, 2), network=(3,)))
    model.save(tmp_path / "plain.keras")
    restored = keras.saving.load_model(tmp_path / "plain.keras")
    assert not restored.compiled
    for a, b in zip(model.weights, restored.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="No log Z is stored"):
        restored.log_likelihood(images(), 2, seed=0)


@pytest.mark.slow
def test_an_idle_optimizer_is_no_hindrance(tmp_path):
    # Every group has an optimizer of its own, so that the first is never built.
    model = DVAE(image_shape=SHAPE, latent_units=(2, 2), network="linear", num_chains=5, num_sweeps=2)
    model.compile(
        group_optimizers={"networks": keras.optimizers.Adam(0.1), "prior": keras.optimizers.SGD(0.1)}
    )
    train(model)
    model.save(tmp_path / "idle.keras")
    restored = keras.saving.load_model(tmp_path / "idle.keras")
    for m in (model, restored):
        train(m)
        m.update_log_partition()
    for one, other in (
        (model.weights, restored.weights),
        *(
            (a.variables, restored.group_optimizers[name].variables)
            for name, a in model.group_optimizers.items()
        ),
    ):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert int(restored.step.numpy()) == 12
    np.testing.assert_array_equal(restored.sample(9, seed=4), model.sample(9, seed=4))
