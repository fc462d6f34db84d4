"""The result of every estimator of log Z."""

import dataclasses
from typing import Any

from tfdvae._validation import finite
from tfdvae.boltzmann.rbm import RBMParameters, RestrictedBoltzmannMachine


@dataclasses.dataclass(frozen=True)
class LogPartitionEstimate:
    """An estimate of log Z, in nats.

    Attributes:
      value: the estimate.
      standard_error: its standard error (0 where the value is exact).
      lower: a lower bound on log Z, or `None` where the method gives none.
      upper: an upper bound on log Z, or `None` where the method gives none.
      diagnostics: what the method says of itself; `"method"` is always there.
    """

    value: float
    standard_error: float
    lower: float | None = None
    upper: float | None = None
    diagnostics: dict[str, Any] = dataclasses.field(default_factory=dict)


def finite_parameters(rbm: RestrictedBoltzmannMachine) -> RBMParameters:
    """The machine's weights as eager tensors.

    Raises:
      ValueError: if a weight is NaN or infinite, for log Z has no value then.
    """
    parameters = rbm.parameters
    for name, values in parameters._asdict().items():
        finite(name, values.numpy())
    return parameters
