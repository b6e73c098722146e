"""Finalists ask for their own evaluations: each network with each seed, once."""

from __future__ import annotations

from typing import Any

from controllers import Proposal
from nas.executors.job import evaluation_seed
from nas.journal.event import Event
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.finalists import Finalists
from search_space import ChoiceSpace
from tests.nas.journal.test_history import Recorder

SPACE = ChoiceSpace({"a": ["x", "y"], "b": ["x", "y", "z"]})


class Written:
    """Applies what is written to the trials, and keeps it."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials
        self.asked: list[dict[str, Any]] = []

    def __call__(
        self, kind: str, trial: int | None, data: dict[str, Any], proposal: Proposal | None = None
    ) -> None:
        self.trials.apply(Event(9.0, kind, trial, data), proposal)
        if kind == "asked":
            self.asked.append(data)


def searched(rewards: list[float]) -> Trials:
    """The trials of a search that has come to its end."""
    record, trials = Recorder(), Trials()
    record.session(0)
    for number, reward in enumerate(rewards):
        record.ask(0, number)
        record.end(1, number, reward=reward)
    for event in record.events:
        trials.apply(event)
    return trials


def chosen(trials: Trials, written: Written, keeps_specs: bool = False, **settings: Any) -> Finalists:
    config = SearchConfig(pick="reward", finalists=2, **settings)
    return Finalists(
        space=SPACE, trials=trials, config=config, prior=None, keeps_specs=keeps_specs, write=written
    )


def test_each_of_the_best_is_asked_for_with_each_seed_once() -> None:
    trials = searched([0.1, 0.9, 0.5])
    written = Written(trials)
    finalists = chosen(trials, written)
    finalists.ask(apart=True)
    expected = [(number, evaluation_seed(0, number, index)) for number in (1, 2) for index in (1, 2)]
    assert [(data["finalist_of"], data["seed"]) for data in written.asked] == expected
    assert all(data["apart"] and "spec" not in data for data in written.asked)
    assert [trial.number for trial in finalists.running()] == [3, 4, 5, 6]
    assert [trial.proposal for trial in trials.finalists] == [trials.all[n].proposal for n, _ in expected]
    finalists.ask(apart=True)
    assert len(written.asked) == 4


def test_evaluations_of_another_length_are_missing() -> None:
    trials = searched([0.1, 0.9, 0.5])
    written = Written(trials)
    chosen(trials, written).ask(apart=False)
    longer = chosen(trials, written, finalist_fidelity=2.0, finalist_seeds=1)
    assert [best.number for best, _ in longer.missing()] == [1, 2]


def test_specs_are_kept_where_the_journal_keeps_them() -> None:
    trials = searched([0.9])
    written = Written(trials)
    chosen(trials, written, keeps_specs=True, finalist_seeds=1).ask(apart=False)
    assert [data["spec"] for data in written.asked] == ['{"genotype": [0, 0], "spec": "(\'x\', \'x\')"}']
