"""Which networks are trained, and in which order.

| group | what | number |
| --- | --- | --- |
| uniform | random specs of the space: 200 first, 200 after the group excess-0, and the others later | 1,000 |
| excess-0 | random specs whose excess is 0 at every output; after the searches | 200 |
| seeds | 40 of these, spread over their scores, with four more seeds each | 160 |
| local, evolution, predictor | what these controllers propose, one trial after the other | 40 each |
| chains | 20 chains of four edits, each of which changes what the one before has made | 80 |
| long | 60 specs, spread over the scores of uniform, four times as long, two seeds each | 120 |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.spinenet_bench.recipe import FULL, LENGTHS, LONG_LENGTHS, SPACE
from benchmarks.spinenet_bench.table import ROWS, Row
from controllers import LocalSearch, PredictorSearch, RegularizedEvolution
from controllers.controller import AskTell, Proposal, Reward
from nas.executors.job import evaluation_seed
from nas.utils.files import replace_file
from search_space import Genotype, Space, SpineNetSpec, published_space
from search_space.spinenet.excess import output_excess

UNIFORM_ALONE, UNIFORM_FIRST, UNIFORM, EXCESS_0 = 200, 400, 1000, 200
REPEATED, SEEDS = 40, 4
SEARCHED = 40
CHAINS, EDITS = 20, 4
LONG, LONG_SEEDS = 60, 2

PLANNED = UNIFORM + EXCESS_0 + REPEATED * SEEDS + 3 * SEARCHED + CHAINS * EDITS + LONG * LONG_SEEDS
"""All trainings: three controllers search."""

PLANNED_COST = float(PLANNED + LONG * LONG_SEEDS * (LONG_LENGTHS[-1] // FULL - 1))
"""The length of all of them in trainings of fidelity 1."""

UNIFORM_SEED, EXCESS_SEED, CHAIN_SEED = 17, 18, 19

SELECTIONS = "selections.json"
"""Beside the part files: what was selected by scores, which later scores must not change."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A piece of work that one process does: a training, or a search of several.

    Args:
        group: of its rows.
        first: number of its first row.
        count: trainings.
        seed: those of the trainings follow from it.
        make: the controller that proposes the specs.
        lengths: when they are measured.
    """

    group: str
    first: int
    count: int = 1
    seed: int
    make: Callable[[], AskTell]
    lengths: Sequence[int] = LENGTHS

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.group}-{self.first}"

    @property
    def places(self) -> list[tuple[str, int]]:
        """The group and number of each of its rows."""
        return [(self.group, self.first + i) for i in range(self.count)]

    @property
    def cost(self) -> float:
        """Its length in trainings of fidelity 1."""
        return self.count * self.lengths[-1] / FULL


class Single:
    """The controller that proposes one genotype."""

    def __init__(self, genotype: Genotype) -> None:
        self.genotype = genotype

    def ask(self) -> Proposal:
        """Proposes it."""
        return Proposal(0, self.genotype)

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Learns nothing."""


@cache
def space() -> Space:
    """The space of the table."""
    return published_space(SPACE)


@cache
def uniform_genotypes() -> tuple[Genotype, ...]:
    """The group uniform."""
    rng = np.random.default_rng(UNIFORM_SEED)
    return tuple(space().sample(rng) for _ in range(UNIFORM))


@cache
def excess_0_genotypes() -> tuple[Genotype, ...]:
    """The group excess-0."""
    return tuple(islice(draw_excess_0(np.random.default_rng(EXCESS_SEED)), EXCESS_0))


def draw_excess_0(rng: np.random.Generator) -> Iterator[Genotype]:
    """Draws random genotypes whose specs have excess 0 at every output, without end."""
    while True:
        genotype = space().sample(rng)
        spec = space().decode(genotype)
        assert isinstance(spec, SpineNetSpec)
        if not any(output_excess(spec).values()):
            yield genotype


def plan(rows: Sequence[Row], folder: Path = ROWS) -> Iterator[Item]:
    """Gives all work in its order, as far as the rows allow to say it.

    Args:
        rows: all that are known.
        folder: where selections are kept; one that is due is made.
    """
    yield from _singles("uniform", uniform_genotypes()[:UNIFORM_ALONE], 0)
    # What searches find is overrated as long as the surrogate knows random specs alone.
    searches: dict[str, Callable[[], AskTell]] = {
        "predictor": lambda: PredictorSearch(space(), 3),
        "evolution": lambda: RegularizedEvolution(space(), 2, trials=SEARCHED),
        "local": lambda: LocalSearch(space(), 1),
    }
    for group, make in searches.items():
        yield Item(group=group, first=0, count=SEARCHED, seed=evaluation_seed(*group.encode(), 0), make=make)
    # Within excess 0 the surrogate ranks worst, and most of the random specs have a higher excess.
    yield from _singles("excess-0", excess_0_genotypes(), 0)
    yield from _singles("uniform", uniform_genotypes()[UNIFORM_ALONE:UNIFORM_FIRST], UNIFORM_ALONE)
    repeated = _select("seeds", rows, folder)
    if repeated is None:
        return
    yield from _singles("seeds", [genotype for genotype in repeated for _ in range(SEEDS)], 0)
    yield from _singles("chains", _chains(chain_starts(repeated)), 0)
    yield from _singles("uniform", uniform_genotypes()[UNIFORM_FIRST:], UNIFORM_FIRST)
    chosen = _select("long", rows, folder)
    if chosen is not None:
        genotypes = [genotype for genotype in chosen for _ in range(LONG_SEEDS)]
        yield from _singles("long", genotypes, 0, LONG_LENGTHS)


def _singles(
    group: str, genotypes: Sequence[Genotype], first: int, lengths: Sequence[int] = LENGTHS
) -> Iterator[Item]:
    for number, genotype in enumerate(genotypes, start=first):
        make = lambda genotype=genotype: Single(genotype)  # noqa: E731
        # No two trainings of the table have the same seed.
        seed = evaluation_seed(*group.encode(), number)
        yield Item(group=group, first=number, seed=seed, make=make, lengths=lengths)


def chain_starts(repeated: Sequence[Genotype]) -> Sequence[Genotype]:
    """The specs with which the chains begin: every second one of those with several seeds."""
    return repeated[:: REPEATED // CHAINS]


def _chains(starts: Sequence[Genotype]) -> list[Genotype]:
    """What successive edits make of the starts, which are in the table already."""
    rng, found = np.random.default_rng(CHAIN_SEED), []
    for genotype in starts:
        for _ in range(EDITS):
            genotype = space().mutate(genotype, rng)
            found.append(genotype)
    return found


def _select(group: str, rows: Sequence[Row], folder: Path) -> list[Genotype] | None:
    """The genotypes of a group that is chosen by scores; None as long as these are not there."""
    known = read_selections(folder)
    if group not in known:
        sources = {
            "seeds": {"uniform": UNIFORM_FIRST, "excess-0": EXCESS_0},
            "long": {"uniform": UNIFORM_FIRST},
        }
        wanted = {(source, i) for source, count in sources[group].items() for i in range(count)}
        if not wanted <= {row.place for row in rows}:
            return None
        known[group] = []
        for source in sources[group]:
            count = (REPEATED if group == "seeds" else LONG) // len(sources[group])
            scored = [row for row in rows if row.place in wanted and row.group == source and not row.failure]
            known[group] += [row.genotype for row in spread(scored, count)]
        replace_file(folder / SELECTIONS, json.dumps(known))
    return known[group]


def read_selections(folder: Path) -> dict[str, list[Genotype]]:
    """Gives what was selected by scores so far, by group."""
    path = folder / SELECTIONS
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {group: [tuple(genotype) for genotype in genotypes] for group, genotypes in known.items()}


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """Gives rows at equal distances in the order of their scores, the best and the worst among them."""
    ordered = sorted(rows, key=lambda row: (row.ap(FULL), row.number))
    places = np.linspace(0, len(ordered) - 1, count).round().astype(int)
    return [ordered[place] for place in places]
