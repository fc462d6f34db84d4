"""The frame of the programs: flags, logs, and one line for an error that the user can mend."""

import sys
from collections.abc import Callable

import tensorflow as tf
from absl import app, flags, logging

_STATUS = 2


def run(main: Callable[[flags.FlagValues], None], define_flags: Callable[[flags.FlagValues], None]) -> None:
    """Defines and parses the flags, then calls `main(flags.FLAGS)`; the process ends with its status.

    `ValueError`s and `OSError`s (unknown names, missing files, a full disk) end with `error: ...` and
    status 2; `--verbosity=1` shows where they come from.
    """
    define_flags(flags.FLAGS)
    app.run(
        lambda _: guarded(lambda: main(flags.FLAGS)),
        flags_parser=lambda argv: parse(flags.FLAGS, argv),
    )


def parse(values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Parses a command line into `values`; where it is wrong, says so and exits with status 2."""
    try:
        rest = values(argv)
        if len(rest) > 1:
            raise ValueError(f"Unknown arguments: {' '.join(rest[1:])}")
    except AttributeError as error:  # ml_collections: an override of a field that the config has not
        name = getattr(error, "name", None)
        message = f"The config has no such field: {_last_line(error)}" if name is None else str(error)
        sys.exit(_fail(message))
    except (flags.Error, ValueError, TypeError, KeyError, OSError) as error:
        sys.exit(_fail(f"{_last_line(error)} (--help lists the flags)"))
    return rest


def guarded(call: Callable[[], None]) -> int:
    """Calls, and returns the exit status: 0, or 2 after printing an error that the user can mend."""
    _quieten()
    try:
        call()
    except (ValueError, OSError) as error:
        if logging.get_verbosity() > logging.INFO:
            raise
        return _fail(str(error))
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return _STATUS


def _last_line(error: Exception) -> str:
    """ml_collections puts the whole traceback of a config file's error into its message."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip().removeprefix("ValueError: ") if lines else type(error).__name__


def _quieten() -> None:
    """Drops what TFDS and `tf.distribute` report about their own work."""
    logging.get_absl_handler().addFilter(_is_ours)
    tf.get_logger().setLevel("ERROR")


def _is_ours(record) -> bool:
    return record.levelno >= logging.converter.STANDARD_WARNING or "tensorflow_datasets" not in record.pathname
