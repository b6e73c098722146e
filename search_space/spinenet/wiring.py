"""Wiring: the connections of a spec's blocks, once the unused-block rule has been applied.

When an output block is built, every feature that has the output's shape and that no block has used so far is
added to the output's input directly (paper section 3.3). The rule is applied in build order, as in the
official code: the output's own parents count as used at that moment, and a feature that only a later output
will use still counts as unused.

Shapes are compared by level and kind. The official code compares pixel widths, which is the same from 128 px
upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_space.spinenet.spec import Block, SpineNetSpec


@dataclass(frozen=True, slots=True)
class Wiring:
    """The connections of one spec, by feature number.

    Args:
        joins: for every permuted block, the features added directly to its input; empty but for outputs.
        live: the features with a path to an output, ascending. A stem block is live if a later one is.
        live_stem: number of live stem blocks, which are the first ones.
    """

    joins: tuple[tuple[int, ...], ...]
    live: tuple[int, ...]
    live_stem: int


def wire(spec: SpineNetSpec) -> Wiring:
    """Applies the unused-block rule and finds the blocks that reach an output."""
    stem, blocks = spec.stem, spec.blocks
    first = len(stem)
    shapes = [(block.level, block.kind) for block in spec.features]
    used = [False] * len(shapes)
    joins: list[tuple[int, ...]] = []
    for index, block in enumerate(blocks, start=first):
        for parent in block.parents:
            used[parent] = True
        joined: tuple[int, ...] = ()
        if block.output:
            shape = shapes[index]
            joined = tuple(j for j in range(index) if not used[j] and shapes[j] == shape)
            for j in joined:
                used[j] = True
        joins.append(joined)

    alive = [False] * len(shapes)
    for index in range(len(shapes) - 1, first - 1, -1):
        block = blocks[index - first]
        if block.output or alive[index]:
            alive[index] = True
            for source in block.parents + joins[index - first]:
                alive[source] = True
    live_stem = max((i + 1 for i in range(first) if alive[i]), default=0)
    live = (*range(live_stem), *(i for i in range(first, len(shapes)) if alive[i]))
    return Wiring(tuple(joins), live, live_stem)


def dead_features(spec: SpineNetSpec) -> tuple[int, ...]:
    """Returns the features without a path to an output, which are not built, not counted, not in the key."""
    live = set(wire(spec).live)
    return tuple(i for i in range(len(spec.features)) if i not in live)


def live_blocks(spec: SpineNetSpec, wiring: Wiring) -> list[tuple[int, Block, tuple[int, ...]]]:
    """Returns the permuted blocks that are built, in build order: feature number, block, joined features."""
    first = len(spec.stem)
    return [(i, spec.blocks[i - first], wiring.joins[i - first]) for i in wiring.live if i >= first]
