from __future__ import annotations

from collections import defaultdict

import networkx as nx
import numpy as np
import pytest

from search_space import (
    Block,
    SpineNetSpec,
    StemBlock,
    canonical,
    canonical_form,
    published_space,
    published_spec,
    spec_key,
    wire,
)
from tests.search_space.random_specs import random_spec, respelled, with_dead_block


def graph_of(spec: SpineNetSpec) -> nx.DiGraph:
    """The live network as a labeled graph: an independent statement of what 'the same network' means."""
    wiring, first = wire(spec), len(spec.stem)
    graph = nx.DiGraph()
    for i in wiring.live:
        block = spec.features[i]
        place = i if i < first else "permuted"
        graph.add_node(i, label=(place, block.level, block.kind, isinstance(block, Block) and block.output))
        if i >= first:
            for parent in spec.blocks[i - first].parents:
                graph.add_edge(parent, i, label="parent")
            for source in wiring.joins[i - first]:
                graph.add_edge(source, i, label="join")
    return graph


def isomorphic(a: nx.DiGraph, b: nx.DiGraph) -> bool:
    same = nx.algorithms.isomorphism.categorical_node_match("label", None)
    same_edge = nx.algorithms.isomorphism.categorical_edge_match("label", None)
    return bool(nx.is_isomorphic(a, b, node_match=same, edge_match=same_edge))


def test_keys_are_stable_over_versions() -> None:
    assert spec_key(published_spec("spinenet-49")) == "abead80f5a74b362470093e2f3f4bf54"


@pytest.mark.parametrize("levels", [(1, 7), (3, 4)])
def test_keys_agree_exactly_with_graph_isomorphism(levels: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    same = different = 0
    for _ in range(1500):
        spec = random_spec(rng, levels=levels)
        other = respelled(spec, rng)
        equal = isomorphic(graph_of(spec), graph_of(other))
        assert (spec_key(spec) == spec_key(other)) == equal
        same, different = same + equal, different + (not equal)
    assert same > 300
    assert different > 50


def test_all_small_specs_fall_into_the_same_classes_as_by_isomorphism() -> None:
    rng = np.random.default_rng(3)
    specs = {random_spec(rng, max_blocks=3, levels=(3, 4)) for _ in range(1200)}
    classes = defaultdict(list)
    for spec in specs:
        classes[spec_key(spec)].append(graph_of(spec))
    representatives = []
    for members in classes.values():
        assert all(isomorphic(members[0], other) for other in members[1:])
        representatives.append(members[0])
    for i, a in enumerate(representatives):
        for b in representatives[i + 1 :]:
            if sorted(d["label"] for _, d in a.nodes(data=True) if d["label"][0] == "permuted") == sorted(
                d["label"] for _, d in b.nodes(data=True) if d["label"][0] == "permuted"
            ):
                assert not isomorphic(a, b)
    assert len(representatives) > 100


def test_dead_blocks_and_swapped_parents_leave_the_key_alone() -> None:
    rng = np.random.default_rng(4)
    for _ in range(500):
        spec = random_spec(rng)
        assert spec_key(with_dead_block(spec, rng)) == spec_key(spec)
        swapped = tuple(Block(b.level, b.kind, b.parents[::-1], b.output) for b in spec.blocks)
        assert spec_key(SpineNetSpec(spec.stem, swapped)) == spec_key(spec)


def test_relabeled_equal_blocks_give_one_key() -> None:
    space = published_space("r0-sp53")
    rng = np.random.default_rng(5)
    for _ in range(200):
        genotype = list(space.sample(rng))
        spec = space.decode(tuple(genotype))
        labels = [d.labels for d in space.decisions]
        a, b = rng.choice(10, size=2, replace=False)
        if labels[a][genotype[a]] == labels[b][genotype[b]]:
            genotype[a], genotype[b] = genotype[b], genotype[a]
            assert space.decode(tuple(genotype)) == spec


def test_the_order_shows_which_block_is_which() -> None:
    rng = np.random.default_rng(6)
    compared = 0
    for _ in range(300):
        spec = random_spec(rng)
        other = respelled(spec, rng)
        a, b = canonical_form(spec), canonical_form(other)
        if a != b:
            continue
        mapping = dict(zip(a.order, b.order, strict=True))
        first = len(spec.stem)
        wa, wb = wire(spec), wire(other)
        for i, j in mapping.items():
            if i < first:
                assert i == j
                continue
            block, image = spec.blocks[i - first], other.blocks[j - first]
            assert (block.level, block.kind, block.output) == (image.level, image.kind, image.output)
            assert {mapping[p] for p in block.parents} == set(image.parents)
            assert {mapping[p] for p in wa.joins[i - first]} == set(wb.joins[j - first])
            compared += 1
    assert compared > 500


def test_symmetric_specs_do_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty equal chains of two blocks end in one output: 60! automorphisms, of which few are tried."""
    explored, explore = [], canonical._Search.explore

    def count(self: canonical._Search, colors: canonical.Colors, path: tuple[int, ...]) -> int:
        explored.append(path)
        assert len(explored) <= 2 * 60 * 61 // 2  # In each spec, 60 paths to leaves of up to 60 steps.
        return explore(self, colors, path)

    monkeypatch.setattr(canonical._Search, "explore", count)
    stem, output = (StemBlock(2), StemBlock(2)), Block(3, "bottleneck", (0, 1), output=True)
    chains = [
        block
        for i in range(60)
        for block in (Block(2, "bottleneck", (0, 1)), Block(3, "bottleneck", (0, 2 + 2 * i)))
    ]
    rows = [Block(2, "bottleneck", (0, 1))] * 60 + [Block(3, "bottleneck", (61 - i, 0)) for i in range(60)]
    keys = {spec_key(SpineNetSpec(stem, (*blocks, output))) for blocks in (chains, rows)}
    assert len(keys) == 1


def test_crossed_twins_are_told_apart() -> None:
    """The first output stands on two blocks of one twin, or on one block of each."""
    twins = (Block(2, "bottleneck", (0, 1)), Block(2, "bottleneck", (0, 1)))
    middle = (Block(4, "bottleneck", (0, 2)), Block(5, "bottleneck", (0, 2)), Block(6, "bottleneck", (0, 3)))
    crossed = (Block(4, "bottleneck", (0, 2)), Block(5, "bottleneck", (0, 3)), Block(6, "bottleneck", (0, 2)))
    ends = (Block(3, "bottleneck", (4, 5), output=True), Block(4, "bottleneck", (6, 7), output=True))
    stem = (StemBlock(2), StemBlock(2))
    a, b = SpineNetSpec(stem, twins + middle + ends), SpineNetSpec(stem, twins + crossed + ends)
    assert spec_key(a) != spec_key(b)


def rings(*sizes: int) -> SpineNetSpec:
    """Rings of blocks, where two neighbors are the parents of one more: refinement does not settle them."""
    first = [2 + sum(sizes[:i]) for i in range(len(sizes))]
    nodes = [Block(2, "bottleneck", (0, 1))] * sum(sizes)
    pairs = [
        (at + i, at + (i + 1) % size) for at, size in zip(first, sizes, strict=True) for i in range(size)
    ]
    output = Block(4, "bottleneck", (0, 1), output=True)
    stem = (StemBlock(2), StemBlock(2))
    return SpineNetSpec(stem, (*nodes, *(Block(4, "bottleneck", pair) for pair in pairs), output))


def test_keys_of_symmetric_specs_are_right_and_stable() -> None:
    assert spec_key(rings(6)) != spec_key(rings(3, 3))
    assert spec_key(rings(3, 4)) == spec_key(rings(4, 3)) == "e5887541d5ec4152ea02ab537ed161db"


def test_random_members_of_the_space_rarely_share_a_key() -> None:
    space, rng = published_space("spinenet-49"), np.random.default_rng(7)
    keys = {spec_key(space.decode(space.sample(rng))) for _ in range(2000)}
    assert len(keys) == 2000
