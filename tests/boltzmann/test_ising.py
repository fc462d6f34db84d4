import builtins
import itertools

import numpy as np
import pytest

from tfdvae.boltzmann import (
    IsingParameters,
    RBMParameters,
    RestrictedBoltzmannMachine,
    from_ising,
    log_partition,
    to_dimod,
    to_ising,
)


def ising_energy(ising, s, t):
    """By loops over fields, bonds and the constant."""
    total = ising.offset
    for i, spin in enumerate(s):
        total -= ising.left_field[i] * spin
        for j, other in enumerate(t):
            total -= ising.coupling[i, j] * spin * other
    for j, other in enumerate(t):
        total -= ising.right_field[j] * other
    return total


def states(units, values):
    return np.array(list(itertools.product(values, repeat=units)))


def random_ising(seed=0, left=4, right=3):
    rng = np.random.default_rng(seed)
    return IsingParameters(*(rng.normal(size=s) for s in (left, right, (left, right))), offset=1.7)


def largest_difference(ising, machine_weights, shift, energy):
    return max(
        abs(ising_energy(ising, 2 * z - 1, 2 * y - 1) - energy(*machine_weights, z, y) - shift)
        for z, y in itertools.product(states(4, (0, 1)), states(3, (0, 1)))
    )


def test_all_energies_are_equal(make_machine, energy):
    machine = make_machine(4, 3, scale=3.0)
    weights = [np.asarray(w, np.float64) for w in machine.get_weights()]
    ising = to_ising(machine.parameters)
    assert largest_difference(ising, weights, 0.0, energy) < 1e-12
    # A field that has forgotten its couplings, and a constant that has, are found out.
    assert largest_difference(ising._replace(left_field=weights[0] / 2), weights, 0.0, energy) > 0.1
    assert largest_difference(ising._replace(offset=0.0), weights, 0.0, energy) > 0.1


def test_all_energies_are_equal_on_the_way_back(energy):
    ising = random_ising()
    parameters, offset = from_ising(ising)
    assert largest_difference(ising, parameters, offset, energy) < 1e-12
    assert abs(offset) > 0.1


def test_round_trips(make_machine):
    machine = make_machine(4, 3)
    back = from_ising(to_ising(machine.parameters))
    assert isinstance(back.parameters, RBMParameters)
    assert abs(back.offset) < 1e-12
    for got, want in zip(back.parameters, machine.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    ising = random_ising()
    again = to_ising(from_ising(ising).parameters)
    for got, want in zip(again[:3], ising[:3], strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    np.testing.assert_allclose(again.offset + from_ising(ising).offset, ising.offset)


def test_log_z_is_shifted_by_the_offset():
    ising = random_ising()
    parameters, offset = from_ising(ising)
    energies = [ising_energy(ising, s, t) for s in states(4, (-1, 1)) for t in states(3, (-1, 1))]
    want = np.logaddexp.reduce(-np.array(energies))
    machine = RestrictedBoltzmannMachine.from_arrays(*parameters)
    np.testing.assert_allclose(log_partition.exact(machine).value - offset, want, rtol=1e-6)


def test_rejects_what_does_not_fit():
    ising = random_ising()
    with pytest.raises(
        ValueError, match=r"`ising` must hold arrays .* Received: \(3,\), \(4,\) and \(4, 3\)"
    ):
        from_ising(ising._replace(left_field=ising.right_field, right_field=ising.left_field))
    with pytest.raises(ValueError, match=r"`ising.offset` must be finite"):
        from_ising(ising._replace(offset=np.nan))
    with pytest.raises(ValueError, match=r"`parameters` must be finite. Received 1 NaN or infinite of 2"):
        to_ising(RBMParameters(np.array([0.0, np.inf]), np.zeros(1), np.zeros((2, 1))))
    with pytest.raises(ValueError, match=r"`parameters` must hold arrays"):
        to_ising(RBMParameters(np.zeros(2), np.zeros(1), np.zeros(2)))


def test_dimod_has_the_same_energies(make_machine, energy):
    dimod = pytest.importorskip("dimod")
    machine = make_machine(4, 3)
    machine.coupling.assign(machine.coupling.numpy() * (np.arange(12).reshape(4, 3) != 5))
    weights = [np.asarray(w, np.float64) for w in machine.get_weights()]
    model = to_dimod(machine)
    assert model.vartype is dimod.BINARY
    assert list(model.variables) == [("left", i) for i in range(4)] + [("right", j) for j in range(3)]
    assert model.num_interactions == 11
    samples = states(7, (0, 1))
    want = [energy(*weights, z[:4], z[4:]) for z in samples]
    np.testing.assert_allclose(model.energies((samples, list(model.variables))), want, atol=1e-12)
    # dimod's own change to spins, whose energies have plus signs, agrees with ours.
    ising = to_ising(machine.parameters)
    fields, couplings, offset = model.to_ising()
    for side, values in (("left", ising.left_field), ("right", ising.right_field)):
        np.testing.assert_allclose([-fields[side, i] for i in range(len(values))], values, atol=1e-12)
    for (u, v), value in couplings.items():
        (_, i), (_, j) = sorted((u, v))
        np.testing.assert_allclose(-value, ising.coupling[i, j], atol=1e-12)
    np.testing.assert_allclose(offset, ising.offset, atol=1e-12)


def test_without_dimod_the_error_names_the_extra(make_machine, monkeypatch):
    real_import = builtins.__import__

    def without_dimod(name, *args, **kwargs):
        if name == "dimod":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_dimod)
    with pytest.raises(ImportError, match=r"pip install 'tfdvae\[dimod\]'"):
        to_dimod(make_machine(4, 3))
