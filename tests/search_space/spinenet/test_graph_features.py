"""Graph features against all paths written out, and on networks whose numbers are known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from search_space import (
    Block,
    R50FPNSpec,
    SpineNetSpec,
    StemBlock,
    graph_features,
    published_space,
    published_spec,
)
from search_space.spinenet.excess import output_excess
from search_space.spinenet.wiring import wire


def paths_to(spec: SpineNetSpec, feature: int) -> Iterator[tuple[int, ...]]:
    """The permuted blocks on every path from a stem block to a feature."""
    first = len(spec.stem)
    if feature < first:
        yield ()
        return
    for source in spec.blocks[feature - first].parents + wire(spec).joins[feature - first]:
        for path in paths_to(spec, source):
            yield (*path, feature)


@pytest.mark.parametrize("name", ["spinenet-49", "r0-sp53", "google-spinenet"])
def test_paths_and_ancestors_are_those_of_all_paths(name: str) -> None:
    space, rng = published_space(name), np.random.default_rng(0)
    for _ in range(25):
        spec = space.decode(space.sample(rng))
        assert isinstance(spec, SpineNetSpec)
        found, first = graph_features(spec), len(spec.stem)
        for i, block in enumerate(spec.blocks):
            if not block.output:
                continue
            paths, at = list(paths_to(spec, first + i)), f"_p{block.level}"
            before = set().union(*paths) - {first + i}
            levels = [spec.features[feature].level for feature in before]
            assert found["shortest_path" + at] == min(map(len, paths))
            assert found["longest_path" + at] == max(map(len, paths))
            assert found["log2_paths" + at] == pytest.approx(math.log2(len(paths)))
            assert found["ancestors" + at] == len(before)
            assert (found["l2_ancestors" + at], found["l3_ancestors" + at]) == (
                levels.count(2),
                levels.count(3),
            )
            assert found["excess" + at] == output_excess(spec)[block.level]


def test_the_whole_is_made_of_the_outputs_and_of_the_edges() -> None:
    spec = SpineNetSpec(
        stem=(StemBlock(2), StemBlock(2)),
        blocks=(
            Block(5, "bottleneck", (0, 1)),
            Block(3, "bottleneck", (1, 2), output=True),
            Block(4, "bottleneck", (2, 3), output=True),
            Block(4, "bottleneck", (0, 4)),  # dead
        ),
    )
    found = graph_features(spec)
    whole = {name: value for name, value in found.items() if not name.endswith(("_p3", "_p4"))}
    assert {name: value for name, value in whole.items() if value} == {
        "longest_path": 2.5,
        "shortest_path": 1.5,
        "log2_paths": (math.log2(3) + math.log2(5)) / 2,
        "ancestors": 1.5,
        "l3_ancestors": 0.5,
        "edges_to_finer": 2.0,
        "edges_to_coarser": 4.0,
        "edges_far": 3.0,
        "blocks_l3": 1.0,
        "blocks_l4": 1.0,
        "blocks_l5": 1.0,
    }


def test_mean_shortest_paths_of_published_networks() -> None:
    assert graph_features(published_spec("spinenet-49"))["shortest_path"] == pytest.approx(3.2)
    assert graph_features(published_spec("r0-sp53"))["shortest_path"] == pytest.approx(3.4)


def test_names_are_those_of_the_space_and_the_summary_is_short() -> None:
    space, rng = published_space("spinenet-49"), np.random.default_rng(1)
    specs = [space.decode(space.sample(rng)) for _ in range(20)]
    assert len({tuple(graph_features(spec)) for spec in specs}) == 1
    for spec in specs:
        whole, short = graph_features(spec), graph_features(spec, summary=True)
        assert short == {name: whole[name] for name in short}
        assert len(short) < 15 < len(whole)


def test_a_dead_block_changes_nothing() -> None:
    spec = published_spec("spinenet-49")
    assert isinstance(spec, SpineNetSpec)
    more = SpineNetSpec(spec.stem, (*spec.blocks, Block(3, "bottleneck", (0, 5))))
    assert graph_features(more) == graph_features(spec)


class Own:
    """A spec of a user's, with a method that is called like ours and does something else."""

    def graph_features(self, layer: int) -> str:
        return f"features of layer {layer}"


@pytest.mark.parametrize("spec", [R50FPNSpec(), ("conv", "skip"), Own(), None])
def test_what_has_no_such_graph_has_none(spec: object) -> None:
    assert graph_features(spec) == {}


def test_the_excess_of_a_network_is_the_sum_over_its_outputs() -> None:
    spec = SpineNetSpec(
        stem=(StemBlock(2), StemBlock(2)),
        blocks=(
            Block(6, "bottleneck", (0, 1)),
            Block(7, "bottleneck", (0, 2)),
            Block(3, "bottleneck", (2, 3), output=True),
            Block(4, "bottleneck", (2, 3), output=True),
            Block(5, "bottleneck", (0, 1), output=True),
        ),
    )
    found = graph_features(spec)
    assert [found[f"excess_p{level}"] for level in (3, 4, 5)] == [3, 2, 0]
    assert found["excess"] == 5
