"""The search loop: it asks, submits, collects, records and tells; it owns the budget and stops on time.

Every step is written to the journal before the controller learns of it, so that a search that was killed
goes on where it was: finished trials are kept, the controller and the scheduler are restored by replaying
what they were asked and told, and what ran is run again.
"""

from __future__ import annotations

import copy
import math
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from controllers import Proposal
from controllers.controller import AskTell, Recalls, ResumesProposals
from controllers.evidence import LearnsFromEvidence, TakesPrior
from controllers.filters import behind_filters
from nas.executors import Executor
from nas.executors.fleet import Fleet, HasFleet, Spreads
from nas.executors.job import LOG, Decision, Job, JobResult, evaluation_seed
from nas.executors.setup import set_up
from nas.journal.history import History, read_history, replay_journal
from nas.journal.observer import Observer
from nas.journal.store import Journal, JournalError, MemoryJournal, open_journal
from nas.journal.trials import Rewards, Status, Trial, Trials, best_by_reward, spec_text, winner_by_reward
from nas.plugins import FaultError, reraise_as
from nas.reporting.winners import WinnerFiles
from nas.search.ask_tell import Candidate, ask, controller_name, decode, learn_evidence, tell
from nas.search.checkpoints import Checkpoints
from nas.search.config import SearchConfig, default_staleness
from nas.search.guarded_prior import GuardedPrior
from nas.search.objective import MissingMetricError, ObjectiveError, as_controller_reward, check_objectives
from nas.search.observers import Observers
from nas.search.picking import evidence_of, expected_rewards, pick
from nas.search.result import SearchError, SearchResult, make_result
from nas.search.scheduler import FullTraining, GuardedScheduler, Promotion, RecallsPromotions, Scheduler
from nas.search.sending import check_sending
from nas.utils.logging import tasks_log_to
from nas.utils.origin import describe_origin
from proxy_tasks.task import AdaptedTask, Score, Task, adapt
from search_space import Space, graph_features
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number

MIN_TRIALS_TO_GIVE_UP = 10
"""So many trials must be over before too many failures stop a search, unless its budget is smaller."""

WAIT_SECONDS = 0.5
"""The loop looks at the wall time at least so often."""

MOST_EXPECTED = 10
"""Of so many networks the journal tells what is expected of them, or of all finalists if these are more."""

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
    observers: Sequence[Observer] = (),
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
        FaultError: if the controller, the space or the scheduler fails.
        OSError: if the journal cannot be written; the search can be resumed when it can.
    """
    config = config or SearchConfig()
    if trials < 1:
        raise ValueError(f"trials must be at least 1, not {trials}")
    if type(executor.workers) is not int or executor.workers < 1:
        raise ValueError(f"workers must be a whole number of at least 1, not {executor.workers!r}")
    differ = isinstance(executor, Spreads) and executor.workers_differ
    max_staleness = config.max_staleness or default_staleness(executor.workers, trials, differ)
    if config.deterministic and max_staleness < executor.workers:
        raise ValueError(
            f"max_staleness must be at least the number of workers, {executor.workers}, not {max_staleness}; "
            "or give deterministic=false"
        )
    check_objectives(controller, config.objective)
    adapted = adapt(task)
    check_sending(space, adapted, executor, config.scheduler)
    with ExitStack() as stack:
        record: Journal
        if journal is not None:
            record = journal
        elif run_dir is None:
            record = MemoryJournal()
        else:
            folder = Path(run_dir).absolute()  # A task may change the working folder.
            record = stack.enter_context(closing(open_journal(folder, create=not resume)))
        winners = [] if record.folder is None else [WinnerFiles(record.folder / "winners", space)]
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
        own = self.config.scheduler
        self.prior = None if self.config.prior is None else GuardedPrior(self.config.prior)
        self.scheduler: Scheduler = FullTraining()
        if own is not None:
            own = copy.deepcopy(own)
            self._give_prior(own)
            self.scheduler = GuardedScheduler(own)
        self._give_prior(behind_filters(self.controller))
        self.checkpoints = Checkpoints(self.journal.folder, self._may_resume)
        self.running: set[int] = set()
        self.reached: dict[int, tuple[int, int]] = {}
        self.waiting_on: dict[int, list[int]] = {}
        self.all_observed = 0  # So many trials, the first ones, are observed.
        self.decisions: dict[int, JobResult] = {}
        self.session_over = self.session_failed = 0
        self.last_failure = ""
        self.promotion: Promotion | None = None  # That the next trial is.
        self.features: dict[int, dict[str, float]] = {}
        self.recalled = 0  # Of the record, what would be proposed otherwise now.
        self.sweeps = False
        self.fleet: Fleet | None = None
        self.fleet_due = -math.inf

    def _may_resume(self, trial: Trial) -> bool:
        """Whether the scheduler or the controller may want to go on from a trial that is over or paused."""
        if self.scheduler.may_resume(trial):
            return True
        if not isinstance(self.controller, ResumesProposals):
            return False
        with reraise_as(f"{type(self.controller).__name__}.may_resume"):
            return bool(self.controller.may_resume(trial.proposal))

    def _give_prior(self, part: object) -> None:
        if self.prior is not None and isinstance(part, TakesPrior):
            with reraise_as(f"{type(part).__name__}.take_prior"):
                part.take_prior(self.prior)

    def restore(self) -> None:
        """Replays the journal; the controller and the scheduler are asked and told as they were.

        Raises:
            JournalError: if the controller or the scheduler gives other proposals than the recorded ones.
        """
        last: dict[int, Score] = {}
        for event in self.journal.events():
            kind, number = event.kind, event.trial
            if kind == "session":
                self._check_objective(event.data.get("objective"))
            if kind == "asked" and event.data.get("finalist_of") is None:
                proposal = self._repeat_ask(event.trial, event.data)
                self.trials.apply(event, proposal)
                self.scheduler.begin(self.trials.search[-1])
                continue
            self.trials.apply(event)
            if kind == "retried":
                for again in event.data["trials"]:
                    last.pop(again, None)
                    self._begin_again(self.trials.all[again])
            if number is None:
                continue
            trial = self.trials.all[number]
            if trial.finalist_of is not None:
                continue
            if kind == "reported":
                last[number] = Score(event.data["reward"], event.data["metrics"])
            elif kind == "ended" and not event.data["retry"]:
                if not trial.observed:
                    self.scheduler.end(trial)
                self.checkpoints.end(trial)
            elif kind == "observed":
                self._observe(trial)
        for trial in self.trials.search:
            if trial.status == "running" and trial.number in last and not trial.observed:
                self._decide_again(trial, last[trial.number])

    def _repeat_ask(self, number: int | None, data: dict[str, Any]) -> Proposal:
        """Asks for the proposal of a recorded trial.

        Raises:
            JournalError: if it is another one, and what makes it cannot recall the recorded one.
        """
        found = self._propose()
        if not _is_recorded(found, data):
            found = self._recall(found, data)
        same = _is_recorded(found, data)
        if not same or found.candidate.key != data["key"]:
            raise JournalError(
                f"trial {number} of the journal differs from what "
                f"{'its genotype stands for' if same else 'the controller proposes'} now: "
                "space, controller, scheduler, seed or version have changed"
            )
        return found.proposal

    def _recall(self, found: _Request, data: Mapping[str, Any]) -> _Request:
        """Gives the recorded request in the place of the one that was just made, if that is possible."""
        if found.promoted != data["promoted"]:
            return found
        recall = self._recall_promotion if found.promoted else self._recall_proposal
        recalled = recall(found, data)
        if recalled is None:
            return found
        self.recalled += 1
        return recalled

    def _recall_promotion(self, found: _Request, data: Mapping[str, Any]) -> _Request | None:
        source = data["resume_from"]
        if not isinstance(self.scheduler, RecallsPromotions):
            return None
        assert found.resume_from is not None
        made = Promotion(found.resume_from, at_random=found.at_random)
        try:
            self.scheduler.recall(made, Promotion(source, at_random=data["at_random"]))
        except ValueError:
            return None
        proposal = replace(self.trials.all[source].proposal, fidelity=data["fidelity"])
        candidate = decode(self.space, proposal.genotype)
        return replace(found, proposal=proposal, candidate=candidate, resume_from=source)

    def _recall_proposal(self, found: _Request, data: Mapping[str, Any]) -> _Request | None:
        controller = self.controller
        if found.resume_from is not None or data["resume_from"] is not None:
            return None
        if not isinstance(controller, Recalls) or not isinstance(behind_filters(controller), Recalls):
            return None
        fidelity = None if found.proposal.fidelity is None else data["fidelity"]
        proposal = replace(found.proposal, genotype=tuple(data["genotype"]), fidelity=fidelity)
        try:
            candidate = decode(self.space, proposal.genotype)
        except FaultError:  # Of another space.
            return None
        with reraise_as(f"{type(controller).__name__}.recall"):
            controller.recall(proposal)
        return replace(found, proposal=proposal, candidate=candidate)

    def _decide_again(self, trial: Trial, last: Score) -> None:
        """Reports once more what a trial reported before the search was cut off."""
        for step, reward in trial.curve.items():
            decision = self.scheduler.report(trial, step, reward)
        if decision is not Decision.CONTINUE:
            # The worker may be past this report when it runs again, so that the decision must be kept.
            attempt = max(0, trial.attempts - 1)
            status: Literal["paused", "pruned"] = "paused" if decision is Decision.PAUSE else "pruned"
            self.decisions[trial.number] = JobResult(trial.number, attempt, status, last)

    def _check_objective(self, recorded: Any) -> None:
        objective = self.config.objective.to_dict()
        if recorded is not None and recorded != objective:
            raise JournalError(
                f"the search began with the objective {to_json(recorded)}; its rewards cannot be compared "
                f"with those of {to_json(objective)}"
            )

    def run(self) -> SearchResult:
        """Runs to the budget."""
        self._begin_session()
        reason = self._reason_to_end() or self._evaluate()
        if self._picks_anew:
            self._pick()
        if self.trials.finished != reason:
            self._write("finished", None, {"reason": reason})
        return make_result(self.trials, reason, self._history())

    def _reason_to_end(self) -> str | None:
        """Gives why a search that was over stays so; None if there is something to evaluate."""
        reason = None if self.trials.finished is None else self._stop_reason(self.trials.seconds)
        if reason is None or reason == "wall time":
            return reason
        if self._to_run_again(reason) or (reason == "budget" and self._may_ask()):
            return None
        running = any(trial.status == "running" for trial in self.trials.finalists)
        return None if running or self._missing_finalists() else reason

    def _evaluate(self) -> str:
        """Evaluates until there is a reason to end, and gives it."""
        try:
            if self.journal.folder is not None:
                self._set_up(self.journal.folder)
            self.executor.open(self.task, self._on_report)
            self._run_failed_again()
            for trial in self.trials.search:
                if trial.status == "running":
                    self._start(trial)
                elif not trial.observed and not self.config.deterministic:
                    self._record_observed(trial)
            self.sweeps = True  # Before, a trial that is still to be started may need a checkpoint.
            self._sweep_checkpoints()
            reason = self._loop()
            if reason != "wall time":
                self._evaluate_finalists()
        finally:
            self.executor.close()
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

    def _begin_session(self) -> None:
        about: dict[str, Any] = {
            "workers": self.executor.workers,
            "controller": controller_name(self.controller),
            "seed": self.config.seed,
            "objective": self.config.objective.to_dict(),
            "recalled": self.recalled,
            "decisions": [
                [str(decision.name), [str(label) for label in decision.labels]]
                for decision in self.space.decisions
            ],
        }
        if self.journal.folder is not None:
            about |= {
                "versions": {name: version(name) for name in ("spinenas", "torch", "ray", "optuna", "numpy")},
                "python": platform.python_version(),
                "host": socket.gethostname(),
                "cwd": str(Path.cwd()),
                "origin": describe_origin(self.journal.folder),
            }
        self._write("session", None, about)

    def _run_failed_again(self) -> None:
        """Lets failed trials of earlier sessions run again; see `Trials.to_run_again`.

        What the controller and the scheduler know already they keep: they are not told a second time.
        """
        again = self._to_run_again(self._stop_reason(self.trials.seconds))
        if again:
            self._write("retried", None, {"trials": again})
            for number in again:
                self._begin_again(self.trials.all[number])

    def _to_run_again(self, reason: str | None) -> list[int]:
        """Gives the failed trials that run again, if the search is over for a reason, or is not."""
        again = [] if reason == "wall time" else self.trials.to_run_again()
        if reason == "target":
            return [number for number in again if self.trials.all[number].finalist_of is not None]
        return again

    def _begin_again(self, trial: Trial) -> None:
        if trial.finalist_of is None and not trial.observed:
            self.scheduler.begin(trial)

    def _loop(self) -> str:
        started = self.executor.now()
        before = self.trials.seconds
        while True:
            reason = self._stop_reason(before + self.executor.now() - started)
            if reason is not None and not (reason == "budget" and self._may_ask()):
                return reason
            while len(self.running) < self.executor.workers and self._may_ask():
                self._ask()
            self._wait()

    def _wait(self) -> None:
        """Takes what ends in the next instants, and notes which workers there are."""
        for result in self.executor.wait(WAIT_SECONDS):
            self._take(result)
        if isinstance(self.executor, HasFleet) and self.executor.now() >= self.fleet_due:
            fleet = self.executor.fleet()
            if fleet != self.fleet:
                self._write("workers", None, fleet.to_dict())
                self.fleet, self.fleet_due = fleet, self.executor.now() + FLEET_SECONDS

    def _stop_reason(self, seconds: float) -> str | None:
        config = self.config
        # Those of this session only: a search whose cause of failure was mended may go on.
        over, failed = self.session_over, self.session_failed
        if failed > config.max_failures * over and over >= min(MIN_TRIALS_TO_GIVE_UP, self.budget):
            raise SearchError(self._explain_failures())
        best = self.trials.best
        if config.target is not None and best is not None:
            rewards = self.trials.all[best].rewards
            if rewards is not None and rewards[0] >= config.target:
                return "target"
        over = len(self.trials.proposed) >= self.budget and not self.trials.counts["running"]
        at_finalists = over and self.trials.all[-1].finalist_of is not None
        if config.wall_time is not None and seconds >= config.wall_time and not at_finalists:
            return "wall time"
        return "budget" if over else None

    def _explain_failures(self) -> str:
        """Says how many trials failed, why the last one did, and what can be done."""
        why = f"{self.session_failed} of {self.session_over} trials failed; the last: {self.last_failure}"
        folder = self.journal.folder
        if folder is None:
            return why
        logs = folder / "trials"
        look = f"See the logs in {logs}, then" if logs.is_dir() else "Once that is mended"
        return f"{why}. {look}: nas resume {folder}"

    def _may_ask(self) -> bool:
        """Whether a trial may begin now: a proposal while the budget lasts, and then only a promotion."""
        proposes = len(self.trials.proposed) < self.budget
        if not proposes and not self._can_promote():
            return False
        # All trials up to this one must be over before the next one may be asked for.
        last = len(self.trials.search) - self.max_staleness
        while self.config.deterministic and self._next_to_observe() <= last:
            if not self._observe_next():
                return False
        while not proposes and self.promotion is None:
            self.promotion = self.scheduler.promote()
            if self.promotion is None and not self._observe_next():
                break
        return proposes or self.promotion is not None

    def _observe_next(self) -> bool:
        """Lets the next trial be observed, if it is over; returns whether it was."""
        number = self._next_to_observe()
        if not self.config.deterministic or number == len(self.trials.search):
            return False
        trial = self.trials.search[number]
        if trial.status == "running":
            return False
        self._record_observed(trial)
        return True

    def _next_to_observe(self) -> int:
        """The place of the first trial that is not observed; those after it may be, of another session."""
        trials = self.trials.search
        while self.all_observed < len(trials) and trials[self.all_observed].observed:
            self.all_observed += 1
        return self.all_observed

    def _can_promote(self) -> bool:
        """Whether there is anything that the scheduler might promote, or let wait for a promotion."""
        return self.trials.counts["paused"] > 0 or any(map(self.scheduler.may_resume, self.trials.search))

    def _propose(self) -> _Request:
        """Asks the scheduler which trial to promote, or the controller for a proposal if it promotes none."""
        promotion, self.promotion = self.promotion or self.scheduler.promote(), None
        if promotion is not None:
            source = self._find_resumable(promotion.trial, f"{type(self.config.scheduler).__name__}.promote")
            fidelity = source.fidelity if promotion.fidelity is None else promotion.fidelity
            proposal = replace(source.proposal, fidelity=fidelity)
            candidate = decode(self.space, proposal.genotype)
            return _Request(proposal, candidate, source.number, True, promotion.at_random)
        proposal = ask(self.controller, len(self.trials.proposed))
        candidate, resume_from = decode(self.space, proposal.genotype), None
        if proposal.resume_from is not None:
            what = f"{type(self.controller).__name__}.ask: resume_from"
            if not 0 <= proposal.resume_from < proposal.number:
                raise FaultError(f"{what}={proposal.resume_from} is no earlier proposal")
            resume_from = self._find_resumable(self.trials.proposed[proposal.resume_from], what).number
        return _Request(proposal, candidate, resume_from, False)

    def _find_resumable(self, number: int, what: str) -> Trial:
        """Gives the trial that a new one goes on from.

        Raises:
            FaultError: if there is no such trial, or it still runs.
        """
        if not 0 <= number < len(self.trials.all) or self.trials.all[number].finalist_of is not None:
            raise FaultError(f"{what}: there is no trial {number} to go on from")
        if self.trials.all[number].status == "running":
            raise FaultError(f"{what}: trial {number} still runs; only what is over or paused can be resumed")
        return self.trials.all[number]

    def _ask(self) -> None:
        request, number = self._propose(), len(self.trials.all)
        if request.resume_from is not None and not request.promoted:
            self._check_kept(request.resume_from)
        proposal, candidate = request.proposal, request.candidate
        fidelity = self.config.fidelity if proposal.fidelity is None else proposal.fidelity
        if request.resume_from is None:
            seed = evaluation_seed(self.config.seed, proposal.number)
        else:
            seed = self.trials.all[request.resume_from].seed  # The same evaluation goes on.
        data: dict[str, Any] = {
            "proposal": proposal.number,
            "genotype": candidate.genotype,
            "key": candidate.key,
            "seed": seed,
            "fidelity": fidelity,
            "source": self._find_source(candidate.key, fidelity, request.resume_from),
            "resume_from": request.resume_from,
            "promoted": request.promoted,
            "at_random": request.at_random,
        }
        if self.journal.folder is not None:
            data["spec"] = self._spec_text(candidate)
        self._write("asked", number, data, proposal)
        trial = self.trials.all[number]
        self.scheduler.begin(trial)
        self._start(trial, candidate)

    def _check_kept(self, number: int) -> None:
        if self.journal.folder is not None and not self.checkpoints.keeps(number):
            raise FaultError(
                f"{type(self.controller).__name__}.ask: resume_from: the checkpoint of trial {number} was "
                "removed when it ended; a controller with a method may_resume says which ones are kept"
            )

    def _find_source(self, key: str, fidelity: float, resume_from: int | None) -> int | None:
        """Gives the trial whose score a new one of this key and fidelity shares, if there is one."""
        number = self.trials.first_of.get((key, fidelity)) if self.config.cache else None
        if number is None or resume_from is None:
            return number
        # What goes on wants more than the score of a trial that was ended early.
        return None if self.trials.all[number].status in ("paused", "pruned") else number

    def _spec_text(self, candidate: Candidate) -> str:
        with reraise_as(f"{type(self.space).__name__}'s spec"):
            return spec_text(candidate.spec, candidate.genotype)

    def _start(self, trial: Trial, candidate: Candidate | None = None) -> None:
        """Submits a trial, or lets it share the score of an earlier one."""
        if trial.source is not None and self.trials.all[trial.source].status == "failed":
            # The next trial of this key has a chance of its own, for all that follow.
            next_trial = self.trials.first_of.get((trial.key, trial.fidelity))
            shared = next_trial if next_trial is not None and next_trial < trial.number else None
        else:
            shared = trial.source
        if shared is not None:
            source = self.trials.all[shared]
            if source.status == "running":
                self.waiting_on.setdefault(source.number, []).append(trial.number)
            else:
                self._share(source, trial)
            return
        self.running.add(trial.number)
        spec = self.space.decode(trial.genotype) if candidate is None else candidate.spec
        with reraise_as(f"{type(spec).__name__}.graph_features"):
            self.features[trial.number] = graph_features(spec, summary=True)
        if trial.number in self.decisions:
            self._take(self.decisions.pop(trial.number))
            return
        self._write("submitted", trial.number, {"attempt": trial.attempts})
        self.reached[trial.number] = self._reach(trial)
        resume_from = trial.resume_from
        self.executor.submit(
            Job(
                trial.number,
                trial.attempts - 1,
                spec,
                trial.fidelity,
                trial.seed,
                self.checkpoints.folder_of(trial.number),
                None if resume_from is None else self.checkpoints.folder_of(resume_from),
                resume_from,
                trial.apart,
            )
        )

    def _reach(self, trial: Trial) -> tuple[int, int]:
        """How far a trial has come: its reports, and the step of its checkpoint where that can be read."""
        return len(trial.curve), self.checkpoints.step_of(trial.number)

    def _share(self, source: Trial, trial: Trial) -> None:
        result = JobResult(trial.number, 0, "completed", source.score, message=f"as trial {source.number}")
        self._end(trial, result, "cached", source.rewards, source.number)

    def _on_report(self, number: int, step: int, score: Score) -> Decision:
        trial = self.trials.all[number]
        reward = self._first_reward(trial, score)
        data = {"step": step, "reward": score.reward, "metrics": _recorded(score), "objective": reward}
        self._write("reported", number, data)
        if reward is None or trial.finalist_of is not None or trial.observed:
            return Decision.CONTINUE
        return self.scheduler.report(trial, step, reward)

    def _first_reward(self, trial: Trial, score: Score) -> float | None:
        """The first reward of a report by the objective; None if the report does not tell it.

        Raises:
            MissingMetricError: if no report is likely to tell it, and a scheduler goes by it.
        """
        objective, judged = self.config.objective, self.config.scheduler is not None
        try:
            rewards = objective.rewards(_with_features(score, self.features.get(trial.number, {})))
        except MissingMetricError:
            if objective.names[0] == "reward":  # What a limit is set to may be known at the end alone.
                return score.reward
            if judged and trial.finalist_of is None and self._none_has_rewards("paused"):
                raise
            return None
        except ObjectiveError:
            return None
        return None if rewards is None else rewards[0]

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
        features = self.features.pop(trial.number, {})
        rewards = None
        if result.score is not None:
            score = _with_features(result.score, features)
            result = replace(result, score=score)
            try:
                # Of a trial that was ended early the last report counts, for controllers that learn from it.
                rewards = self.config.objective.rewards(score)
            except ObjectiveError as error:
                if isinstance(error, MissingMetricError) and self._none_has_rewards(result.status):
                    raise  # Most likely the objective's name is wrong, or no report has that metric.
                if result.status == "completed":
                    result = replace(result, status="failed", score=None, failure="error", message=str(error))
        self._end(trial, result, result.status, rewards)

    def _none_has_rewards(self, status: Status) -> bool:
        """Whether a trial that came so far is the first one; those that were pruned need no rewards."""
        if status == "pruned" or self.trials.counts["completed"]:
            return False
        return all(trial.rewards is None for trial in self.trials.search)

    def _end(
        self,
        trial: Trial,
        result: JobResult,
        status: Status,
        rewards: Rewards | None,
        source: int | None = None,
    ) -> None:
        searched, score = trial.finalist_of is None, result.score
        data = {
            "retry": False,
            "attempt": result.attempt,
            "status": status,
            "rewards": rewards,
            "reward": None if score is None else score.reward,
            "metrics": {} if score is None else _recorded(score),
            "failure": result.failure or "",
            "pruner_attrs": self.scheduler.end(trial) if searched and not trial.observed else {},
            "message": result.message,
            "worker": result.worker,
            "seconds": result.seconds,
        }
        if source is not None:
            data["source"] = source
        self._write("ended", trial.number, data)
        self.checkpoints.end(trial)
        if searched:
            self.session_over += 1
            if status == "failed":
                self.session_failed += 1
                self.last_failure = result.message
            if not self.config.deterministic and not trial.observed:
                self._record_observed(trial)
            for waiting in self.waiting_on.pop(trial.number, ()):
                self._start(self.trials.all[waiting])
        self._sweep_checkpoints()

    def _record_observed(self, trial: Trial) -> None:
        self._write("observed", trial.number, {})
        self._observe(trial)
        self._sweep_checkpoints()

    def _observe(self, trial: Trial) -> None:
        """Lets the scheduler, and the controller if it proposed the trial, know how a trial ended."""
        self.scheduler.observe(trial)
        if isinstance(self.controller, LearnsFromEvidence):
            # What another trial has measured is told again of one that shares it, at the same length.
            evidence = evidence_of(trial if trial.shares is None else self.trials.all[trial.shares])
            if evidence is not None:
                learn_evidence(self.controller, trial.proposal, evidence)
        if not trial.promoted:
            tell(self.controller, trial.proposal, as_controller_reward(trial.rewards))

    def _sweep_checkpoints(self) -> None:
        if self.journal.folder is None or not self.sweeps:
            return
        waiting = (number for numbers in self.waiting_on.values() for number in numbers)
        self.checkpoints.sweep(self.trials, (*self.running, *waiting))

    def _evaluate_finalists(self) -> None:
        """Evaluates the best networks again, where that has not been done yet."""
        for best, seed in self._missing_finalists():
            self._ask_finalist(best, seed)
        running = [trial for trial in self.trials.finalists if trial.status == "running"]
        for trial in running:
            self._start(trial)
        while any(trial.status == "running" for trial in running):
            self._wait()  # Trials of the search that ran when the target was reached may end here too.

    def _missing_finalists(self) -> list[tuple[Trial, int]]:
        """Gives the best networks with the seeds that each is still to be evaluated with."""
        fidelity = self.config.finalist_fidelity
        known = {(t.finalist_of, t.seed) for t in self.trials.finalists if t.fidelity == fidelity}
        found = []
        for best in map(self.trials.all.__getitem__, self._choose_finalists()):
            for index in range(self.config.finalist_seeds):
                seed = evaluation_seed(self.config.seed, best.proposal.number, index + 1)
                if (best.number, seed) not in known:
                    found.append((best, seed))
        return found

    @property
    def _picks(self) -> bool:
        """Whether what is expected of networks decides."""
        return self.config.pick == "expected" and len(self.config.objective.names) == 1

    @property
    def _picks_anew(self) -> bool:
        """Whether the journal does not have the winner yet, or one that was picked in the other way."""
        if self.trials.picked is None:
            return self._picks  # By reward, the winner follows from the trials.
        return self._picks != bool(self.trials.expected)

    def _choose_finalists(self) -> list[int]:
        count = self.config.finalists
        if not count or not self._picks:
            return best_by_reward(self.trials, count)
        if len(self.trials.ranked) < count:
            self._rank(self._expect())
        return self.trials.ranked[:count]

    def _rank(self, expected: Mapping[int, float]) -> None:
        """Notes who may become a finalist; those of a search that was cut off, or had fewer, stay first."""
        trials, before = self.trials.all, self.trials.ranked
        known = {trials[number].key for number in before}
        more = {number: value for number, value in expected.items() if trials[number].key not in known}
        kept = {number: expected.get(number, (trials[number].rewards or (0.0,))[0]) for number in before}
        if more:
            self._write("ranked", None, {"expected": self._first(kept | more)})

    def _expect(self) -> dict[int, float]:
        return expected_rewards(self.space, self.trials, self.prior)

    def _pick(self) -> None:
        """Notes the winner."""
        if not self._picks:
            self._write("picked", None, {"trial": winner_by_reward(self.trials), "expected": []})
            return
        expected = self._expect()
        winner = pick(self.trials, expected)
        if winner is not None:
            self._write("picked", None, {"trial": winner, "expected": self._first(expected, winner)})

    def _first(self, expected: Mapping[int, float], also: int | None = None) -> list[dict[str, float]]:
        """The first of what is expected, as the journal keeps it, and that of one trial more."""
        most = max(MOST_EXPECTED, self.config.finalists)
        numbers = dict.fromkeys([*list(expected)[:most], *([] if also is None else [also])])
        return [{"trial": number, "reward": expected[number]} for number in numbers]

    def _ask_finalist(self, best: Trial, seed: int) -> None:
        data: dict[str, Any] = {
            "proposal": best.proposal.number,
            "genotype": best.genotype,
            "key": best.key,
            "seed": seed,
            "fidelity": self.config.finalist_fidelity,
            "finalist_of": best.number,
            "apart": self.task.finalist_task is not None,
        }
        if self.journal.folder is not None:
            data["spec"] = self._spec_text(decode(self.space, best.genotype))
        self._write("asked", len(self.trials.all), data, best.proposal)

    def _write(
        self, kind: str, trial: int | None, data: dict[str, Any], proposal: Proposal | None = None
    ) -> None:
        event = self.journal.write(kind, trial, data)
        self.trials.apply(event, proposal)
        self.observers.on_event(event, self.trials)


def _with_features(score: Score, features: Mapping[str, float]) -> Score:
    """A score with what its spec's graph tells; the task's metrics come first and win where both have one."""
    return Score(score.reward, {**score.metrics, **features, **score.metrics})


def _recorded(score: Score) -> dict[str, float | None]:
    """The metrics as the journal keeps them: None for one that is not finite."""
    return {name: value if is_number(value) else None for name, value in score.metrics.items()}


@dataclass(frozen=True, slots=True)
class _Request:
    """What is evaluated next.

    Args:
        proposal: of the controller, or of the trial that is promoted.
        candidate: its genotype, decoded.
        resume_from: number of the trial that it goes on from.
        promoted: whether the scheduler asked for it.
        at_random: whether the scheduler did so whatever its reward.
    """

    proposal: Proposal
    candidate: Candidate
    resume_from: int | None
    promoted: bool
    at_random: bool = False


def _is_recorded(found: _Request, data: Mapping[str, Any]) -> bool:
    """Whether a request is the one that an event `asked` has recorded."""
    same = found.proposal.genotype == tuple(data["genotype"])
    return same and (found.promoted, found.resume_from) == (data["promoted"], data["resume_from"])
