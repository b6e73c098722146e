"""What a report is built from: tiles, figures, tables and commands. Each has a template of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

ROW = 5
"""So many tiles have room in one row."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Short facts side by side.

    Args:
        tiles: (name, value) pairs.
    """

    template: ClassVar[str] = "tiles.html.j2"
    tiles: Sequence[tuple[str, str]]

    @property
    def columns(self) -> int:
        """How many stand side by side on a wide screen, so that two rows are about equally long."""
        return len(self.tiles) if len(self.tiles) <= ROW else -(-len(self.tiles) // 2)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with its caption.

    Args:
        title: plain text.
        about: how to read the picture, in whole sentences; "" for nothing.
        picture: an SVG chart of `nas.reporting.charts`, or an image inside the page.
    """

    title: str
    picture: Markup
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures side by side, where the window has room.

    Args:
        figures: in their order.
    """

    template: ClassVar[str] = "figures.html.j2"
    figures: Sequence[Figure]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table under a heading.

    Args:
        title: of the heading.
        head: names of the columns.
        rows: the cells, plain text.
        notes: sentences below the table.
    """

    template: ClassVar[str] = "table.html.j2"
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to type, under a heading.

    Args:
        title: of the heading.
        text: what the command does.
        command: what to type.
        config: a configuration that is folded away; "" for none.
    """

    template: ClassVar[str] = "command.html.j2"
    title: str
    text: str
    command: str
    config: str = ""


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Several commands to type, under one heading.

    Args:
        title: of the heading.
        commands: (what it does, what to type).
    """

    template: ClassVar[str] = "commands.html.j2"
    title: str
    commands: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Note:
    """A paragraph that the reader should not miss.

    Args:
        text: of the paragraph; characters of HTML are escaped.
    """

    template: ClassVar[str] = "note.html.j2"
    text: str


Block = Tiles | Figures | Table | Command | Commands | Note
