"""The trainings of a study: those that are missing are run on an executor, and each is kept as it ends.

Every finished training is a line of `results.jsonl` in the folder of the study, so that a second call goes on
where the first was cut off; a training that was under way goes on from its checkpoint.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from nas.analysis.result_log import append_result, read_results
from nas.config import ConfigError
from nas.executors import Executor
from nas.executors.job import Decision, Job, JobResult
from nas.executors.setup import set_up
from proxy_tasks.task import AdaptedTask, Score

RETRIES = 2
"""Further attempts at a training after faults of the infrastructure."""

LOG = "results.jsonl"

Identity = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a study.

    Args:
        identity: tells it from the others of the study, such as a spec's key and a seed.
        label: names it in messages, and its folder.
        spec: what is trained.
        fidelity: length of the training relative to the task's own.
        seed: of the training.
    """

    identity: Identity
    label: str
    spec: Any
    fidelity: float
    seed: int


Done = dict[Identity, JobResult]
"""How trainings ended."""


class Watch(Protocol):
    """Sees the trainings of a study."""

    def start(self, missing: Sequence[Training], total: int) -> None:
        """Is called before the first training, with those that are missing and the number of all."""

    def begin(self, training: Training, folder: Path) -> None:
        """Is called when a worker gets a training; `folder` is that of its log and checkpoint."""

    def report(self, training: Training, step: int, reward: float) -> None:
        """Is called when a training reports."""

    def end(self, training: Training, ended: JobResult, done: int, total: int) -> None:
        """Is called when a training has ended, with the numbers of those that are done and of all."""


def run_trainings(
    wanted: Sequence[Training],
    task: AdaptedTask,
    executor: Executor,
    folder: Path,
    *,
    head: Mapping[str, Any],
    study: str,
    watch: Watch | None = None,
) -> Done:
    """Runs the trainings that are missing; gives how all have ended.

    A training that failed counts as missing: a second call tries it again.

    Args:
        wanted: all trainings of the study, those to begin with first.
        task: trains all of them.
        executor: runs the trainings.
        folder: of the study, which no other process works in.
        head: what the results belong to; see `nas.analysis.result_log.read_results`.
        study: what they belong to in a word or two, for messages.
        watch: sees the trainings.

    Raises:
        ConfigError: if the folder holds another study, or its results are damaged.
        OSError: if the folder cannot be written.
    """
    done = _read_done(folder / LOG, head, study)
    missing = [training for training in wanted if training.identity not in done]
    if watch is not None:
        watch.start(missing, len(wanted))
    if not missing:
        return done
    try:
        executor.open(set_up(executor, task, folder), _Reports(missing, watch))
        _run(missing, executor, folder, done, len(wanted), watch)
    finally:
        executor.close()
    return done


class _Reports:
    """Passes reports on to the watch; every training goes on."""

    def __init__(self, trainings: Sequence[Training], watch: Watch | None) -> None:
        self._trainings, self._watch = trainings, watch

    def __call__(self, number: int, step: int, score: Score) -> Decision:
        if self._watch is not None:
            self._watch.report(self._trainings[number], step, score.reward)
        return Decision.CONTINUE


def _run(
    missing: Sequence[Training],
    executor: Executor,
    folder: Path,
    done: Done,
    total: int,
    watch: Watch | None,
) -> None:
    """Runs trainings, as many at a time as there are workers, and keeps each as soon as it has ended."""
    waiting = deque((number, 0) for number in range(len(missing)))
    running, over = 0, total - len(missing)
    while waiting or running:
        while waiting and running < executor.workers:
            number, attempt = waiting.popleft()
            training = missing[number]
            place = folder / "trainings" / file_name(training.label)
            if watch is not None:
                watch.begin(training, place)
            executor.submit(
                Job(number, attempt, training.spec, training.fidelity, training.seed, str(place.resolve()))
            )
            running += 1
        for ended in executor.wait(1.0):
            running -= 1
            if ended.failure == "infrastructure" and ended.attempt < RETRIES:
                waiting.appendleft((ended.trial, ended.attempt + 1))
                continue
            training, over = missing[ended.trial], over + 1
            done[training.identity] = ended
            entry = {"training": training.identity, "label": training.label, "ended": asdict(ended)}
            append_result(folder / LOG, entry)
            if watch is not None:
                watch.end(training, ended, over, total)


def file_name(label: str) -> str:
    """Gives a label as a name of a file or folder."""
    return re.sub(r"[^\w.-]+", "-", label)


def _read_done(path: Path, head: Mapping[str, Any], study: str) -> Done:
    """Reads the finished trainings that have a score.

    Raises:
        ConfigError: if the file holds those of another study, or is damaged.
    """
    try:
        entries = read_results(path, head, study, lambda entry: entry["ended"]["score"] is not None)
        return {
            tuple(entry["training"]): JobResult(
                **{**entry["ended"], "score": Score(**entry["ended"]["score"])}
            )
            for entry in entries
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged: {error!r}; give another folder with out=") from None
