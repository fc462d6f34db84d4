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
    """TensorFlow 2.21 writes notices when it is imported, whatever `TF_CPP_MIN_LOG_LEVEL` says."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules:
        with _held_back():
            import tensorflow  # noqa: F401


_import_tensorflow()
