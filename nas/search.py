"""The search loop: asks, submits, collects, records, tells; owns the budget and stops on time.

Every step is written to the journal before the controller learns of it, so that a search that was killed
goes on where it was: finished trials are kept, the controller is restored by replaying what it was asked
and told, and what ran is run again.
"""

from __future__ import annotations

import json
import platform
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from controllers import Proposal
from nas.executors import Executor
from nas.faults import told_as
from nas.jobs import Ended, Job, evaluation_seed
from nas.journal import Event, Journal, JournalError, open_journal
from nas.objective import (
    MissingMetricError,
    Objective,
    ObjectiveError,
    check_objectives,
    told_reward,
)
from nas.proposing import ask, spec_and_key, tell
from nas.pruning import Pruning
from nas.trials import AsksAndTells, Rewards, Status, Trial, Trials, best_by_reward, spec_text
from nas.winners import Winners
from proxy_tasks.task import Score, Task, is_number
from search_space import Space

MIN_TRIALS_TO_GIVE_UP = 10
WAIT_SECONDS = 0.5


class SearchError(RuntimeError):
    """A search that cannot go on: says why, and what would help."""


@dataclass(frozen=True)
class Rules:
    """How a search is run.

    Args:
        seed: of the evaluations; trial k has a seed of its own that follows from it.
        fidelity: of the evaluations.
        ordered: whether proposal k sees exactly the scores of the trials up to k - lag, so that a seed
            gives one search whatever the workers' number and timing.
        lag: see `ordered`; None for twice the workers and at least 8.
        cache: whether a spec whose key has a score gets that score without an evaluation.
        retries: further attempts after faults of the infrastructure.
        max_failures: share of failed trials beyond which a search stops.
        wall_time: seconds after which it stops, over all its sessions.
        target: first reward at which it stops.
        retrain_top: best trials that are evaluated again at the end, from which the winner is picked.
        retrain_fidelity, retrain_seeds: of these evaluations.
    """

    seed: int = 0
    fidelity: float = 1.0
    ordered: bool = True
    lag: int | None = None
    cache: bool = True
    retries: int = 2
    max_failures: float = 0.5
    wall_time: float | None = None
    target: float | None = None
    retrain_top: int = 0
    retrain_fidelity: float = 1.0
    retrain_seeds: int = 2

    def __post_init__(self) -> None:
        for name in ("fidelity", "retrain_fidelity"):
            if not is_number(getattr(self, name)) or getattr(self, name) <= 0:
                raise ValueError(f"{name} must be a number above 0, not {getattr(self, name)!r}")
        for name, least in (
            ("seed", 0),
            ("retries", 0),
            ("retrain_top", 0),
            ("retrain_seeds", 1),
            ("lag", 1),
        ):
            value = getattr(self, name)
            if (name != "lag" or value is not None) and (type(value) is not int or value < least):
                raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
        if not is_number(self.max_failures) or not 0 < self.max_failures <= 1:
            raise ValueError(f"max_failures must be above 0 and up to 1, not {self.max_failures!r}")
        if self.wall_time is not None and (not is_number(self.wall_time) or self.wall_time <= 0):
            raise ValueError(f"wall_time must be a number of seconds above 0, not {self.wall_time!r}")
        if self.target is not None and not is_number(self.target):
            raise ValueError(f"target must be a number, not {self.target!r}")


@dataclass
class SearchResult:
    """What a search has found.

    Args:
        trials: all of them.
        reason: why it stopped: "budget", "wall time" or "target".
        best: number of the winning trial, or None.
    """

    trials: Trials
    reason: str
    best: int | None

    def _repr_html_(self) -> str:
        """The curve and the best trials, for notebooks."""
        from nas.notebook import result_html

        return result_html(self.trials, self.reason, self.best)


Watcher = Callable[[Trial, Ended, Trials], None]
"""Told a trial, how it ended, and all trials."""

WatcherAgain = Callable[[dict[str, Any], int, int], None]
"""Told a top trial's evaluation again (`retrained` in `nas.journal`), how many are done, and of how many."""


def run_search(
    space: Space,
    controller: AsksAndTells,
    task: Task,
    executor: Executor,
    trials: int,
    run_dir: str | Path,
    *,
    rules: Rules | None = None,
    objective: Objective | None = None,
    pruner: Any = None,
    resume: bool = False,
    watch: Watcher | None = None,
    watch_again: WatcherAgain | None = None,
    begun: Callable[[], None] | None = None,
    opened: Callable[[], None] | None = None,
) -> SearchResult:
    """Runs a search to its budget, or goes on with one that was cut off.

    Args:
        space: what is searched.
        controller: what proposes; new, even to resume.
        task: what scores.
        executor: what runs the task.
        trials: budget, counting every proposal.
        run_dir: folder of the journal and the winners.
        rules: how it is run.
        objective: what is maximised; the task's reward unless told otherwise.
        pruner: of `optuna.pruners`, for early stopping on reported scores.
        resume: whether the folder holds a search to go on with.
        watch: told every trial's end.
        watch_again: told every end of a top trial's training again.
        begun: called once the folder is ours.
        opened: called while the workers start, before the first proposal.

    Raises:
        SearchError: if too many trials fail.
        JournalError: if the folder holds what is not expected, or the search was another one.
        OSError: if the journal cannot be written; resume when it can.
    """
    rules = rules or Rules()
    if trials < 1:
        raise ValueError(f"trials must be at least 1, not {trials}")
    if type(executor.workers) is not int or executor.workers < 1:
        raise ValueError(f"workers must be a whole number of at least 1, not {executor.workers!r}")
    lag = rules.lag or max(8, 2 * executor.workers)
    if rules.ordered and lag < executor.workers:
        raise ValueError(
            f"{executor.workers} workers need a lag of as many at least, not {lag}; or rules.ordered=false"
        )
    objective = objective or Objective()
    check_objectives(controller, objective)
    journal = open_journal(run_dir, create=not resume)
    try:
        search = Search(
            space,
            controller,
            task,
            executor,
            trials,
            journal,
            rules,
            lag,
            objective,
            None if pruner is None else Pruning(pruner),
            watch,
            watch_again,
        )
        search.restore()
        if begun is not None:
            begun()
        return search.run(opened)
    finally:
        journal.close()


@dataclass
class Search:
    """One session of a search; see `run_search`."""

    space: Space
    controller: AsksAndTells
    task: Task
    executor: Executor
    budget: int
    journal: Journal
    rules: Rules
    lag: int
    objective: Objective
    pruning: Pruning | None
    watch: Watcher | None
    watch_again: WatcherAgain | None
    trials: Trials = field(default_factory=Trials, init=False)

    def __post_init__(self) -> None:
        self.folder = self.journal.path.parent
        self.winners = Winners(self.folder / "winners", self.space)
        self.under_way: set[int] = set()
        self.followers: dict[int, list[int]] = {}
        self.told_below = 0
        self.session_over = self.session_failed = 0
        self.last_failure = ""

    def restore(self) -> None:
        """Replays the journal; the controller is asked and told as it was.

        Raises:
            JournalError: if the controller gives other proposals than the recorded ones.
        """
        for event in self.journal.events():
            self.trials.apply(event)
            if event.kind == "session":
                self._check_objective(event.data.get("objective"))
            elif event.kind == "asked" and event.trial is not None:
                trial = self.trials.all[event.trial]
                genotype = ask(self.controller).genotype
                same = genotype == trial.proposal.genotype
                if not same or spec_and_key(self.space, genotype)[1] != trial.key:
                    raise JournalError(
                        f"trial {trial.number} of the journal is another than "
                        f"{'what its genotype stands for' if same else 'the controller proposes'} now: "
                        "space, controller, seed or version have changed"
                    )
                trial.proposal = Proposal(trial.number, genotype)
                self._began(trial)
            elif event.kind == "ended" and event.trial is not None and not event.data["again"]:
                if self.pruning is not None:
                    self.pruning.end(event.trial)
            elif event.kind == "told" and event.trial is not None:
                self._tell(self.trials.all[event.trial])
        for trial in self.trials.all:
            if self.pruning is not None and trial.status == "running":
                for step, reward in trial.curve.items():
                    self.pruning.report(trial.number, step, reward)
        if self.trials.all:
            self.winners.update(self.trials, now=True)

    def _check_objective(self, recorded: Any) -> None:
        if recorded is not None and recorded != self.objective.told():
            raise JournalError(
                f"the search began with the objective {json.dumps(recorded)}; its rewards cannot be compared "
                f"with those of {json.dumps(self.objective.told())}"
            )

    def run(self, opened: Callable[[], None] | None = None) -> SearchResult:
        """Runs to the budget; `opened` as of `run_search`."""
        self._write(
            "session",
            versions={name: version(name) for name in ("spinenas", "torch", "ray", "optuna", "numpy")},
            python=platform.python_version(),
            host=socket.gethostname(),
            cwd=str(Path.cwd()),
            workers=self.executor.workers,
            objective=self.objective.told(),
        )
        try:
            self.executor.open(self.task, self._on_report)
            if opened is not None:
                opened()
            for trial in self.trials.all:
                if trial.status == "running":
                    self._start(trial)
                elif not trial.told and not self.rules.ordered:
                    self._write("told", trial.number)
                    self._tell(trial)
            reason = self._loop()
            if reason != "wall time":
                self._retrain()
        finally:
            self.executor.close()
        if self.trials.finished != reason:
            self._write("finished", reason=reason)
        self.winners.update(self.trials, now=True)
        return SearchResult(self.trials, reason, self.winners.winner(self.trials))

    def _loop(self) -> str:
        started = self.executor.now()
        before = self.trials.seconds
        while True:
            reason = self._stop_reason(before + self.executor.now() - started)
            if reason is not None:
                return reason
            while len(self.under_way) < self.executor.workers and self._may_ask():
                self._ask()
            for ended in self.executor.wait(WAIT_SECONDS):
                self._take(ended)
            self.winners.update(self.trials)

    def _stop_reason(self, seconds: float) -> str | None:
        rules = self.rules
        # Those of this session only: a search whose cause of failure was mended may go on.
        over, failed = self.session_over, self.session_failed
        if over >= min(MIN_TRIALS_TO_GIVE_UP, self.budget) and failed > rules.max_failures * over:
            logs = self.folder / "trials"
            look = f"See the logs in {logs}, then" if logs.is_dir() else "Once that is mended"
            raise SearchError(
                f"{failed} of {over} trials failed; the last: {self.last_failure}. "
                f"{look}: nas resume {self.folder}"
            )
        best = self.trials.best
        if rules.target is not None and best is not None:
            rewards = self.trials.all[best].rewards
            if rewards is not None and rewards[0] >= rules.target:
                return "target"
        if rules.wall_time is not None and seconds >= rules.wall_time:
            return "wall time"
        whole = len(self.trials.all) >= self.budget and not self.trials.counts["running"]
        return "budget" if whole else None

    def _may_ask(self) -> bool:
        number = len(self.trials.all)
        if number >= self.budget:
            return False
        if not self.rules.ordered:
            return True
        # All trials up to number - lag must be over before the controller may be asked.
        while self.told_below <= number - self.lag:
            trial = self.trials.all[self.told_below]
            if trial.status == "running":
                return False
            self._write("told", trial.number)
            self._tell(trial)
        return True

    def _ask(self) -> None:
        genotype, number = ask(self.controller).genotype, len(self.trials.all)
        _, key = spec_and_key(self.space, genotype)
        with told_as(f"{type(self.space).__name__}'s spec"):
            text = spec_text(self.space, genotype)
        source = self.trials.first_of.get(key) if self.rules.cache else None
        seed = evaluation_seed(self.rules.seed, number)
        self._write(
            "asked",
            number,
            genotype=genotype,
            spec=text,
            key=key,
            seed=seed,
            source=source,
        )
        trial = self.trials.all[number]
        trial.proposal = Proposal(number, genotype)
        self._began(trial)
        self._start(trial)

    def _began(self, trial: Trial) -> None:
        if self.pruning is not None:
            self.pruning.begin(trial.number)

    def _start(self, trial: Trial) -> None:
        """Submits a trial, or lets it share the score of an earlier one."""
        if trial.source is not None and self.trials.all[trial.source].status == "failed":
            # The next of its key has a chance of its own, for all that follow.
            heir = self.trials.first_of.get(trial.key)
            trial.source = heir if heir is not None and heir < trial.number else None
        if trial.source is not None:
            source = self.trials.all[trial.source]
            if source.status == "running":
                self.followers.setdefault(source.number, []).append(trial.number)
            else:
                self._share(source, trial)
            return
        self.under_way.add(trial.number)
        self._write("submitted", trial.number, attempt=trial.attempts)
        self.executor.submit(
            Job(
                trial.number,
                trial.attempts - 1,
                self.space.decode(trial.proposal.genotype),
                self.rules.fidelity,
                trial.seed,
                self._log_folder(str(trial.number)),
            )
        )

    def _log_folder(self, name: str) -> str:
        return str((self.folder / "trials" / name).resolve())  # Workers may stand elsewhere.

    def _share(self, source: Trial, trial: Trial) -> None:
        score = self.trials.scores.get(source.number)
        ended = Ended(trial.number, 0, "completed", score, message=f"as trial {source.number}")
        self._end(trial, ended, "cached", source.rewards)

    def _on_report(self, number: int, step: int, score: Score) -> bool:
        # Trials trained again at the end are beyond the budget's numbers and are not stopped early.
        if number >= len(self.trials.all):
            return False
        self._write("reported", number, step=step, reward=score.reward, metrics=dict(score.metrics))
        return self.pruning is not None and self.pruning.report(number, step, score.reward)

    def _take(self, ended: Ended) -> None:
        trial = self.trials.all[ended.trial]
        if trial.status != "running":
            return
        if ended.failure == "infrastructure" and trial.faults < self.rules.retries:
            self._write("ended", trial.number, again=True, message=ended.message, attempt=ended.attempt)
            self._start(trial)
            return
        self.under_way.discard(trial.number)
        rewards = None
        if ended.score is not None:
            try:
                # Of a pruned trial the last report stands for a score, for controllers that learn from it.
                rewards = self.objective.rewards(ended.score)
            except ObjectiveError as error:
                if ended.status == "completed":
                    if isinstance(error, MissingMetricError) and not self.trials.counts["completed"]:
                        raise  # Most likely the objective's name is wrong.
                    ended = replace(ended, status="failed", score=None, failure="error", message=str(error))
        self._end(trial, ended, ended.status, rewards)

    def _end(self, trial: Trial, ended: Ended, status: Status, rewards: Rewards | None) -> None:
        self.session_over += 1
        if status == "failed":
            self.session_failed += 1
            self.last_failure = ended.message
        score = ended.score
        self._write(
            "ended",
            trial.number,
            again=False,
            attempt=ended.attempt,
            status=status,
            rewards=rewards,
            reward=None if score is None else score.reward,
            metrics={} if score is None else dict(score.metrics),
            failure=ended.failure or "",
            noted={} if self.pruning is None else self.pruning.end(trial.number),
            message=ended.message,
            worker=ended.worker,
            seconds=ended.seconds,
        )
        if not self.rules.ordered:
            self._write("told", trial.number)
            self._tell(trial)
        if self.watch is not None:
            self.watch(trial, ended, self.trials)
        for follower in self.followers.pop(trial.number, []):
            self._start(self.trials.all[follower])

    def _tell(self, trial: Trial) -> None:
        tell(self.controller, trial.proposal, told_reward(trial.rewards))
        self.told_below = max(self.told_below, trial.number + 1)
        if self.pruning is not None and trial.status in ("completed", "pruned"):
            self.pruning.know(trial.curve, trial.status == "pruned", trial.noted)

    def _retrain(self) -> None:
        """Evaluates the best trials again, where that has not been done yet."""
        top = best_by_reward(self.trials, self.rules.retrain_top)
        done = {(entry["trial_number"], entry["index"]) for entry in self.trials.retrained}
        wanted = [(number, i) for number in top for i in range(self.rules.retrain_seeds)]
        first = self.budget + 1_000_000
        open_jobs = {first + i: pair for i, pair in enumerate(wanted) if pair not in done}
        for job in open_jobs:
            self._submit_again(job, *open_jobs[job], attempt=0)
        while open_jobs:
            for ended in self.executor.wait(WAIT_SECONDS):
                if ended.trial < first:  # Was under way when the target was reached.
                    self._take(ended)
                    continue
                if ended.failure == "infrastructure" and ended.attempt < self.rules.retries:
                    self._submit_again(ended.trial, *open_jobs[ended.trial], attempt=ended.attempt + 1)
                    continue
                number, index = open_jobs.pop(ended.trial)
                rewards, message = None, ended.message
                if ended.score is not None:
                    try:
                        rewards = self.objective.rewards(ended.score)
                    except ObjectiveError as error:
                        message = str(error)
                self._write(
                    "retrained",
                    trial_number=number,
                    index=index,
                    fidelity=self.rules.retrain_fidelity,
                    reward=None if rewards is None else rewards[0],
                    metrics={} if ended.score is None else dict(ended.score.metrics),
                    message=message,
                    seconds=ended.seconds,
                )
                if self.watch_again is not None:
                    self.watch_again(self.trials.retrained[-1], len(wanted) - len(open_jobs), len(wanted))
                self.winners.update(self.trials)

    def _submit_again(self, job: int, number: int, index: int, attempt: int) -> None:
        spec = self.space.decode(self.trials.genotype(number))
        seed = evaluation_seed(self.rules.seed, number, index + 1)
        log = self._log_folder(f"{number}-again-{index}")
        self.executor.submit(Job(job, attempt, spec, self.rules.retrain_fidelity, seed, log))

    def _write(self, kind: str, trial: int | None = None, **data: Any) -> None:
        self.journal.write(kind, trial, **data)
        self.trials.apply(Event(time.time(), kind, trial, data))
