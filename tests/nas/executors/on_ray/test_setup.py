"""The setup of a task on a real cluster: in a worker, whose words and faults arrive where the search runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers import RandomSearch
from nas.executors import RayExecutor
from nas.executors.job import LOG
from nas.executors.on_ray import room
from nas.executors.on_ray.nodes import nodes_alive
from nas.executors.on_ray.runtime import ray_connection
from nas.executors.on_ray.setup import set_up_on_node
from nas.executors.setup import set_up
from nas.plugins.faults import FaultError
from nas.search.loop import run_search
from proxy_tasks import Score
from proxy_tasks.adapted_task import adapt
from proxy_tasks.data.dataset import DataError
from tests.nas.executors.on_ray.ray_marks import REAL_RAY, ray_cluster, warnings
from tests.search_space.cell_space import CellSpace

pytestmark = REAL_RAY


class Prepared:
    """Its score is the number of the process that set it up."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.process = fault, 0

    def setup(self, run_dir: Path) -> None:
        if self.fault == "exit":
            os._exit(1)
        if self.fault == "data":
            raise DataError("set: no image is left")
        if self.fault == "own":
            raise RuntimeError("no disk")
        print("printed")
        logging.getLogger("proxy_tasks.notices").warning("two images are left out")
        self.process = os.getpid()

    def evaluate(self, spec: object, fidelity: float, seed: int, *more: object) -> Score:
        return Score(float(self.process), {"own": float(os.getpid())})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ray_cluster(num_cpus=2) as found:
        yield found


def test_the_task_goes_on_as_the_setup_left_it(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Prepared()
    space, executor = CellSpace(), RayExecutor(workers=2, address=address)
    result = run_search(space, RandomSearch(space, 0), task, executor, 4, tmp_path / "run")
    processes = {(trial.rewards or (0.0,))[0] for trial in result.trials.all}
    assert len(processes) == 1
    assert processes.isdisjoint({0.0, float(os.getpid())})
    assert processes.isdisjoint(
        {t.score.metrics["own"] for t in result.trials.search if t.score is not None}
    ), "it has ended"
    assert task.process == 0
    assert capsys.readouterr().out == "printed\n"
    assert (tmp_path / "run" / LOG).read_text().endswith(" two images are left out\n")


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        ("data", DataError, "set: no image is left"),
        ("own", FaultError, r"test_setup\.py, line \d+: RuntimeError in Prepared\.setup: no disk"),
        ("exit", OSError, r"Prepared\.setup: its worker died 2 times; the last time: .+"),
    ],
)
def test_a_setup_that_fails_says_why(
    address: str, tmp_path: Path, fault: str, kind: type[Exception], told: str
) -> None:
    executor = RayExecutor(workers=1, address=address)
    try:
        with pytest.raises(kind, match=told):
            set_up(executor, adapt(Prepared(fault)), tmp_path)
    finally:
        executor.close()


def test_a_setup_for_which_no_node_has_room_says_so(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "NOTICE_SECONDS", 0.0)

    looks: list[int] = []

    def end_the_second_time() -> None:
        looks.append(len(looks))
        if len(looks) == 2:
            raise OSError("it has waited")

    watch = room.RoomWatch(3, 0, nodes_alive, lambda: 0.0)
    with ray_connection(address, 1), pytest.raises(OSError, match="it has waited"):
        set_up_on_node(adapt(Prepared()), tmp_path, {"num_cpus": 3}, end_the_second_time, watch)
    (told,) = warnings(caplog)
    assert "executor.cpus=3 and executor.gpus=0, but the largest node has cpus=2 and gpus=0" in told


def test_the_machine_of_the_search_prepares_no_image(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("images are decoded in the process of the search")

    # Ray's workers import this module, and most of them would import torch for nothing.
    from proxy_tasks import TrainConfig, TrainingTask
    from proxy_tasks.data import pixel_cache
    from proxy_tasks.data.detection import DetectionData
    from proxy_tasks.data.shapes import ShapesConfig
    from search_space import RetinaNetHead, Scale, published_spec

    data = DetectionData(cache=tmp_path / "cache", shapes=ShapesConfig(train=8, val=4, size=64))
    task = TrainingTask(
        data=data,
        head=RetinaNetHead(),
        scale=Scale(width=0.125, endpoints=16, head_filters=16, head_convs=1),
        train=TrainConfig(steps=2, batch=2, image_size=64, learning_rate=0.01),
        device="cpu",
    )
    monkeypatch.setattr(pixel_cache, "_make", refuse)
    executor = RayExecutor(workers=1, address=address)
    try:
        ready = set_up(executor, adapt(task), tmp_path)
    finally:
        executor.close()
    ready.open()  # What the worker has made is found.
    ready.evaluate(published_spec("spinenet-49"), 1.0, 0, lambda *_: None, None)
