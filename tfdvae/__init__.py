"""Discrete variational autoencoders in TensorFlow 2, Keras 3 and TensorFlow Probability."""

import os as _os

_ADVICE = (
    'tfdvae needs the TensorFlow backend of Keras. Set the environment variable KERAS_BACKEND="tensorflow" '
    '(or "backend" in ~/.keras/keras.json) before importing keras. Received: '
)

try:
    import keras as _keras
except ImportError as error:  # Keras imports its backend at once, which need not be installed.
    raise ImportError(f"{_ADVICE}KERAS_BACKEND={_os.environ.get('KERAS_BACKEND')!r}, and {error}") from error

if _keras.backend.backend() != "tensorflow":
    raise ImportError(f"{_ADVICE}keras.backend.backend()={_keras.backend.backend()!r}")

__version__ = "0.1.0"
