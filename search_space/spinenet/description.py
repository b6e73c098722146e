"""A SpineNet spec in words: its blocks as a table, what it gives, and what of it is never built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from search_space.spec import Description
from search_space.spinenet.graph_features import spinenet_graph_features
from search_space.spinenet.spec import SpineNetSpec
from search_space.spinenet.wiring import dead_features, wire

OF_AN_OUTPUT = ("excess", "log2_paths", "shortest_path", "longest_path", "ancestors")


def describe_spinenet(spec: SpineNetSpec) -> Description:
    """Describes a spec with one row for each feature, in build order, and what its graph tells."""
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
    dead, graph = dead_features(spec), spinenet_graph_features(spec)
    outputs = ", ".join(f"P{level}" for level in spec.output_levels)
    return Description(
        table=tuple(rows),
        notes=tuple(_graph_notes(graph, spec.output_levels)),
        summary=f"{len(spec.blocks)} blocks, outputs {outputs}",
        warnings=(f"dead, never built: {', '.join(map(str, dead))}",) if dead else (),
        facts={
            "blocks": len(spec.blocks),
            "outputs": list(spec.output_levels),
            "dead": list(dead),
            "graph": graph,
        },
    )


def _graph_notes(graph: Mapping[str, float], outputs: Iterable[int]) -> Iterator[str]:
    """One line for each output, and one for the edges."""
    for level in outputs:
        at = {name: graph[f"{name}_p{level}"] for name in OF_AN_OUTPUT}
        yield (
            f"P{level}: excess {at['excess']:g}, {_count(2 ** at['log2_paths'], 'path')} of "
            f"{at['shortest_path']:g} to {_count(at['longest_path'], 'block')}, "
            f"{_count(at['ancestors'], 'ancestor')}"
        )
    edges = ("to_finer", "to finer levels"), ("to_coarser", "to coarser ones"), ("same", "within a level")
    counts = [f"{graph[f'edges_{name}']:g} {text}" for name, text in edges]
    yield f"edges: {', '.join(counts)}; {graph['edges_far']:g} over two levels or more"


def _count(number: float, noun: str) -> str:
    return f"{number:.6g} {noun}{'s' * (round(number) != 1)}"
