"""A task that trains in steps, searches of it that are cut off anywhere, and what two of them must share."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controllers import RandomSearch
from nas.executors import Executor, LocalExecutor
from nas.journal.event import Event
from nas.journal.reading import read_events
from nas.journal.store import SqliteJournal
from nas.journal.trials import Trials
from nas.search.config import SearchConfig
from nas.search.loop import run_search
from nas.search.result import SearchResult
from proxy_tasks.task import Report, Score
from search_space import Space, published_space
from search_space.choices import ChoiceSpace

STEPS = 6


@dataclass(frozen=True)
class Stepwise:
    """Trains `STEPS` steps at fidelity 1, keeps what is done, and goes on from there.

    It reports the last step that was done once more, as it cannot know whether the report arrived.

    Args:
        trace: folder where every step that is trained is noted, one file for each evaluation.
    """

    trace: str | None = None

    def evaluate(
        self,
        spec: tuple[str, ...],
        fidelity: float,
        seed: int,
        report: Report,
        checkpoint: Path | None,
    ) -> Score:
        state = None if checkpoint is None else checkpoint / "state.json"
        done = json.loads(state.read_text()) if state is not None and state.is_file() else 0
        reward = (seed % 1000) / 1000
        for step in range(max(1, done), round(STEPS * fidelity) + 1):
            if step > done and self.trace is not None:
                with (Path(self.trace) / str(seed)).open("a") as file:
                    file.write(f"{step}\n")
            if state is not None:
                state.write_text(json.dumps(step))
            report(step, Score(reward * step / STEPS))
        return Score(reward * fidelity)

    def trained(self, seed: int) -> list[int]:
        """The steps that were trained with a seed."""
        assert self.trace is not None
        return [int(line) for line in (Path(self.trace) / str(seed)).read_text().split()]


def search(
    folder: Path | None,
    task: Any,
    scheduler: Any,
    executor: Executor | None = None,
    trials: int = 24,
    **more: Any,
) -> SearchResult:
    space = more.pop("space", None) or published_space("r35-sp18")
    controller = more.pop("controller", None) or RandomSearch(space, 0)
    config = SearchConfig(scheduler=scheduler, **{"max_staleness": 8, **more.pop("config", {})})
    executor = executor or LocalExecutor()
    return run_search(space, controller, task, executor, trials, folder, config=config, **more)


def picture(trials: Trials) -> list[tuple[object, ...]]:
    return [(t.genotype, t.status, t.rewards, t.resume_from, t.fidelity, t.seed) for t in trials.search]


def stepwise(folder: Path) -> Stepwise:
    folder.mkdir()
    return Stepwise(str(folder))


class HaltError(KeyboardInterrupt):
    """Acts as a kill: nothing catches it."""


def check_cuts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_scheduler: Callable[[], Any],
    deterministic: bool,
    count: int = 8,
    make_controller: Callable[[Space], Any] = lambda space: RandomSearch(space, 0),
) -> None:
    """Cuts a search off between two events, at many places, and checks that it ends as if it had not been."""

    # Both spaces are so large that no two proposals have one key. Specs of this one are not drawn.
    space = ChoiceSpace({str(i): list(range(10)) for i in range(8)})

    def go(name: str, task: Stepwise, resume: bool = False) -> Trials:
        config = {"deterministic": deterministic}
        found = search(
            tmp_path / name,
            task,
            make_scheduler(),
            space=space,
            controller=make_controller(space),
            config=config,
            resume=resume,
        )
        return found.trials

    whole = go("whole", stepwise(tmp_path / "trace"))
    original, events = SqliteJournal.write, read_events(tmp_path / "whole")
    reports = [i for i, e in enumerate(events) if e.kind == "reported"]
    # Right after a report that pauses its trial the decision is known and the end is not yet written.
    chosen = random.Random(deterministic).sample(range(1, len(events)), min(count, len(events) - 1))
    for cut in [*chosen, reports[1] + 1, reports[-1] + 1]:
        left = cut

        def write(self: SqliteJournal, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
            nonlocal left
            left -= 1
            if left < 0:
                raise HaltError
            return original(self, kind, trial, data)

        if (tmp_path / f"trace {cut}").exists():
            continue
        task = stepwise(tmp_path / f"trace {cut}")
        monkeypatch.setattr(SqliteJournal, "write", write)
        with pytest.raises(HaltError):
            go(str(cut), task)
        monkeypatch.setattr(SqliteJournal, "write", original)
        assert picture(go(str(cut), task, resume=True)) == picture(whole), (cut, events[cut - 1])
