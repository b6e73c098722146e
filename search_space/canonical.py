"""Canonical form and key: one name for all specs that are the same network.

Two specs get one key if and only if their live graphs are isomorphic: same kinds and levels, same
parents, same directly joined features, same outputs, whatever the build order, the order of the two
parents, and the blocks that reach no output. A network with the same weights then computes the same
function (in evaluation mode; stochastic depth follows the build order).

The method is colour refinement, then individualisation of ties with pruning by the automorphisms found,
as in McKay and Piperno, "Practical graph isomorphism, II", 2014. Nearly all specs are told apart by
refinement alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise

from search_space.spec import SpineNetSpec
from search_space.wiring import live_blocks, wire

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
    """The form that isomorphic specs share. Deterministic over runs, machines and Python versions."""
    graph = _graph_of(spec)
    order = _canonical_order(graph)
    rows = tuple(
        (*graph.labels[v], parents, joins)
        for v, (parents, joins) in zip(order[graph.stem_size :], _certificate(graph, order), strict=True)
    )
    stem = tuple((block.level, block.kind) for block in spec.stem[: graph.stem_size])
    return CanonicalForm(stem, rows, tuple(graph.features[v] for v in order))


def spec_key(spec: SpineNetSpec) -> str:
    """The digest of the canonical form: 32 hexadecimal digits. Equal keys mean one function."""
    form = canonical_form(spec)
    return blake2b(repr((form.stem, form.rows)).encode(), digest_size=16).hexdigest()


Label = tuple[int, str, bool]


def canonical_rows(
    roots: int, labels: Sequence[Label], parents: Sequence[Sequence[int]], joins: Sequence[Sequence[int]]
) -> tuple[tuple[Label, tuple[int, ...], tuple[int, ...]], ...]:
    """What isomorphic acyclic graphs share: a row of label, parents and joins for each vertex but the roots.

    Args:
        roots: how many of the vertices, the first ones, are told apart by their places.
        labels, parents, joins: of every vertex; the order among parents and among joins means nothing.
    """
    graph = _graph(roots, tuple(range(len(labels))), labels, parents, joins)
    order = _canonical_order(graph)
    edges = zip(order[roots:], _certificate(graph, order), strict=True)
    return tuple((graph.labels[v], above, beside) for v, (above, beside) in edges)


@dataclass(frozen=True, slots=True)
class _Graph:
    """The live graph with vertices 0..n-1; the first `stem_size` are the stem's, in their fixed order."""

    stem_size: int
    features: tuple[int, ...]
    labels: list[Label]
    parents: list[tuple[int, ...]]
    joins: list[tuple[int, ...]]
    children: list[list[int]]
    join_targets: list[list[int]]


Colours = list[int]
Certificate = list[tuple[tuple[int, ...], tuple[int, ...]]]


def _graph_of(spec: SpineNetSpec) -> _Graph:
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
    return _graph(len(stem), wiring.live, labels, parents, joins)


def _graph(
    stem_size: int,
    features: tuple[int, ...],
    labels: Sequence[Label],
    parents: Sequence[Sequence[int]],
    joins: Sequence[Sequence[int]],
) -> _Graph:
    graph = _Graph(
        stem_size=stem_size,
        features=features,
        labels=list(labels),
        parents=[tuple(sources) for sources in parents],
        joins=[tuple(sources) for sources in joins],
        children=[[] for _ in labels],
        join_targets=[[] for _ in labels],
    )
    for v in range(len(labels)):
        for parent in graph.parents[v]:
            graph.children[parent].append(v)
        for source in graph.joins[v]:
            graph.join_targets[source].append(v)
    return graph


def _canonical_order(graph: _Graph) -> list[int]:
    """Vertices in canonical order, the stem first."""
    labels = graph.labels
    start = [
        (i, labels[i]) if i < graph.stem_size else (graph.stem_size, labels[i]) for i in range(len(labels))
    ]
    colours = _refine(graph, _ranks(start))
    if max(colours) + 1 == len(colours):
        return _order(colours)
    search = _Search(graph)
    search.explore(colours, ())
    return search.best_order


class _Search:
    """Depth-first search for the least certificate over all ways to break the ties.

    A leaf whose certificate has been seen before gives an automorphism. Branches that an automorphism
    maps onto an explored one are skipped, so that k interchangeable parts cost k paths and not k!.
    """

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph
        self.best: Certificate | None = None
        self.best_order: list[int] = []
        self.best_path: tuple[int, ...] = ()
        self.first: Certificate | None = None
        self.first_order: list[int] = []
        self.first_path: tuple[int, ...] = ()
        self.automorphisms: list[dict[int, int]] = []

    def explore(self, colours: Colours, path: tuple[int, ...]) -> int:
        """Explores below `path`, the vertices individualised so far; returns the depth to go on at."""
        cell = _first_tie(colours)
        if not cell:
            return self._leaf(_order(colours), path)
        explored: list[int] = []
        for v in cell:
            if explored and self._is_image_of(v, explored, path):
                continue
            split = [2 * c + (c == colours[v] and u != v) for u, c in enumerate(colours)]
            depth = self.explore(_refine(self.graph, _ranks(split)), (*path, v))
            if depth < len(path):
                return depth
            explored.append(v)
        return len(path)

    def _leaf(self, order: list[int], path: tuple[int, ...]) -> int:
        certificate = _certificate(self.graph, order)
        if self.first is None or self.best is None:
            self.first, self.first_order, self.first_path = certificate, order, path
            self.best, self.best_order, self.best_path = certificate, order, path
            return len(path)
        for known, known_order, known_path in (
            (self.first, self.first_order, self.first_path),
            (self.best, self.best_order, self.best_path),
        ):
            if certificate == known:
                self.automorphisms.append(dict(zip(known_order, order, strict=True)))
                return _common_prefix(path, known_path)
        if certificate < self.best:
            self.best, self.best_order, self.best_path = certificate, order, path
        return len(path)

    def _is_image_of(self, v: int, explored: Sequence[int], path: tuple[int, ...]) -> bool:
        generators = [a for a in self.automorphisms if all(a[u] == u for u in path)]
        seen, frontier = {v}, [v]
        while frontier:
            u = frontier.pop()
            for automorphism in generators:
                image = automorphism[u]
                if image not in seen:
                    seen.add(image)
                    frontier.append(image)
        return not seen.isdisjoint(explored)


def _refine(graph: _Graph, colours: Colours) -> Colours:
    """Splits colour classes until equal colours mean equally coloured neighbourhoods."""
    count = max(colours) + 1
    n = len(colours)
    while count < n:
        colour = colours.__getitem__
        signatures = [
            (
                colours[v],
                sorted(map(colour, graph.parents[v])),
                sorted(map(colour, graph.joins[v])),
                sorted(map(colour, graph.children[v])),
                sorted(map(colour, graph.join_targets[v])),
            )
            for v in range(n)
        ]
        colours = _ranks(signatures)
        refined = max(colours) + 1
        if refined == count:
            break
        count = refined
    return colours


def _ranks(values: Iterable[object]) -> Colours:
    """Dense ranks of the values, equal values sharing one."""
    values = list(values)
    by_value = sorted(range(len(values)), key=values.__getitem__)  # type: ignore[arg-type]
    ranks = [0] * len(values)
    rank = 0
    for previous, current in pairwise(by_value):
        rank += values[previous] != values[current]
        ranks[current] = rank
    return ranks


def _first_tie(colours: Colours) -> list[int]:
    """The vertices of the first colour that several share; empty if there is none."""
    cells: dict[int, list[int]] = {}
    for v, colour in enumerate(colours):
        cells.setdefault(colour, []).append(v)
    return next((cells[c] for c in sorted(cells) if len(cells[c]) > 1), [])


def _order(colours: Colours) -> list[int]:
    return sorted(range(len(colours)), key=colours.__getitem__)


def _certificate(graph: _Graph, order: Sequence[int]) -> Certificate:
    """The graph's edges in the given order of its vertices; labels follow from the colours."""
    position = [0] * len(order)
    for p, v in enumerate(order):
        position[v] = p
    return [
        (
            tuple(sorted(position[u] for u in graph.parents[v])),
            tuple(sorted(position[u] for u in graph.joins[v])),
        )
        for v in order[graph.stem_size :]
    ]


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
