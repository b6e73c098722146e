"""A SpineNet spec in words: its blocks as a table, what it gives, and what of it is never built."""

from __future__ import annotations

from search_space.spec import Description
from search_space.spinenet.spec import SpineNetSpec
from search_space.spinenet.wiring import dead_features, wire


def describe_spinenet(spec: SpineNetSpec) -> Description:
    """Describes a spec with one row for each feature, in build order."""
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
    dead = dead_features(spec)
    outputs = ", ".join(f"P{level}" for level in spec.output_levels)
    return Description(
        table=tuple(rows),
        summary=f"{len(spec.blocks)} blocks, outputs {outputs}",
        warnings=(f"dead, never built: {', '.join(map(str, dead))}",) if dead else (),
        facts={"blocks": len(spec.blocks), "outputs": list(spec.output_levels), "dead": list(dead)},
    )
