"""What users are told if no worker finds room on a cluster."""

from __future__ import annotations

import pytest

from nas.executors.on_ray.room import NOTICE_SECONDS, RoomWatch, explain_wait
from tests.nas.executors.on_ray.ray_marks import warnings

SMALL, LARGE = {"CPU": 64.0, "memory": 1e9}, {"CPU": 48.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("asked", "nodes", "told"),
    [
        (
            {"CPU": 1, "GPU": 4},
            [LARGE, SMALL],
            "executor.cpus=1 and executor.gpus=4, but the largest node has cpus=48 and gpus=2; "
            "the search waits for a larger one",
        ),
        (
            {"CPU": 96, "GPU": 0},
            [LARGE, SMALL],
            "executor.cpus=96 and executor.gpus=0, but the largest node has cpus=64 and gpus=0; "
            "the search waits for a larger one",
        ),
        (
            {"CPU": 0.5, "GPU": 1},
            [],
            "executor.cpus=0.5 and executor.gpus=1, but the largest node has cpus=0 and gpus=0; "
            "the search waits for a larger one",
        ),
        (
            {"CPU": 0, "GPU": 2},
            [LARGE, SMALL],
            "executor.cpus=0 and executor.gpus=2, which one node has, perhaps in use by others; "
            "the search waits for room",
        ),
        (
            {"CPU": 48, "GPU": 0},
            [LARGE, SMALL],
            "executor.cpus=48 and executor.gpus=0, which 2 nodes have, perhaps in use by others; "
            "the search waits for room",
        ),
    ],
)
def test_what_each_worker_needs_is_said_beside_what_the_nodes_have(
    asked: dict[str, float], nodes: list[dict[str, float]], told: str
) -> None:
    assert explain_wait(asked, nodes) == f"no worker has started in 60 s: each needs {told}"


def test_the_user_is_told_once_after_a_minute_without_a_worker(caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    watch = RoomWatch(1, 4, lambda: {"node": LARGE}, lambda: clock[0])
    watch.look(found=False)
    clock[0] = NOTICE_SECONDS - 1
    watch.look(found=True)
    watch.look(found=False)
    clock[0] += NOTICE_SECONDS - 1
    watch.look(found=False)
    assert not warnings(caplog), "it has been less than a minute since a worker had room"
    for _ in range(3):
        clock[0] += NOTICE_SECONDS
        watch.look(found=False)
    assert len(warnings(caplog)) == 1
