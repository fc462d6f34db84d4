import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdvae.boltzmann import RBMParameters, RestrictedBoltzmannMachine


def test_energy_against_loops_for_every_rank(make_machine, energy):
    machine = make_machine(5, 3)
    weights = [np.asarray(w, np.float64) for w in machine.get_weights()]
    rng = np.random.default_rng(1)
    for shape in ((), (4,), (2, 4)):
        left, right = rng.integers(0, 2, (*shape, 5)), rng.integers(0, 2, (*shape, 3))
        got = machine.energy(left, right)
        want = [
            energy(*weights, a, b) for a, b in zip(left.reshape(-1, 5), right.reshape(-1, 3), strict=True)
        ]
        assert got.shape == shape
        np.testing.assert_allclose(np.reshape(got, -1), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(machine(left, right), got)


def test_energy_is_linear_in_probabilities(make_machine, energy):
    machine = make_machine(5, 3)
    weights = [np.asarray(w, np.float64) for w in machine.get_weights()]
    rng = np.random.default_rng(1)
    left, right = rng.random(5), rng.random(3)
    np.testing.assert_allclose(machine.energy(left, right), energy(*weights, left, right), rtol=1e-5)


def test_conditionals_against_enumeration(make_machine, enumerate_machine):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    joint = all_states.probabilities
    for left in np.unique(all_states.lefts, axis=0):
        at = joint * np.all(all_states.lefts == left, axis=1)
        want = at @ all_states.rights / at.sum()
        got = tf.sigmoid(machine.right_logits(left.astype(np.float32)))
        np.testing.assert_allclose(got, want, rtol=1e-5)
    for right in np.unique(all_states.rights, axis=0):
        at = joint * np.all(all_states.rights == right, axis=1)
        want = at @ all_states.lefts / at.sum()
        got = tf.sigmoid(machine.left_logits(right.astype(np.float32)))
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_logits_keep_leading_dimensions(make_machine):
    machine = make_machine(4, 3)
    assert machine.right_logits(np.zeros((2, 5, 4))).shape == (2, 5, 3)
    assert machine.left_logits(np.zeros((2, 5, 3))).shape == (2, 5, 4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_free_energies_against_enumeration(make_machine, enumerate_machine, side):
    machine = make_machine(4, 3)
    all_states = enumerate_machine(machine)
    states = all_states.lefts if side == "left" else all_states.rights
    free_energy = machine.free_energy if side == "left" else machine.right_free_energy
    for shape in ((), (1,), (1, 1)):
        for state in np.unique(states, axis=0):
            at = np.all(states == state, axis=1)
            want = -(np.log(all_states.probabilities[at].sum()) + all_states.log_z)
            got = free_energy(state.reshape((*shape, len(state))))
            assert got.shape == shape
            np.testing.assert_allclose(np.reshape(got, ()), want, rtol=1e-5, atol=1e-5)


def test_free_energy_of_large_biases_is_finite():
    machine = RestrictedBoltzmannMachine.from_arrays([0.0], [1000.0, -1000.0], np.zeros((1, 2)))
    np.testing.assert_allclose(machine.free_energy([[0.0]]), [-1000.0])


def test_gradient_of_the_energy(make_machine):
    machine = make_machine(4, 3)
    rng = np.random.default_rng(2)
    left, right = rng.integers(0, 2, (1, 4)), rng.integers(0, 2, (1, 3))
    with tf.GradientTape() as tape:
        energy = machine.energy(left, right)[0]
    gradients = tape.gradient(energy, machine.trainable_variables)
    for got, want in zip(gradients, (-left[0], -right[0], -left.T @ right), strict=True):
        np.testing.assert_allclose(got, want)


def test_parameters_follow_the_variables(make_machine):
    machine = make_machine(4, 3)
    machine.left_bias.assign(np.full(4, 2.0))
    assert isinstance(machine.parameters, RBMParameters)
    np.testing.assert_array_equal(machine.parameters.left_bias, np.full(4, 2.0))
    assert [tuple(p.shape) for p in machine.parameters] == [(4,), (3,), (4, 3)]


def test_from_arrays_keeps_the_weights():
    arrays = [np.arange(2.0), np.arange(3.0), np.arange(6.0).reshape(2, 3)]
    machine = RestrictedBoltzmannMachine.from_arrays(*arrays, name="prior")
    assert machine.name == "prior"
    for got, want in zip(machine.get_weights(), arrays, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "shapes", [((2,), (3,), (3, 2)), ((2,), (3,), (6,)), ((2, 1), (3,), (2, 3)), ((), (3,), (3,))]
)
def test_from_arrays_rejects_shapes_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match=r"The shapes must be left_bias \[left\]"):
        RestrictedBoltzmannMachine.from_arrays(*(np.zeros(s) for s in shapes))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_from_arrays_rejects_values_that_are_not_finite(bad, position):
    arrays = [np.zeros(2), np.zeros(3), np.zeros((2, 3))]
    arrays[position].flat[1] = bad
    name = ("left_bias", "right_bias", "coupling")[position]
    with pytest.raises(ValueError, match=f"`{name}` must be finite. Received 1 NaN or infinite of"):
        RestrictedBoltzmannMachine.from_arrays(*arrays)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True, None])
@pytest.mark.parametrize("side", ["left_units", "right_units"])
def test_rejects_numbers_of_units(bad, side):
    with pytest.raises(ValueError, match=f"`{side}` must be a positive integer. Received: {side}={bad}"):
        RestrictedBoltzmannMachine(**{"left_units": 2, "right_units": 3, side: bad})


def test_config_round_trip():
    machine = RestrictedBoltzmannMachine(4, 3, coupling_initializer="ones", name="prior")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(machine))
    assert copy.get_config() == machine.get_config()
    np.testing.assert_array_equal(copy.coupling, np.ones((4, 3)))


def test_the_default_start_breaks_the_symmetry():
    machine = RestrictedBoltzmannMachine(40, 30)
    assert np.all(machine.left_bias.numpy() == 0)
    assert np.all(machine.right_bias.numpy() == 0)
    assert 0.005 < np.std(machine.coupling) < 0.015


def test_weights_stay_float32_in_a_model_of_mixed_precision():
    machine = RestrictedBoltzmannMachine.from_arrays([1 / 3], [0.0], [[0.0]])

    class Outer(keras.layers.Layer):
        def call(self, x):
            return x + tf.cast(machine.energy([[1.0]], [[0.0]])[0], x.dtype), machine.parameters.left_bias

    _, bias = Outer(dtype="mixed_float16")(np.zeros(1, np.float32))
    assert bias.dtype == tf.float32
    assert bias.numpy()[0] == np.float32(1 / 3)
