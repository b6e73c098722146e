"""`nas spec show|check|draw|cost` and `nas spaces`: what can be built, seen from the command line."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.arguments import Commands
from nas.utils.terminal import complain, say
from search_space.utils.strict_json import to_json

if TYPE_CHECKING:
    from search_space import Cost, PartCost, Space


SPEC_HELP = "a spec file, or a published name such as spinenet-49"


def add_spec_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    spec = commands.add_parser(
        "spec",
        help="show, check or draw an architecture, or compute its cost",
        description="Look at one architecture.",
    )
    spec.set_defaults(run=None, parser=spec)
    actions = spec.add_subparsers(title="actions", metavar="ACTION")

    show = actions.add_parser("show", help="print the blocks as a table, or as a spec file")
    show.add_argument("spec", metavar="SPEC", help=SPEC_HELP)
    show.add_argument("--json", action="store_true", help="print the spec file's text")
    show.set_defaults(run=_show)

    check = actions.add_parser("check", help="check a spec; print its key, its dead blocks and its spaces")
    check.add_argument("specs", metavar="SPEC", nargs="+", help=SPEC_HELP)
    check.add_argument("--json", action="store_true", help="print one JSON object a spec")
    check.set_defaults(run=_check)

    draw = actions.add_parser("draw", help="draw it as in the paper, as SVG, PNG or PDF")
    draw.add_argument("spec", metavar="SPEC", help=SPEC_HELP)
    draw.add_argument(
        "-o", "--output", metavar="FILE", help="ends in .svg, .png or .pdf; default: the spec's name and .svg"
    )
    draw.add_argument("--title", default="", help="printed above the drawing")
    draw.set_defaults(run=_draw)

    cost = actions.add_parser("cost", help="compute parameters, multiply-adds and activation memory")
    cost.add_argument("spec", metavar="SPEC", help=SPEC_HELP)
    cost.add_argument(
        "--scale",
        default="49",
        help="a published scale (49S, 49, 96, 143, 143L, 190, proxy, mobile-49, ...), or one with changes: "
        "49,width=0.5,repeats=2; default: 49",
    )
    cost.add_argument(
        "--size", default="640", help="input size in pixels, such as 640 or 480x640; default: 640"
    )
    cost.add_argument(
        "--head",
        metavar="HEAD",
        default="none",
        help="retinanet, mask-rcnn, classifier or another head by name; default: none",
    )
    cost.add_argument("--classes", type=int, help="outputs of the head; default: 80")
    cost.add_argument("--parts", action="store_true", help="also print the cost of every part")
    cost.add_argument("--json", action="store_true", help="print a JSON object with exact numbers")
    cost.set_defaults(run=_cost)

    spaces = commands.add_parser(
        "spaces", help="list the search spaces", description="List the search spaces."
    )
    spaces.add_argument("--json", action="store_true", help="print a JSON object with exact sizes")
    spaces.set_defaults(run=_spaces)


def _show(options: argparse.Namespace) -> int:
    from search_space import load_spec

    spec = load_spec(options.spec)
    if options.json:
        sys.stdout.write(spec.to_json())
        return 0
    description = spec.describe()
    print(_table(description.table))
    for note in (*description.notes, f"key {spec.key()}"):
        print(note)
    return 0


def _check(options: argparse.Namespace) -> int:
    from search_space import SPACES, SpecError, load_spec

    status = 0
    for source in options.specs:
        try:
            spec = load_spec(source)
        except SpecError as error:
            complain(str(error))
            status = 2
            continue
        description = spec.describe()
        spaces = [name for name, space in SPACES.items() if space.contains(spec)]
        if options.json:
            entry = {"spec": source, "key": spec.key(), **description.facts, "spaces": spaces}
            print(to_json(entry))
            continue
        say(f"{source}: valid, {description.summary}, key {spec.key()}")
        for warning in description.warnings:
            print(f"  {warning}")
        print(f"  in the spaces: {', '.join(spaces) or 'none of the ready-made ones'}")
    return status


def _draw(options: argparse.Namespace) -> int:
    from search_space import Drawable, DrawingError, load_spec

    spec = load_spec(options.spec)
    if not isinstance(spec, Drawable):
        raise DrawingError(f"{options.spec}: a spec of the family {spec.title} cannot be drawn")
    output = options.output or Path(options.spec).with_suffix(".svg").name
    print(spec.draw(output, options.title))
    return 0


def _cost(options: argparse.Namespace) -> int:
    from search_space import HEADS, CostError, load_spec, parse_scale

    if options.classes is not None and options.head == "none":
        heads = ", ".join(name for name in HEADS if name != "none")
        raise CostError(f"--classes needs a head: --head with one of {heads}")
    classes = 80 if options.classes is None else options.classes
    spec, scale, size = load_spec(options.spec), parse_scale(options.scale), _parse_size(options.size)
    cost = spec.cost(scale, size, options.head, classes)
    if options.json:
        print(to_json(_cost_as_dict(cost, options.parts)))
        return 0
    if options.parts:
        header = ("part", "params", "MACs", "executed MACs", "activation bytes")
        print(_table([header, *map(_numbers, cost.parts)], right=True))
    print(f"params         {cost.params:>18,}  {cost.params / 1e6:10.2f} M")
    print(f"MACs           {cost.macs:>18,}  {cost.macs / 1e9:10.2f} G")
    print(f"executed MACs  {cost.executed_macs:>18,}  {cost.executed_macs / 1e9:10.2f} G")
    mebibytes = cost.activation_bytes / 2**20
    print(f"activations    {cost.activation_bytes:>18,}  {mebibytes:10.1f} MiB an image in training")
    return 0


def _spaces(options: argparse.Namespace) -> int:
    from nas.plugins.kinds import list_plugins
    from search_space import SPACES

    others = {name: about for name, about in list_plugins("space").items() if name not in SPACES}
    if options.json:
        sizes: dict[str, Mapping[str, object]] = {name: _sizes(space) for name, space in SPACES.items()}
        sizes |= {name: {"about": about, **_other_sizes(name)} for name, about in others.items()}
        print(to_json(sizes))
        return 0
    tables: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for name, space in SPACES.items():
        described = space.describe()
        specs = "" if space.num_specs is None else f"10^{math.log10(space.num_specs):.1f}"
        row = (name, *described.values(), f"10^{math.log10(space.size):.1f}", specs)
        tables.setdefault(tuple(described), []).append(row)
    for columns, rows in tables.items():
        print(_table([("space", *columns, "genotypes", "specs"), *rows]))
        print()
    print(_table([("other spaces", ""), *others.items()]))
    return 0


def _sizes(space: Space) -> dict[str, int]:
    """Returns the exact sizes of a space; the number of distinct specs only if it is known."""
    specs = {} if space.num_specs is None else {"specs": space.num_specs}
    return {"genotypes": space.size, **specs, "decisions": len(space.decisions)}


def _other_sizes(name: str) -> dict[str, int]:
    """Returns the exact sizes of a space that is configured by name, or nothing if it needs arguments."""
    from nas.config import ConfigError, build, compose

    try:
        space: Space = build(compose(f"space/{name}"), "space")
    except ConfigError:
        return {}
    return _sizes(space)


def _cost_as_dict(cost: Cost, with_parts: bool) -> dict[str, object]:
    names = ("params", "macs", "executed_macs", "activation_bytes")
    found: dict[str, object] = {name: getattr(cost, name) for name in names}
    if with_parts:
        found["parts"] = [{name: getattr(part, name) for name in ("name", *names)} for part in cost.parts]
    return found


def _numbers(part: PartCost) -> tuple[str, ...]:
    numbers = (part.params, part.macs, part.executed_macs, part.activation_bytes)
    return part.name, *(f"{number:,}" for number in numbers)


def _parse_size(text: str) -> int | tuple[int, int]:
    from search_space import CostError

    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and len(side) < 10 for side in sides):
        raise CostError(f"--size must be pixels in 1..65536, such as 640 or 480x640, not {text[:40]!r}")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _table(rows: Sequence[Sequence[str]], right: bool = False) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right and i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
