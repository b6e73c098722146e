"""What the command line's modules share: the parser, commands of KEY=VALUE, and their help."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from search_space.utils.lookup import nearest

MAX_PIXELS = 128_000_000
"""The default of `proxy_tasks.data.image_io`, which takes a moment to import."""

Commands = Any  # argparse's type for a set of subcommands has no public name.

WIDTH = 80
"""Columns of a help text at most; it reads badly where lines are longer."""


class CommandParser(argparse.ArgumentParser):
    """Answers wrong usage with one line, and knows what was added to it, which completion asks for."""

    def __init__(self, *words: Any, **settings: Any) -> None:
        self.arguments: list[argparse.Action] = []
        self.commands: Commands = None
        super().__init__(*words, **{"formatter_class": _Formatter, **settings})

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Adds an argument, see argparse, and keeps it in `arguments`."""
        action = super().add_argument(*names, **settings)
        self.arguments.append(action)
        return action

    def add_subparsers(self, **settings: Any) -> Any:
        """Adds a set of commands, see argparse, and keeps it in `commands`."""
        self.commands = super().add_subparsers(**settings)
        return self.commands

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses the words of a command that takes KEY=VALUE and flags alone with its flags in front.

        Python's parser takes the first group of plain words for all there are.
        """
        if args is not None and self.get_default("flags_alone"):
            args = sorted(args, key=lambda word: not word.startswith("--"))
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Prints one line and ends with status 2."""
        print(f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            meant = nearest(str(value), names)
            hint = f"did you mean {meant}?" if meant else f"known are {', '.join(names)}"
            raise argparse.ArgumentError(action, f"unknown: {str(value)[:60]!r} ({hint})")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps within `WIDTH`, and leaves the line breaks of examples as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=min(WIDTH, shutil.get_terminal_size().columns) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            part if part.startswith("examples:") else textwrap.fill(part, width) for part in paragraphs
        )


def show_examples(*commands: str) -> str:
    """The end of a help text: commands that can be typed as they are."""
    return "\n".join(["examples:", *(f"  {command}" for command in commands)])


OPTIONS = {
    "FILE.yaml": "a file of settings, with lines such as seed: 1",
    "--cfg job": "print all keys with their values, and start nothing",
    "--multirun": "try several values one after the other: seed=1,2,3",
    "--config-dir DIR": "find presets of your own in this folder",
    "--hydra-help": "further options of Hydra, which reads the settings",
}
"""What the commands of KEY=VALUE take beside their keys."""


@dataclass(frozen=True, kw_only=True)
class ConfiguredHelp:
    """What `--help` says of a command of KEY=VALUE.

    Args:
        about: what it does, in half a line.
        text: what it does, in whole sentences.
        keys: the keys that most people need, each with a sentence.
        examples: commands that can be typed.
        word: what may come before the keys.
        options: what else can be given, with half a line each.
    """

    about: str
    text: str
    keys: Mapping[str, str]
    examples: Sequence[str]
    word: str = "[FILE.yaml]"
    options: Mapping[str, str] = field(default_factory=lambda: OPTIONS)

    def show(self, name: str) -> str:
        """The text for a command of that name, within `WIDTH` columns."""
        column = max(map(len, self.keys)) + 3
        keys = [
            textwrap.fill(
                text,
                WIDTH - 2,
                initial_indent=f"  {key:<{column}}",
                subsequent_indent=" " * (column + 2),
            )
            for key, text in self.keys.items()
        ]
        return "\n".join(
            [
                f"usage: nas {name} {self.word} [KEY=VALUE ...]",
                "",
                textwrap.fill(self.text, WIDTH - 2),
                "",
                "keys that most people need:",
                *keys,
                "",
                "more:",
                *(f"  {option:<18} {text}" for option, text in self.options.items()),
                "",
                show_examples(*self.examples),
            ]
        )


def add_configured_command(
    commands: Commands,
    name: str,
    words: ConfiguredHelp,
    run: Callable[[argparse.Namespace], int],
    aliases: Sequence[str] = (),
) -> None:
    """Adds a command whose words are KEY=VALUE and Hydra's flags; `options.overrides` holds them.

    Args:
        commands: the parser's.
        name: of the command.
        words: what its help says.
        run: runs the command and returns the exit status.
        aliases: other names of the command.
    """
    # No character begins an option here, and --help is a word like any other: the configuration answers it.
    parser = commands.add_parser(
        name,
        aliases=list(aliases),
        help=f"{words.about}; options are KEY=VALUE",
        add_help=False,
        prefix_chars="\0",
    )
    parser.add_argument("overrides", nargs="*")
    parser.set_defaults(run=run)


def add_max_pixels_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says how large an image may be."""
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="leave out images of more pixels; for a training: task.data.max_pixels; default: 128 million",
    )
