"""The unused-block rule (facts: built in order, own parents first, same level and kind)."""

from __future__ import annotations

import numpy as np
import pytest

from search_space import (
    Block,
    SpineNetSpec,
    StemBlock,
    dead_features,
    load_spinenet_spec,
    wire,
)
from tests.search_space.random_specs import random_spec

B, R = "bottleneck", "residual"
STEM = (StemBlock(2), StemBlock(2))


def joins_of(spec: SpineNetSpec) -> dict[int, tuple[int, ...]]:
    return {i: j for i, j in enumerate(wire(spec).joins, start=len(spec.stem)) if j}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spinenet-49", {14: (11,)}),
        ("r0-sp53", {13: (11,)}),
        ("mobile-spinenet-49", {15: (12,)}),
    ],
)
def test_published_specs_have_exactly_one_unused_block(
    name: str, expected: dict[int, tuple[int, ...]]
) -> None:
    assert joins_of(load_spinenet_spec(name)) == expected
    assert dead_features(load_spinenet_spec(name)) == ()


def test_a_block_that_a_later_output_draws_on_still_counts_as_unused() -> None:
    spec = SpineNetSpec(
        STEM, (Block(4, B, (0, 1)), Block(4, B, (0, 1), output=True), Block(5, B, (2, 3), output=True))
    )
    assert joins_of(spec) == {3: (2,)}


def test_own_parents_count_as_used_before_the_others_are_looked_at() -> None:
    spec = SpineNetSpec(STEM, (Block(4, B, (0, 1)), Block(4, B, (1, 2), output=True)))
    assert joins_of(spec) == {}


def test_an_added_block_is_used_up() -> None:
    spec = SpineNetSpec(
        STEM, (Block(4, B, (0, 1)), Block(4, B, (0, 1), output=True), Block(3, B, (0, 1), output=True))
    )
    assert joins_of(spec) == {3: (2,)}


def test_an_unused_block_of_another_kind_is_dead_and_not_added() -> None:
    spec = SpineNetSpec(STEM, (Block(4, R, (0, 1)), Block(4, B, (0, 1), output=True)))
    assert joins_of(spec) == {}
    assert dead_features(spec) == (2,)


def test_a_dead_block_still_uses_its_parents() -> None:
    spec = SpineNetSpec(STEM, (Block(4, B, (0, 1)), Block(6, B, (1, 2)), Block(4, B, (0, 1), output=True)))
    assert joins_of(spec) == {}
    assert dead_features(spec) == (2, 3)


def test_unused_stem_blocks_are_candidates_too() -> None:
    stem = (StemBlock(2), StemBlock(3), StemBlock(3))
    spec = SpineNetSpec(stem, (Block(3, B, (0, 1), output=True),))
    assert joins_of(spec) == {3: (2,)}
    assert wire(spec).live_stem == 3


def test_the_end_of_the_stem_is_dead_if_nothing_draws_on_it() -> None:
    stem = (StemBlock(2), StemBlock(2), StemBlock(3), StemBlock(4))
    spec = SpineNetSpec(stem, (Block(5, B, (0, 1), output=True),))
    assert dead_features(spec) == (2, 3)


def test_live_features_are_those_that_reach_an_output() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        spec = random_spec(rng)
        wiring = wire(spec)
        first = len(spec.stem)
        consumers: dict[int, set[int]] = {i: set() for i in range(len(spec.features))}
        for i, block in enumerate(spec.blocks, start=first):
            for source in (*block.parents, *wiring.joins[i - first]):
                consumers[source].add(i)
        for i in range(first - 1):
            consumers[i].add(i + 1)
        reaching = {first + i for i, block in enumerate(spec.blocks) if block.output}
        for i in reversed(range(len(spec.features))):
            if consumers[i] & reaching:
                reaching.add(i)
        assert set(wiring.live) == reaching
