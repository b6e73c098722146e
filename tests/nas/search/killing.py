"""Searches in processes of their own, killed at random moments and resumed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Protocol

from nas.cli.main import main
from nas.journal.errors import JournalError
from nas.journal.event import Event
from nas.journal.reading import read_events
from nas.journal.store import SqliteJournal
from nas.journal.trials import Trials
from nas.search import checkpoints
from search_space import Genotype

ROOT = Path(__file__).parents[3]


def run_nas(output: Path, *arguments: str) -> subprocess.Popen[str]:
    """`nas` in a process of its own; what it prints goes to the file."""
    with output.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "nas", *arguments],
            stdout=file,
            stderr=file,
            text=True,
            cwd=output.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            # As a shell starts what it puts in the background; a kill -INT must reach it all the same.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )


PRELOADED = [
    *("torch", "ray", "optuna", "hydra", "controllers.policy_gradient", "proxy_tasks.training_task"),
    *("nas.cli.search", "nas.cli.train", "nas.search.build", "nas.executors.on_ray.executor"),
    *("controllers.posterior", "nas.reporting.html_report", "tensorboardX.writer", "torch._dynamo"),
    *(__name__, "tests.nas.search.frozen"),
]
"""What every process of `nas` imports sooner or later."""


def forking() -> ForkServerContext:
    """Makes processes that are forked from one which has imported everything.

    A start costs a tenth of a second and not the seconds that torch's import takes; signals and exits are
    those of any process.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Started(Protocol):
    """A process that was started, as `subprocess.Popen` has it."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def send_signal(self, number: int) -> None: ...


TRANSITIONS: dict[str, Callable[[str, dict[str, Any]], bool]] = {
    "asked": lambda kind, data: kind == "asked" and not data["promoted"],
    "running": lambda kind, data: kind == "submitted",
    "reported": lambda kind, data: kind == "reported",
    "paused": lambda kind, data: kind == "ended" and data["status"] == "paused",
    "observed": lambda kind, data: kind == "observed",
    "promoted": lambda kind, data: kind == "asked" and data["promoted"],
    "completed": lambda kind, data: kind == "ended" and data["status"] == "completed",
}
"""What a trial of halving passes through, and the events of the journal that tell it."""

DROPPED = "dropped"
"""A trial that waits is given up, and its checkpoint removed; the journal has no event for it."""


class Forked:
    """`nas` in a process of its own; see `forking`.

    Args:
        output: what it prints goes to this file.
        arguments: of `nas`.
        until: the process kills itself at its first such transition; see `TRANSITIONS` and `DROPPED`.
        done: whether the transition has just been written by then, or just not.
    """

    def __init__(self, output: Path, *arguments: str, until: str = "", done: bool = False) -> None:
        self.process = forking().Process(target=_main, args=(output, arguments, until, done))
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float) -> int:
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still runs after {timeout} s"
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def _main(output: Path, arguments: tuple[str, ...], until: str, done: bool) -> None:
    """What a forked process does."""
    if until:
        _die_at(until, done)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # As for `run_nas`.
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.chdir(output.parent)
    sys.exit(main(list(arguments)))


def _die_at(transition: str, done: bool) -> None:
    """Lets this process kill itself at a transition."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    write, remove = SqliteJournal.write, checkpoints._remove

    def write_or_die(self: SqliteJournal, kind: str, trial: int | None, data: dict[str, Any]) -> Event:
        last = transition in TRANSITIONS and TRANSITIONS[transition](kind, data)
        if last and not done:
            die()
        event = write(self, kind, trial, data)
        if last:
            die()
        return event

    def remove_or_die(folder: Path) -> None:
        trials = load(folder.parents[2])
        number = int(folder.parent.name)
        waits = trials.all[number].status == "paused"
        if waits and all(trial.resume_from != number for trial in trials.all):
            if done:
                remove(folder)
            die()
        remove(folder)

    SqliteJournal.write = write_or_die  # type: ignore[method-assign]
    if transition == DROPPED:
        checkpoints._remove = remove_or_die


def load(folder: Path) -> Trials:
    trials = Trials()
    for event in read_events(folder):
        trials.apply(event)
    return trials


def picture(trials: Trials) -> list[tuple[Genotype, object, object]]:
    """What two searches must have in common to be the same."""
    return [(t.genotype, t.rewards, t.status) for t in trials.search]


def events_so_far(folder: Path) -> int:
    try:
        return len(read_events(folder))
    except JournalError:
        return 0


def ended_so_far(folder: Path) -> int:
    """How many trials of a search have ended."""
    if not events_so_far(folder):
        return 0
    return sum(event.kind == "ended" for event in read_events(folder))


@dataclass
class Kills:
    """What happened to a search that was killed again and again.

    Args:
        moments: seconds from the start of a process to its kill.
        found: what the search was at, by the last event in its journal, at each kill.
        events: in the journal at each kill.
    """

    moments: list[float] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    events: list[int] = field(default_factory=list)


def kill_and_resume(
    folder: Path,
    words: list[str],
    kills: int,
    within: float,
    seed: int = 0,
    start: Callable[..., Started] = run_nas,
) -> Kills:
    """Starts a search, kills and resumes it `kills` times, then lets it end.

    Every other kill comes at a moment of the first `within` seconds of a process's life, the others a moment
    after so many further events in the journal, so that slow and quick machines are both killed all over.

    Args:
        folder: of the run.
        words: of `nas search`.
        kills: how often it is killed.
        within: seconds.
        seed: of the moments.
        start: how a process is started that is killed by the clock; `run_nas` or, quicker but without its
            imports, `Forked`.
    """
    rng, told, output = random.Random(seed), Kills(), folder.parent / f"{folder.name}.txt"
    for number in range(kills):
        before = events_so_far(folder)
        begin = start if number % 2 else Forked
        victim = begin(output, *_words(folder, words, before > 0))
        started = time.monotonic()
        moment, events = rng.uniform(0, within), before + rng.randint(1, 20)
        while victim.poll() is None and time.monotonic() - started < 300:
            seen = events_so_far(folder)
            late = seen >= before + 20  # A quick machine would have ended by the moment.
            if late or (time.monotonic() - started >= moment if number % 2 else seen >= events):
                break
            time.sleep(0.005)
        if number % 2 == 0:
            time.sleep(rng.uniform(0, 0.2))
        assert victim.poll() is None, f"ended before it was killed: {output.read_text()}"
        victim.send_signal(signal.SIGKILL)
        victim.wait(300)
        told.moments.append(time.monotonic() - started)
        after = read_events(folder) if events_so_far(folder) else []
        told.events.append(len(after))
        told.found["start" if len(after) == before else after[-1].kind] += 1
    last = Forked(output, *_words(folder, words, events_so_far(folder) > 0))
    assert last.wait(300) == 0, output.read_text()
    return told


def kill_at_each_transition(folder: Path, words: list[str], done: Sequence[bool]) -> None:
    """Starts a search that kills itself at one transition after the other, then lets it end.

    Args:
        folder: of the run.
        words: of `nas search`.
        done: for each transition, whether it has been written by then.
    """
    output = folder.parent / f"{folder.name}.txt"
    for transition, written in zip((*TRANSITIONS, DROPPED), done, strict=True):
        before = events_so_far(folder)
        victim = Forked(output, *_words(folder, words, before > 0), until=transition, done=written)
        assert victim.wait(300) == -signal.SIGKILL, f"{transition}: {output.read_text()}"
        events = read_events(folder)
        assert len(events) > before, transition
        if transition in TRANSITIONS:
            last = TRANSITIONS[transition](events[-1].kind, events[-1].data)
            assert last == written, transition
    end = Forked(output, *_words(folder, words, True))
    assert end.wait(300) == 0, output.read_text()


def check_nothing_lost(folder: Path, whole: Path) -> None:
    """The killed search is the uninterrupted one, and no trial ended twice."""
    assert picture(load(folder)) == picture(load(whole))
    ended = Counter(e.trial for e in read_events(folder) if e.kind == "ended" and not e.data["retry"])
    assert set(ended.values()) == {1}


def _words(folder: Path, words: list[str], begun: bool) -> list[str]:
    return ["resume", str(folder)] if begun else ["search", *words, f"run_dir={folder}"]
