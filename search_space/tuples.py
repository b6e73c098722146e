"""A spec as the list of tuples that the TensorFlow implementations take.

Each is (level, block function, (parent, parent), is output). tensorflow/tpu takes the first two parents of
the stem as 0 and 1, so a spec of another stem is refused.
"""

from __future__ import annotations

from search_space.spec import SpecError, SpineNetSpec

HEADINGS = "# SpineNet block specs: (level, block function, (parent, parent), is output)"


def as_tuples(spec: SpineNetSpec) -> str:
    """Python source of the list.

    Raises:
        SpecError: if the stem is not two L2 bottlenecks, which is the only one that TensorFlow's code has.
    """
    if [(block.level, block.kind) for block in spec.stem] != [(2, "bottleneck")] * 2:
        raise SpecError("TensorFlow's code has a stem of two L2 bottlenecks only; this spec has another")
    rows = [
        f"    ({block.level}, {block.kind!r}, ({block.parents[0]}, {block.parents[1]}), {block.output}),"
        for block in spec.blocks
    ]
    return "\n".join([HEADINGS, "SPINENET_BLOCK_SPECS = [", *rows, "]", ""])
