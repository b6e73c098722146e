"""Real searches that are killed by signals: nothing finished is lost, and the search is the same."""

from __future__ import annotations

import json
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.nas.executors.on_ray.ray_marks import REAL_RAY, ray_cluster
from tests.nas.search.killing import (
    Forked,
    check_nothing_lost,
    ended_so_far,
    kill_and_resume,
    kill_at_each_transition,
    load,
)

pytestmark = REAL_RAY


@pytest.mark.parametrize(
    ("controller", "kills"),
    [
        *(("random", 2), ("local", 2), ("evolution", 2), ("optuna", 2)),
        *(("ppo", 1), ("reinforce", 1), ("predictor", 1)),  # They learn at each start.
    ],
)
def test_every_controller_goes_on_after_kills(tmp_path: Path, controller: str, kills: int) -> None:
    words = [
        "task=synthetic",
        "task.sleep=0.1",
        "executor=in_process",
        "trials=20",
        f"controller={controller}",
    ]
    whole = Forked(tmp_path / "whole.txt", "search", *words, "task.sleep=0", f"run_dir={tmp_path / 'whole'}")
    assert whole.wait(300) == 0, (tmp_path / "whole.txt").read_text()
    kill_and_resume(tmp_path / "killed", words, kills, within=1.0, start=Forked)
    check_nothing_lost(tmp_path / "killed", tmp_path / "whole")


def test_a_search_on_ray_killed_again_and_again_is_the_same_search(tmp_path: Path) -> None:
    """At moments over its whole life: imports, Ray's start, asking, training, pausing, promoting, writing."""
    words = ["task=synthetic", "controller=evolution", "trials=32", "search.max_staleness=8"]
    words += ["scheduler=halving", "task.reports=4"]
    alone = ["executor=in_process", f"run_dir={tmp_path / 'whole'}"]
    whole = Forked(tmp_path / "whole.txt", "search", *words, *alone)
    assert whole.wait(300) == 0, (tmp_path / "whole.txt").read_text()
    told = kill_and_resume(tmp_path / "killed", [*words, "task.sleep=0.3"], kills=2, within=9.0)
    check_nothing_lost(tmp_path / "killed", tmp_path / "whole")
    assert sorted(told.events) == told.events
    assert len(set(told.events)) > 1, told
    counts = load(tmp_path / "killed").counts
    assert counts["paused"] > 32
    assert counts["completed"] >= 6


@pytest.mark.parametrize(("executor", "first"), [("ray", True), ("in_process", True), ("in_process", False)])
def test_a_search_killed_at_each_transition_of_a_trial_is_the_same_search(
    tmp_path: Path, executor: str, first: bool
) -> None:
    """Asked, running, reported, paused, observed, promoted, completed and dropped; before or after each."""
    words = ["task=synthetic", "controller=evolution", "trials=24", "search.max_staleness=8"]
    words += ["scheduler=halving", "scheduler.waiting=4", "task.reports=4"]
    alone = ["executor=in_process", f"run_dir={tmp_path / 'whole'}"]
    whole = Forked(tmp_path / "whole.txt", "search", *words, *alone)
    assert whole.wait(300) == 0, (tmp_path / "whole.txt").read_text()
    done = [(number % 2 == 0) == first for number in range(8)]
    # All use one cluster, as each would take seconds to start its own. Ray needs a moment to take back the
    # cores of a search that was killed.
    with ray_cluster(num_cpus=16) if executor == "ray" else nullcontext() as address:
        more = ["workers=2", f"executor.address={address}"] if executor == "ray" else []
        kill_at_each_transition(tmp_path / "killed", [*words, f"executor={executor}", *more], done)
    check_nothing_lost(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "executor", "times"),
    [(signal.SIGINT, "in_process", 2), (signal.SIGTERM, "in_process", 1), (signal.SIGTERM, "ray", 2)],
)
def test_an_interrupted_search_exits_with_130_and_can_go_on(
    tmp_path: Path, number: int, executor: str, times: int
) -> None:
    folder = tmp_path / "run"
    words = ["task=synthetic", "task.sleep=0.2", f"executor={executor}", "trials=500", "controller=random"]
    output = tmp_path / "output.txt"
    process = Forked(output, "search", *words, f"run_dir={folder}")
    deadline = time.monotonic() + 240  # Only so that a hang ends.
    while ended_so_far(folder) < 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.02)
    assert process.wait(120) == 130, output.read_text()
    assert "Traceback" not in output.read_text()
    assert "to continue: nas resume" in output.read_text()
    assert "SIGTERM" not in output.read_text()
    assert Forked(output, "status", str(folder), "--json").wait(120) == 0
    found = json.loads(output.read_text())
    assert found["finished"] is False
    assert found["trials"]["completed"] > 0
    assert Forked(output, "resume", str(folder), "trials=6").wait(240) == 0, output.read_text()
