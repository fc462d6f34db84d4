"""Negative phases by name, as objects, and in configurations."""

import keras

from tfdvae.boltzmann.annealed_samples import AnnealedSamples
from tfdvae.boltzmann.chains import ContrastiveDivergence, PersistentChains, TemperedChains

NEGATIVE_PHASES = ("pcd", "cd", "tempered", "annealed")


def make_negative_phase(phase, rbm, *, num_chains, num_sweeps, num_temperatures=None):
    """The negative phase that a model was given, for its machine.

    Args:
      phase: `"pcd"` (`PersistentChains`), `"cd"` (`ContrastiveDivergence`), `"tempered"` (`TemperedChains`),
        `"annealed"` (`AnnealedSamples`), an object with the methods of `NegativePhase`, a function that makes
        one from the machine (such as one of these classes), or what `serialize` has made of one.
      rbm: the machine.
      num_chains: chains of one replica, for all names but `"cd"`.
      num_sweeps: Gibbs sweeps of one update, for all names but `"annealed"`.
      num_temperatures: inverse temperatures, for `"tempered"` (by default 10) and `"annealed"` (100).

    Raises:
      ValueError: if it is none of these, or samples another machine.
    """
    temperatures = {} if num_temperatures is None else {"num_temperatures": num_temperatures}
    if phase == "pcd":
        phase = PersistentChains(rbm, num_chains, num_sweeps, name="chains")
    elif phase == "cd":
        phase = ContrastiveDivergence(rbm, num_sweeps, name="chains")
    elif phase == "tempered":
        phase = TemperedChains(rbm, num_chains, num_sweeps=num_sweeps, name="chains", **temperatures)
    elif phase == "annealed":
        phase = AnnealedSamples(rbm, num_chains, name="chains", **temperatures)
    elif isinstance(phase, dict):
        phase = keras.saving.get_registered_object(phase["registered_name"])(rbm, **phase["config"])
    elif isinstance(phase, type) or (callable(phase) and not hasattr(phase, "negative_samples")):
        phase = phase(rbm)
    missing = [name for name in ("negative_samples", "start", "starts_from_data") if not hasattr(phase, name)]
    if missing:
        raise ValueError(
            f"`negative_phase` must be one of {NEGATIVE_PHASES}, or have what "
            f"`tfdvae.boltzmann.NegativePhase` names. Received: negative_phase={phase!r}, without "
            f"{', '.join(missing)}"
        )
    if getattr(phase, "_machine", lambda: rbm)() is not rbm:
        raise ValueError("`negative_phase` samples another machine. Make it with the `rbm` that is trained")
    return phase


def serialize(phase) -> dict:
    """What a configuration holds of a negative phase.

    Raises:
      ValueError: if it is no registered Keras layer.
    """
    registered = keras.saving.get_registered_name(type(phase))
    if keras.saving.get_registered_object(registered) is not type(phase):
        raise ValueError(
            "To be saved, the negative phase must be a Keras layer with "
            f"`@keras.saving.register_keras_serializable`. Received: a {type(phase).__name__}"
        )
    return {"registered_name": registered, "config": phase.get_config()}


def phase_config(given, phase):
    """The same of the phase that a model has made of what it was `given`: a name stays one."""
    return given if isinstance(given, str) or phase is None else serialize(phase)
