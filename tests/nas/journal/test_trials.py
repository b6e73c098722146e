"""The Pareto front that trials keep while they end, and events that cannot follow one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from controllers import RandomSearch
from nas.executors import LocalExecutor
from nas.journal import trials as module
from nas.journal.errors import JournalError
from nas.journal.event import Event
from nas.journal.store import MemoryJournal
from nas.journal.trials import Rewards, Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.objective import Objective
from proxy_tasks.adapted_task import adapt
from proxy_tasks.task import Score
from search_space import published_space

SPACE = published_space("r35-sp18")


class Drawn:
    """Scores of few different values, or of values of which more of one is less of the other."""

    def __init__(self, opposed: bool) -> None:
        self.rng, self.opposed, self.calls = np.random.default_rng(0), opposed, 0

    def evaluate(self, spec: object) -> Score:
        self.calls += 1
        if self.opposed:
            return Score(float(self.calls), {"b": -float(self.calls), "c": 0.0})
        a, b, c = map(float, self.rng.integers(0, 6, 3))
        return Score(a, {"b": b, "c": c})


def searched(objectives: int, trials: int, opposed: bool = False) -> MemoryJournal:
    """The events of a search."""
    journal = MemoryJournal()
    config = SearchConfig(objective=Objective(maximize=("reward", "b", "c")[:objectives]), cache=False)
    run_search(
        SPACE,
        RandomSearch(SPACE, 0),
        adapt(Drawn(opposed)),
        LocalExecutor(),
        trials,
        None,
        config=config,
        journal=journal,
    )
    return journal


def pareto_front(rewards: Sequence[Rewards]) -> list[int]:
    """Gives the indices of what no other one covers; of equal ones the first, and best first reward first."""

    def covers(a: Rewards, b: Rewards) -> bool:
        return all(x >= y for x, y in zip(a, b, strict=True))

    front: list[int] = []
    for i in sorted(range(len(rewards)), key=lambda i: rewards[i], reverse=True):
        if not any(covers(rewards[j], rewards[i]) for j in front):
            front.append(i)
    return front


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_the_front_is_that_of_all_rewards_after_each_trial(objectives: int) -> None:
    trials, known, fronts = Trials(), list[Rewards](), 0
    for event in searched(objectives, 150).events():
        trials.apply(event)
        if event.kind != "ended":
            continue
        assert event.trial is not None
        rewards = trials.all[event.trial].rewards
        assert rewards is not None
        known.append(rewards)
        assert trials.front == pareto_front(known)
        fronts += len(trials.front) > 1
    assert len(known) == 150
    assert (fronts > 20) == (objectives > 1)


def test_a_trial_is_compared_with_each_of_the_front_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A front that all trials are on would otherwise cost the square of their number for each."""
    events, compared, covers = searched(2, 100, opposed=True).events(), 0, module._covers

    def count(a: Rewards, b: Rewards) -> bool:
        nonlocal compared
        compared += 1
        return covers(a, b)

    monkeypatch.setattr(module, "_covers", count)
    trials = Trials()
    for event in events:
        trials.apply(event)
    assert len(trials.front) == 100
    assert 0 < compared <= 100 * 100


ASKED = {"proposal": 0, "genotype": [0], "key": "a", "seed": 0, "fidelity": 1.0}
ENDED = {
    "retry": False,
    "status": "completed",
    "reward": None,
    "rewards": None,
    "metrics": {},
    "pruner_attrs": {},
}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Event(0.0, "asked", 5, ASKED), "'asked': trial 5 where 1 was due"),
        (
            Event(0.0, "asked", 1, {**ASKED, "source": 3}),
            "'asked': trial 1 has source 3, which is no earlier trial",
        ),
        (Event(0.0, "asked", 1, {"proposal": 1}), "'asked': 'genotype' is missing"),
        (Event(0.0, "submitted", 7, {"attempt": 0}), "'submitted': there is no trial 7"),
        (Event(0.0, "observed", None, {}), "'observed': it names no trial"),
        (Event(0.0, "ended", 0, ENDED), "'ended': the completed trial has no reward"),
        (Event(0.0, "ended", 0, {**ENDED, "status": "done"}), "'ended': 'done' is no status of a trial"),
        (Event(0.0, "retried", None, {"trials": [0]}), "'retried': trial 0 runs again, but is running"),
        (Event(0.0, "retried", None, {"trials": [9]}), "'retried': there is no trial 9"),
        (Event(0.0, "picked", None, {"trial": 5}), "'picked': there is no trial 5 of the search"),
        (Event(0.0, "picked", None, {}), "'picked': 'trial' is missing"),
    ],
)
def test_an_event_that_cannot_follow_is_told_in_words(event: Event, told: str) -> None:
    trials = Trials()
    trials.apply(Event(0.0, "asked", 0, ASKED))
    with pytest.raises(JournalError) as raised:
        trials.apply(event)
    assert str(raised.value) == f"the journal is damaged: event {told}"


def test_a_trial_that_ends_twice_is_told_in_words() -> None:
    trials = Trials()
    trials.apply(Event(0.0, "asked", 0, ASKED))
    ended = Event(0.0, "ended", 0, {**ENDED, "reward": 0.5, "rewards": [0.5]})
    trials.apply(ended)
    with pytest.raises(JournalError, match="event 'ended': trial 0 ended twice"):
        trials.apply(ended)
