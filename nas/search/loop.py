"""The search loop: it asks, submits, collects, records and tells; it owns the budget and stops on time.

Every step is written to the journal before the controller learns of it, so that a search that was killed
goes on where it was: finished trials are kept, the controller and the scheduler are restored by replaying
what they were asked and told, and what ran is run again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from controllers import Proposal
from controllers.controller import AskTell
from nas.executors import Executor
from nas.executors.fleet import Fleet, HasFleet, Spreads
from nas.executors.job import LOG, Decision, Job, JobResult, evaluation_seed
from nas.executors.setup import set_up
from nas.journal.history import History, read_history, replay_journal
from nas.journal.observer import Observer
from nas.journal.store import Journal, MemoryJournal, open_journal
from nas.journal.trials import Rewards, Status, Trial, Trials
from nas.plugins.faults import FaultError
from nas.reporting.winners import WinnerFiles
from nas.search.ask_tell import Candidate, text_of
from nas.search.checking import check_metrics, check_parts, list_observers, refuse_others
from nas.search.checkpoints import Checkpoints
from nas.search.config import SearchConfig
from nas.search.finalists import Finalists
from nas.search.job_results import (
    calling,
    closing_executor,
    read_clock,
    results_before_error,
    wait_for_results,
    workers_of,
)
from nas.search.learners import make_learners
from nas.search.objective import check_objective_count
from nas.search.observation_order import ObservationOrder, choose_staleness
from nas.search.observers import Observers
from nas.search.requests import Requests
from nas.search.restoring import restore
from nas.search.result import SearchResult, make_result
from nas.search.rewards import TrialRewards, recorded_metrics
from nas.search.session import describe_session
from nas.search.sharing import find_shared, find_source
from nas.search.stopping import Stopping
from nas.utils.logging import tasks_log_to
from nas.utils.run_files import winners_folder
from proxy_tasks.adapted_task import AdaptedTask, adapt
from proxy_tasks.task import Score, Task
from search_space import Space
from search_space.utils.validation import is_whole

WAIT_SECONDS = 0.5
"""The loop looks at the wall time at least so often."""

FLEET_SECONDS = 5.0
"""The journal tells of workers that come and go at most so often."""


def run_search(
    space: Space,
    controller: AskTell,
    task: Task | AdaptedTask,
    executor: Executor,
    trials: int,
    run_dir: str | Path | None,
    *,
    config: SearchConfig | None = None,
    observers: Iterable[Observer] = (),
    resume: bool = False,
    journal: Journal | None = None,
) -> SearchResult:
    """Runs a search to its budget, or goes on with one that was cut off.

    Args:
        space: what is searched.
        controller: what proposes; a new one, even to resume.
        task: what scores.
        executor: what runs the task.
        trials: the budget: the number of proposals. Promotions are not counted in it.
        run_dir: folder of the journal, the trials' logs and the winners' files; None keeps the record in
            memory and writes no file.
        config: how the search is run.
        observers: they get every event; see `nas.journal.observer`.
        resume: whether the folder holds a search to go on with.
        journal: where the record is kept, instead of in `run_dir`; a search in it is gone on with. It is not
            closed.

    Raises:
        SearchError: if too many trials fail.
        JournalError: if the folder holds something else than expected, or the search was another one.
        ValueError: if a setting is wrong, or something cannot be sent to the workers.
        FaultError: if the controller, the space, the scheduler or the executor fails.
        OSError: if the journal cannot be written; the search can be resumed when it can.
    """
    config = SearchConfig() if config is None else config
    if not is_whole(trials) or trials < 1:
        raise ValueError(f"trials must be a whole number of at least 1, not {trials!r}")
    trials, observers = int(trials), list_observers(observers)
    refuse_others(space=space, controller=controller, executor=executor, config=config, observers=observers)
    workers = workers_of(executor)
    differ = isinstance(executor, Spreads) and executor.workers_differ
    max_staleness = choose_staleness(config, workers=workers, trials=trials, differ=differ)
    check_objective_count(controller, config.objective)
    adapted = adapt(task)
    check_metrics(config.objective, adapted, check_parts(space, adapted, executor, config.scheduler))
    with ExitStack() as stack:
        record: Journal
        if journal is not None:
            record = journal
        elif run_dir is None:
            record = MemoryJournal()
        else:
            folder = Path(run_dir).absolute()  # A task may change the working folder.
            record = stack.enter_context(closing(open_journal(folder, create=not resume)))
        winners = [] if record.folder is None else [WinnerFiles(winners_folder(record.folder), space)]
        known = stack.enter_context(closing(Observers([*winners, *observers])))
        search = Search(
            space=space,
            controller=controller,
            task=adapted,
            executor=executor,
            budget=trials,
            journal=record,
            config=config,
            max_staleness=max_staleness,
            observers=known,
        )
        search.restore()
        return search.run()


@dataclass(kw_only=True)
class Search:
    """One session of a search; see `run_search`."""

    space: Space
    controller: AskTell
    task: AdaptedTask
    executor: Executor
    budget: int
    journal: Journal
    config: SearchConfig
    max_staleness: int
    observers: Observers
    trials: Trials = field(default_factory=Trials, init=False)

    def __post_init__(self) -> None:
        self.learners = make_learners(
            controller=self.controller,
            scheduler=self.config.scheduler,
            prior=self.config.prior,
            trials=self.trials,
        )
        self.requests = Requests(
            space=self.space,
            controller=self.controller,
            scheduler=self.learners.scheduler,
            scheduler_name=type(self.config.scheduler).__name__,
            trials=self.trials,
        )
        self.rewards = TrialRewards(
            objective=self.config.objective, trials=self.trials, scheduled=self.config.scheduler is not None
        )
        self.stopping = Stopping(
            config=self.config, budget=self.budget, trials=self.trials, folder=self.journal.folder
        )
        self.finalists = Finalists(
            space=self.space,
            trials=self.trials,
            config=self.config,
            prior=self.learners.prior,
            keeps_specs=self.journal.folder is not None,
            write=self._write,
        )
        self.order = ObservationOrder(
            trials=self.trials.search,
            deterministic=self.config.deterministic,
            max_staleness=self.max_staleness,
        )
        self.checkpoints = Checkpoints(self.journal.folder, self.learners.may_resume)
        self.running: set[int] = set()
        self.reached: dict[int, tuple[int, int]] = {}
        self.waiting_on: dict[int, list[int]] = {}
        self.decisions: dict[int, JobResult] = {}
        self.sweeps = False
        self.fleet: Fleet | None = None
        self.fleet_due = -math.inf

    def restore(self) -> None:
        """Takes what the journal holds; see `nas.search.restoring`."""
        self.decisions = restore(
            journal=self.journal,
            objective=self.config.objective,
            trials=self.trials,
            requests=self.requests,
            learners=self.learners,
            checkpoints=self.checkpoints,
            stopping=self.stopping,
        )

    def run(self) -> SearchResult:
        """Runs to the budget."""
        self._write(
            "session",
            None,
            describe_session(
                space=self.space,
                controller=self.controller,
                config=self.config,
                workers=workers_of(self.executor),
                recalled=self.requests.recalled,
                folder=self.journal.folder,
            ),
        )
        reason = self._reason_to_end() or self._evaluate()
        self.finalists.pick()
        if self.trials.finished != reason:
            self._write("finished", None, {"reason": reason})
        return make_result(self.trials, reason, self._history())

    def _reason_to_end(self) -> str | None:
        """Gives why a search that was over stays so; None if there is something to evaluate."""
        reason = None if self.trials.finished is None else self.stopping.reason(self.trials.seconds)
        if reason is None or reason == "wall time":
            return reason
        if self._to_run_again(reason) or (reason == "budget" and self._may_ask()):
            return None
        return None if self.finalists.running() or self.finalists.missing() else reason

    def _evaluate(self) -> str:
        """Evaluates until there is a reason to end, and gives it."""
        with closing_executor(self.executor):
            if self.journal.folder is not None:
                self._set_up(self.journal.folder)
            with calling(self.executor, "open"):
                self.executor.open(self.task, self._on_report)
            self._run_failed_again()
            for trial in self.trials.search:
                if trial.status == "running":
                    self._start(trial)
                elif self.order.is_due(trial):
                    self._record_observed(trial)
            self.sweeps = True  # Before, a trial that is still to be started may need a checkpoint.
            self._sweep_checkpoints()
            reason = self._loop()
            if reason != "wall time":
                self._evaluate_finalists()
        return reason

    def _history(self) -> Callable[[], History]:
        """How the result reads the journal, which may be closed by then."""
        folder = self.journal.folder
        return partial(replay_journal, self.journal) if folder is None else partial(read_history, folder)

    def _set_up(self, folder: Path) -> None:
        """Prepares the task; what it logs is kept in the run folder."""
        if not self.task.needs_setup:
            return
        with (folder / LOG).open("a", buffering=1, encoding="utf-8") as file, tasks_log_to(file):
            self.task = set_up(self.executor, self.task, folder)

    def _run_failed_again(self) -> None:
        """Lets failed trials of earlier sessions run again; see `Trials.to_run_again`."""
        again = self._to_run_again(self.stopping.reason(self.trials.seconds))
        if again:
            self._write("retried", None, {"trials": again})
            self.stopping.run_again(again)
            for number in again:
                self.learners.begin_again(self.trials.all[number])

    def _to_run_again(self, reason: str | None) -> list[int]:
        """Gives the failed trials that run again, if the search is over for a reason, or is not."""
        again = [] if reason == "wall time" else self.trials.to_run_again()
        if reason == "target":
            return [number for number in again if self.trials.all[number].finalist_of is not None]
        return again

    def _loop(self) -> str:
        started = read_clock(self.executor)
        before = self.trials.seconds
        while True:
            reason = self.stopping.reason(before + read_clock(self.executor) - started)
            if reason is not None and not (reason == "budget" and self._may_ask()):
                return reason
            while len(self.running) < workers_of(self.executor) and self._may_ask():
                self._ask()
            self._wait()

    def _wait(self) -> None:
        """Takes what ends in the next instants, and notes which workers there are."""
        try:
            results = wait_for_results(self.executor, WAIT_SECONDS, len(self.trials.all))
        except BaseException:
            with suppress(Exception):
                self._take_all(results_before_error(self.executor, len(self.trials.all)))
            raise
        self._take_all(results)
        if isinstance(self.executor, HasFleet) and read_clock(self.executor) >= self.fleet_due:
            with calling(self.executor, "fleet"):
                fleet = self.executor.fleet()
            if fleet != self.fleet:
                self._write("workers", None, fleet.to_dict())
                self.fleet, self.fleet_due = fleet, read_clock(self.executor) + FLEET_SECONDS

    def _may_ask(self) -> bool:
        """Whether a trial may begin now: a proposal while the budget lasts, and then only a promotion."""
        proposes = len(self.trials.proposed) < self.budget
        if not proposes and not self._can_promote():
            return False
        while self.order.is_behind() or not (proposes or self.requests.has_promotion()):
            trial = self.order.next()
            if trial is None:
                return False
            self._record_observed(trial)
        return True

    def _can_promote(self) -> bool:
        """Whether there is anything that the scheduler might promote, or let wait for a promotion."""
        may_promote = self.learners.scheduler.may_resume
        return self.trials.counts["paused"] > 0 or any(map(may_promote, self.trials.search))

    def _ask(self) -> None:
        request, number = self.requests.next(), len(self.trials.all)
        if request.resume_from is not None and not request.promoted:
            self._check_kept(request.resume_from)
        proposal, candidate = request.proposal, request.candidate
        fidelity = self.config.fidelity if proposal.fidelity is None else proposal.fidelity
        if request.resume_from is None:
            seed = evaluation_seed(self.config.seed, proposal.number)
        else:
            seed = self.trials.all[request.resume_from].seed  # The same evaluation goes on.
        source = None
        if self.config.cache:
            source = find_source(self.trials, candidate.key, fidelity, request.resume_from)
        data: dict[str, Any] = {
            "proposal": proposal.number,
            "genotype": candidate.genotype,
            "key": candidate.key,
            "seed": seed,
            "fidelity": fidelity,
            "source": source,
            "resume_from": request.resume_from,
            "promoted": request.promoted,
            "at_random": request.at_random,
        }
        if self.journal.folder is not None:
            data["spec"] = text_of(self.space, candidate)
        self._write("asked", number, data, proposal)
        trial = self.trials.all[number]
        self.learners.scheduler.begin(trial)
        self._start(trial, candidate)

    def _check_kept(self, number: int) -> None:
        if self.journal.folder is not None and not self.checkpoints.keeps(number):
            raise FaultError(
                f"{type(self.controller).__name__}.ask: resume_from: the checkpoint of trial {number} was "
                "removed when it ended; a controller with a method may_resume says which ones are kept"
            )

    def _start(self, trial: Trial, candidate: Candidate | None = None) -> None:
        """Submits a trial, or lets it share the score of an earlier one."""
        shared = find_shared(self.trials, trial)
        if shared is not None:
            if shared.status == "running":
                self.waiting_on.setdefault(shared.number, []).append(trial.number)
            else:
                self._share(shared, trial)
            return
        self.running.add(trial.number)
        spec = self.space.decode(trial.genotype) if candidate is None else candidate.spec
        self.rewards.begin(trial, spec)
        if trial.number in self.decisions:
            self._take(self.decisions.pop(trial.number))
            return
        self._write("submitted", trial.number, {"attempt": trial.attempts})
        self.reached[trial.number] = self._reach(trial)
        resume_from = trial.resume_from
        job = Job(
            trial.number,
            trial.attempts - 1,
            spec,
            trial.fidelity,
            trial.seed,
            self.checkpoints.folder_of(trial.number),
            None if resume_from is None else self.checkpoints.folder_of(resume_from),
            resume_from,
            trial.apart,
            0 if resume_from is None else max(self.trials.all[resume_from].curve, default=0),
        )
        with calling(self.executor, "submit"):
            self.executor.submit(job)

    def _reach(self, trial: Trial) -> tuple[int, int]:
        """How far a trial has come: its reports, and the step of its checkpoint where that can be read."""
        return len(trial.curve), self.checkpoints.step_of(trial.number)

    def _share(self, shared: Trial, trial: Trial) -> None:
        result = JobResult(trial.number, 0, "completed", shared.score, message=f"as trial {shared.number}")
        self._end(trial, result, "cached", shared.rewards, shared.number)

    def _on_report(self, number: int, step: int, score: Score) -> Decision:
        trial = self.trials.all[number]
        reward = self.rewards.of_report(trial, score)
        data = {"step": step, "reward": score.reward, "metrics": recorded_metrics(score), "objective": reward}
        self._write("reported", number, data)
        if reward is None or trial.finalist_of is not None or trial.observed:
            return Decision.CONTINUE
        return self.learners.scheduler.report(trial, step, reward)

    def _take_all(self, results: Sequence[JobResult]) -> None:
        """Takes results in their order. After an error it takes the others too; the first error counts."""
        for number, result in enumerate(results):
            try:
                self._take(result)
            except BaseException:
                with suppress(Exception):
                    self._take_all(results[number + 1 :])
                raise

    def _take(self, result: JobResult) -> None:
        trial = self.trials.all[result.trial]
        if trial.status != "running":
            return
        if result.failure == "infrastructure" and trial.faults < self.config.retries:
            about = {
                "retry": True,
                "attempt": result.attempt,
                "failure": result.failure,
                "message": result.message,
                "worker": result.worker,
                "seconds": result.seconds,
                "progress": self._reach(trial) > self.reached.get(trial.number, (0, 0)),
            }
            self._write("ended", trial.number, about)
            self._start(trial)
            return
        self.running.discard(trial.number)
        self.reached.pop(trial.number, None)
        result, rewards = self.rewards.of_result(trial, result)
        self._end(trial, result, result.status, rewards)

    def _end(
        self,
        trial: Trial,
        result: JobResult,
        status: Status,
        rewards: Rewards | None,
        shares: int | None = None,
    ) -> None:
        searched, score = trial.finalist_of is None, result.score
        data = {
            "retry": False,
            "attempt": result.attempt,
            "status": status,
            "rewards": rewards,
            "reward": None if score is None else score.reward,
            "metrics": {} if score is None else recorded_metrics(score),
            "failure": result.failure or "",
            "pruner_attrs": self.learners.scheduler.end(trial) if searched and not trial.observed else {},
            "message": result.message,
            "worker": result.worker,
            "seconds": result.seconds,
        }
        if shares is not None:
            data["source"] = shares
        self._write("ended", trial.number, data)
        self.checkpoints.end(trial)
        if searched:
            self.stopping.count(trial.number, status, result.message)
            if self.order.is_due(trial):
                self._record_observed(trial)
            for waiting in self.waiting_on.pop(trial.number, ()):
                self._start(self.trials.all[waiting])
        self._sweep_checkpoints()

    def _record_observed(self, trial: Trial) -> None:
        self._write("observed", trial.number, {})
        self.learners.observe(trial)
        self._sweep_checkpoints()

    def _sweep_checkpoints(self) -> None:
        if self.journal.folder is None or not self.sweeps:
            return
        waiting = (number for numbers in self.waiting_on.values() for number in numbers)
        self.checkpoints.sweep(self.trials, (*self.running, *waiting))

    def _evaluate_finalists(self) -> None:
        """Evaluates the best networks again, where that has not been done yet."""
        self.finalists.ask(apart=self.task.finalist_task is not None)
        running = self.finalists.running()
        for trial in running:
            self._start(trial)
        while any(trial.status == "running" for trial in running):
            self._wait()  # Trials of the search that ran when the target was reached may end here too.

    def _write(
        self, kind: str, trial: int | None, data: dict[str, Any], proposal: Proposal | None = None
    ) -> None:
        event = self.journal.write(kind, trial, data)
        self.trials.apply(event, proposal)
        self.observers.on_event(event, self.trials)
