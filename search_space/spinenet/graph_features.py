"""Graph features: what the connections of a spec tell before any training, as named numbers.

Edges lead from a parent to a block; features that the unused-block rule joins to an output are parents too.
A path leads from a stem block to an output, and its length is the number of permuted blocks on it, the output
included. Dead blocks do not count.

| name | what |
| --- | --- |
| excess_p3 | how far the output P3 is cut off from its own resolution, see `search_space.spinenet.excess` |
| shortest_path_p3, longest_path_p3 | lengths of paths to the output |
| log2_paths_p3 | binary logarithm of the number of paths to the output |
| ancestors_p3 | permuted blocks with a path to the output |
| l2_ancestors_p3, l3_ancestors_p3 | those of them at level 2, and at level 3 |
| blocks_l1, ..., blocks_l7 | permuted blocks of each level |
| edges_to_finer, edges_to_coarser, edges_same | edges to a lower, a higher, or the same level |
| edges_far | edges over two levels or more |

Without "_p3", the names of the first five rows are the sum (excess) or the mean (the others) over outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from search_space.spinenet.excess import output_excess
from search_space.spinenet.spec import LEVELS, SpineNetSpec
from search_space.spinenet.wiring import live_blocks, wire

FINE_LEVELS = (2, 3)
"""Levels whose ancestors are counted apart: small objects are seen there."""


def spinenet_graph_features(spec: SpineNetSpec, *, summary: bool = False) -> dict[str, float]:
    """Computes the features; see the module for their names. Specs of equal outputs have equal names.

    Args:
        spec: the architecture.
        summary: whether features of single outputs and single levels are left out.
    """
    wiring = wire(spec)
    blocks = live_blocks(spec, wiring)
    excess = output_excess(spec, wiring)
    levels = [feature.level for feature in spec.features]
    size, first = len(levels), len(spec.stem)
    shortest, longest, paths = [0] * size, [0] * size, [1] * size
    # Sets of permuted blocks are the bits of a number, as a search asks for thousands of specs.
    ancestors = [0] * size
    members = [1 << index if index >= first else 0 for index in range(size)]
    fine = {at: sum(members[index] for index in range(size) if levels[index] == at) for at in FINE_LEVELS}
    leaps: list[int] = []
    by_output: dict[int, dict[str, float]] = {level: {} for level in excess}
    for index, block, joins in blocks:
        level, sources = block.level, block.parents + joins
        before, ways = 0, 0
        for source in sources:
            before |= ancestors[source] | members[source]
            ways += paths[source]
            leaps.append(level - levels[source])
        ancestors[index], paths[index] = before, ways
        shortest[index] = 1 + min([shortest[source] for source in sources])
        longest[index] = 1 + max([longest[source] for source in sources])
        if block.output:
            by_output[level] = {
                "excess": float(excess[level]),
                "shortest_path": float(shortest[index]),
                "longest_path": float(longest[index]),
                "log2_paths": math.log2(ways),
                "ancestors": float(before.bit_count()),
                **{f"l{at}_ancestors": float((before & those).bit_count()) for at, those in fine.items()},
            }
    found = {
        **_over_outputs(by_output),
        "edges_to_finer": float(sum([leap < 0 for leap in leaps])),
        "edges_to_coarser": float(sum([leap > 0 for leap in leaps])),
        "edges_same": float(leaps.count(0)),
        "edges_far": float(sum([abs(leap) >= 2 for leap in leaps])),
    }
    if summary:
        return found
    built = [block.level for _, block, _ in blocks]
    counts = {f"blocks_l{level}": float(built.count(level)) for level in LEVELS}
    single = {f"{name}_p{level}": value for level, of in by_output.items() for name, value in of.items()}
    return {**found, **counts, **single}


def _over_outputs(by_output: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    names = next(iter(by_output.values()))
    columns = {name: [found[name] for found in by_output.values()] for name in names}
    means = {name: math.fsum(column) / len(column) for name, column in columns.items()}
    return {**means, "excess": sum(columns["excess"])}
