"""The jobs of a search on its workers: which worker gets which job, what it reports, and how the job ends.

Each worker answers a job with the first report or the end, and a decision on a report with the next one. A
worker that dies, on its own or with its node, costs one attempt, unless it was dead before it got the job.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from nas.executors.job import NODE_LOST, Job, JobResult, OnReport
from nas.executors.on_ray.death import explain_death, is_node_lost, is_unreachable
from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.patience import Patience
from nas.executors.on_ray.placement import Placement
from nas.executors.on_ray.pool import WorkerPool
from nas.executors.on_ray.quarantine import Place
from nas.executors.on_ray.second_copy import SecondCopies
from nas.executors.on_ray.slots import Doubt, Slot
from nas.executors.on_ray.worker import Located
from nas.plugins.faults import one_line
from nas.utils.terminal import counted
from proxy_tasks.task import FailureKind

NODE_SECONDS, DOUBT_SECONDS = 5.0, 0.2
"""So long Ray may take to record that a node is gone, and how often it is asked."""

MOST_TRIES = 9
"""So often a worker that cannot be reached is asked again, about every seven seconds."""

Blame = Callable[[Job], FailureKind]
"""Says whose fault it is that a job's worker is gone."""


def _blame_machine(_job: Job) -> FailureKind:
    return "infrastructure"


@dataclass(kw_only=True, eq=False)
class Dispatcher:
    """Gives jobs to the workers of a pool, passes on what they report, and says how they ended.

    Args:
        pool: the workers, which have been started.
        placement: which worker may run which job.
        patience: how long a job may take.
        on_report: answers the reports of jobs.
        check_ray: raises OSError if Ray itself is gone.
        fresh_process: whether every job gets a new process.
        shares_gpus: whether a worker has a share of a GPU.
    """

    pool: WorkerPool
    placement: Placement
    patience: Patience
    on_report: OnReport
    check_ray: Callable[[], None]
    fresh_process: bool
    shares_gpus: bool
    _waiting: deque[Job] = field(default_factory=deque, init=False)
    _copies: SecondCopies = field(default_factory=SecondCopies, init=False)
    _killed_for_memory: set[int] = field(default_factory=set, init=False)
    _ended: list[JobResult] = field(default_factory=list, init=False)
    _given_back: Counter[int] = field(default_factory=Counter, init=False)

    def submit(self, job: Job) -> None:
        """Gives the job to an idle worker, or has it wait for one."""
        self._waiting.append(job)
        self._give_out()

    def wait(self, timeout: float) -> list[JobResult]:
        """Gives ends of jobs, as soon as there is one; reports are passed on while waiting.

        Args:
            timeout: seconds after which it gives none.

        Raises:
            OSError: if Ray itself is gone, or no worker can be started or run the task.
        """
        import ray

        deadline = time.monotonic() + timeout
        self._try_twice()
        while True:
            self.check_ray()
            self.pool.lift_quarantines()
            asked = [slot for slot in self.pool.slots if slot.pending is not None]
            if not asked and not self._waiting:
                return self.take_ended()
            pending = {slot.pending: slot for slot in asked if slot.doubt is None}
            longest = 1.0 if len(pending) == len(asked) else DOUBT_SECONDS
            left = max(0.0, min(deadline - time.monotonic(), longest))
            try:
                ready = _hear(pending, left)
            except ray.exceptions.RayError as error:
                self.check_ray()
                raise OSError(f"Ray is gone: {one_line(error)}") from None
            # A worker that was replaced meanwhile, as its trial has ended elsewhere, owes another answer.
            for answer in ready:
                if pending[answer].pending is answer:
                    self._next(pending[answer])
            for slot in asked:
                if slot.doubt is not None:
                    self._settle(slot)
            for slot in self.pool.slots:
                self._over_time(slot)
            self._give_out()
            if self._ended or time.monotonic() >= deadline:
                return self.take_ended()

    def take_ended(self) -> list[JobResult]:
        """Gives the ends that have not been given yet: if `wait` raises, those that it had found before."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Kills the workers; of jobs that two of them had, the later checkpoint is kept."""
        self.pool.close()
        self._copies.close()

    @property
    def _machines(self) -> Machines:
        return self.pool.machines

    def _give_out(self) -> None:
        slots = self.pool.slots
        for slot in [slot for slot in slots if slot.idle]:
            job = next((job for job in self._waiting if self.placement.may_run(job, slot, slots)), None)
            if job is not None:
                self._waiting.remove(job)
                self._run(slot, job)

    def _run(self, slot: Slot, job: Job) -> None:
        slot.begin(job, time.monotonic())
        slot.receipt = slot.actor.receive.remote()
        slot.ask(slot.actor.run, job, self.placement.runs_alone(job.trial))

    def _try_twice(self) -> None:
        """Gives the slowest jobs to workers for which the search has nothing else."""
        self._give_out()
        idle = [slot for slot in self.pool.slots if slot.idle]
        busy = [slot for slot in self.pool.slots if slot.job is not None] if idle else []
        for first in sorted(busy, key=lambda slot: slot.started):
            job = first.job
            if job is None or not self._is_worth_two(job, time.monotonic() - first.started):
                continue
            if _ready([first.pending], 0):  # It has answered, and only we are late.
                continue
            other = next((slot for slot in idle if self._may_try_too(slot, first, job)), None)
            copied = None if other is None else self._copies.begin(job)
            if other is not None and copied is not None:
                idle.remove(other)
                self._run(other, copied)

    def _is_worth_two(self, job: Job, seconds: float) -> bool:
        """Whether a job that has run for so long should be tried by a second worker."""
        may = self._copies.may_begin(job.trial) and not self.placement.runs_alone(job.trial)
        return may and self.patience.is_slow(job, seconds)

    def _may_try_too(self, slot: Slot, first: Slot, job: Job) -> bool:
        """Whether an idle worker may try a job that another one has: only where things go well."""
        if slot.place is None or slot.place == first.place:
            return False
        worked = self._machines.quarantine.has_worked(slot.place)
        return worked and self.placement.may_run(job, slot, self.pool.slots)

    def _next(self, slot: Slot) -> None:
        """Takes what a worker answered: passes a report on, or notes an end."""
        import ray

        job = slot.job
        try:
            answer = ray.get(slot.pending)
        except ray.exceptions.OutOfMemoryError as error:
            self._lost(slot, one_line(error), self._blame_for_memory)
            return
        except ray.exceptions.RayError as error:
            self.check_ray()
            # A node that dies closes its sockets at once, and Ray's records follow a moment later.
            seconds = NODE_SECONDS if is_unreachable(error) else 0.0
            slot.doubt = Doubt(error=error, until=time.monotonic() + seconds)
            self._settle(slot)
            return
        if job is None:
            slot.pending = None
            if isinstance(answer, Located):
                self.pool.locate(slot, answer)
            else:
                self.pool.admit(slot, answer)
            return
        if isinstance(answer, JobResult):
            slot.job, slot.pending, place = None, None, slot.place
            self._machines.tell(place, answer.notices)
            self._learn(slot, job, answer)
            self._conclude(job, answer, place)
            return
        step, score = answer
        decision = self._copies.decide(job.trial, step, partial(self.on_report, job.trial, step, score))
        self.patience.note_decision(job, step, decision)
        slot.answered(time.monotonic())
        slot.ask(slot.actor.go_on, decision)

    def _conclude(self, job: Job, ended: JobResult, place: Place | None) -> None:
        """Notes the end of a trial's attempt, unless the trial goes on, with another worker or later.

        Args:
            job: what has ended.
            ended: how.
            place: where; None if the worker is gone.
        """
        others = [slot for slot in self.pool.slots if slot.job is not None and slot.job.trial == job.trial]
        twice = self._copies.of(job.trial)
        if ended.status == "failed":
            if others and twice is not None:
                self._copies.pass_over(job, ended)
                return
            if twice is not None:
                ended = twice.outcome(ended)
            shared = self.shares_gpus and ended.failure == "out of memory"
            if shared and place is not None and self.placement.lacked_memory(job.trial, place):
                alone = f"trial {job.trial} needs more than its share of a GPU: it gets one alone"
                self._machines.tell(place, [alone])
                self._waiting.appendleft(job)
                return
        for other in others:
            if twice is not None and other.job is twice.first and other.place is not None:
                quicker = "a worker elsewhere was twice as quick"
                self._machines.fault(other.place, f"trial {job.trial}", quicker)
            self.pool.restart(other)
        self.placement.ended(job.trial, by_machine=ended.failure == "infrastructure")
        self._copies.end(job, ended)
        self._given_back.pop(job.trial, None)
        self._ended.append(ended)

    def _learn(self, slot: Slot, job: Job, ended: JobResult) -> None:
        """Notes how a job went for the worker's place and for the time that jobs take."""
        assert slot.place is not None
        twice = self._copies.of(job.trial)
        if ended.status in ("completed", "paused") and (twice is None or job is twice.first):
            # A second copy begins later than its job, and tells nothing of the time that one takes.
            self.patience.learn(job, ended.seconds, whole=ended.status == "completed")
        if ended.failure == "infrastructure":
            self._note_failure(slot.place, job, ended.message)
        else:
            self._machines.quarantine.success(slot.place)
        # A broken CUDA context, say, stays in the process and fails all later jobs.
        if self.fresh_process or ended.failure == "infrastructure":
            self.pool.restart(slot)

    def _note_failure(self, place: Place, job: Job, message: str) -> None:
        """Counts a job that a place has failed; without another place, the trial alone is to blame."""
        self.placement.failed(job.trial, place)
        if self._machines.has_another(place):
            self._machines.fault(place, f"trial {job.trial}", message)

    def _over_time(self, slot: Slot) -> None:
        """Ends a job that takes too long: the first time another worker may try."""
        job = slot.job
        if job is None:
            return
        limit = self.patience.limit(job)
        if limit is None or slot.doubt is not None or time.monotonic() - slot.started <= limit:
            return
        if _ready([slot.pending], 0):  # It has answered, and only we are late.
            return
        if not self.patience.is_fixed and slot.is_alive(time.monotonic()):
            return  # It is slow, as others work on its machine too, and does not hang.
        self._lost(slot, f"over the time limit of {limit:g} s", self._blame_for_time)

    def _settle(self, slot: Slot) -> None:
        """Ends the job of a worker that does not answer, once it is known what happened to it.

        Meanwhile the other workers go on.
        """
        doubt = slot.doubt
        assert doubt is not None
        if slot.place is not None and is_node_lost(doubt.error, slot.place.node):
            left = counted(self.pool.lose_node(slot), "worker")
            self._lost(slot, f"{NODE_LOST}, {left} left")
        elif time.monotonic() < doubt.until:
            return
        elif not is_unreachable(doubt.error) or slot.job is None:
            self._lost(slot, explain_death(doubt.error))
        elif slot.tries < MOST_TRIES:
            if not _has_come(slot.receipt):
                slot.receipt = slot.actor.receive.remote()
            slot.ask_again()
        else:
            slot.place = None  # The network between is at fault, and no place.
            self._lost(slot, f"the worker could not be reached: {one_line(doubt.error)}")

    def _blame_for_time(self, job: Job) -> FailureKind:
        """Whose fault it is that a job took too long: the first time that of its worker."""
        return "infrastructure" if self.patience.end(job) else "error"

    def _blame_for_memory(self, job: Job) -> FailureKind:
        """Whose fault it is that Ray has killed a job's worker because its node ran short of memory.

        Ray kills the latest ones, and not those that need most: only the second time is the trial to blame.
        """
        again = job.trial in self._killed_for_memory
        self._killed_for_memory.add(job.trial)
        return "out of memory" if again else "infrastructure"

    def _lost(self, slot: Slot, message: str, blame: Blame = _blame_machine) -> None:
        """Ends the job, if there is one, of a worker that is gone or must go; another takes its place.

        Args:
            slot: the worker's.
            message: what happened to it.
            blame: whose fault that is, if the worker had received the job.
        """
        job, seconds = slot.job, time.monotonic() - slot.started
        received = job is not None and _has_come(slot.receipt)
        self.pool.remove(slot, message)
        failure = blame(job) if job is not None and received else "infrastructure"
        if job is not None and received and slot.place is not None and failure == "infrastructure":
            self._note_failure(slot.place, job, message)
        self.pool.start(slot)
        if job is None:
            return
        if not received and self._may_give_back(job):
            self._waiting.appendleft(job)
            return
        ended = JobResult(job.trial, job.attempt, "failed", None, failure, message, "", seconds)
        self._conclude(job, ended, None)

    def _may_give_back(self, job: Job) -> bool:
        """Whether a job that its worker never received waits for another one, as if nothing had happened.

        So it goes on until as many workers as there are were dead; that many were idle at most.
        """
        self._given_back[job.trial] += 1
        seldom = self._given_back[job.trial] <= len(self.pool.slots)
        return seldom and self._copies.of(job.trial) is None


def _has_come(receipt: Any) -> bool:
    """Whether a worker has received its job."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        if _ready([receipt], 0):
            ray.get(receipt)
            return True
    return False


def _hear(pending: dict[Any, Slot], timeout: float) -> list[Any]:
    """The answers that are there, as soon as there is one; notes which workers were not waiting for us."""
    waiting = _ready(list(pending), 0) if pending else []
    ready = waiting or _ready(list(pending), timeout)
    now, were_waiting = time.monotonic(), set(waiting)
    for answer, slot in pending.items():
        if answer not in were_waiting:
            slot.waits_from = now
    return ready


def _ready(answers: list[Any], timeout: float) -> list[Any]:
    """The answers that are there, as soon as there is one."""
    import ray

    if not answers:
        time.sleep(timeout)
        return []
    ready, _ = ray.wait(answers, num_returns=1, timeout=timeout)
    if ready and len(answers) > 1:  # Those that came at the same time are taken together.
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=0)
    return list(ready)
