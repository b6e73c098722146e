"""The card that is shipped with the table: what it is, how it was made, and what it cannot tell."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.spinenet_bench import recipe
from benchmarks.spinenet_bench.facts import MOST_EXCESS, Facts
from benchmarks.spinenet_bench.measures import BEST, DEPTHS, HIGH
from benchmarks.spinenet_bench.plan import PLANNED
from nas.utils.templates import render

CARD = "README.md"


def write_card(facts: Facts, inside: Mapping[int, tuple[float, float]], *, failed: Mapping[str, int]) -> str:
    """Gives the card of a table of the present recipe as Markdown.

    Args:
        facts: of the table.
        inside: see `benchmarks.spinenet_bench.held_out.share_inside`.
        failed: trainings that failed, by group.
    """
    hours = sum(group.hours for group in facts.by_group.values())
    misjudged = [
        (f"misjudged after {length} steps", [facts.misjudged[length, name] for name in DEPTHS])
        for length in recipe.LENGTHS[:-1]
    ]
    long = [
        (f"misjudged after {length} steps", [facts.long.misjudged[length, name] for name in DEPTHS])
        for length in recipe.LONG_LENGTHS[:-1]
        if facts.long is not None
    ]
    depth = [(f"AP after {recipe.FULL} steps", [facts.depth[name] for name in DEPTHS]), *misjudged]
    return render(
        "benchmarks.spinenet_bench",
        "card.md.j2",
        facts=facts,
        inside=inside,
        recipe=recipe,
        digest=recipe.digest(),
        planned=PLANNED,
        most_excess=MOST_EXCESS,
        high=HIGH,
        best=BEST,
        depth_rows=[(what, [tau for pair in pairs for tau in pair]) for what, pairs in depth],
        long_rows=[(what, [tau for pair in pairs for tau in pair]) for what, pairs in long],
        failed=failed,
        thirds=zip(("lowest third", "middle third", "highest third"), facts.repeats.by_quality, strict=True)
        if facts.repeats
        else (),
        hours=None if math.isnan(hours) else hours,
    )
