"""The loop: budgets, order, cache, failures, kills; on a task that takes no time."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest

from controllers import (
    Controller,
    LocalSearch,
    OptunaController,
    PolicyGradient,
    PredictorSearch,
    Proposal,
    RandomSearch,
    RegularizedEvolution,
    Reward,
)
from nas.executors.in_process import InProcess
from nas.executors.virtual_clock import VirtualClock
from nas.files import FolderInUseError
from nas.jobs import evaluation_seed
from nas.journal import FILE, JournalError, JournalWriteError, holds_search, open_journal, read_events
from nas.objective import Objective, ObjectiveError
from nas.search import Rules, SearchError, SearchResult, run_search
from nas.trials import Trials, trained_again
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space import Genotype, Space, SpineNetSpec, load_spec, published_space
from tests.nas.killing import picture
from tests.search_space.cell_space import CellSpace

SPACE = published_space("r35-sp18")
MAKERS: dict[str, Callable[[Space], Controller]] = {
    "random": lambda space: RandomSearch(space, 1),
    "local": lambda space: LocalSearch(space, 1),
    "evolution": lambda space: RegularizedEvolution(space, 1, 40),
    "ppo": lambda space: PolicyGradient(space, 1, "ppo", 40, batch=5),
    "reinforce": lambda space: PolicyGradient(space, 1, "reinforce", 40, batch=5),
    "predictor": lambda space: PredictorSearch(space, 1, initial=10),
    "tpe": lambda space: OptunaController(space, 1),
}


@dataclass
class CellTask:
    """Scores a cell by its name; fails, repeats and reports as told."""

    evaluated: list[tuple[str, ...]] = field(default_factory=list)
    fail: Callable[[tuple[str, ...], int], None] = lambda spec, seed: None

    def evaluate(
        self, spec: tuple[str, ...], fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        self.evaluated.append(spec)
        self.fail(spec, seed)
        reward = sum(len(operation) for operation in spec) / 100
        return Score(reward, {"AP": reward, "macs": 1e6 * spec.count("conv 3x3"), "seconds": 1.0 + reward})


def search(folder: Path, task: Any = None, controller: Any = None, **more: Any) -> SearchResult:
    space = more.pop("space", CellSpace())
    return run_search(
        space,
        controller or RandomSearch(space, 0),
        task or CellTask(),
        more.pop("executor", InProcess()),
        more.pop("trials", 20),
        folder,
        **more,
    )


def test_a_search_ends_at_its_budget_with_a_winner_that_is_the_best(tmp_path: Path) -> None:
    result = search(tmp_path, SyntheticTask(), space=SPACE)
    assert result.reason == "budget"
    assert len(result.trials.all) == 20
    rewards = [t.rewards[0] for t in result.trials.all if t.rewards]
    assert result.best is not None
    assert (result.trials.all[result.best].rewards or ())[0] == max(rewards)
    winner = load_spec(tmp_path / "winners" / "best.json")
    assert isinstance(winner, SpineNetSpec)
    assert SPACE.key(winner) == result.trials.all[result.best].key
    assert (tmp_path / "winners" / "best.svg").is_file()
    assert json.loads((tmp_path / "winners" / "pareto.json").read_text())[0]["trial"] == result.best


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("space", [CellSpace(), SPACE], ids=["cells", "r35-sp18"])
def test_one_seed_gives_one_search_on_any_number_of_workers(tmp_path: Path, name: str, space: Space) -> None:
    task = CellTask() if isinstance(space, CellSpace) else SyntheticTask()
    found = [
        picture(
            search(
                tmp_path / str(workers),
                task,
                MAKERS[name](space),
                space=space,
                executor=VirtualClock(workers),
                trials=40,
                rules=Rules(lag=8),
            ).trials
        )
        for workers in (1, 2, 4, 8)
    ]
    assert found[0] == found[1] == found[2] == found[3]


def test_without_order_the_controller_is_told_at_once(tmp_path: Path) -> None:
    told: list[int] = []

    class Watched(RandomSearch):
        def tell(self, proposal: Proposal, reward: Reward) -> None:
            told.append(proposal.number)

    controller = Watched(CellSpace(), 0)
    search(tmp_path, controller=controller, executor=VirtualClock(4), rules=Rules(ordered=False))
    assert sorted(told) == list(range(20))
    assert told != sorted(told)


def test_more_workers_than_the_lag_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lag"):
        search(tmp_path, executor=VirtualClock(9), rules=Rules(lag=8))


class Repeating(Controller):
    """Asks for the same few genotypes again and again."""

    def _propose(self) -> Genotype:
        return (self._asked % 3, 0, 0, 4, 4, 4)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        pass


@pytest.mark.parametrize("workers", [1, 4])
def test_a_key_is_evaluated_once(tmp_path: Path, workers: int) -> None:
    task = CellTask()
    result = search(tmp_path, task, Repeating(CellSpace()), executor=VirtualClock(workers))
    keys = {trial.key for trial in result.trials.all}
    assert len(task.evaluated) == len(keys) < 4
    assert result.trials.counts["cached"] == 20 - len(keys)
    by_key: dict[str, set[object]] = {}
    for trial in result.trials.all:
        by_key.setdefault(trial.key, set()).add(trial.rewards)
    assert all(len(rewards) == 1 for rewards in by_key.values())


def test_without_cache_every_proposal_is_evaluated(tmp_path: Path) -> None:
    task = CellTask()
    search(tmp_path, task, Repeating(CellSpace()), rules=Rules(cache=False))
    assert len(task.evaluated) == 20


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failed_key_is_tried_again_when_it_is_proposed_again(tmp_path: Path, workers: int) -> None:
    def fail(spec: tuple[str, ...], seed: int) -> None:
        if len([s for s in task.evaluated if s == spec]) == 1:
            raise TaskFailureError("diverged", "once")

    task = CellTask(fail=fail)
    result = search(tmp_path, task, Repeating(CellSpace()), executor=VirtualClock(workers))
    assert {t.status for t in result.trials.all} == {"failed", "completed", "cached"}
    assert all(count == 2 for count in Counter(task.evaluated).values())


def test_faults_of_the_infrastructure_are_tried_again_and_others_not(tmp_path: Path) -> None:
    def fail(spec: tuple[str, ...], seed: int) -> None:
        count = sum(s == spec for s in task.evaluated)
        if spec[0] == "none" and count < 3:
            raise TaskFailureError("infrastructure", "a node went away")
        if spec[0] == "skip":
            raise TaskFailureError("invalid", "no such network")

    task = CellTask(fail=fail)
    result = search(tmp_path, task, trials=30, rules=Rules(max_failures=1.0))
    for trial in result.trials.all:
        spec = CellSpace().decode(trial.proposal.genotype)
        if trial.status == "cached":
            continue
        assert trial.status == ("failed" if spec[0] == "skip" else "completed")
        assert trial.attempts == (3 if spec[0] == "none" else 1)


def test_a_search_whose_trials_fail_stops_and_says_why(tmp_path: Path) -> None:
    def fail(spec: tuple[str, ...], seed: int) -> None:
        raise TaskFailureError("out of memory", "no room for 7 GB")

    with pytest.raises(SearchError, match=r"10 of 10 trials failed.*no room for 7 GB"):
        search(tmp_path, CellTask(fail=fail), trials=100)
    # And it goes on once the cause is mended.
    result = search(tmp_path, trials=30, resume=True)
    assert (result.trials.counts["failed"], len(result.trials.all)) == (10, 30)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("0.5", "must return a number or a Score, not a str"),
        (None, "must return a number or a Score, not a NoneType"),
        (Score(float("nan")), "the reward is nan"),
        (Score("high"), "no number"),  # type: ignore[arg-type]
        (Score(1.0, {"AP": "x"}), "no number"),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_score_is_a_failure_with_its_reason(tmp_path: Path, bad: object, told: str) -> None:
    class Bad:
        def evaluate(self, *_: object) -> object:
            return bad

    with pytest.raises(SearchError, match=told):
        search(tmp_path, Bad())


def test_wall_time_and_target_stop_a_search(tmp_path: Path) -> None:
    timed = search(
        tmp_path / "a", trials=1000, executor=VirtualClock(2, seconds=10), rules=Rules(wall_time=20)
    )
    assert timed.reason == "wall time"
    assert len(timed.trials.all) < 100
    aimed = search(tmp_path / "b", trials=1000, rules=Rules(target=0.4))
    assert aimed.reason == "target"
    assert len(aimed.trials.all) < 1000


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    objective = Objective(maximise=["AP"], minimise=["macs"])
    controller = OptunaController(CellSpace(), 0, "nsga2", objectives=2)
    result = search(tmp_path, None, controller, trials=60, objective=objective)
    front = [result.trials.all[i].rewards or () for i in result.trials.front]
    everything = [t.rewards for t in result.trials.all if t.rewards]
    for point in front:
        assert not any(all(a >= b for a, b in zip(r, point, strict=True)) and r != point for r in everything)
    for reward in everything:
        assert any(all(a >= b for a, b in zip(point, reward, strict=True)) for point in front)
    assert front == sorted(front, reverse=True)


def test_limits_hard_and_soft(tmp_path: Path) -> None:
    score = Score(0.4, {"AP": 0.4, "macs": 2e6})
    assert Objective(limits={"macs": 1e6}).rewards(score) is None
    assert Objective(limits={"macs": 3e6}).rewards(score) == (0.4,)
    soft = Objective(limits={"macs": 1e6}, softness=-0.07).rewards(score)
    assert soft == pytest.approx((0.4 * 2**-0.07,))
    below_zero = Objective(limits={"macs": 1e6}, softness=-0.07).rewards(Score(-1.0, {"macs": 2e6}))
    assert below_zero is not None
    assert below_zero[0] < -1
    with pytest.raises(ObjectiveError, match=r"no metric 'speed'.*AP, macs"):
        Objective(["speed"]).rewards(score)
    result = search(tmp_path, trials=50, objective=Objective(limits={"macs": 1.5e6}))
    for number in result.trials.front:
        assert CellSpace().decode(result.trials.genotype(number)).count("conv 3x3") <= 1


def test_poor_trials_are_stopped_early_whatever_the_objectives(tmp_path: Path) -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    task = SyntheticTask(reports=4)
    objective = Objective(["AP"], ["seconds"])
    for number, more in enumerate(({}, {"objective": objective})):
        folders = [tmp_path / f"{number}-{workers}" for workers in (1, 4)]
        found = [
            search(
                folder,
                task,
                space=SPACE,
                trials=40,
                pruner=pruner,
                executor=VirtualClock(workers),
                **more,
            ).trials
            for folder, workers in zip(folders, (1, 4), strict=True)
        ]
        assert found[0].counts["pruned"] > 3
        assert found[0].counts["completed"] > 3
        assert [t.status for t in found[0].all] == [t.status for t in found[1].all]
        best = max(t.curve[max(t.curve)] for t in found[0].all if t.curve)
        winner = found[0].all[found[0].best or 0]
        assert best == winner.curve[max(winner.curve)]


def test_the_winner_is_picked_from_those_trained_again(tmp_path: Path) -> None:
    rules = Rules(retrain_top=3, retrain_seeds=2, retrain_fidelity=5.0)
    result = search(tmp_path, SyntheticTask(noise=0.3), space=SPACE, rules=rules)
    again = result.trials.retrained
    assert len(again) == 6
    means = {
        n: sum(e["reward"] for e in again if e["trial_number"] == n)
        for n in {e["trial_number"] for e in again}
    }
    assert result.best == max(means, key=lambda n: means[n])
    # Going on trains nothing twice.
    resumed = search(tmp_path, SyntheticTask(noise=0.3), space=SPACE, rules=rules, resume=True)
    assert len(resumed.trials.retrained) == 6


def test_training_again_survives_faults_and_goes_by_the_objective(tmp_path: Path) -> None:
    in_search = {evaluation_seed(0, number) for number in range(20)}
    seen: Counter[int] = Counter()

    def fail(spec: tuple[str, ...], seed: int) -> None:
        seen[seed] += 1
        if seed not in in_search and seen[seed] == 1:
            raise TaskFailureError("infrastructure", "a node went away")

    told: list[tuple[int, int]] = []
    result = search(
        tmp_path,
        CellTask(fail=fail),
        trials=20,
        rules=Rules(retrain_top=2),
        objective=Objective(maximise=("macs",)),
        watch_again=lambda entry, done, wanted: told.append((done, wanted)),
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    again = trained_again(result.trials)
    assert [len(rewards) for rewards in again.values()] == [2, 2]
    assert {entry["reward"] for entry in result.trials.retrained} == {
        entry["metrics"]["macs"] for entry in result.trials.retrained
    }


def test_what_is_under_way_when_the_target_is_reached_does_not_disturb_the_last_training(
    tmp_path: Path,
) -> None:
    rules = Rules(target=0.48, retrain_top=2, retrain_seeds=1)
    result = search(tmp_path, trials=500, executor=VirtualClock(8), rules=rules)
    assert result.reason == "target"
    assert len(result.trials.retrained) == 2
    assert {e["trial_number"] for e in result.trials.retrained} <= {
        t.number for t in result.trials.all if t.status == "completed"
    }


class HaltError(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("ordered", [True, False])
def test_a_search_cut_off_anywhere_ends_as_if_it_had_not(
    tmp_path: Path, name: str, ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts after the n-th write to the journal, for many n; on one worker both modes are repeatable."""
    rules = Rules(ordered=ordered, lag=1 if ordered else None)

    def go(folder: Path, resume: bool = False) -> Trials:
        controller = MAKERS[name](CellSpace())
        return search(folder, CellTask(), controller, trials=12, rules=rules, resume=resume).trials

    whole = go(tmp_path / "whole")
    writes = len(read_events(tmp_path / "whole"))
    from nas.journal import Journal

    original = Journal.write
    for cut in random.Random(name).sample(range(1, writes), 6):
        left = cut

        def write(self: Journal, *arguments: Any, **data: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise HaltError
            original(self, *arguments, **data)

        monkeypatch.setattr(Journal, "write", write)
        with pytest.raises(HaltError):
            go(tmp_path / str(cut))
        monkeypatch.setattr(Journal, "write", original)
        resumed = go(tmp_path / str(cut), resume=True)
        assert picture(resumed) == picture(whole), cut


def test_more_trials_can_be_asked_for_later(tmp_path: Path) -> None:
    first = search(tmp_path / "a", trials=10)
    assert len(first.trials.all) == 10
    more = search(tmp_path / "a", trials=25, resume=True)
    assert picture(more.trials) == picture(search(tmp_path / "b", trials=25).trials)


def test_a_folder_that_holds_a_search_is_not_begun_anew(tmp_path: Path) -> None:
    search(tmp_path, trials=2)
    with pytest.raises(JournalError, match="already holds a search; go on with: nas resume"):
        search(tmp_path, trials=2)
    with pytest.raises(JournalError, match="holds no search"):
        search(tmp_path / "other", trials=2, resume=True)


def test_a_start_that_was_cut_off_before_its_first_event_can_be_made_again(tmp_path: Path) -> None:
    open_journal(tmp_path, create=True).close()
    assert not holds_search(tmp_path)
    assert len(search(tmp_path, trials=3).trials.all) == 3
    assert holds_search(tmp_path)


def test_two_searches_cannot_share_a_folder(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, create=True)
    try:
        with pytest.raises(
            FolderInUseError, match=f"in use by another search or training .process {os.getpid()}"
        ):
            open_journal(tmp_path, create=False)
    finally:
        journal.close()
    open_journal(tmp_path, create=False).close()


def test_another_controller_cannot_go_on(tmp_path: Path) -> None:
    search(tmp_path, trials=5)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(JournalError, match="another than the controller proposes now"):
        search(tmp_path, None, RandomSearch(CellSpace(), 99), trials=5, resume=True)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty", "garbage"])
def test_a_damaged_journal_is_said_and_left_alone(tmp_path: Path, damage: str) -> None:
    search(tmp_path, trials=60)
    path = tmp_path / FILE
    content = path.read_bytes()
    assert len(content) > 20_000
    changed = {
        "truncated": content[: len(content) // 2],
        "overwritten": content[:8192] + os.urandom(4096) + content[12288:],
        "empty": b"",
        "garbage": b"not a database" * 500,
    }[damage]
    path.write_bytes(changed)
    for attempt in (lambda: search(tmp_path, resume=True), lambda: read_events(tmp_path)):
        with pytest.raises(JournalError, match="damaged"):
            attempt()
    assert path.read_bytes() == changed


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    search(tmp_path, trials=2)
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="version 99, this program knows 1; update"):
        search(tmp_path, resume=True)


def test_a_read_only_disk_can_be_read_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not yet moved from the log into the file is read too."""
    search(tmp_path, trials=5)
    kept = read_events(tmp_path)
    journal = open_journal(tmp_path, create=False)
    journal.write("reported", 4, step=9)
    monkeypatch.setattr("nas.journal.os.access", lambda *_: False)
    assert len(read_events(tmp_path)) == len(kept) + 1
    assert [e.data for e in read_events(tmp_path)][: len(kept)] == [e.data for e in kept]
    journal.close()


def test_a_full_disk_stops_with_a_line_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas import search as search_module

    journal = open_journal(tmp_path / "probe", create=True)
    journal._connection.execute("PRAGMA max_page_count=4")

    def fill() -> None:
        for number in range(10_000):
            journal.write("reported", number, text="x" * 500)

    with pytest.raises(JournalWriteError, match="the disk is full"):
        fill()
    kept = sum(1 for _ in journal.events())
    journal.close()
    assert len(read_events(tmp_path / "probe")) == kept > 0

    def small(folder: Path, create: bool) -> Any:
        opened = open_journal(folder, create)
        opened._connection.execute("PRAGMA max_page_count=12")
        return opened

    monkeypatch.setattr(search_module, "open_journal", small)
    with pytest.raises(JournalWriteError, match="the disk is full"):
        search(tmp_path / "run", trials=200)
    monkeypatch.undo()
    result = search(tmp_path / "run", trials=200, resume=True)
    assert picture(result.trials) == picture(search(tmp_path / "other", trials=200).trials)
