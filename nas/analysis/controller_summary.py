"""What the searches of a study of controllers come to: their regrets, and how the controllers rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.analysis.ranking import Ranking, curve, rank
from nas.analysis.search_curve import SearchCurve

Floats = NDArray[np.float64]

BASELINE = "random"
"""Name of the controller that each other is tested against, if the study has it."""

FIRST_POINTS = (10, 25, 50, 100, 150, 300, 500)
"""Numbers of trials at which the page gives the regret; then 1, 2 and 5 times every power of ten."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControllerSummary:
    """What the searches of one controller come to.

    Args:
        name: of the controller.
        searches: its searches by seed, in the order of the seeds.
        regrets: [seeds, trials], how far the best reward so far is below that of the study. Before the first
            score it is that of the worst reward that any search began with.
        regret: mean regret over the seeds at each of the page's numbers of trials.
        error: the standard errors of these means.
        rank: mean rank over the seeds; 1 is best.
        beats: how many other controllers end lower, see `Ranking.beaten`.
        p: of beating random search; None for random search itself, or without it.
    """

    name: str
    searches: Mapping[int, SearchCurve]
    regrets: Floats
    regret: Mapping[int, float]
    error: Mapping[int, float]
    rank: float
    beats: int
    p: float | None

    @property
    def distinct(self) -> float:
        """Part of the proposals whose key was not proposed before, from 0 to 1; the mean over the seeds."""
        return float(np.mean([search.distinct / search.trials for search in self.searches.values()]))

    @property
    def ask_ms(self) -> float:
        """Mean milliseconds of an ask and a tell."""
        return float(np.mean([search.ask_ms for search in self.searches.values()]))

    @property
    def failed(self) -> int:
        """Trials of all seeds that have no reward."""
        return sum(search.failed for search in self.searches.values())

    @property
    def trials(self) -> int:
        """Trials of all seeds."""
        return sum(search.trials for search in self.searches.values())

    @property
    def failure(self) -> str:
        """Message of one of the failures; "" without any."""
        return find_failure(self.searches)


@dataclass(frozen=True, kw_only=True, eq=False)
class StudySummary:
    """What a study of controllers comes to.

    Args:
        best: the reward from which regrets are counted.
        best_is_known: whether it is the best of the task; otherwise it is the best that any search found.
        points: the page's numbers of trials.
        controllers: in the order in which the study names them.
        ranking: how their final regrets stand to each other.
    """

    best: float
    best_is_known: bool
    points: tuple[int, ...]
    controllers: tuple[ControllerSummary, ...]
    ranking: Ranking

    def by_rank(self) -> list[ControllerSummary]:
        """Gives the controllers, the best first."""
        return sorted(self.controllers, key=lambda controller: controller.rank)


def summarize(
    searches: Mapping[str, Mapping[int, SearchCurve]], trials: int, known: float | None
) -> StudySummary:
    """Gives the regrets and ranks of controllers.

    Args:
        searches: those of each controller by seed, equally many for each, in the order of the seeds.
        trials: the budget of each search.
        known: the best reward of the task; None for the best that any search found.

    Raises:
        ValueError: if a search found no score at all.
    """
    bests = {name: _best_by_trial(some, trials) for name, some in searches.items()}
    scoreless = next((name for name, some in bests.items() if np.isnan(some[:, -1]).any()), None)
    if scoreless is not None:
        reason = find_failure(searches[scoreless])
        raise ValueError(f"a search with {scoreless} found no score at all; the last failure: {reason}")
    best = float(known) if known is not None else max(float(np.nanmax(some)) for some in bests.values())
    floor = min(float(np.nanmin(some)) for some in bests.values())
    regrets = {name: best - np.nan_to_num(some, nan=floor) for name, some in bests.items()}
    ranking = rank(
        {name: -some[:, -1] for name, some in regrets.items()}, BASELINE if BASELINE in searches else None
    )
    points = choose_points(trials)
    return StudySummary(
        best=best,
        best_is_known=known is not None,
        points=tuple(points),
        controllers=tuple(
            _summarize_controller(name, some, regrets[name], points, ranking)
            for name, some in searches.items()
        ),
        ranking=ranking,
    )


def choose_points(trials: int) -> list[int]:
    """Gives the numbers of trials at which a study tells the regret, its last trial included."""
    found = list(FIRST_POINTS)
    while found[-1] < trials:
        power = 10 ** len(str(found[-1]))
        found += [power, 2 * power, 5 * power]
    return [point for point in found if point < trials] + [trials]


def find_failure(searches: Mapping[int, SearchCurve]) -> str:
    """Gives the message of one of the failures; "" without any."""
    return next((search.failure for search in searches.values() if search.failure), "")


def _best_by_trial(searches: Mapping[int, SearchCurve], trials: int) -> Floats:
    """The best reward so far, [seeds, trials]; NaN before the first score."""
    at = np.arange(1, trials + 1, dtype=np.float64)
    return np.array([curve([(n, best) for n, _, best in search.steps], at) for search in searches.values()])


def _summarize_controller(
    name: str, searches: Mapping[int, SearchCurve], regrets: Floats, points: Sequence[int], ranking: Ranking
) -> ControllerSummary:
    at = {point: regrets[:, point - 1] for point in points}
    return ControllerSummary(
        name=name,
        searches=searches,
        regrets=regrets,
        regret={point: float(values.mean()) for point, values in at.items()},
        error={point: _standard_error(values) for point, values in at.items()},
        rank=ranking.ranks[name],
        beats=ranking.beaten(name),
        p=ranking.against.get(name),
    )


def _standard_error(values: Floats) -> float:
    """The standard error of the mean of two or more values."""
    return float(values.std(ddof=1) / len(values) ** 0.5)
