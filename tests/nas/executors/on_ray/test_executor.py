"""Real Ray, real processes: workers that die, hang, fill the memory, print without end."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers import RandomSearch
from nas.executors.job import Decision, Job, JobResult
from nas.executors.on_ray.executor import RayExecutor
from nas.executors.on_ray.runtime import ray_connection
from nas.executors.on_ray.worker import RayWorker
from nas.search.loop import run_search
from proxy_tasks.adapted_task import adapt
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Report, Score
from search_space import published_space
from tests.nas.executors.on_ray.ray_marks import REAL_RAY
from tests.search_space.cell_space import CellSpace

pytestmark = REAL_RAY


@pytest.fixture(scope="module", autouse=True)
def ray_of_these_tests() -> Iterator[None]:
    """One Ray for all: its start takes as long as a test."""
    with ray_connection(None, 2):
        yield


class Hostile:
    """Does what the spec says."""

    def evaluate(
        self, spec: str, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        if spec == "fine":
            assert "torch" not in sys.modules, "its import takes seconds, and this task does not need it"
        elif spec == "segfault":
            ctypes.string_at(0)
        elif spec == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif spec == "hangs":
            time.sleep(1000)
        elif spec == "memory":
            kept = []
            while True:
                kept.append(bytearray(64 << 20))
        elif spec == "prints":
            for _ in range(20_000):
                print("x" * 200)
        elif spec == "unpicklable":
            return Score(1.0, {"AP": lambda: 0})  # type: ignore[dict-item]
        elif spec == "pool":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return Score(float(sum(pool.map(abs, [-1, -2]))))
        elif spec == "raises":
            raise KeyError("the reason")
        elif spec in ("reports", "reports late"):
            for step in range(4 if spec == "reports late" else 0, 10):
                report(step, Score(float(step)))
        return Score(2.0)


def run(executor: RayExecutor, specs: list[str], folder: Path) -> dict[str, JobResult]:
    for number, spec in enumerate(specs):
        executor.submit(Job(number, 0, spec, 1.0, 0, str(folder / str(number))))
    return {specs[end.trial]: end for end in wait_for_ends(executor, len(specs))}


def wait_for_ends(executor: RayExecutor, count: int) -> list[JobResult]:
    """So many ends; the time limit is only there so that a hang ends."""
    ended: list[JobResult] = []
    deadline = time.monotonic() + 600
    while len(ended) < count and time.monotonic() < deadline:
        ended += executor.wait(5)
    return ended


def test_whatever_a_task_does_the_record_says_it_and_the_rest_goes_on(tmp_path: Path) -> None:
    reported: list[tuple[int, int, float]] = []

    def on_report(trial: int, step: int, score: Score) -> Decision:
        reported.append((trial, step, score.reward))
        return {3: Decision.STOP, 5: Decision.PAUSE}.get(step, Decision.CONTINUE)

    executor = RayExecutor(workers=2, memory_gib=2)
    executor.open(adapt(Hostile()), on_report)
    try:
        specs = ["fine", "pool", "segfault", "killed", "memory", "prints", "unpicklable", "raises", "reports"]
        ended = run(executor, [*specs, "reports late", "also fine"], tmp_path)
    finally:
        executor.close()
    told = {spec: (end.status, end.failure) for spec, end in ended.items()}
    assert told == {
        "fine": ("completed", None),
        "pool": ("completed", None),
        "segfault": ("failed", "infrastructure"),
        "killed": ("failed", "infrastructure"),
        "memory": ("failed", "out of memory"),
        "prints": ("completed", None),
        "unpicklable": ("failed", "error"),
        "raises": ("failed", "error"),
        "reports": ("pruned", None),
        "reports late": ("paused", None),
        "also fine": ("completed", None),
    }
    assert ended["raises"].message.endswith(": KeyError: 'the reason'")
    assert "test_executor.py, line " in ended["raises"].message
    assert [step for trial, step, _ in reported if trial == specs.index("reports")] == [0, 1, 2, 3]
    assert (ended["reports"].score, ended["reports late"].score) == (Score(3.0), Score(5.0))
    assert (tmp_path / str(specs.index("prints")) / "log.txt").stat().st_size > 4_000_000
    assert "Traceback" in (tmp_path / str(specs.index("raises")) / "log.txt").read_text()
    assert (tmp_path / str(specs.index("pool")) / "log.txt").read_text() == ""


def test_a_job_that_hangs_ends_at_the_time_limit_and_the_rest_goes_on(tmp_path: Path) -> None:
    executor = RayExecutor(workers=1, time_limit=2)
    executor.open(adapt(Hostile()), lambda *_: Decision.CONTINUE)
    try:
        executor.submit(Job(0, 0, "hangs", 1.0, 0, str(tmp_path)))
        (ended,) = wait_for_ends(executor, 1)
        assert (ended.status, ended.failure) == ("failed", "infrastructure"), "another worker may do better"
        assert ended.message == "over the time limit of 2 s"
        # Its worker is gone; another one takes its place.
        executor.submit(Job(0, 1, "hangs", 1.0, 0, str(tmp_path)))
        (ended,) = wait_for_ends(executor, 1)
        assert (ended.status, ended.failure) == ("failed", "error"), "it is the trial's own fault"
        executor.submit(Job(1, 0, "fine", 1.0, 0, str(tmp_path)))
        (ended,) = wait_for_ends(executor, 1)
        assert (ended.trial, ended.status) == (1, "completed")
    finally:
        executor.close()


@pytest.mark.parametrize("name", ["time_limit", "patience", "memory_gib"])
@pytest.mark.parametrize("value", ["abc", 0, -1.0, float("nan"), True])
def test_a_wrong_limit_is_refused_before_anything_starts(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a number above 0 or null, not "):
        RayExecutor(**{name: value})  # type: ignore[arg-type]


def test_a_search_on_ray_is_the_search_in_one_process(tmp_path: Path) -> None:
    from nas.executors.local_executor import LocalExecutor

    space = published_space("r35-sp18")
    task = SyntheticTask(sleep=0.02)
    found = []
    for name, executor in (("one", LocalExecutor()), ("ray", RayExecutor(workers=2))):
        result = run_search(space, RandomSearch(space, 3), task, executor, 12, tmp_path / name)
        found.append([(t.proposal.genotype, t.rewards, t.status) for t in result.trials.all])
    assert found[0] == found[1]


class OneWorkerDies:
    """The first attempt of every other cell kills its worker."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def evaluate(self, spec: tuple[str, ...], *_: object) -> Score:
        mark = Path(self.folder) / "-".join(spec).replace(" ", "")
        if spec[0] in ("none", "skip") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Score(1.0)


def test_workers_killed_in_mid_trial_cost_an_attempt_and_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    made: list[Any] = []
    remote = ray.remote

    def counting(*args: Any, **options: Any) -> Any:
        made.extend(args)
        return remote(*args, **options)

    monkeypatch.setattr(ray, "remote", counting)
    (tmp_path / "marks").mkdir()
    space = CellSpace()
    result = run_search(
        space,
        RandomSearch(space, 0),
        OneWorkerDies(str(tmp_path / "marks")),
        RayExecutor(workers=2),
        8,
        tmp_path / "run",
    )
    assert result.trials.counts["completed"] + result.trials.counts["cached"] == 8
    attempts = {t.attempts for t in result.trials.all if t.status == "completed"}
    assert attempts == {1, 2}
    assert made.count(RayWorker) == 1, "Ray keeps every class that is made remote"


def test_a_task_that_cannot_be_loaded_on_a_worker_is_said(tmp_path: Path) -> None:
    class Unloadable:
        def evaluate(self, spec: object) -> float:
            return 0.0

        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (__import__, ("no_such_module",))

    executor = RayExecutor(workers=1)
    executor.open(adapt(Unloadable()), lambda *_: Decision.CONTINUE)
    told = (
        "no worker can run the task; the last fault: the task cannot be loaded on the worker: Module.* 'no_"
    )
    try:
        with pytest.raises(OSError, match=told):
            run(executor, ["any"], tmp_path)
    finally:
        executor.close()
