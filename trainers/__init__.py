"""Programs: train, evaluate, sample. Thin; everything they do is in `tfdvae`."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def _held_back():
    """Keeps what is written to the standard error stream, and shows it only if an exception passes by."""
    with tempfile.TemporaryFile() as file:
        original = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            file.seek(0)
            os.write(original, file.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def _import_tensorflow():
    """Imports it without the notices on oneDNN and missing GPUs that version 2.21 writes at any log level.

    With TF_CPP_MIN_LOG_LEVEL=0 they are shown.
    """
    quiet = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") != "0" and "tensorflow" not in sys.modules
    with _held_back() if quiet else contextlib.nullcontext():
        import tensorflow as tf

        tf.config.list_physical_devices()


_import_tensorflow()
