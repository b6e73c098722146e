"""The `nas` command: parses its arguments, runs a command, and turns errors into one line and a status.

The status is 0 if the command has succeeded, 1 if it has failed, 2 for wrong usage or input, and 130 if it
was interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nas.cli.compare import add_compare_command
from nas.cli.completion import add_completion_commands
from nas.cli.data import add_data_commands
from nas.cli.judge import add_judge_command
from nas.cli.model import add_model_commands
from nas.cli.search import add_search_commands
from nas.cli.spec import add_spec_commands
from nas.cli.train import add_train_command
from nas.plugins import FaultError
from nas.utils.terminal import paint


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status."""
    parser, path = build_parser(), list(sys.path)
    try:
        options = parser.parse_args(arguments)
        if options.run is None:
            options.parser.print_help(sys.stderr)
            return 2
        # Modules of the user's own are found here; they must not hide a package of the same name.
        sys.path.append(str(Path.cwd()))
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return 1
    except ValueError as error:
        _complain(str(error))
        return 2
    except FaultError as error:
        more = f"; the traceback is in {_traceback_file()}" if error.__cause__ else ""
        _complain(f"{error}{more}")
        return 1
    except Exception as error:
        _complain(f"{type(error).__name__}: {error}; the traceback is in {_traceback_file()}")
        return 1
    finally:
        sys.path[:] = path
    return status


def _complain(message: str) -> None:
    print(f"{paint('nas:', 'red', sys.stderr)} {_one_line(message)}", file=sys.stderr)


def _traceback_file() -> str:
    """Writes the traceback of an unexpected error to a new file and returns its path."""
    with tempfile.NamedTemporaryFile("w", prefix="nas-error-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


class _Parser(argparse.ArgumentParser):
    """Answers wrong usage with one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {_one_line(message)}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            close = difflib.get_close_matches(str(value), names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
            raise argparse.ArgumentError(action, f"unknown: {str(value)[:60]!r} ({hint})")


class _Version(argparse.Action):
    """Prints the version. To look it up takes a moment, which other commands need not spend."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"nas {version('spinenas')}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="nas",
        description="Neural architecture search for detection backbones.",
        epilog="nas COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.set_defaults(run=None, parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_search_commands(commands)
    add_train_command(commands)
    add_model_commands(commands)
    add_spec_commands(commands)
    add_data_commands(commands)
    add_judge_command(commands)
    add_compare_command(commands)
    add_completion_commands(commands)
    return parser


def _one_line(text: str) -> str:
    return " ".join(text.split())
