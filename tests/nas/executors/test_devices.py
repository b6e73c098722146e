"""Workers and GPUs. Ray is told of GPUs that are not there; tasks look at what they were given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.executors import RayExecutor
from nas.executors.job import Decision, Job, JobResult
from nas.executors.on_ray import pool
from proxy_tasks import TrainConfig, TrainingTask
from proxy_tasks.adapted_task import adapt
from proxy_tasks.data.detection import DetectionData
from proxy_tasks.data.shapes import ShapesConfig
from proxy_tasks.distributed import select_device, try_device
from proxy_tasks.gpu_share import GPU_SHARE
from proxy_tasks.task import TaskFailureError
from tests.nas.executors.gpu_tasks import Greedy, Looks
from tests.nas.executors.on_ray.ray_marks import REAL_RAY, ray_cluster, warnings


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster with a node that claims two GPUs."""
    with ray_cluster(num_cpus=2, num_gpus=2) as found:
        yield found


def run(executor: RayExecutor, task: object, jobs: int) -> list[JobResult]:
    """Runs jobs and gives their ends."""
    executor.open(adapt(task), lambda *_: Decision.CONTINUE)
    try:
        for number in range(jobs):
            executor.submit(Job(number, 0, "spec", 1.0, number, None))
        ended: list[JobResult] = []
        while len(ended) < jobs:
            ended += executor.wait(1)
        return ended
    finally:
        executor.close()


class TestOnRay:
    pytestmark = REAL_RAY

    def test_workers_get_the_share_of_a_gpu_that_they_were_promised(self, address: str) -> None:
        ended = run(RayExecutor(workers=2, gpus=0.5, address=address), Looks(), 6)
        metrics = [end.score.metrics for end in ended if end.score is not None]
        assert len(metrics) == 6
        assert {found["share"] for found in metrics} == {0.5}
        assert {found["gpu"] for found in metrics} <= {0.0, 1.0}
        assert all(" GPU " in end.worker for end in ended)

    def test_what_lacks_memory_on_a_shared_gpu_gets_it_alone(
        self, address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        ended = run(RayExecutor(workers=4, gpus=0.5, address=address), Greedy(tmp_path), 12)
        assert sorted(end.trial for end in ended) == list(range(12))
        assert {end.trial: end.failure for end in ended if end.status == "failed"} == {5: "out of memory"}
        assert sorted(line.partition(": ")[2] for line in warnings(caplog)) == [
            f"trial {trial} needs more than its share of a GPU: it gets one alone" for trial in (2, 5, 7)
        ]

    def test_workers_that_asked_for_no_gpu_see_none(self, address: str) -> None:
        ended = run(RayExecutor(workers=2, address=address), Looks(), 4)
        assert [end.score.metrics["hidden"] for end in ended if end.score is not None] == [1.0] * 4
        assert not any("GPU" in end.worker for end in ended)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_worker_whose_gpu_does_not_work_trains_on_no_cpu(
        self, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool, "GIVE_UP_SECONDS", 1.0)
        data = DetectionData(cache=tmp_path, shapes=ShapesConfig(train=4, val=2, size=64))
        task = TrainingTask(data=data, train=TrainConfig(steps=2, batch=2, image_size=64, learning_rate=0.01))
        told = (
            "no worker can run the task; the last fault: .*this worker was given a GPU, but torch finds none"
        )
        with pytest.raises(OSError, match=told):
            run(RayExecutor(workers=2, gpus=1, address=address), task, 2)


def test_auto_takes_no_cpu_where_a_gpu_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device("auto") == torch.device("cpu")
    monkeypatch.setenv(GPU_SHARE, "1")
    with pytest.raises(TaskFailureError, match="given a GPU, but torch finds none") as caught:
        select_device("auto")
    assert caught.value.kind == "infrastructure"
    assert select_device("cpu") == torch.device("cpu"), "whoever asks for the CPU gets it"


def test_a_gpu_is_tried_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, _device: shares.append(share)
    )

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(torch, "ones", broken)
    monkeypatch.setenv(GPU_SHARE, "0.5")
    with pytest.raises(TaskFailureError, match="the GPU does not work: CUDA error") as caught:
        try_device(torch.device("cuda", 0))
    assert caught.value.kind == "infrastructure"
    assert shares == [0.5]
    try_device(torch.device("cpu"))
