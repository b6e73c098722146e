"""What users are told of machines, and which are set aside."""

from __future__ import annotations

import pytest

from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.quarantine import FIRST_SECONDS, Place
from tests.nas.executors.on_ray.ray_marks import warnings

NODE, OTHER = Place(node="a" * 40), Place(node="b" * 40)
GPU = Place(node="b" * 40, gpus=("1",))


def of(several: bool) -> tuple[Machines, list[float]]:
    clock = [0.0]
    machines = Machines(lambda: clock[0], several=several)
    for place, host in ((NODE, "one"), (OTHER, "two")):
        machines.meet(place, host)
    return machines, clock


def test_a_line_is_told_once_for_each_machine(caplog: pytest.LogCaptureFixture) -> None:
    machines, _ = of(several=True)
    for place in (NODE, OTHER, NODE, None):
        machines.tell(place, ["the disk is slow"])
    assert warnings(caplog) == [
        f"{where}: the disk is slow" for where in ("one (aaaaaaaa)", "two (bbbbbbbb)", "?")
    ]


def test_this_machine_has_no_name(caplog: pytest.LogCaptureFixture) -> None:
    machines, _ = of(several=False)
    for place in (NODE, OTHER):
        machines.tell(place, ["the disk is slow", "and full"])
    assert warnings(caplog) == ["the disk is slow", "and full"]


def test_what_is_set_aside_is_told_with_the_reason_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    machines, clock = of(several=True)
    for trial in ("trial 1", "trial 2"):
        machines.fault(GPU, trial, f"{trial}: no memory")
    machines.fault(NODE, "trial 3", "the disk is full")
    assert machines.last_fault == "the disk is full"
    (found,) = machines.aside
    assert (found.gpus, found.seconds, found.why) == (("1",), FIRST_SECONDS, "trial 2: no memory")
    assert machines.nodes_aside == frozenset(), "another GPU of that machine may work"
    machines.fault(NODE, "trial 4", "the disk is full")
    assert machines.nodes_aside == {NODE.node}
    assert [line.partition(" is set aside for ")[2] for line in warnings(caplog)] == [
        "60 s: trial 2: no memory",
        "60 s: the disk is full",
    ]
    clock[0] = FIRST_SECONDS
    assert (machines.aside, machines.nodes_aside) == ((), frozenset())
