"""Paths that a user gives, and files that are written whole or not at all."""

import json
import os
import pathlib
from collections.abc import Callable

WRITING = ".writing-"  # prefix of files and folders that are not whole yet


def user_path(value: str | os.PathLike, name: str = "path") -> pathlib.Path:
    """Returns a path that a user gave, with `~` and `~user` replaced by the home directory.

    Args:
      value: a string or an `os.PathLike` of strings.
      name: what the error calls it.

    Raises:
      ValueError: if `value` is no path, or there is no such home directory.
    """
    try:
        text = os.fspath(value)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise ValueError(f"`{name}` must be a path, as a string or `os.PathLike`. Received: {name}={value!r}")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"`{name}`: {error} Received: {name}={text!r}") from error


def write_atomically(path: str | os.PathLike, write: Callable[[str], object]) -> None:
    """Calls `write(temporary_path)`, then moves the file into place; a reader never sees a part of it.

    The temporary file lies beside `path` and has its name with a prefix. On any error it is removed, and
    what was at `path` before stays. What an interruption leaves behind, the next write of `path` replaces.

    Args:
      path: where the file goes; its directory is made if need be.
      write: called with the path to write to, a string with the same suffixes.

    Raises:
      ValueError: if `path` is there and no regular file (a device, a directory).
    """
    target = user_path(path).resolve()  # through links: they stay
    if target.exists() and not target.is_file():
        raise ValueError(f"A file can only be written in place of a regular file. Received: path={target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(WRITING + target.name)
    try:
        write(str(temporary))
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike, value) -> None:
    """Writes `value` as JSON to `path`, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    write_atomically(path, lambda name: pathlib.Path(name).write_text(text))
