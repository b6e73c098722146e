"""A second space: a cell of six edges with five operations, as in NAS-Bench-201. Knows no SpineNet."""

from __future__ import annotations

from dataclasses import dataclass

from search_space import Decision, Genotype, NotInSpaceError, Space

OPERATIONS = ("none", "skip", "conv 1x1", "conv 3x3", "average pool")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


@dataclass(frozen=True)
class CellSpace(Space):
    """Nodes 0 (input) to 3 (output); every edge has an operation."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return tuple(Decision(f"edge {a}-{b}", OPERATIONS) for a, b in EDGES)

    def decode(self, genotype: Genotype) -> tuple[str, ...]:
        self.check(genotype)
        return tuple(OPERATIONS[answer] for answer in genotype)

    def encode(self, spec: tuple[str, ...]) -> Genotype:
        if len(spec) != len(EDGES) or not set(spec) <= set(OPERATIONS):
            raise NotInSpaceError(f"{spec} does not name six operations")
        return tuple(OPERATIONS.index(operation) for operation in spec)

    def key(self, spec: tuple[str, ...]) -> str:
        """The function as an expression: 'none' vanishes, 'skip' is transparent, sums are unordered."""
        nodes = ["x"]
        for node in (1, 2, 3):
            terms = []
            for (a, b), operation in zip(EDGES, spec, strict=True):
                if b == node and operation != "none" and nodes[a]:
                    terms.append(nodes[a] if operation == "skip" else f"{operation}({nodes[a]})")
            nodes.append("+".join(sorted(terms)))
        return nodes[3] or "zero"
