"""One search on a virtual clock, and what it came to: an observer collects it from the search's events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from controllers import AskTell, Proposal, Reward
from controllers.evidence import Evidence, LearnsFromEvidence
from nas.executors import Executor
from nas.journal.event import Event
from nas.journal.store import MemoryJournal
from nas.journal.trials import Trials
from nas.search.ask_tell import ask, learn_evidence, tell
from nas.search.config import SearchConfig
from nas.search.job_results import read_clock
from nas.search.loop import run_search
from nas.search.objective import Objective
from proxy_tasks.adapted_task import AdaptedTask
from proxy_tasks.table import EXPECTED
from proxy_tasks.task import Score, Task
from search_space import Space


@dataclass(frozen=True, kw_only=True)
class SearchCurve:
    """What a simulated search came to.

    Args:
        steps: (trials that had ended, virtual seconds, best first reward) wherever the best improved. Where
            the task draws its scores, it is the mean reward of the spec with the best draw.
        trials: how many trials there were.
        seconds: virtual seconds of the whole search.
        distinct: how many different keys the proposals had.
        failed: how many trials have no reward.
        ask_ms: mean real milliseconds of one ask and one tell.
        failure: message of the last trial that failed; "" if none did.
    """

    steps: tuple[tuple[int, float, float], ...]
    trials: int
    seconds: float
    distinct: int
    failed: int
    ask_ms: float
    failure: str = ""


def trace_search(
    space: Space,
    controller: AskTell,
    task: Task | AdaptedTask,
    executor: Executor,
    trials: int,
    config: SearchConfig,
) -> SearchCurve:
    """Runs a search that keeps its record in memory, and returns its curve.

    Args:
        space, controller, task, executor, trials, config: see `nas.run_search`. The executor is usually a
            `SimulatedExecutor`, and the task one whose scores are at hand.

    Raises:
        SearchError, FaultError: see `nas.run_search`.
    """
    timed = TimedController(controller)
    observer = CurveObserver(executor, timed)
    run_search(
        space,
        timed,
        task,
        executor,
        trials,
        None,
        config=config,
        observers=[observer],
        journal=MemoryJournal(),
    )
    return observer.curve()


class TimedController:
    """Passes everything on to a controller, and measures how long the controller thinks.

    Args:
        controller: the controller that proposes and learns.

    Attributes:
        objectives: how many rewards the controller takes; None for any number.
        seconds: real seconds spent in the controller so far.
    """

    def __init__(self, controller: AskTell) -> None:
        self.controller = controller
        self.objectives: int | None = getattr(controller, "objectives", None)
        self.seconds = 0.0
        self._asked = 0

    def ask(self) -> Proposal:
        """Returns the controller's next proposal."""
        began = time.perf_counter()
        proposal = ask(self.controller, self._asked)  # Names the controller, not this class, in its faults.
        self._asked += 1
        self.seconds += time.perf_counter() - began
        return proposal

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """Gives the controller a reward."""
        began = time.perf_counter()
        tell(self.controller, proposal, reward)
        self.seconds += time.perf_counter() - began

    def learn_evidence(self, proposal: Proposal, evidence: Evidence) -> None:
        """Gives the controller what was measured, if it learns from that."""
        began = time.perf_counter()
        if isinstance(self.controller, LearnsFromEvidence):
            learn_evidence(self.controller, proposal, evidence)
        self.seconds += time.perf_counter() - began


class CurveObserver:
    """Collects a search's curve.

    Args:
        executor: the executor of the search, whose clock is read.
        controller: the controller of the search.
    """

    def __init__(self, executor: Executor, controller: TimedController) -> None:
        self._executor, self._controller = executor, controller
        self._began = read_clock(executor)
        self._steps: list[tuple[int, float, float]] = []
        self._keys: set[str] = set()
        self._asked = self._ended = self._failed = 0
        self._failure = ""
        self._best: float | None = None
        self._objective = Objective()

    def on_event(self, event: Event, trials: Trials) -> None:
        """Counts asked and ended trials, and notes where the best reward improves."""
        if event.kind == "session":
            self._objective = Objective(**event.data["objective"])
        elif event.kind == "asked":
            self._asked += 1
            self._keys.add(event.data["key"])
        elif event.kind == "ended" and not event.data["retry"]:
            self._end(event.data["rewards"], event.data["metrics"], event.data["message"])

    def _end(
        self, rewards: tuple[float, ...] | None, metrics: Mapping[str, float | None], message: str
    ) -> None:
        self._ended += 1
        if rewards is None:
            self._failed += 1
            self._failure = message or "a limit of objective.limits is exceeded"
        elif self._best is None or rewards[0] > self._best:
            self._best = rewards[0]
            now = read_clock(self._executor) - self._began
            self._steps.append((self._ended, now, self._worth(rewards[0], metrics)))

    def _worth(self, reward: float, metrics: Mapping[str, float | None]) -> float:
        """The first reward; of one that was drawn by chance what it is worth, and not the luck."""
        expected = metrics.get(EXPECTED)
        if expected is None or self._objective.names[0] != "reward":
            return reward
        known = {name: value for name, value in metrics.items() if value is not None}
        return (self._objective.rewards(Score(expected, known)) or (reward,))[0]

    def close(self) -> None:
        """Does nothing."""

    def curve(self) -> SearchCurve:
        """Returns what the events amount to."""
        return SearchCurve(
            steps=tuple(self._steps),
            trials=self._asked,
            seconds=read_clock(self._executor) - self._began,
            distinct=len(self._keys),
            failed=self._failed,
            ask_ms=1000 * self._controller.seconds / self._asked if self._asked else 0.0,
            failure=self._failure,
        )
