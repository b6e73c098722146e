"""`nas spec show|check|draw|cost` and `nas spaces`: what can be built, seen from the command line."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_space import Cost, MergingCellsSpec, PartCost, Scale, SpineNetSpec

Commands = Any  # argparse's type for a set of subcommands has no public name.

SPEC_HELP = "a spec file, or a published name such as spinenet-49"


def add_spec_commands(commands: Commands) -> None:
    """Adds the commands to the parser's."""
    spec = commands.add_parser(
        "spec", help="look at, check, draw or cost an architecture", description="Look at one architecture."
    )
    spec.set_defaults(run=None, parser=spec)
    actions = spec.add_subparsers(title="actions", metavar="ACTION")

    show = actions.add_parser("show", help="print the blocks as a table, or as a spec file")
    show.add_argument("spec", metavar="SPEC", help=SPEC_HELP)
    show.add_argument("--json", action="store_true", help="print the spec file's text")
    show.set_defaults(run=_show)

    check = actions.add_parser("check", help="validate, name dead blocks, tell the key and the spaces")
    check.add_argument("specs", metavar="SPEC", nargs="+", help=SPEC_HELP)
    check.add_argument("--json", action="store_true", help="print one JSON object a spec")
    check.set_defaults(run=_check)

    draw = actions.add_parser("draw", help="draw as in the paper, to SVG, PNG or PDF")
    draw.add_argument("spec", metavar="SPEC", help=SPEC_HELP)
    draw.add_argument(
        "-o", "--output", metavar="FILE", help="ends in .svg, .png or .pdf; default: the spec's name and .svg"
    )
    draw.add_argument("--title", default="", help="printed above the drawing")
    draw.set_defaults(run=_draw)

    cost = actions.add_parser("cost", help="parameters, multiply-adds and activation memory")
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
        choices=("none", "retinanet", "mask-rcnn", "classifier"),
        default="none",
        help="default: none",
    )
    cost.add_argument("--classes", type=int, help="outputs of the head; default: 80")
    cost.add_argument("--parts", action="store_true", help="also tell every part's cost")
    cost.add_argument("--json", action="store_true", help="print a JSON object with exact numbers")
    cost.set_defaults(run=_cost)

    spaces = commands.add_parser(
        "spaces", help="list the search spaces", description="List the search spaces."
    )
    spaces.add_argument("--json", action="store_true", help="print a JSON object with exact sizes")
    spaces.set_defaults(run=_spaces)


def _show(options: argparse.Namespace) -> int:
    from search_space import MergingCellsSpec, load_any_spec, spec_key, wire

    spec = load_any_spec(options.spec)
    if options.json:
        sys.stdout.write(spec.to_json())
        return 0
    if isinstance(spec, MergingCellsSpec):
        return _show_cells(spec)
    wiring = wire(spec)
    live = set(wiring.live)
    first = len(spec.stem)
    rows = [("feature", "level", "kind", "parents", "added", "")]
    for index, stem_block in enumerate(spec.stem):
        remark = "stem" if index in live else "stem, dead"
        rows.append((str(index), f"L{stem_block.level}", stem_block.kind, "", "", remark))
    for index, block in enumerate(spec.blocks, start=first):
        joins = ", ".join(map(str, wiring.joins[index - first]))
        remark = f"output P{block.level}" if block.output else "" if index in live else "dead"
        parents = ", ".join(map(str, block.parents))
        rows.append((str(index), f"L{block.level}", block.kind, parents, joins, remark))
    print(_table(rows))
    print(f"key {spec_key(spec)}")
    return 0


def _show_cells(spec: MergingCellsSpec) -> int:
    from search_space.merging_cells import INPUTS, merging_key

    rows = [("feature", "level", "merge", "parents", "added", "")]
    rows += [(str(i), f"P{level}", "", "", "", "of the backbone") for i, level in enumerate(INPUTS)]
    cells = zip(spec.cells, spec.joins, strict=True)
    for index, (cell, joins) in enumerate(cells, start=len(INPUTS)):
        remark = "output" if index >= len(spec.cells) else ""
        told = (", ".join(map(str, cell.parents)), ", ".join(map(str, joins)))
        rows.append((str(index), f"P{cell.level}", cell.merge, *told, remark))
    print(_table(rows))
    print(f"{spec.stacks} stacks on a ResNet of {', '.join(map(str, spec.layers))} blocks")
    print(f"key {merging_key(spec)}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from search_space import (
        SPACES,
        MergingCellsSpec,
        SpecError,
        dead_features,
        load_any_spec,
        merging_key,
        spec_key,
    )

    status = 0
    for source in options.specs:
        try:
            spec = load_any_spec(source)
        except SpecError as error:
            print(f"nas: {error}", file=sys.stderr)
            status = 2
            continue
        if isinstance(spec, MergingCellsSpec):
            entry = {"spec": source, "key": merging_key(spec), "cells": len(spec.cells)}
            told = f"{source}: valid, {len(spec.cells)} merging cells (NAS-FPN), key {entry['key']}"
            print(json.dumps(entry) if options.json else told)
            continue
        dead = dead_features(spec)
        spaces = [name for name, space in SPACES.items() if space.contains(spec)]
        if options.json:
            found = {
                "spec": source,
                "key": spec_key(spec),
                "blocks": len(spec.blocks),
                "outputs": list(spec.output_levels),
                "dead": list(dead),
                "spaces": spaces,
            }
            print(json.dumps(found))
            continue
        print(f"{source}: valid, {len(spec.blocks)} blocks, outputs {_outputs(spec)}, key {spec_key(spec)}")
        if dead:
            print(f"  dead, never built: {', '.join(map(str, dead))}")
        print(f"  in the spaces: {', '.join(spaces) or 'none of the ready-made ones'}")
    return status


def _draw(options: argparse.Namespace) -> int:
    from search_space import load_spec
    from search_space.drawing import draw_spec

    spec = load_spec(options.spec)
    output = options.output or Path(options.spec).with_suffix(".svg").name
    print(draw_spec(spec, output, options.title))
    return 0


def _cost(options: argparse.Namespace) -> int:
    from search_space import CostError, MergingCellsSpec, load_any_spec, parse_scale, spec_cost

    if options.classes is not None and options.head == "none":
        raise CostError("--classes needs a head: --head retinanet, mask-rcnn or classifier")
    classes = 80 if options.classes is None else options.classes
    spec, scale, size = load_any_spec(options.spec), parse_scale(options.scale), _parse_size(options.size)
    if isinstance(spec, MergingCellsSpec):
        return _cost_of_cells(options, spec, scale, size, classes)
    cost = spec_cost(spec, scale, size, options.head, classes)
    if options.json:
        print(json.dumps(_cost_as_dict(cost, options.parts)))
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


def _cost_of_cells(
    options: argparse.Namespace,
    spec: MergingCellsSpec,
    scale: Scale,
    size: int | tuple[int, int],
    classes: int,
) -> int:
    """Counted on the network itself, which needs torch."""
    from proxy_tasks.models import Model, model_cost, numbered
    from search_space import CostError
    from search_space.cost import check_size

    check_size(size)
    if not isinstance(size, int):
        raise CostError("the cost of merging cells is told for square images; give one number")
    kind: Any = "backbone" if options.head == "none" else options.head
    params, macs = model_cost(Model(kind, spec, scale, numbered(classes), size))
    if options.json:
        print(json.dumps({"params": params, "macs": macs}))
        return 0
    print(f"params         {params:>18,}  {params / 1e6:10.2f} M")
    print(f"MACs           {macs:>18,}  {macs / 1e9:10.2f} G")
    return 0


def _spaces(options: argparse.Namespace) -> int:
    from nas.plugins import listed
    from search_space import SPACES

    others = {name: about for name, about in listed("space").items() if name not in SPACES}
    if options.json:
        sizes: dict[str, Any] = {
            name: {"genotypes": space.size, "specs": space.num_specs, "decisions": len(space.decisions)}
            for name, space in SPACES.items()
        }
        print(json.dumps(sizes | {name: {"about": about, **_size(name)} for name, about in others.items()}))
        return 0
    rows = [("space", "stem", "permuted", "shifts", "kinds", "window", "genotypes", "specs")]
    for name, space in SPACES.items():
        rows.append(
            (
                name,
                str(len(space.stem)),
                f"{len(space.base_levels)}+{len(space.output_levels)}",
                ",".join(map(str, space.level_shifts)),
                "/".join(space.kinds),
                str(space.parent_window),
                f"10^{math.log10(space.size):.1f}",
                f"10^{math.log10(space.num_specs):.1f}",
            )
        )
    print(_table(rows))
    print()
    print(_table([("other spaces", ""), *others.items()]))
    return 0


def _size(name: str) -> dict[str, int]:
    """Of a space that needs no arguments; nothing of another one."""
    from nas.config import ConfigError, build, compose

    try:
        space = build(compose(f"space/{name}"), "space")
    except ConfigError:
        return {}
    return {"genotypes": space.size, "decisions": len(space.decisions)}


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
        raise CostError(f"--size must be pixels, such as 640 or 480x640, not {text[:40]!r}")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _outputs(spec: SpineNetSpec) -> str:
    return ", ".join(f"P{level}" for level in spec.output_levels)


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
