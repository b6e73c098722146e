"""The trainings of a study: those that are missing are run on an executor, and each is kept as it ends.

Every finished training is a line of `results.jsonl` in the folder of the study, so that a second call goes on
where the first was cut off. A training that was under way goes on from its checkpoint, which is kept until
the line is written.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, asdict, astuple, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from nas.analysis.result_log import append_result, read_results
from nas.config import ConfigError
from nas.executors import Executor
from nas.executors.job import CHECKPOINT, Decision, Job, JobResult
from nas.executors.setup import set_up
from nas.search.job_results import calling, closing_executor, wait_for_results, workers_of
from proxy_tasks.adapted_task import AdaptedTask
from proxy_tasks.engine.state_file import forget_state
from proxy_tasks.task import Score

RETRIES = 2
"""Further attempts at a training after faults of the infrastructure."""

LOG = "results.jsonl"


class IsDataclass(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Identity = TypeVar("Identity", bound=IsDataclass)
"""Tells a training from the others of its study: a frozen dataclass of texts and whole numbers.

The log keeps its values in the order of its fields."""


@dataclass(frozen=True, kw_only=True)
class StudyTraining:
    """One training of a study.

    Args:
        label: names it in messages, and its folder.
        spec: what is trained.
        fidelity: length of the training relative to the task's own.
        seed: of the training.
    """

    label: str
    spec: Any
    fidelity: float
    seed: int


class Watch(Protocol):
    """Sees the trainings of a study."""

    def start(self, missing: Sequence[StudyTraining], total: int) -> None:
        """Is called before the first training, with those that are missing and the number of all."""

    def begin(self, training: StudyTraining, folder: Path) -> None:
        """Is called when a worker gets a training; `folder` is that of its log and checkpoint."""

    def report(self, training: StudyTraining, step: int, reward: float) -> None:
        """Is called when a training reports."""

    def end(self, training: StudyTraining, ended: JobResult, done: int, total: int) -> None:
        """Is called when a training has ended, with the numbers of those that are done and of all."""


def run_trainings(
    wanted: Mapping[Identity, StudyTraining],
    task: AdaptedTask,
    executor: Executor,
    folder: Path,
    *,
    head: Mapping[str, Any],
    study: str,
    watch: Watch | None = None,
) -> dict[Identity, JobResult]:
    """Runs the trainings that are missing; gives how all have ended.

    A training that failed counts as missing: a second call tries it again.

    Args:
        wanted: all trainings of the study by what tells them apart, those to begin with first.
        task: trains all of them.
        executor: runs the trainings.
        folder: of the study, which no other process works in.
        head: what the results belong to; see `nas.analysis.result_log.read_results`.
        study: what they belong to in a word or two, for messages.
        watch: sees the trainings.

    Raises:
        ConfigError: if the folder holds another study, or its results are damaged.
        FaultError: if the executor fails.
        OSError: if the folder cannot be written.
    """
    done = _read_done(folder / LOG, head, study, wanted)
    for identity in done:
        _forget_state(folder, wanted[identity])
    missing = {identity: training for identity, training in wanted.items() if identity not in done}
    trainings = list(missing.values())
    if watch is not None:
        watch.start(trainings, len(wanted))
    if not missing:
        return done
    with closing_executor(executor):
        prepared = set_up(executor, task, folder)
        with calling(executor, "open"):
            executor.open(prepared, _Reports(trainings, watch))
        _run(missing, executor, folder, done, len(wanted), watch)
    return done


class _Reports:
    """Passes reports on to the watch; every training goes on."""

    def __init__(self, trainings: Sequence[StudyTraining], watch: Watch | None) -> None:
        self._trainings, self._watch = trainings, watch

    def __call__(self, number: int, step: int, score: Score) -> Decision:
        if self._watch is not None:
            self._watch.report(self._trainings[number], step, score.reward)
        return Decision.CONTINUE


def _run(
    missing: Mapping[Identity, StudyTraining],
    executor: Executor,
    folder: Path,
    done: dict[Identity, JobResult],
    total: int,
    watch: Watch | None,
) -> None:
    """Runs trainings, as many at a time as there are workers, and keeps each as soon as it has ended."""
    trainings = list(missing.items())
    waiting = deque((number, 0) for number in range(len(trainings)))
    running, over = 0, total - len(missing)
    while waiting or running:
        while waiting and running < workers_of(executor):
            number, attempt = waiting.popleft()
            _, training = trainings[number]
            place = _place(folder, training)
            if watch is not None:
                watch.begin(training, place)
            own = str(place.resolve())
            job = Job(number, attempt, training.spec, training.fidelity, training.seed, own)
            with calling(executor, "submit"):
                executor.submit(job)
            running += 1
        for ended in wait_for_results(executor, 1.0, len(trainings)):
            running -= 1
            if ended.failure == "infrastructure" and ended.attempt < RETRIES:
                waiting.appendleft((ended.trial, ended.attempt + 1))
                continue
            (identity, training), over = trainings[ended.trial], over + 1
            done[identity] = ended
            entry = {"training": astuple(identity), "label": training.label, "ended": asdict(ended)}
            append_result(folder / LOG, entry)
            if ended.status == "completed":
                _forget_state(folder, training)
            if watch is not None:
                watch.end(training, ended, over, total)


def _place(folder: Path, training: StudyTraining) -> Path:
    """The folder of a training's log and checkpoint."""
    return folder / "trainings" / file_name(training.label)


def _forget_state(folder: Path, training: StudyTraining) -> None:
    """Removes the state of a training whose score is recorded; what cannot be removed is left."""
    with contextlib.suppress(OSError):
        forget_state(_place(folder, training) / CHECKPOINT)


def file_name(label: str) -> str:
    """Gives a label as a name of a file or folder."""
    return re.sub(r"[^\w.-]+", "-", label)


def _read_done(
    path: Path, head: Mapping[str, Any], study: str, wanted: Iterable[Identity]
) -> dict[Identity, JobResult]:
    """Reads the wanted trainings that have ended with a score, in the order in which they ended.

    Raises:
        ConfigError: if the file holds those of another study, or is damaged.
    """
    known = {astuple(identity): identity for identity in wanted}
    done = {}
    try:
        for entry in read_results(path, head, study, lambda entry: entry["ended"]["score"] is not None):
            score = Score(**entry["ended"]["score"])
            ended = JobResult(**{**entry["ended"], "score": score})
            identity = known.get(tuple(entry["training"]))
            if identity is not None:
                done[identity] = ended
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged: {error!r}; give another folder with out=") from None
    return done
