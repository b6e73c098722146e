"""A SpineNet as the list of tuples that the TensorFlow implementations take.

Each tuple is (level, block function, (parent, parent), is output). That code has a fixed stem of two L2
bottlenecks, so a spec with another stem is refused.
"""

from __future__ import annotations

from search_space.spec_file import SpecError
from search_space.spinenet.spec import SpineNetSpec

HEADINGS = "# SpineNet block specs: (level, block function, (parent, parent), is output)"


def write_tuples(spec: SpineNetSpec) -> str:
    """Returns the Python source of the list.

    Raises:
        SpecError: if the stem is not two L2 bottlenecks, which is the only one that TensorFlow's code has.
    """
    if [(block.level, block.kind) for block in spec.stem] != [(2, "bottleneck")] * 2:
        raise SpecError(
            "TensorFlow's code has a fixed stem of two L2 bottlenecks, but this spec has another stem"
        )
    rows = [
        f"    ({block.level}, {block.kind!r}, ({block.parents[0]}, {block.parents[1]}), {block.output}),"
        for block in spec.blocks
    ]
    return "\n".join([HEADINGS, "SPINENET_BLOCK_SPECS = [", *rows, "]", ""])
