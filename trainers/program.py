"""The frame of the programs: flags, logs, and one line for an error that the user can mend."""

import re
import sys
from collections.abc import Callable

import tensorflow as tf
from absl import app, flags, logging

from tfdvae import random
from tfdvae.files import user_path

USER_ERROR = 2  # exit status


def run(main: Callable[[flags.FlagValues], None], define_flags: Callable[[flags.FlagValues], None]) -> None:
    """Parses the command line, calls `main(flags.FLAGS)` and ends the process with its status.

    `ValueError`s and `OSError`s (unknown names, missing files, a full disk) end with `error: ...` on the
    standard error stream and status 2; `--verbosity=1` shows the whole traceback.
    """
    app.run(
        lambda _: guarded(lambda: main(flags.FLAGS)),
        flags_parser=lambda argv: parse(define_flags, flags.FLAGS, argv),
    )


def parse(
    define_flags: Callable[[flags.FlagValues], None], values: flags.FlagValues, argv: list[str]
) -> list[str]:
    """Defines the flags in `values` and parses `argv`; where it is wrong, says so and exits with status 2."""
    try:
        define_flags(values)  # here already, ml_collections reads the overrides of the config from `sys.argv`
        # A shell leaves the `~` of `--config=~/x.py` as it is; other paths are expanded where they are used.
        rest = values([re.sub(r"^(--?config=)(~[^:]*)", _with_home, argument) for argument in argv])
        if len(rest) > 1:
            raise ValueError(f"Unknown arguments: {' '.join(rest[1:])}")
        if "config" in values:
            values.config.to_dict()  # a config file that cannot be read fails at the first use only
    except (AttributeError, KeyError) as error:
        # ml_collections nests its messages: quoted, and with a suggestion in a second line.
        text = str(error).replace("\\n", ". ").translate(str.maketrans("", "", "'\"\\"))
        sys.exit(_fail(f"The config has no such field: {text}"))
    except (flags.Error, ValueError, TypeError, OSError) as error:
        # ml_collections puts whole tracebacks into its messages; the last line has the reason.
        reason = str(error).strip().splitlines()[-1].strip().removeprefix("ValueError: ")
        sys.exit(_fail(f"{reason} (--help lists the flags)"))
    return rest


def _with_home(match) -> str:
    return f"{match[1]}{user_path(match[2], 'config')}"


def guarded(call: Callable[[], None]) -> int:
    """Calls, and returns the exit status: 0, or 2 after printing an error that the user can mend."""
    _quieten()
    random.enable_reproducibility()
    try:
        call()
    except (ValueError, OSError) as error:
        if logging.get_verbosity() > logging.INFO:
            raise
        return _fail(str(error))
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return USER_ERROR


def _quieten() -> None:
    """Drops what TFDS and `tf.distribute` report about their own work."""
    logging.get_absl_handler().addFilter(_is_of_interest)
    tf.get_logger().setLevel("ERROR")


def _is_of_interest(record) -> bool:
    warning = logging.converter.absl_to_standard(logging.WARNING)
    return record.levelno >= warning or "tensorflow_datasets" not in record.pathname
