"""Prepared records of the publisher's files: where they are kept, made once, read as whole splits."""

import contextlib
import functools
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tfdvae.data import catalog, checksums, sources
from tfdvae.data.formats import Examples
from tfdvae.files import user_path

_TIMEOUT_SECONDS = 10


class Records(NamedTuple):
    """Names prepared records: hashable, so that it can key caches.

    Attributes:
      name: of the set.
      root: TFDS data directory of these records; its last part tells what they are made from.
      paths: pairs (file name, path) of the publisher's files; `None` if TFDS is to download them.
      searched: where the files were sought and not found, if anywhere.
    """

    name: str
    root: Path
    paths: tuple[tuple[str, Path], ...] | None
    searched: Path | None = None


def locate(name: str, data_dir: str | os.PathLike | None = None) -> Records:
    """Finds the publisher's files of a set, and the place of the records made from them.

    Records lie in `TFDS_DATA_DIR` (default: `~/tensorflow_datasets`), below a directory named by a
    digest of the files: files that change, or are cut short, are never hidden by older records.
    """
    paths = sources.locate(catalog.info(name), data_dir)
    origin = "published" if paths is None else sources.fingerprint(paths)
    home = user_path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets", "TFDS_DATA_DIR")
    root = home / "tfdvae" / origin
    if paths is None:
        return Records(name, root, None, None if data_dir is None else user_path(data_dir, "data_dir"))
    return Records(name, root, tuple(paths.items()))


def num_examples(name: str, split: str, data_dir: str | os.PathLike | None = None) -> int:
    """The number of images of a split in the files at hand (`info(name)` has the published numbers).

    Args:
      name: one of `names()`.
      split: "train", "valid" (or "validation") or "test".
      data_dir: as in `load`.
    """
    split = catalog.check_split(split)
    return _builder(locate(name, data_dir)).split_sizes()[split]


def read_split(records: Records, split: str) -> Examples:
    """The images and labels of a split, in the order of the files.

    Raises:
      FileNotFoundError: if the files are neither at hand nor can be downloaded.
      OSError: if the records are damaged.
      ValueError: if a file is truncated or of another format.
    """
    builder = _builder(records)
    expected = builder.split_sizes()[split]
    try:
        examples = builder.read_split(split)
        found = f"{len(examples.images)} images"
    except Exception as error:  # TensorFlow raises whatever the damage leads to.
        found = f"{type(error).__name__}: {error}"
    if found != f"{expected} images":
        raise OSError(
            f"The records of {records.name} in {builder.data_path} are damaged: expected {expected} images "
            f"of the {split} split, found {found}. Delete that directory: they will be made anew."
        )
    return examples


@functools.lru_cache(maxsize=16)
def _builder(records: Records):
    """The builder of records, prepared."""
    # Imports TFDS, which `import tfdvae.data` should not have to wait for.
    from tfdvae.data import builders

    facts = catalog.info(records.name)
    paths = None if records.paths is None else dict(records.paths)
    make = functools.partial(builders.BUILDERS[records.name], paths=paths, data_dir=records.root)
    builder = make()
    if not builder.is_complete:
        if paths is None:
            _check_network(facts, records.searched)
        try:
            builder.prepare()
        except Exception as error:
            # Two processes may prepare the same records: the first to finish wins, to the same effect.
            builder = make()
            if not builder.is_complete:
                if paths is not None:
                    raise
                raise _not_at_hand(facts, error, records.searched) from None
    found = builder.info.metadata.get("checksums", {})
    checksums.check_published(facts, found, builder.split_sizes(), paths)
    return builder


def _check_network(facts: catalog.DatasetInfo, searched: Path | None) -> None:
    """Asks for the first file once: without a network, TFDS goes on trying for minutes."""
    request = urllib.request.Request(facts.files[0].url, method="HEAD")
    try:
        # A server that refuses this request is there: let TFDS try.
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
    except OSError as error:
        raise _not_at_hand(facts, error, searched) from None


def _not_at_hand(facts: catalog.DatasetInfo, error: Exception, searched: Path | None) -> FileNotFoundError:
    return FileNotFoundError(
        f"The files of {facts.name} are not at hand, and could not be downloaded ({type(error).__name__}: "
        f"{error}).\n{sources.instructions(facts, searched)}"
    )
