"""What a resumed search may not change, and what must come out as if it had never been cut off."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from controllers import Proposal, RandomSearch
from nas.executors.in_process import LocalExecutor
from nas.journal.store import Event, JournalError, read_events
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.objective import Objective
from nas.search.pruning import PruningScheduler
from nas.search.result import SearchResult
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import Genotype, Space, published_space
from search_space.choices import ChoiceSpace

SPACE = published_space("r35-sp18")


def search(folder: Path, task: Any, trials: int, space: Space = SPACE, **more: Any) -> SearchResult:
    controller = more.pop("controller", None) or RandomSearch(space, 0)
    return run_search(space, controller, task, LocalExecutor(), trials, folder, **more)


class Cut(BaseException):
    """The process ends here."""


@dataclass
class Given:
    """Proposes what it is given."""

    genotypes: list[Genotype]
    asked: int = 0

    def ask(self) -> Proposal:
        self.asked += 1
        return Proposal(self.asked - 1, self.genotypes[self.asked - 1])

    def tell(self, proposal: Proposal, reward: object) -> None:
        pass


@pytest.mark.parametrize("other", [{"minimize": ["seconds"]}, {"limits": {"seconds": 5.0}}])
def test_a_search_keeps_its_objective(tmp_path: Path, other: dict[str, Any]) -> None:
    search(tmp_path, SyntheticTask(), 6)
    before = list(read_events(tmp_path))
    with pytest.raises(JournalError, match="began with the objective"):
        search(tmp_path, SyntheticTask(), 8, resume=True, config=SearchConfig(objective=Objective(**other)))
    assert list(read_events(tmp_path)) == before
    assert len(search(tmp_path, SyntheticTask(), 8, resume=True).trials.all) == 8


def test_a_search_keeps_what_its_genotypes_stand_for(tmp_path: Path) -> None:
    one, other = (ChoiceSpace({"a": ["1", "2", x], "b": ["1", "2"]}) for x in "34")

    class Short:
        def evaluate(self, spec: tuple[str, ...]) -> float:
            return float(spec[0])

    search(tmp_path, Short(), 10, one)
    with pytest.raises(JournalError, match=r"what its genotype stands for now.*space.*changed"):
        search(tmp_path, Short(), 12, other, resume=True)


def test_a_failed_network_that_several_wait_for_is_trained_once_more_only(tmp_path: Path) -> None:
    class OnceFailing:
        def __init__(self) -> None:
            self.seen: Counter[str] = Counter()

        def evaluate(self, spec: tuple[str, ...], seed: int) -> float:
            self.seen[spec[0]] += 1
            if self.seen[spec[0]] == 1:
                raise TaskFailureError("diverged", "once")
            return float(self.seen[spec[0]])

    space = ChoiceSpace({"a": ["1", "2"]})
    more: dict[str, Any] = {"space": space, "config": SearchConfig(max_failures=1.0)}
    task = OnceFailing()
    whole = search(tmp_path / "whole", task, 3, controller=Given([(0,), (0,), (0,)]), **more)

    class CutAtTheFirstEnd:
        def on_event(self, event: Event, trials: Trials) -> None:
            if event.kind == "ended":
                raise Cut

        def close(self) -> None:
            pass

    task = OnceFailing()
    with pytest.raises(Cut):
        search(
            tmp_path / "cut",
            task,
            3,
            controller=Given([(0,), (0,), (0,)]),
            observers=[CutAtTheFirstEnd()],
            **more,
        )
    resumed = search(tmp_path / "cut", task, 3, controller=Given([(0,), (0,), (0,)]), resume=True, **more)
    assert [t.status for t in whole.trials.all] == ["failed", "completed", "cached"]
    assert [t.rewards for t in resumed.trials.all] == [t.rewards for t in whole.trials.all]
    assert task.seen["1"] == 2


@dataclass
class Climbing:
    """Reports four times; ends the process after a report if it shall, and goes on after it from there."""

    cut_at: int | None = None
    done: dict[str, int] = field(default_factory=dict)
    trained: int = 0

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        reward = SyntheticTask().evaluate(spec, fidelity, seed, lambda *_: None, None).reward
        for step in range(self.done.get(str(checkpoint), 0), 4):
            self.done[str(checkpoint)] = step + 1
            self.trained += 1
            report(step, Score(reward * (step + 1) / 4))
            if self.trained == self.cut_at:
                raise Cut
        return Score(reward)


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=2),
        optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2),
    ],
    ids=["median", "asha", "hyperband"],
)
def test_a_pruner_prunes_and_gives_the_same_verdicts_after_cuts(tmp_path: Path, pruner: Any) -> None:
    config = SearchConfig(scheduler=PruningScheduler(pruner))
    whole = search(tmp_path / "whole", Climbing(), 30, config=config).trials
    assert whole.counts["pruned"] > 2
    assert whole.counts["completed"] > 2
    for cut_at in (9, 30, 41):
        folder, task = tmp_path / str(cut_at), Climbing(cut_at)
        with pytest.raises(Cut):
            search(folder, task, 30, config=config)
        resumed = search(folder, task, 30, config=config, resume=True).trials
        assert [t.status for t in resumed.all] == [t.status for t in whole.all]
        assert [t.rewards for t in resumed.all] == [t.rewards for t in whole.all]


def test_pruned_trials_are_told_by_the_objective() -> None:
    class Erring:
        def evaluate(self, spec: Any, seed: int, report: Report) -> Score:
            error = 0.2 + (seed % 97) / 100
            report(0, Score(1 - error, {"error": error}))
            report(1, Score(1 - error, {"error": error}))
            return Score(1 - error, {"error": error})

    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    config = SearchConfig(
        objective=Objective(maximize=[], minimize=["error"]), scheduler=PruningScheduler(pruner)
    )
    found = _in_memory(Erring(), config)
    pruned = [t.rewards[0] for t in found.all if t.status == "pruned" and t.rewards]
    completed = [t.rewards[0] for t in found.all if t.status == "completed" and t.rewards]
    assert len(pruned) > 3
    assert max(pruned) < 0
    assert sum(pruned) / len(pruned) < sum(completed) / len(completed)


def test_a_metric_that_is_no_number_or_not_there_fails_its_trial_and_no_other() -> None:
    class Lacking:
        def __init__(self) -> None:
            self.count = 0

        def evaluate(self, spec: Any) -> Score:
            self.count += 1
            metrics = {2: {"AP": float("nan")}, 5: {}, 7: {"AP": float("inf")}}
            return Score(0.5, metrics.get(self.count, {"AP": 0.1 * self.count}))

    found = _in_memory(Lacking(), SearchConfig(objective=Objective(maximize=["AP"], limits={"AP": 0.95})))
    assert [t.number for t in found.all if t.status == "failed"] == [1, 4, 6]
    assert found.best == 8


def _in_memory(task: Any, config: SearchConfig) -> Trials:
    return run_search(SPACE, RandomSearch(SPACE, 0), task, LocalExecutor(), 20, None, config=config).trials
