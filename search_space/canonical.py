"""Canonical form and key: one name for all specs that are the same network.

Two specs get one key if and only if their live graphs are isomorphic: same kinds and levels, same
parents, same directly joined features, same outputs, whatever the build order, the order of the two
parents, and the blocks that reach no output. Networks of such specs with the same weights compute the same
function in evaluation mode. (In training, stochastic depth follows the build order.)

The method is color refinement, then individualization of ties with pruning by the automorphisms found,
as in McKay and Piperno, "Practical graph isomorphism, II", 2014. Refinement alone settles nearly all specs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Label = tuple[int, str, bool]


def canonical_rows(
    roots: int, labels: Sequence[Label], parents: Sequence[Sequence[int]], joins: Sequence[Sequence[int]]
) -> tuple[tuple[Label, tuple[int, ...], tuple[int, ...]], ...]:
    """Returns what isomorphic acyclic graphs share: label, parents and joins of each vertex but the roots.

    Args:
        roots: number of the first vertices, which keep their places.
        labels, parents, joins: of every vertex; the order among parents and among joins means nothing.
    """
    graph = make_graph(roots, tuple(range(len(labels))), labels, parents, joins)
    order = canonical_order(graph)
    edges = zip(order[roots:], certificate(graph, order), strict=True)
    return tuple((graph.labels[v], above, beside) for v, (above, beside) in edges)


@dataclass(frozen=True, slots=True)
class Graph:
    """The live graph with vertices 0..n-1; the first `stem_size` are the stem's, in their fixed order."""

    stem_size: int
    features: tuple[int, ...]
    labels: list[Label]
    parents: list[tuple[int, ...]]
    joins: list[tuple[int, ...]]
    children: list[list[int]]
    join_targets: list[list[int]]


Colors = list[int]


Certificate = list[tuple[tuple[int, ...], tuple[int, ...]]]


def make_graph(
    stem_size: int,
    features: tuple[int, ...],
    labels: Sequence[Label],
    parents: Sequence[Sequence[int]],
    joins: Sequence[Sequence[int]],
) -> Graph:
    """Makes the graph of these vertices, of which the first ones are the stem's."""
    graph = Graph(
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


def canonical_order(graph: Graph) -> list[int]:
    """Returns the vertices in canonical order, the stem first."""
    labels = graph.labels
    start = [
        (i, labels[i]) if i < graph.stem_size else (graph.stem_size, labels[i]) for i in range(len(labels))
    ]
    colors = _refine(graph, _ranks(start))
    if max(colors) + 1 == len(colors):
        return _order(colors)
    search = _Search(graph)
    search.explore(colors, ())
    return search.best_order


class _Search:
    """Depth-first search for the least certificate over all ways to break the ties.

    A leaf whose certificate has been seen before gives an automorphism. Branches that an automorphism
    maps onto an explored one are skipped, so that k interchangeable parts cost k paths and not k!.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.best: Certificate | None = None
        self.best_order: list[int] = []
        self.best_path: tuple[int, ...] = ()
        self.first: Certificate | None = None
        self.first_order: list[int] = []
        self.first_path: tuple[int, ...] = ()
        self.automorphisms: list[dict[int, int]] = []

    def explore(self, colors: Colors, path: tuple[int, ...]) -> int:
        """Explores below `path`, the vertices individualized so far, and returns the depth to continue at."""
        cell = _first_tie(colors)
        if not cell:
            return self._leaf(_order(colors), path)
        explored: list[int] = []
        for v in cell:
            if explored and self._is_image_of(v, explored, path):
                continue
            split = [2 * c + (c == colors[v] and u != v) for u, c in enumerate(colors)]
            depth = self.explore(_refine(self.graph, _ranks(split)), (*path, v))
            if depth < len(path):
                return depth
            explored.append(v)
        return len(path)

    def _leaf(self, order: list[int], path: tuple[int, ...]) -> int:
        leaf = certificate(self.graph, order)
        if self.first is None or self.best is None:
            self.first, self.first_order, self.first_path = leaf, order, path
            self.best, self.best_order, self.best_path = leaf, order, path
            return len(path)
        for known, known_order, known_path in (
            (self.first, self.first_order, self.first_path),
            (self.best, self.best_order, self.best_path),
        ):
            if leaf == known:
                self.automorphisms.append(dict(zip(known_order, order, strict=True)))
                return _common_prefix(path, known_path)
        if leaf < self.best:
            self.best, self.best_order, self.best_path = leaf, order, path
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


def _refine(graph: Graph, colors: Colors) -> Colors:
    """Splits color classes until equal colors mean equally colored neighborhoods."""
    count = max(colors) + 1
    n = len(colors)
    while count < n:
        color = colors.__getitem__
        signatures = [
            (
                colors[v],
                sorted(map(color, graph.parents[v])),
                sorted(map(color, graph.joins[v])),
                sorted(map(color, graph.children[v])),
                sorted(map(color, graph.join_targets[v])),
            )
            for v in range(n)
        ]
        colors = _ranks(signatures)
        refined = max(colors) + 1
        if refined == count:
            break
        count = refined
    return colors


def _ranks(values: Iterable[object]) -> Colors:
    """Returns the dense ranks of the values; equal values share a rank."""
    values = list(values)
    by_value = sorted(range(len(values)), key=values.__getitem__)  # type: ignore[arg-type]
    ranks = [0] * len(values)
    rank = 0
    for previous, current in pairwise(by_value):
        rank += values[previous] != values[current]
        ranks[current] = rank
    return ranks


def _first_tie(colors: Colors) -> list[int]:
    """Returns the vertices of the first color that several vertices share, or nothing."""
    cells: dict[int, list[int]] = {}
    for v, color in enumerate(colors):
        cells.setdefault(color, []).append(v)
    return next((cells[c] for c in sorted(cells) if len(cells[c]) > 1), [])


def _order(colors: Colors) -> list[int]:
    return sorted(range(len(colors)), key=colors.__getitem__)


def certificate(graph: Graph, order: Sequence[int]) -> Certificate:
    """Returns the graph's edges in the given order of its vertices; the colors imply the labels."""
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
