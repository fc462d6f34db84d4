"""What must be settled before TensorFlow is imported: places for files, threads, two logical devices.

Everything that the tests write lies below `.cache/` in the checkout, in folders with names of their
own, so that two runs at the same time do not clear each other's files.
"""

import atexit
import os
import tempfile
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[1] / ".cache"


def _private_folders() -> None:
    """Points libraries and child processes at `.cache/`, whatever the shell's environment says."""
    temporary = _CACHE / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(temporary)  # `tmp_path`; kept where a test failed
    session = tempfile.TemporaryDirectory(prefix="session-", dir=temporary, ignore_cleanup_errors=True)
    atexit.register(session.cleanup)
    os.environ["TMPDIR"] = session.name  # TFDS leaves a folder behind at every import
    tempfile.tempdir = None  # forget the folder that pytest may have looked up already
    # A data set prepared by an earlier run must not hide a fault in its builder.
    os.environ["TFDS_DATA_DIR"] = str(Path(session.name, "tensorflow_datasets"))
    os.environ["KERAS_HOME"] = str(Path(session.name, "keras"))  # no keras.json of the user's
    for variable, folder in (
        ("MPLCONFIGDIR", "matplotlib"),
        ("IPYTHONDIR", "ipython"),
        ("JUPYTER_CONFIG_DIR", "jupyter/config"),
        ("JUPYTER_DATA_DIR", "jupyter/data"),
        ("JUPYTER_RUNTIME_DIR", "jupyter/runtime"),
        ("XDG_CACHE_HOME", "xdg/cache"),
        ("XDG_CONFIG_HOME", "xdg/config"),
        ("XDG_DATA_HOME", "xdg/data"),
    ):
        os.environ[variable] = str(_CACHE / folder)


_private_folders()
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import gc  # noqa: E402

import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

# A fixed number of threads, because reductions are bit for bit the same only at one thread count.
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.config.threading.set_inter_op_parallelism_threads(2)
# The tolerances were chosen for the CPU; a GPU, where there is one, is left alone.
tf.config.set_visible_devices([], "GPU")
# Two logical devices let `tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])` run on any machine.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from tfdvae import random  # noqa: E402

random.enable_reproducibility()
# Graphs are many objects: by default a long run is traversed again and again.
gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `--dist loadfile`: three folders share fixtures that take long, and so a process."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFixtures(LoadFileScheduling):
        def _split_scope(self, nodeid):
            folders = ("tests/export/", "tests/trainers/", "tests/notebooks/")
            return next(filter(nodeid.startswith, folders), super()._split_scope(nodeid))

    return ByFixtures(config, log)


@pytest.fixture(scope="session")
def strategy():
    """Two replicas. One strategy serves a whole process: a second one would number its collective
    operations from the beginning again, and TensorFlow takes equal numbers for the same operation.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
