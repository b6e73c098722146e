"""Excess against all paths written out, and on networks whose value is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest

from search_space import Block, SpineNetSpec, StemBlock, published_space, published_spec
from search_space.spinenet.excess import output_excess
from search_space.spinenet.wiring import wire


def paths_to(spec: SpineNetSpec, feature: int) -> Iterator[list[int]]:
    """The levels of the features on every path from the stem's first block."""
    first, level = len(spec.stem), spec.features[feature].level
    if feature == 0:
        yield [level]
        return
    if feature < first:
        sources: tuple[int, ...] = (feature - 1,)
    else:
        sources = spec.blocks[feature - first].parents + wire(spec).joins[feature - first]
    for source in sources:
        for path in paths_to(spec, source):
            yield [*path, level]


def test_excess_is_the_least_coarse_of_all_paths() -> None:
    space, rng = published_space("spinenet-49"), np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        spec = space.decode(space.sample(rng))
        assert isinstance(spec, SpineNetSpec)
        first = len(spec.stem)
        expected = {
            block.level: min(map(max, paths_to(spec, first + i))) - block.level
            for i, block in enumerate(spec.blocks)
            if block.output
        }
        assert output_excess(spec) == expected
        seen |= set(expected.values())
    assert {0, 1, 2} <= seen


@pytest.mark.parametrize("name", ["spinenet-49", "r0-sp53", "mobile-spinenet-49"])
def test_networks_that_were_found_have_none(
    name: Literal["spinenet-49", "r0-sp53", "mobile-spinenet-49"],
) -> None:
    assert set(output_excess(published_spec(name)).values()) == {0}


def test_an_output_behind_a_coarse_block_has_an_excess() -> None:
    spec = SpineNetSpec(
        stem=(StemBlock(2), StemBlock(2)),
        blocks=(
            Block(5, "bottleneck", (0, 1)),
            Block(6, "bottleneck", (0, 2)),
            Block(3, "bottleneck", (2, 3), output=True),
            Block(4, "bottleneck", (1, 4), output=True),
        ),
    )
    assert output_excess(spec) == {3: 2, 4: 0}
