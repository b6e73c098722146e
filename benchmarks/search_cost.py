"""What a search costs, in trainings, and what it finds: methods side by side on the table of detectors.

    uv run python -m benchmarks.spinenet_bench.publish --out TABLE
    uv run python -m benchmarks.search_cost TABLE OUT --seeds 20 --budgets 25 50 100 --more 200 400 800
    uv run python -m benchmarks.search_cost TABLE OUT --beside OTHER

Every search is one of `nas.run_search` on the table and its surrogate. Its cost is the steps of all its
trainings, those of paused and failed trials and of finalists included, divided by the steps of one whole
training. What it finds is the mean AP of its winner's spec, which no search sees: a training's own score has
luck in it. There are two yardsticks: the best of 1,000 random specs, picked by single scores, and the same
when the best ten are trained three times more. From the mean of each method over its budgets follows how many
trainings it needs for a yardstick, and so how many it saves. Searches in OTHER, with other seeds, count there
too. What is done is in OUT and is not done again.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.machine import write_report
from benchmarks.regret import CONTROLLERS
from benchmarks.rows import add_row, read_rows
from controllers import BudgetFilter
from controllers.controller import AskTell
from nas.analysis.ranking import holm
from nas.executors import LocalExecutor
from nas.executors.job import evaluation_seed
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.halving import HalvingScheduler
from nas.search.loop import run_search
from nas.search.result import SearchResult
from proxy_tasks.adapted_task import adapt
from proxy_tasks.spinenet_bench import SpineNetBenchTask
from proxy_tasks.spinenet_bench.trainings import LENGTHS
from proxy_tasks.task import Score
from search_space import Space, graph_features, published_space
from search_space.encoding import Matrix

REPORTS = 4
"""Scores of a whole training; rungs are after the first and the second."""

POOL, AGAIN, TIMES = 1000, 10, 3
"""The yardstick: so many random specs, of which so many are trained so many times more."""

GOALS = {"once": ("picked by single scores", POOL), "again": ("re-trained", POOL + AGAIN * TIMES)}
"""By the name in the rows of both yardsticks: how it is picked, and its trainings."""


Rows = Sequence[Mapping[str, Any]]
"""Of searches and yardsticks."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to search.

    Args:
        make: the controller, from a space, a seed and the number of proposals.
        within: whether only specs of excess 0 are proposed.
        fidelity: length of the trainings.
        halving: whether trainings are paused at rungs, and only some go on.
        finalists: networks that are trained twice more at the end.
        pick: see `nas.SearchConfig`.
    """

    make: Callable[[Space, int, int], AskTell]
    within: bool = False
    fidelity: float = 1.0
    halving: bool = False
    finalists: int = 0
    pick: Any = "reward"

    def proposals(self, budget: int) -> int:
        """How many proposals a budget of whole trainings is enough for."""
        left = budget - 2 * self.finalists
        # Four trials under halving take two whole trainings.
        return 2 * left if self.halving else round(left / self.fidelity)


_random, _evolution, _local, _predictor = (
    CONTROLLERS[name] for name in ("random", "evolution", "local search", "predictor")
)


METHODS: dict[str, Method] = {
    "random": Method(make=_random),
    "random, filter": Method(make=_random, within=True),
    "random, filter, quarter": Method(make=_random, within=True, fidelity=0.25),
    "random, halving": Method(make=_random, halving=True),
    "evolution": Method(make=_evolution),
    "evolution, filter": Method(make=_evolution, within=True),
    "evolution, filter, finalists": Method(make=_evolution, within=True, finalists=5),
    "evolution, filter, quarter, finalists": Method(make=_evolution, within=True, fidelity=0.25, finalists=5),
    "local": Method(make=_local),
    "local, filter": Method(make=_local, within=True),
    "predictor": Method(make=_predictor),
    "predictor, expected": Method(make=_predictor, pick="expected"),
    "predictor, half": Method(make=_predictor, fidelity=0.5, pick="expected"),
    "predictor, half, finalists": Method(make=_predictor, fidelity=0.5, finalists=5, pick="expected"),
    "predictor, quarter": Method(make=_predictor, fidelity=0.25, pick="expected"),
    "predictor, eighth": Method(make=_predictor, fidelity=0.125, pick="expected"),
    "predictor, quarter, finalists": Method(make=_predictor, fidelity=0.25, finalists=5, pick="expected"),
    "predictor, finalists": Method(make=_predictor, finalists=5, pick="expected"),
    "predictor, halving": Method(make=_predictor, halving=True, pick="expected"),
    "predictor, halving, finalists": Method(make=_predictor, halving=True, finalists=5, pick="expected"),
    "predictor, filter, halving, finalists": Method(
        make=_predictor, within=True, halving=True, finalists=5, pick="expected"
    ),
}


DRAWS, ENDS = 2000, (0.05, 0.95)
"""Of the bootstrap."""

MARGIN = 0.01
"""AP by which a method may be worse than the yardstick."""

CONTRASTS = (
    ("random, filter", "random"),
    ("evolution, filter", "evolution"),
    ("local, filter", "local"),
    ("evolution, filter, finalists", "evolution, filter"),
    ("predictor, finalists", "predictor, expected"),
    ("predictor, quarter, finalists", "predictor, quarter"),
    ("predictor, quarter, finalists", "predictor, finalists"),
    ("predictor, quarter, finalists", "evolution, filter, quarter, finalists"),
    ("predictor, quarter, finalists", "evolution, filter, finalists"),
    ("random, halving", "random"),
    ("predictor, halving", "predictor, expected"),
    ("predictor, halving", "predictor, quarter, finalists"),
    ("predictor, expected", "predictor"),
)
"""Methods that differ by one part, and what the predictor and halving bring beside others."""

MOST_CONTRASTED = 100
"""They are compared up to so many trainings."""

BASELINES = (
    "random",
    "random, filter",
    "evolution",
    "evolution, filter",
    "evolution, filter, finalists",
    "local",
    "local, filter",
)
"""What the other methods save is counted against these."""


@cache
def _table(folder: Path) -> tuple[Space, SpineNetBenchTask, SpineNetBenchTask]:
    """The space, the task, and the task without noise."""
    task = SpineNetBenchTask(folder=folder, evaluations=REPORTS)
    return published_space("spinenet-49"), task, replace(task, noise="mean")


def search(folder: Path, method: Method, budget: int, seed: int) -> tuple[float, float]:
    """Runs one search; returns the worth of its winner and its cost in whole trainings."""
    space, task, mean = _table(folder)
    trials = method.proposals(budget)
    controller = method.make(space, seed, trials)
    if method.within:
        controller = BudgetFilter(controller, space.decode, graph_features, {"excess": 0})
    halving = HalvingScheduler(space=space if method.pick == "expected" else None, seed=seed)
    config = SearchConfig(
        seed=seed,
        fidelity=method.fidelity,
        max_staleness=8,  # As with eight trainings under way.
        pick=method.pick,
        finalists=method.finalists,
        scheduler=halving if method.halving else None,
    )
    found = run_search(space, controller, adapt(task), LocalExecutor(), trials, None, config=config)
    return _worth(space, mean, found), cost(found.trials)


def _ignore(step: int, score: Score) -> None:
    """Takes a report that nobody needs."""


def _worth(space: Space, mean: SpineNetBenchTask, found: SearchResult) -> float:
    assert found.best is not None
    spec: Any = space.decode(found.best.genotype)
    return mean.evaluate(spec, 1.0, 0, _ignore).reward


def cost(trials: Trials) -> float:
    """Gives the cost of a search in whole trainings: what goes on from a pause trains only the rest.

    It is never too low: how far a failed or a lost attempt came is not kept, so that each costs the rest of
    its training. Only a spec that was refused before its training costs nothing.
    """
    reached: dict[int, int] = {}
    total = 0.0
    for trial in trials.all:
        if trial.attempts == 0 or trial.status == "cached":
            continue
        before = 0 if trial.resume_from is None else reached.get(trial.resume_from, 0)
        rest = max(round(trial.fidelity * LENGTHS[-1]) - before, 0)
        reached[trial.number] = max(trial.curve, default=before)
        own = rest if trial.status == "failed" else reached[trial.number] - before
        if trial.failure == "invalid" and not trial.curve:
            own = 0
        total += own + (trial.attempts - 1) * rest
    return total / LENGTHS[-1]


def yardstick(folder: Path, seed: int) -> tuple[float, float]:
    """The worth of the best of the pool by single scores, and of that after the best were trained again."""
    space, task, mean = _table(folder)
    rng = np.random.default_rng((seed, 7))
    specs: list[Any] = [space.decode(space.sample(rng)) for _ in range(POOL)]

    def score(number: int, again: int) -> float:
        return task.evaluate(specs[number], 1.0, evaluation_seed(seed, number, again), _ignore).reward

    single = [score(number, 0) for number in range(POOL)]
    best = np.argsort(single)[::-1][:AGAIN].tolist()
    means = [np.mean([single[n], *(score(n, again) for again in range(1, TIMES + 1))]) for n in best]
    chosen = best[0], best[int(np.argmax(means))]
    once, twice = (mean.evaluate(specs[n], 1.0, 0, _ignore).reward for n in chosen)
    return once, twice


def _run(job: tuple[Path, str, int, int]) -> dict[str, Any]:
    folder, name, budget, seed = job
    if name == "yardstick":
        once, again = yardstick(folder, seed)
        return {"method": name, "budget": budget, "seed": seed, "once": once, "again": again}
    worth, spent = search(folder, METHODS[name], budget, seed)
    return {"method": name, "budget": budget, "seed": seed, "worth": worth, "cost": spent}


def main() -> None:
    """Does what is missing, and writes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("table", type=Path, help="folder of the published table")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--budgets", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--more", type=int, nargs="*", default=[], help="further budgets of the baselines")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="folders that OUT's savings count")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    folder, rows = options.table.resolve(), options.out / "searches.jsonl"
    digest = _table(folder)[1].digest
    options.out.mkdir(parents=True, exist_ok=True)
    beside = [other / rows.name for other in options.beside]
    for path in beside:
        if not path.exists():
            parser.error(f"{path} is missing")
    for path in (rows, *beside):
        if any(row["table"] != digest for row in read_rows(path)):
            parser.error(f"{path} has searches on another table; give another folder")
    done = {(row["method"], row["budget"], row["seed"]) for row in read_rows(rows)}
    wanted = [
        (name, budget, seed)
        for seed in range(options.first, options.first + options.seeds)
        for name in ("yardstick", *options.methods)
        for budget in _budgets(name, options)
    ]
    jobs = [(folder, *job) for job in wanted if job not in done]
    with Pool(options.workers) as pool:
        for number, row in enumerate(pool.imap_unordered(_run, jobs), start=1):
            add_row(rows, {"table": digest, **row})
            print(f"\r{number} of {len(jobs)} searches", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    found = read_rows(rows)
    together = [*found, *(row for path in beside for row in read_rows(path))]
    savings = (describe_savings(together, goal) for goal in GOALS)
    parts = [describe(found), describe_contrasts(found), *savings]
    write_report(options.out / "table.md", "search_cost", "\n".join(filter(None, parts)))


def _budgets(method: str, options: argparse.Namespace) -> list[int]:
    if method == "yardstick":
        return [POOL + AGAIN * TIMES]
    return sorted({*options.budgets, *(options.more if method in BASELINES else [])})


def _found_budgets(found: Rows) -> dict[str, list[int]]:
    """The budgets of each method that there are rows of."""
    return {
        name: sorted({row["budget"] for row in found if row["method"] == name})
        for name in METHODS
        if any(row["method"] == name for row in found)
    }


def describe(found: Rows) -> str:
    """Gives means as a table in Markdown, with 90 % intervals by Welch's t, and what is told of them.

    That a method is not worse than the yardstick by `MARGIN` is tested for each method and budget, and
    adjusted for the number of methods at each budget. Beside the test stands the end of the one-sided 95 %
    interval of a bootstrap over searches and yardsticks.
    """
    once, again = (_yardsticks(found, name) for name in ("once", "again"))
    rng, budgets = np.random.default_rng(2), _found_budgets(found)
    lines = [
        f"Best of {POOL} random specs: by single scores {once.mean():.4f}, "
        f"re-trained {again.mean():.4f}; {len(again)} seeds.\n",
        "| method | trainings | mean AP of the winner's spec | minus the re-trained best, 90 % interval "
        f"| at least, 95 %, by a bootstrap | p, not {MARGIN} worse: alone, of all of this budget |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    looked_at = {
        (name, budget): _column(found, name, budget, "worth")
        for name, its in budgets.items()
        for budget in its
    }
    alone = {
        place: float(stats.ttest_ind(worth + MARGIN, again, equal_var=False, alternative="greater").pvalue)
        for place, worth in looked_at.items()
    }
    of_all = {
        place: p
        for wanted in {budget for _, budget in alone}
        for place, p in holm({place: p for place, p in alone.items() if place[1] == wanted}).items()
    }
    for name, its_budgets in budgets.items():
        for budget in its_budgets:
            worth = looked_at[name, budget]
            between = stats.ttest_ind(worth, again, equal_var=False).confidence_interval(0.9)
            p = f"{alone[name, budget]:.2g}, {of_all[name, budget]:.2g}"
            spent = _column(found, name, budget, "cost").mean()
            least = np.quantile(_drawn_means(rng, worth) - _drawn_means(rng, again), ENDS[0])
            lines.append(
                f"| {name} | {spent:.1f} | {worth.mean():.4f} | "
                f"{worth.mean() - again.mean():+.4f} ({between.low:+.4f} to {between.high:+.4f}) "
                f"| {least:+.4f} | {p} |"
            )
    return "\n".join(lines) + "\n"


def _drawn_means(rng: np.random.Generator, values: Matrix) -> Matrix:
    """The means of values that are drawn anew, `DRAWS` times."""
    drawn: Matrix = rng.choice(values, (DRAWS, len(values))).mean(1)
    return drawn


def describe_contrasts(found: Rows) -> str:
    """Gives what single parts bring, with 90 % intervals and two-sided p by Welch's t.

    The text is empty if there is nothing to compare.
    """
    budgets = _found_budgets(found)
    wanted = {
        (better, worse, budget): (
            _column(found, better, budget, "worth"),
            _column(found, worse, budget, "worth"),
        )
        for better, worse in CONTRASTS
        for budget in budgets.get(better, ())
        if budget in budgets.get(worse, ()) and budget <= MOST_CONTRASTED
    }
    if not wanted:
        return ""
    tests = {place: stats.ttest_ind(*both, equal_var=False) for place, both in wanted.items()}
    adjusted = holm({place: float(test.pvalue) for place, test in tests.items()})
    lines = [
        "What single parts bring.\n",
        "| method | minus | trainings | difference, 90 % interval | p: alone, of all |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (better, worse, budget), test in tests.items():
        first, second = wanted[better, worse, budget]
        between = test.confidence_interval(0.9)
        lines.append(
            f"| {better} | {worse} | {budget} | {first.mean() - second.mean():+.4f} "
            f"({between.low:+.4f} to {between.high:+.4f}) "
            f"| {test.pvalue:.2g}, {adjusted[better, worse, budget]:.2g} |"
        )
    return "\n".join(lines) + "\n"


def _yardsticks(found: Rows, name: str) -> Matrix:
    return np.array([row[name] for row in found if row["method"] == "yardstick"])


def _column(found: Rows, method: str, budget: int, name: str) -> Matrix:
    rows = [row for row in found if row["method"] == method and row["budget"] == budget]
    return np.array([row[name] for row in rows])


def needed(budgets: Sequence[int], worth: Sequence[float], wanted: float) -> float:
    """Gives the trainings after which the mean is as good as wanted, by a line over the budgets' logarithm.

    Args:
        budgets: ascending.
        worth: the mean for each budget.
        wanted: the quality.

    Returns:
        a number of trainings; infinite if the largest budget is not enough, 0 if the smallest one is.
    """
    reached = np.maximum.accumulate(worth)
    if reached[-1] < wanted:
        return math.inf
    place = int(np.argmax(reached >= wanted))
    if place == 0:
        return 0.0
    (low, high), (at_low, at_high) = reached[place - 1 : place + 1], np.log(budgets[place - 1 : place + 1])
    return float(np.exp(at_low + (at_high - at_low) * (wanted - low) / (high - low)))


def describe_savings(found: Rows, goal: str) -> str:
    """Gives the trainings that each method needs for a yardstick, and how many times more the baselines do.

    Intervals are of 90 %, from a bootstrap over the searches and over the yardsticks. A method of which one
    budget is known is left out; the text is empty if no method is left.

    Args:
        found: the rows.
        goal: name of the yardstick, see `GOALS`.
    """
    rng, (how, trainings), best = np.random.default_rng(1), GOALS[goal], _yardsticks(found, goal)
    budgets = {name: its for name, its in _found_budgets(found).items() if len(its) > 1}
    if not budgets:
        return ""
    wanted = [best.mean(), *_drawn_means(rng, best)]
    yardstick = f"{trainings:,} random, the yardstick"
    needs = {yardstick: Need(np.full(DRAWS + 1, trainings, float), 0, math.inf)}
    for name, its in budgets.items():
        worths = [_column(found, name, budget, "worth") for budget in its]
        means = np.array([[worth.mean(), *_drawn_means(rng, worth)] for worth in worths]).T
        points = [needed(its, row, mean) for row, mean in zip(means, wanted, strict=True)]
        needs[name] = Need(np.array(points), its[0], its[-1])
    against = [name for name in needs if name in (*BASELINES, yardstick)]
    lines = [
        f"Trainings for the mean AP of the best of {POOL}, {how} ({best.mean():.4f}, {len(best)} seeds), "
        "and how many times more a baseline needs for it.\n",
        f"| method | trainings | {' | '.join(f'times: {name}' for name in against)} |",
        f"| --- | --- {'| --- ' * len(against)}|",
    ]
    for name in budgets:
        cells = [needs[name].saves(needs[other]) if other != name else "" for other in against]
        lines.append(f"| {name} | {needs[name].describe()} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Need:
    """The trainings that a method needs.

    Args:
        points: first as measured, then as drawn anew; 0 and infinity stand for what was not looked at.
        smallest, largest: the budgets between which it is known.
    """

    points: Matrix
    smallest: float
    largest: float

    def describe(self) -> str:
        """The number, and its interval."""
        return _interval(np.maximum(self.points, self.smallest), np.minimum(self.points, self.largest), 0)

    def saves(self, other: Need) -> str:
        """How many times more another method needs, and the interval of that."""
        if math.isinf(self.points[0]):
            return ""
        with np.errstate(divide="ignore"):
            most = np.maximum(other.points, other.smallest) / np.minimum(self.points, self.largest)
        least = np.minimum(other.points, other.largest) / np.maximum(self.points, self.smallest)
        return _interval(most, least, 1)


def _interval(most: Matrix, least: Matrix, digits: int) -> str:
    """A number with an interval of 90 %, of each of which the most and the least that it can be are known.

    The interval is the widest one: from the least to the most.
    """
    low, high = (
        float(np.quantile(values[1:], end, method="nearest"))
        for values, end in zip((least, most), ENDS, strict=True)
    )
    end = f"to {high:.{digits}f}" if math.isfinite(high) else "or more"
    return f"{_number(float(most[0]), float(least[0]), digits)} ({low:.{digits}f} {end})"


def _number(most: float, least: float, digits: int) -> str:
    """A number of which the most and the least that it can be are known."""
    if math.isinf(most):
        return f"at least {least:.{digits}f}"
    return f"{least:.{digits}f}" if most - least <= 1e-6 * most else f"at most {most:.{digits}f}"


if __name__ == "__main__":
    main()
