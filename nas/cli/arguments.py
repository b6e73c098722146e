"""What the command line's modules share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

Commands = Any  # argparse's type for a set of subcommands has no public name.


def add_configured_command(
    commands: Commands,
    name: str,
    about: str,
    run: Callable[[argparse.Namespace], int],
    aliases: Sequence[str] = (),
) -> None:
    """Adds a command whose words are KEY=VALUE and Hydra's flags; `options.overrides` holds them.

    Args:
        commands: the parser's.
        name: of the command.
        about: what it does, for `nas --help`.
        run: runs the command and returns the exit status.
        aliases: other names of the command.
    """
    # No character begins an option here, and --help is a word like any other: the configuration answers it.
    parser = commands.add_parser(
        name,
        aliases=list(aliases),
        help=f"{about}; options are KEY=VALUE",
        add_help=False,
        prefix_chars="\0",
    )
    parser.add_argument("overrides", nargs="*")
    parser.set_defaults(run=run)
