"""A search on a cluster in which some workers fail whatever they get, and others hang, die or are slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.executors import RayExecutor
from nas.executors.job import Decision, Job, JobResult
from nas.executors.on_ray import patience, quarantine
from nas.journal.reading import read_events
from proxy_tasks.adapted_task import adapt
from search_space import published_space
from tests.nas.executors.on_ray.broken_cluster import Light, broken_cluster, completions, search, undisturbed
from tests.nas.executors.on_ray.ray_marks import REAL_RAY, warnings

pytestmark = REAL_RAY

TRIALS = 60


def test_every_trial_is_completed_once_and_the_search_is_the_undisturbed_one(tmp_path: Path) -> None:
    roles = ("broken", "hangs", "slow", "dies", "well")
    with broken_cluster(tmp_path / "roles", roles, dies_every=20, joins_after=0) as address:
        executor = RayExecutor(workers=5, address=address, time_limit=15)
        keys = search(executor, tmp_path / "run", Light(tmp_path / "roles", 0.2), TRIALS)
    assert completions(tmp_path / "run") == dict.fromkeys(range(TRIALS), 1)
    assert keys == undisturbed(tmp_path / "undisturbed", TRIALS)
    lost = [
        event.data for event in read_events(tmp_path / "run") if event.kind == "ended" and event.data["retry"]
    ]
    broken = [data for data in lost if "CUDA error" in data["message"]]
    assert broken, "the broken node got at least one trial"
    assert all("broken_cluster.py, line " in data["message"] for data in broken)
    assert len(broken) < 10, "a node that is set aside gets no further trials"


def test_a_worker_that_has_nothing_else_to_do_tries_what_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LEAST_SLOW_SECONDS", 1.0)
    monkeypatch.setattr(patience, "LEAST_SECONDS", 600.0)  # Until then it ends no trial.
    roles, count = ("hangs", "well", "well"), 20
    with broken_cluster(tmp_path / "roles", roles) as address:
        executor = RayExecutor(workers=3, address=address)
        search(executor, tmp_path / "run", Light(tmp_path / "roles", 0.2), count)
    assert completions(tmp_path / "run") == dict.fromkeys(range(count), 1)
    events = read_events(tmp_path / "run")
    assert not [event for event in events if event.kind == "ended" and event.data["retry"]], "none had to end"
    reported = [event.trial or 0 for event in events if event.kind == "reported"]
    assert sorted(reported) == list(range(count)), "what two workers report is recorded once"
    logs = [path.read_text() for path in (tmp_path / "run" / "trials").glob("*/log.txt")]
    assert any("another worker came further" in text for text in logs)
    assert not list((tmp_path / "run" / "trials").glob("*/second"))


def test_a_node_that_fails_two_trials_is_set_aside_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quarantine, "FIRST_SECONDS", 1.0)
    space = published_space("r35-sp18")
    spec = space.decode(space.sample(np.random.default_rng(0)))
    with broken_cluster(tmp_path, ("broken",)) as address:
        executor = RayExecutor(workers=1, address=address)
        executor.open(adapt(Light(tmp_path, 0.0)), lambda *_: Decision.CONTINUE)
        try:
            ended: list[JobResult] = []
            for trial in range(2):
                executor.submit(Job(trial, 0, spec, 1.0, 0, None))
                while len(ended) == trial:
                    ended += executor.wait(1)
            assert [end.failure for end in ended] == ["infrastructure"] * 2
            (told,) = warnings(caplog)
            assert told.startswith("node ")
            assert "is set aside for 1 s: tests/nas/executors/on_ray/broken_cluster.py, line " in told
            for file in tmp_path.iterdir():
                file.write_text("well")  # It is mended.
            executor.submit(Job(2, 0, spec, 1.0, 0, None))
            while len(ended) == 2:
                ended += executor.wait(1)
            assert ended[2].status == "completed"
        finally:
            executor.close()
