"""The `nas` command: parses its arguments, runs a command, and turns errors into one line and a status.

The status is 0 if the command has succeeded, 1 if it has failed, 2 for wrong usage or input, and 130 if it
was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from nas.cli.arguments import CommandParser
from nas.cli.compare import add_compare_command
from nas.cli.completion import add_completion_commands
from nas.cli.data import add_data_commands
from nas.cli.examples import add_examples
from nas.cli.judge import add_judge_command
from nas.cli.model.commands import add_model_commands
from nas.cli.plugins import add_plugin_commands
from nas.cli.runs import add_run_commands
from nas.cli.search import add_search_commands
from nas.cli.spec import add_spec_commands
from nas.cli.train import add_train_command
from nas.cli.versus import add_versus_command
from nas.plugins.faults import FaultError, source_location
from nas.utils.environment import name_user_and_home, print_anything
from nas.utils.signals import INTERRUPTED, interrupt_on_signals
from nas.utils.terminal import complain

OWN_CODE = ("search", "resume", "train", "versus", "judge", "compare", "complete")
"""Commands that may run code of the user's own, which is looked for in the working folder. For the others,
that may be somebody else's: they import nothing from it, not even in the place of a missing package."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    print_anything()
    name_user_and_home()
    try:
        with interrupt_on_signals():
            return _answer(arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED


def _answer(arguments: Sequence[str] | None) -> int:
    """Runs the command, and turns its errors into one line and a status."""
    parser, path = build_parser(), list(sys.path)
    try:
        options = _parse(parser, arguments)
        if options.run is None:
            options.parser.print_help(sys.stderr)
            return 2
        # Modules of the user's own are found here; they must not hide a package of the same name.
        if options.command in OWN_CODE or getattr(options, "reader", None):
            sys.path.append(str(_working_folder()))
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has seen enough.
        _forget_output()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
        if error.errno == errno.ENOSPC:  # It may be standard output that has no room.
            _forget_output()
        return 1
    except UnicodeEncodeError as error:
        complain(
            f"{error.object[:60]!r} cannot be written in the encoding {error.encoding} of this locale; "
            "set LC_ALL=C.UTF-8"
        )
        return 2
    except ValueError as error:
        complain(str(error))
        return 2
    except FaultError as error:
        complain(f"{error}{_kept_traceback() if error.__cause__ else ''}")
        return 1
    except SystemExit as error:
        where = source_location(error)
        if not where:  # It is a parser's.
            raise
        complain(f"{where}the code ended the program: SystemExit({error.code!r})")
        return 1
    except MemoryError:
        complain("this needs more memory than there is")
        return 1
    except Exception as error:
        complain(f"{type(error).__name__}: {error}{_kept_traceback()}")
        return 1
    finally:
        sys.path[:] = path
    return status


def _parse(parser: CommandParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments. What `--help` prints is written at once, so that a full disk is an error."""
    try:
        return parser.parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()
        raise


def _forget_output() -> None:
    """Keeps Python from complaining at exit that standard output cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _working_folder() -> Path:
    """The folder in which the command was called.

    Raises:
        FileNotFoundError: if it has been removed meanwhile.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise FileNotFoundError("the working folder has been removed; change to another one") from None


def _kept_traceback() -> str:
    """Writes the traceback of an unexpected error to a new file, and says where it is."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="nas-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            traceback.print_exc(file=file)
    except OSError:
        return "; its traceback is lost, as the temporary folder cannot be written"
    return f"; the traceback is in {file.name}"


class _Version(argparse.Action):
    """Prints the version. To look it up takes a moment, which other commands need not spend."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"nas {version('spinenas')}")
        parser.exit()


def build_parser() -> CommandParser:
    """The parser of all commands."""
    parser = CommandParser(
        prog="nas",
        description="Neural architecture search for detection backbones.",
        epilog="nas COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.set_defaults(run=None, parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    add_search_commands(commands)
    add_run_commands(commands)
    add_plugin_commands(commands)
    add_train_command(commands)
    add_versus_command(commands)
    add_model_commands(commands)
    add_spec_commands(commands)
    add_data_commands(commands)
    add_judge_command(commands)
    add_compare_command(commands)
    add_completion_commands(commands)
    add_examples(parser)
    return parser
