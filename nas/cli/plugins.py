"""`nas tasks`, `nas controllers`: what is installed, plug-ins of packages included."""

from __future__ import annotations

import argparse

from nas.cli.arguments import Commands
from nas.plugins.kinds import list_plugins
from search_space.utils.strict_json import to_json


def add_plugin_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    for kind in ("tasks", "controllers"):
        listing = commands.add_parser(kind, help=f"list the {kind} that are installed")
        listing.add_argument("--json", action="store_true", help="print a JSON object")
        listing.set_defaults(run=_list, kind=kind)


def _list(options: argparse.Namespace) -> int:
    """`nas tasks`, `nas controllers`: lists what is installed of a kind."""
    found = list_plugins(options.kind.removesuffix("s"))
    if options.json:
        print(to_json(found))
    else:
        width = max(map(len, found))
        for name, about in found.items():
            print(f"{name:<{width}}  {about}")
    return 0
