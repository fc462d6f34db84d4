"""Trained generators as SavedModels: export, audit, loading; `client` talks to a model server."""

from tfdvae.export.audit import Audit, audit
from tfdvae.export.generator import Generator, row_seeds
from tfdvae.export.layout import version_directory, versions
from tfdvae.export.loading import LoadedGenerator, load_generator
from tfdvae.export.saving import export_generator
from tfdvae.export.signatures import ChainBank, GeneratorSignatures, make_chain_bank

__all__ = [
    "Audit",
    "ChainBank",
    "Generator",
    "GeneratorSignatures",
    "LoadedGenerator",
    "audit",
    "export_generator",
    "load_generator",
    "make_chain_bank",
    "row_seeds",
    "version_directory",
    "versions",
]
