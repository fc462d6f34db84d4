"""An exported generator in this process."""

import contextlib
import json
import os

import numpy as np
import tensorflow as tf
from absl import logging

from tfdvae.export.generator import Generator, Spec
from tfdvae.export.layout import ALLOWED_BATCH_SIZES, version_directory


class LoadedGenerator(Generator):
    """A SavedModel in this process; `card` is the contents of its model_card.json, if there is one.

    Args:
      directory: of the version, a `pathlib.Path`.
    """

    def __init__(self, directory):
        self.directory = directory
        with quiet():
            loaded = tf.saved_model.load(str(directory))
        self._loaded = loaded  # owns the variables
        self._signatures = loaded.signatures
        card = directory / "model_card.json"
        self.card = json.loads(card.read_text()) if card.is_file() else {}
        specs = {
            name: {
                k: Spec(np.dtype(s.dtype.as_numpy_dtype), tuple(s.shape[1:]))
                for k, s in function.structured_input_signature[1].items()
            }
            for name, function in self._signatures.items()
        }
        super().__init__(specs, ALLOWED_BATCH_SIZES[-1])

    def run(self, signature, inputs):
        """Runs a signature."""
        outputs = self._signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}


def load_generator(directory: str | os.PathLike, version: int | None = None) -> LoadedGenerator:
    """Loads a generator from `directory/<version>/`, by default the latest version.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if the SavedModel is damaged.
    """
    path = version_directory(directory, version)
    if not (path / "saved_model.pb").is_file():
        raise FileNotFoundError(f"There is no SavedModel in {path}: saved_model.pb is missing")
    try:
        return LoadedGenerator(path)
    # What TensorFlow raises depends on the file that is damaged.
    except (tf.errors.OpError, OSError, json.JSONDecodeError, AttributeError, IndexError) as error:
        raise ValueError(f"The generator in {path} cannot be read: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def quiet():
    """Leaves out what TensorFlow logs besides warnings and errors, on its own logger and on absl's."""
    logger = tf.get_logger()
    level, verbosity = logger.level, logging.get_verbosity()
    logger.setLevel(max(level, logging.converter.absl_to_standard(logging.WARNING)))
    logging.set_verbosity(min(verbosity, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)
        logging.set_verbosity(verbosity)
