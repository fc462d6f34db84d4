"""Packaging of tfdvae. The trainers are programs run from the checkout and are not installed."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_ROOT = Path(__file__).resolve().parent


def _read_version() -> str:
    """Reads the version from the source: importing the package would need TensorFlow."""
    source = (_ROOT / "tfdvae" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if match is None:
        raise RuntimeError('tfdvae/__init__.py has no line of the form __version__ = "X.Y.Z"')
    return match.group(1)


def _read_description() -> str:
    readme = _ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


# The lower bounds are the oldest versions that were tested, not the oldest that might work.
# constraints.txt holds the exact set that `make env` installs.
_REQUIRED = [
    "tensorflow>=2.21.0",
    "keras>=3.15.1",
    "tensorflow-probability>=0.25.0",
    "tf-keras>=2.21.0",  # imported by TensorFlow Probability, not by tfdvae
    "tensorflow-datasets>=4.9.10",
    "tensorboard>=2.21.0",  # tf.summary.scalar fails without it; TensorFlow does not require it
    "importlib_resources>=7.1.0",  # TFDS 4.9.10 imports it and declares it only for old Pythons
    "numpy>=2.4.6",
    "scipy>=1.17.1",  # the .mat files of OMNIGLOT and Caltech-101 Silhouettes
    "scikit-learn>=1.9.1",  # the digits that are the offline data set
    "h5py>=3.14.0",
    "absl-py>=2.5.1",
    "ml_collections>=1.1.0",
    "matplotlib>=3.11.2",
]

_DIMOD = ["dimod>=0.12.23"]  # binary quadratic models, for samplers that take those

# Warm-up requests of exported generators, and the gRPC client of TF Serving.
_SERVING = ["tensorflow-serving-api>=2.21.0"]

_TEST = [
    *_DIMOD,
    *_SERVING,
    "pytest>=9.2.0",
    "pytest-xdist>=3.8.0",
    "nbformat>=5.11.1",
    "nbclient>=0.11.0",
    "ipykernel>=7.4.0",
]

_DEV = [
    "ruff>=0.17.6",
    "mypy>=2.4.1",
]

_DOCS = [
    "sphinx>=9.0.4",
    "furo>=2025.12.19",
    "myst-parser>=5.2.0",
]

setup(
    name="tfdvae",
    version=_read_version(),
    description="Discrete variational autoencoders in TensorFlow 2, Keras 3 and TensorFlow Probability",
    long_description=_read_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["tfdvae", "tfdvae.*"]),
    install_requires=_REQUIRED,
    extras_require={"test": _TEST, "dev": _DEV, "docs": _DOCS, "dimod": _DIMOD, "serving": _SERVING},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
