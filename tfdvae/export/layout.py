"""The folders of a model server, `<name>/<version>/` with integers as versions, and its config files."""

import os
import pathlib
import secrets
import shutil
from collections.abc import Callable

from tfdvae._validation import integer
from tfdvae.files import WRITING, user_path

ALLOWED_BATCH_SIZES = (1, 16, 64, 256)  # that a server fills its batches up to; the last one is the largest


def versions(directory: str | os.PathLike) -> list[int]:
    """The versions of a model, in order; none if there is no such directory."""
    directory = user_path(directory, "directory")
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if _is_version(path) and path.is_dir())


def _is_version(path):
    """Whether the name is an integer as `str` writes it: not 007."""
    return path.name.isascii() and path.name.isdecimal() and str(int(path.name)) == path.name


def generators(directory: str | os.PathLike) -> list[str]:
    """The names of the folders in a directory that hold a generator; unreadable ones do not count."""
    names = []
    for path in user_path(directory, "directory").iterdir():
        try:
            if any((path / str(n) / "saved_model.pb").is_file() for n in versions(path)):
                names.append(path.name)
        except PermissionError:
            continue
    return sorted(names)


def version_directory(directory: str | os.PathLike, version: int | None = None) -> pathlib.Path:
    """The directory of a version, by default the latest; `directory` may be that of a version itself.

    Raises:
      FileNotFoundError: if there is none.
    """
    directory = user_path(directory, "directory")
    if version is None and (directory / "saved_model.pb").is_file():
        return directory
    version = None if version is None else integer("version", version)
    present = versions(directory)
    if not present or (version is not None and version not in present):
        wanted = "version" if version is None else f"version {version}"
        raise FileNotFoundError(
            f"{directory} holds no {wanted} of a generator. Versions there: {present or 'none'}"
        )
    return directory / str(present[-1] if version is None else version)


def write_version(directory: str | os.PathLike, write: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Calls `write(temporary)`, and makes what it wrote the next version; returns the version's directory.

    A reader sees the whole version or nothing of it, whatever happens meanwhile: a server reads folders named
    by integers only, and what is not whole yet has another name. What a killed call left
    behind, in a folder whose name begins with a dot, the next call of this machine removes.

    Raises:
      ValueError: if `directory` is there and no directory.
    """
    directory = user_path(directory, "directory").resolve()
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"A generator is exported to a directory. Received: {directory}, which is a file")
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob(f"{WRITING}*"):
        if not _is_running(path.name.removeprefix(WRITING).split("-")[0]):
            shutil.rmtree(path, ignore_errors=True)
    # Open to whom the umask allows: a server may run as another user, whom `tempfile` would shut out.
    temporary = directory / f"{WRITING}{os.getpid()}-{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        write(temporary)
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        while True:
            taken = [int(path.name) for path in directory.iterdir() if _is_version(path)]
            target = directory / str(max(taken, default=0) + 1)
            try:
                os.rename(temporary, target)
            except OSError:
                if not target.exists():
                    raise
                continue  # another export took the number: no directory with files in it is ever replaced
            _flush(directory)
            return target
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _flush(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def batching_config(allowed_batch_sizes) -> str:
    """batching_params.pbtxt: the server merges requests, and fills a batch up to one of these sizes."""
    lines = [f"max_batch_size {{ value: {allowed_batch_sizes[-1]} }}"]
    # A graph for small machines: few batches at a time, and little waiting for company.
    lines += ["batch_timeout_micros { value: 2000 }", "max_enqueued_batches { value: 1000 }"]
    lines += ["num_batch_threads { value: 2 }"]
    lines += [f"allowed_batch_sizes: {size}" for size in allowed_batch_sizes]
    return "\n".join(lines) + "\n"


def models_config(names, base_path="/models") -> str:
    """models.config for a server that sees the exported generators `names` below `base_path`."""
    quoted = [name.replace("\\", "\\\\").replace('"', '\\"') for name in names]
    entries = [
        f'  config {{ name: "{name}" base_path: "{base_path}/{name}" model_platform: "tensorflow" }}'
        for name in quoted
    ]
    return "\n".join(["model_config_list {", *entries, "}"]) + "\n"
