"""What a user sees of an exported generator, wherever it runs: in this process or on a server.

Inputs are checked here, before they are merged with those of strangers, and cut to what one call takes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tfdvae._validation import not_negative_integer, positive_integer


class Spec(NamedTuple):
    """A signature's input: its dtype, and its shape without the batch."""

    dtype: np.dtype
    shape: tuple[int, ...]


class Generator:
    """An exported generator. Arrays are NumPy's; all have the batch as dimension 0.

    Seeds are an integer, from which row i gets the pair (seed, i), or the rows' pairs themselves, integers
    `[B, 2]`. A row's result depends on its pair alone: `sample(64, seed=0)` begins with the images of
    `sample(10, seed=0)`.

    Args:
      specs: by signature, the `Spec` of each input.
      max_batch_size: the most rows of one call; longer inputs are cut.
    """

    def __init__(self, specs: Mapping[str, Mapping[str, Spec]], max_batch_size: int):
        self.specs = {name: dict(inputs) for name, inputs in specs.items()}
        self.max_batch_size = positive_integer("max_batch_size", max_batch_size)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature on arrays that have been checked."""
        raise TypeError(f"{type(self).__name__} does not implement `run`")

    # --- the signatures ---

    def sample(self, num_samples: int, *, seed=0, num_sweeps: int = 100) -> np.ndarray:
        """Images from the prior, float32 `[num_samples, height, width, channels]`; see `predict` for more.

        Args:
          num_samples: images.
          seed: an integer, or `[num_samples, 2]` integers.
          num_sweeps: Gibbs sweeps of the Boltzmann machine, clamped to the range of the export.
        """
        count = positive_integer("num_samples", num_samples)
        sweeps = np.full(count, positive_integer("num_sweeps", num_sweeps))
        return self.predict("sample", seed=row_seeds(seed, count), num_sweeps=sweeps)["images"]

    def decode(self, latents, *, seed=0) -> np.ndarray:
        """Images given latents, `[B, variables]`."""
        return self.predict("decode", latents=latents, seed=row_seeds(seed, _count(latents)))["images"]

    def encode(self, images, *, seed=0) -> np.ndarray:
        """A sample of the latents of each image, `[B, variables]`."""
        return self.predict("encode", images=images, seed=row_seeds(seed, _count(images)))["latents"]

    def reconstruct(self, images, *, seed=0) -> np.ndarray:
        """Images decoded from one sample of the latents."""
        return self.predict("reconstruct", images=images, seed=row_seeds(seed, _count(images)))["images"]

    def log_prob(self, images, *, seed=0) -> np.ndarray:
        """Importance-weighted log p(x), nats, `[B]`, with the samples and the log Z of the export."""
        return self.predict("log_prob", images=images, seed=row_seeds(seed, _count(images)))["log_likelihood"]

    def energy(self, latents) -> np.ndarray:
        """E(z) of the Boltzmann machine, nats, `[B]`."""
        return self.predict("energy", latents=latents)["energy"]

    def predict(self, signature: str, **inputs) -> dict[str, np.ndarray]:
        """All outputs of a signature.

        Args:
          signature: one of `specs`.
          **inputs: arrays by name; numbers of another type are converted where nothing is lost.

        Raises:
          ValueError: for an unknown signature or input, a missing input, a wrong shape or dtype, batches of
            different lengths or without rows, values that are NaN or out of range. The message says what
            arrived.
        """
        arrays = self._checked(signature, inputs)
        count = len(next(iter(arrays.values())))
        parts = [
            self.run(signature, {name: x[i : i + self.max_batch_size] for name, x in arrays.items()})
            for i in range(0, count, self.max_batch_size)
        ]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        invalid = np.any([np.isnan(x.reshape(count, -1)).any(axis=1) for x in outputs.values()], axis=0)
        if invalid.any():
            rows = np.flatnonzero(invalid)[:10].tolist()
            raise ValueError(
                f"The generator refused the rows {rows} of `{signature}`: its outputs are NaN there. Images "
                "must have the values that the model was trained on (0 and 1, or 0 to 255), and binary "
                "latents must be 0 or 1"
            )
        return outputs

    # --- checks ---

    def _checked(self, signature, inputs):
        if signature not in self.specs:
            raise ValueError(
                f"`signature` must be one of {sorted(self.specs)}. Received: signature={signature!r}"
            )
        specs = self.specs[signature]
        if set(inputs) != set(specs):
            raise ValueError(
                f"The signature {signature!r} has the inputs {sorted(specs)}. Received: {sorted(inputs)}"
            )
        arrays = {name: _checked_array(name, inputs[name], spec) for name, spec in specs.items()}
        lengths = {name: len(x) for name, x in arrays.items()}
        if len(set(lengths.values())) != 1 or min(lengths.values()) < 1:
            raise ValueError(f"All inputs must have the same number of rows, at least 1. Received: {lengths}")
        return arrays


def row_seeds(seed, count: int) -> np.ndarray:
    """Seeds of `count` rows, int32 `[count, 2]`: (seed, 0), (seed, 1), ... of an integer, or those given.

    Raises:
      ValueError: if `seed` is neither.
    """
    count, array = not_negative_integer("count", count), np.asarray(seed)
    if array.ndim == 0 and array.dtype.kind in "iu" and -(2**31) <= int(seed) < 2**31:
        return np.stack([np.full(count, int(seed)), np.arange(count)], axis=1).astype(np.int32)
    if array.ndim == 2 and array.shape == (count, 2) and array.dtype.kind in "iu":
        return _checked_array("seed", array, Spec(np.dtype(np.int32), (2,)))
    raise ValueError(
        f"`seed` must be a 32-bit integer, or {count} pairs of them. Received: an array of shape "
        f"{array.shape} and dtype {array.dtype}: {str(seed)[:80]}"
    )


def _count(values) -> int:
    """The rows of an input that is not checked yet."""
    try:
        return (np.shape(values) or (1,))[0]
    except ValueError:  # rows of different lengths
        return len(values)


def _checked_array(name, values, spec):
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"`{name}` must be an array of numbers: {error}") from error
    if array.dtype.kind not in ("biuf" if spec.dtype.kind == "f" else "iu"):
        raise ValueError(f"`{name}` must be {spec.dtype.name}. Received: dtype {array.dtype}")
    if array.shape[1:] != spec.shape or array.ndim != len(spec.shape) + 1:
        shape = ", ".join(map(str, ("batch", *spec.shape)))
        raise ValueError(f"`{name}` must have the shape [{shape}]. Received: {array.shape}")
    if spec.dtype.kind == "f":
        if not (np.abs(array) <= np.finfo(spec.dtype).max).all():  # false for NaN
            raise ValueError(
                f"`{name}` must be finite in {spec.dtype.name}. Received: NaN, infinity or larger numbers"
            )
        if name == "images" and not ((array >= 0) & (array <= 255) & (array == np.floor(array))).all():
            raise ValueError(
                "`images` must be 0 and 1, or the whole numbers from 0 to 255. Received: values from "
                f"{array.min()} to {array.max()}"
            )
    elif array.size and not (
        np.iinfo(spec.dtype).min <= array.min() and array.max() <= np.iinfo(spec.dtype).max
    ):
        raise ValueError(
            f"`{name}` must fit {spec.dtype.name}. Received: values from {array.min()} to {array.max()}"
        )
    return np.ascontiguousarray(array, spec.dtype)
