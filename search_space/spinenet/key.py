"""Canonical form and key of a SpineNet spec: one name for all specs that are the same network."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from search_space.canonical import Graph, Label, canonical_order, certificate, make_graph
from search_space.spinenet.spec import SpineNetSpec
from search_space.spinenet.wiring import live_blocks, wire

Row = tuple[int, str, bool, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class CanonicalForm:
    """A spec up to isomorphism.

    Args:
        stem: (level, kind) of each live stem block.
        rows: one (level, kind, output, parents, joins) for each live permuted block, in canonical order.
            Parents and joins are ascending positions: stem blocks first, then rows.
        order: the spec's feature at each position. It differs between isomorphic specs and shows which
            block of one is which block of the other.
    """

    stem: tuple[tuple[int, str], ...]
    rows: tuple[Row, ...]
    order: tuple[int, ...] = field(compare=False)


def canonical_form(spec: SpineNetSpec) -> CanonicalForm:
    """Returns the form that isomorphic specs share. It is the same on every machine and Python version."""
    graph = _graph_of(spec)
    order = canonical_order(graph)
    rows = tuple(
        (*graph.labels[v], parents, joins)
        for v, (parents, joins) in zip(order[graph.stem_size :], certificate(graph, order), strict=True)
    )
    stem = tuple((block.level, block.kind) for block in spec.stem[: graph.stem_size])
    return CanonicalForm(stem, rows, tuple(graph.features[v] for v in order))


def spinenet_key(spec: SpineNetSpec) -> str:
    """Returns the digest of the canonical form: 32 hexadecimal digits. Equal keys mean one function."""
    form = canonical_form(spec)
    return blake2b(repr((form.stem, form.rows)).encode(), digest_size=16).hexdigest()


def _graph_of(spec: SpineNetSpec) -> Graph:
    wiring = wire(spec)
    vertex = {feature: v for v, feature in enumerate(wiring.live)}
    stem = spec.stem[: wiring.live_stem]
    labels: list[Label] = [(block.level, block.kind, False) for block in stem]
    parents: list[list[int]] = [[] for _ in stem]
    joins: list[list[int]] = [[] for _ in stem]
    for _, block, joined in live_blocks(spec, wiring):
        labels.append((block.level, block.kind, block.output))
        parents.append([vertex[p] for p in block.parents])
        joins.append([vertex[j] for j in joined])
    return make_graph(len(stem), wiring.live, labels, parents, joins)
