"""Machines in other notations: Ising spins of -1 and +1, and `dimod`'s quadratic models.

With spins s = 2 z - 1 the energy of a machine stays one of fields and couplings on the same bipartite graph,
up to a constant. All conversions are in float64 NumPy, in which they are exact but for the last bits.
"""

from typing import NamedTuple

import numpy as np

from tfdvae._validation import finite
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine


class IsingParameters(NamedTuple):
    """E(s, t) = -left_field . s - right_field . t - s . coupling . t + offset, with s and t in {-1, +1}.

    `left_field [left]`, `right_field [right]`, `coupling [left, right]`, and a scalar, float64, in nats.
    """

    left_field: np.ndarray
    right_field: np.ndarray
    coupling: np.ndarray
    offset: float = 0.0


class ShiftedParameters(NamedTuple):
    """A machine's weights, `parameters`, and what its energies lack, `offset`.

    E_Ising(2 left - 1, 2 right - 1) = E(left, right) + offset. The offset changes no probability; log Z of
    the Ising model is that of the machine minus the offset.
    """

    parameters: RBMParameters
    offset: float


def to_ising(parameters: RBMParameters) -> IsingParameters:
    """The Ising model with the same energy of every state, the constant included.

    Args:
      parameters: the machine's weights, `rbm.parameters`.

    Returns:
      Its fields, couplings and offset.

    Raises:
      ValueError: if the shapes do not agree or a value is not finite.
    """
    left_bias, right_bias, coupling = _checked("parameters", parameters)
    # left . W . right = (1 + s) . W . (1 + t) / 4
    return IsingParameters(
        left_field=left_bias / 2 + coupling.sum(axis=1) / 4,
        right_field=right_bias / 2 + coupling.sum(axis=0) / 4,
        coupling=coupling / 4,
        offset=float(-(left_bias.sum() + right_bias.sum()) / 2 - coupling.sum() / 4),
    )


def from_ising(ising: IsingParameters) -> ShiftedParameters:
    """The machine with the same distribution; the inverse of `to_ising`, where the offset is 0.

    Args:
      ising: fields, couplings and offset.

    Returns:
      The machine's weights, float64, and the constant that its energies lack.
      `RestrictedBoltzmannMachine.from_arrays(*result.parameters)` makes the machine.

    Raises:
      ValueError: if the shapes do not agree or a value is not finite.
    """
    left_field, right_field, coupling = _checked("ising", ising[:3])
    offset = np.asarray(ising.offset, np.float64)
    finite("ising.offset", offset)
    parameters = RBMParameters(
        2 * left_field - 2 * coupling.sum(axis=1), 2 * right_field - 2 * coupling.sum(axis=0), 4 * coupling
    )
    # s . J . t = (2 left - 1) . J . (2 right - 1): what is left over holds no unit.
    return ShiftedParameters(
        parameters, float(offset + left_field.sum() + right_field.sum() - coupling.sum())
    )


def to_dimod(rbm: RestrictedBoltzmannMachine):
    """The machine as a `dimod.BinaryQuadraticModel` over binary variables, for annealers and other solvers.

    Its energy is the machine's, so that a sampler at the inverse temperature 1 draws from the machine. The
    variables are `("left", i)` and `("right", j)`; couplings that are 0 are no edges.

    Args:
      rbm: the machine.

    Raises:
      ImportError: without the package `dimod`.
      ValueError: if a weight is not finite.
    """
    try:
        import dimod
    except ImportError as error:
        raise ImportError("`to_dimod` needs the package dimod: pip install 'tfdvae[dimod]'") from error
    left_bias, right_bias, coupling = _checked("rbm", rbm.parameters)
    labels = [("left", i) for i in range(len(left_bias))] + [("right", j) for j in range(len(right_bias))]
    left, right = np.nonzero(coupling)
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        linear=-np.concatenate([left_bias, right_bias]),
        quadratic=(left, right + len(left_bias), -coupling[left, right]),
        offset=0.0,
        vartype=dimod.BINARY,
        variable_order=labels,
    )


def _checked(name, arrays):
    """The three arrays in float64."""
    left, right, coupling = (np.asarray(a, np.float64) for a in arrays)
    if left.ndim != 1 or right.ndim != 1 or coupling.shape != left.shape + right.shape:
        raise ValueError(
            f"`{name}` must hold arrays [left], [right] and [left, right]. Received: {left.shape}, "
            f"{right.shape} and {coupling.shape}"
        )
    for array in (left, right, coupling):
        finite(name, array)
    return left, right, coupling
