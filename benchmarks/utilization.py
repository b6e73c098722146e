"""How busy a hundred workers are, on the virtual clock, where their speeds differ and some get lost.

    uv run python -m benchmarks.utilization                   # the default of max_staleness, and others
    uv run python -m benchmarks.utilization --trials 14000 --staleness 400

Proposal k sees the scores of the trials up to k - max_staleness, whatever the timing: the further back that
is, the less workers wait for the slowest of them, and the less the controller knows. Each case runs twice,
and must give the same proposals both times.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from controllers import RegularizedEvolution
from nas.executors.job import JobResult
from nas.executors.simulated_executor import SimulatedExecutor
from nas.journal.trials import Trial
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.scheduler import Decision, FullTraining
from proxy_tasks.task import Report, Score
from search_space import published_space

WORKERS = 100
MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """What goes wrong.

    Args:
        spread: lengths of the trainings are uniform within this share around their mean.
        slow: workers that take three times as long.
        pruned: share of the trials that end at a quarter of their length.
        lost: share of the attempts that are lost on the way.
        long: whether one trial takes thirty times as long.
    """

    spread: float = 0.0
    slow: int = 0
    pruned: float = 0.0
    lost: float = 0.0
    long: bool = False


CASES = {
    "even lengths": Case(),
    "lengths of +-50 %": Case(spread=0.5),
    "20 of 100 workers three times slower": Case(spread=0.1, slow=20),
    "75 % pruned at a quarter": Case(spread=0.1, pruned=0.75),
    "10 % of attempts lost": Case(spread=0.1, lost=0.1),
    "one trial 30 times as long": Case(spread=0.1, long=True),
}


@dataclass(frozen=True)
class Trainings:
    """A task of random scores; the length of a training is its metric "seconds"."""

    case: Case

    def evaluate(self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: object) -> Score:
        """Draws score and length by the seed."""
        rng = np.random.default_rng(seed)
        seconds = MINUTE * (1 + self.case.spread * rng.uniform(-1, 1))
        poor = rng.random() < self.case.pruned
        reward = float(rng.random())
        report(1, Score(-1.0 if poor else reward, {"seconds": seconds / 4}))
        return Score(reward, {"seconds": seconds})


class Cluster(SimulatedExecutor):
    """Workers to which something happens."""

    def __init__(self, case: Case) -> None:
        super().__init__(workers=WORKERS, seconds=MINUTE)
        self.case, self.useful = case, 0.0
        self.rng = np.random.default_rng(0)

    def happen(self, worker: int, ended: JobResult) -> JobResult:
        """Slows a job down, makes it long, or loses it."""
        seconds = ended.seconds * (3 if worker < self.case.slow else 1)
        if self.case.long and ended.trial == 500:
            seconds *= 30
        if self.rng.random() < self.case.lost:
            seconds *= self.rng.random()
            return JobResult(
                ended.trial, ended.attempt, "failed", None, "infrastructure", "lost", ended.worker, seconds
            )
        return replace(ended, seconds=seconds)


class StopsPoorTrials(FullTraining):
    """Ends a trial at its first report if that is below 0."""

    def report(self, trial: Trial, step: int, reward: float) -> Decision:
        """Answers a report."""
        return Decision.STOP if reward < 0 else Decision.CONTINUE


def run(case: Case, trials: int, staleness: int | None) -> tuple[float, list[str]]:
    """Utilization of the workers over the whole search, and the keys of all proposals."""
    space, executor = published_space("spinenet-49"), Cluster(case)
    config = SearchConfig(max_staleness=staleness, cache=False, retries=20, scheduler=StopsPoorTrials())
    controller = RegularizedEvolution(space, 0)
    found = run_search(space, controller, Trainings(case), executor, trials, None, config=config)
    return executor.utilization, [trial.key for trial in found.trials.all]


def main() -> None:
    """Prints a table, one row for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--staleness", type=int, nargs="*", default=[200, 300, 400, 500])
    options = parser.parse_args()
    lags = [None, *options.staleness]
    names = ["default", *(str(lag) for lag in options.staleness)]
    print(f"{options.trials} trials, {WORKERS} workers; columns: max_staleness")
    print("| case | " + " | ".join(names) + " |")
    print("| --- " * (len(names) + 1) + "|")
    for name, case in CASES.items():
        cells = []
        for lag in lags:
            share, keys = run(case, options.trials, lag)
            if lag is None and run(case, options.trials, lag)[1] != keys:
                raise AssertionError(f"{name}: the proposals differ between two runs")
            cells.append(f"{share:.3f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
