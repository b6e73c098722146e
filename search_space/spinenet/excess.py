"""Excess: how far an output is cut off from its own resolution.

Every path from the stem to an output passes through a coarsest block. The excess of an output is the level of
that block on the best path, minus the output's own level. At 0 some path keeps the output's resolution all
the way; at 2, whatever reaches the output was once four times as coarse.
"""

from __future__ import annotations

from search_space.spinenet.spec import SpineNetSpec
from search_space.spinenet.wiring import Wiring, wire


def output_excess(spec: SpineNetSpec, wiring: Wiring | None = None) -> dict[int, int]:
    """Gives the excess of each output by its level, finest first; each is at least 0.

    Features that the unused-block rule joins to an output are on its paths too.

    Args:
        spec: the architecture.
        wiring: of the spec, if it is known.
    """
    joins, first = (wiring or wire(spec)).joins, len(spec.stem)
    coarsest: list[int] = []
    for stem_block in spec.stem:  # A chain.
        coarsest.append(max(stem_block.level, *coarsest[-1:]) if coarsest else stem_block.level)
    for index, block in enumerate(spec.blocks):
        sources = block.parents + joins[index]
        coarsest.append(max(block.level, min([coarsest[source] for source in sources])))
    outputs = [(b.level, coarsest[first + i] - b.level) for i, b in enumerate(spec.blocks) if b.output]
    return dict(sorted(outputs))
