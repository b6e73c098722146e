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
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Protocol

from nas.cli.main import main
from nas.journal.store import JournalError, read_events
from nas.journal.trials import Trials
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


class Forked:
    """`nas` in a process of its own; see `forking`."""

    def __init__(self, output: Path, *arguments: str) -> None:
        self.process = forking().Process(target=_main, args=(output, arguments))
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


def _main(output: Path, arguments: tuple[str, ...]) -> None:
    """What a forked process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # As for `run_nas`.
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.chdir(output.parent)
    sys.exit(main(list(arguments)))


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


def check_nothing_lost(folder: Path, whole: Path) -> None:
    """The killed search is the uninterrupted one, and no trial ended twice."""
    assert picture(load(folder)) == picture(load(whole))
    ended = Counter(e.trial for e in read_events(folder) if e.kind == "ended" and not e.data["retry"])
    assert set(ended.values()) == {1}


def _words(folder: Path, words: list[str], begun: bool) -> list[str]:
    return ["resume", str(folder)] if begun else ["search", *words, f"run_dir={folder}"]
