"""What commands on a data set share: whose reader is used, and how much of a set may be left out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas.config.schema import MISSING, signature_of
from nas.plugins.faults import one_line, pass_interrupt, source_location
from nas.plugins.import_path import PluginError, find_target

if TYPE_CHECKING:
    from proxy_tasks.data.reader import Reader


def add_reader_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names a reader."""
    parser.add_argument(
        "--reader", metavar="FILE.CLASS", help="a reader of your own; default: the one that recognizes DIR"
    )


def add_left_out_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says how much may be left out."""
    parser.add_argument(
        "--allow-left-out",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the images, and of the objects, that may be unusable; default: 0.1",
    )


def named_reader(path: str | None) -> Reader | None:
    """The reader that an import path such as "my_file.MyReader" names; None if none is named.

    Raises:
        PluginError: if there is none, or it cannot be made without arguments.
    """
    from proxy_tasks.data.reader import Reader

    if path is None:
        return None
    kind = find_target(path)
    lacking = sorted(getattr(kind, "__abstractmethods__", ()))
    if lacking:
        raise PluginError(f"{path} lacks the method {' and '.join(lacking)}")
    parameters = signature_of(path, "").parameters.values()
    needed = [parameter.name for parameter in parameters if parameter.default == MISSING]
    if needed:
        raise PluginError(f"{path} needs a value for {' and '.join(needed)}; give a default in the class")
    try:
        reader: object = kind()
    except (Exception, SystemExit) as error:
        pass_interrupt(error)
        raise PluginError(
            f"{source_location(error)}{path} cannot be made: {type(error).__name__}: {one_line(error)}"
        ) from None
    if not isinstance(reader, Reader):
        raise PluginError(f"{path} must be a class that inherits proxy_tasks.Reader")
    return reader
