"""The workers of a search: started, set aside, replaced, counted. Their actors are no processes here."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from nas.executors.fleet import Workers
from nas.executors.job import Job
from nas.executors.on_ray.machines import Machines
from nas.executors.on_ray.pool import GIVE_UP_SECONDS, STARTS, WorkerPool
from nas.executors.on_ray.quarantine import FIRST_SECONDS, MOST_SECONDS, Place
from nas.executors.on_ray.room import NOTICE_SECONDS, RoomWatch
from nas.executors.on_ray.slots import Slot
from nas.executors.on_ray.worker import Located, Started
from tests.nas.executors.on_ray.ray_marks import warnings

HERE, THERE = Place(node="a" * 40), Place(node="b" * 40)
GPU, OTHER_GPU = Place(node="a" * 40, gpus=("0",)), Place(node="a" * 40, gpus=("1",))
BROKEN = "the disk is full"


class Actors:
    """Notes which actors were started and killed, by number; the nodes that each of them avoids."""

    def __init__(self) -> None:
        self.avoided: list[frozenset[str]] = []
        self.killed: list[int] = []

    def start(self, avoids: frozenset[str]) -> Any:
        number = len(self.avoided)
        self.avoided.append(avoids)
        asked = SimpleNamespace(remote=lambda: f"answer of {number}")
        return SimpleNamespace(number=number, locate=asked, start=asked)

    def kill(self, actor: Any) -> None:
        self.killed.append(actor.number)


def started_pool(
    workers: int, several: bool = True, nodes: Iterable[str] = (HERE.node, THERE.node)
) -> tuple[WorkerPool, Actors, list[float]]:
    """A pool whose actors were started, what was done with them, and the clock."""
    clock, actors = [0.0], Actors()
    machines = Machines(lambda: clock[0], several=several)

    def now() -> float:
        return clock[0]

    def there() -> dict[str, dict[str, float]]:
        return {node: {} for node in nodes}

    pool = WorkerPool(workers, actors, machines, now, there, RoomWatch(1, 0, there, now))
    pool.start_all()
    return pool, actors, clock


def locate(pool: WorkerPool, slot: Slot, place: Place) -> None:
    pool.locate(slot, Located(place=place, host=f"host-{place.node[0]}"))


def admit(pool: WorkerPool, slot: Slot, place: Place, fault: str = "", device: str = "CPU") -> None:
    """Has a worker say where it is and, unless that is set aside, how it went to open the task."""
    actor = slot.actor
    locate(pool, slot, place)
    if slot.actor is actor:
        pool.admit(slot, Started(device=device, fault=fault))


def set_aside(pool: WorkerPool, place: Place) -> None:
    """Has a worker fail to open the task twice in a row, after which its place is set aside."""
    for _ in range(2):
        admit(pool, pool.slots[0], place, BROKEN)


def actor_numbers(pool: WorkerPool) -> list[int]:
    return [slot.actor.number for slot in pool.slots]


def test_every_worker_is_started_once_and_killed_at_the_end() -> None:
    pool, actors, _ = started_pool(3)
    assert [slot.pending for slot in pool.slots] == ["answer of 0", "answer of 1", "answer of 2"]
    assert not any(slot.idle for slot in pool.slots), "none of them has answered yet"
    pool.close()
    assert actors.killed == [0, 1, 2]


def test_workers_that_have_started_are_counted_by_machine_and_device() -> None:
    pool, _, _ = started_pool(4)
    admit(pool, pool.slots[0], THERE)
    admit(pool, pool.slots[1], GPU, device="A100")
    admit(pool, pool.slots[3], THERE)
    assert [slot.idle for slot in pool.slots] == [True, True, False, True]
    assert pool.fleet().workers == (
        Workers(node="host-a (aaaaaaaa)", device="A100", count=1),
        Workers(node="host-b (bbbbbbbb)", device="CPU", count=2),
    )
    assert pool.fleet().aside == ()


def test_a_machine_on_which_two_workers_cannot_open_the_task_is_avoided_until_its_time_is_over() -> None:
    pool, actors, clock = started_pool(2)
    admit(pool, pool.slots[1], THERE)
    set_aside(pool, HERE)
    assert actors.killed == [0, 2]
    assert actors.avoided == [frozenset(), frozenset(), frozenset(), frozenset({HERE.node})]
    (aside,) = pool.fleet().aside
    assert (aside.node, aside.why) == ("host-a (aaaaaaaa)", BROKEN)
    pool.lift_quarantines()
    assert actor_numbers(pool) == [3, 1], "it is still set aside"
    clock[0] = FIRST_SECONDS
    pool.lift_quarantines()
    assert actor_numbers(pool) == [4, 1], "a worker that has not started yet may start there again"
    assert (actors.killed, actors.avoided[4]) == ([0, 2, 3], frozenset())


def test_a_worker_keeps_its_gpu_while_that_is_set_aside() -> None:
    """Otherwise Ray would give the GPU to the next worker."""
    pool, actors, clock = started_pool(1)
    set_aside(pool, GPU)
    assert (actors.killed, actors.avoided[2]) == ([0], frozenset()), "other GPUs of the machine may work"
    admit(pool, pool.slots[0], OTHER_GPU)
    clock[0] = FIRST_SECONDS - 1
    pool.lift_quarantines()
    assert actors.killed == [0]
    clock[0] = FIRST_SECONDS
    pool.lift_quarantines()
    pool.lift_quarantines()
    assert actors.killed == [0, 1]
    assert pool.slots[0].idle
    pool.close()
    assert actors.killed == [0, 1, 2]


def test_workers_that_stand_idle_on_a_gpu_are_killed_at_the_end() -> None:
    pool, actors, _ = started_pool(1)
    set_aside(pool, GPU)
    pool.close()
    assert actors.killed == [0, 2, 1]


def test_a_sound_worker_on_a_machine_that_is_set_aside_gets_no_jobs() -> None:
    pool, actors, _ = started_pool(2)
    for trial in ("trial 1", "trial 2"):
        pool.machines.meet(HERE, "host-a")
        pool.machines.fault(HERE, trial, BROKEN)
    admit(pool, pool.slots[0], HERE)
    assert not pool.slots[0].up
    assert (actors.killed, actors.avoided[2]) == ([0], frozenset({HERE.node}))


def test_the_search_ends_if_all_workers_die_before_they_are_up() -> None:
    pool, actors, _ = started_pool(2)
    deaths = [pool.slots[n % 2] for n in range(2 * STARTS)]
    for slot in deaths[:-1]:
        pool.remove(slot, "it was killed")
        pool.start(slot)
    with pytest.raises(OSError, match=r"^no worker can be started: it was killed$"):
        pool.remove(deaths[-1], "it was killed")
    assert actors.killed == list(range(2 * STARTS))


def test_the_search_goes_on_while_one_worker_comes_up() -> None:
    pool, _, _ = started_pool(2)
    for _ in range(STARTS):
        pool.remove(pool.slots[0], "it was killed")
        pool.start(pool.slots[0])
    admit(pool, pool.slots[1], THERE)
    assert pool.slots[0].failed_starts == 0
    for _ in range(2 * STARTS):
        pool.remove(pool.slots[0], "it was killed")
        pool.start(pool.slots[0])


def test_one_machine_that_cannot_run_the_task_ends_the_search_at_once() -> None:
    pool, _, _ = started_pool(1, several=False)
    admit(pool, pool.slots[0], HERE, "no such module")
    pool.lift_quarantines()
    admit(pool, pool.slots[0], HERE, BROKEN)
    with pytest.raises(OSError, match=f"^no worker can run the task; the last fault: {BROKEN}$"):
        pool.lift_quarantines()


def test_a_cluster_that_cannot_run_the_task_is_waited_for() -> None:
    pool, _, clock = started_pool(1)
    set_aside(pool, HERE)
    pool.lift_quarantines()
    clock[0] = GIVE_UP_SECONDS
    admit(pool, pool.slots[0], HERE, BROKEN)
    pool.lift_quarantines()
    clock[0] = GIVE_UP_SECONDS + 1
    with pytest.raises(OSError, match=rf"^no worker can run the task; the last fault: {BROKEN}$"):
        pool.lift_quarantines()
    admit(pool, pool.slots[0], THERE)
    pool.lift_quarantines()


def test_the_wait_for_a_cluster_begins_anew_once_nothing_is_set_aside() -> None:
    pool, _, clock = started_pool(1)
    set_aside(pool, HERE)
    pool.lift_quarantines()
    clock[0] = FIRST_SECONDS
    pool.lift_quarantines()
    clock[0] = GIVE_UP_SECONDS + 1
    admit(pool, pool.slots[0], HERE, BROKEN)
    pool.lift_quarantines()


def test_workers_that_open_the_task_on_sound_machines_are_waited_for() -> None:
    pool, _, clock = started_pool(2)
    locate(pool, pool.slots[1], THERE)
    while clock[0] <= 2 * GIVE_UP_SECONDS:
        admit(pool, pool.slots[0], HERE, BROKEN)
        pool.lift_quarantines()
        clock[0] += FIRST_SECONDS / 2
    assert pool.machines.nodes_aside == {HERE.node}, "it was set aside again and again"
    admit(pool, pool.slots[1], THERE)
    assert pool.slots[1].idle


def test_a_worker_that_opens_the_task_elsewhere_goes_on_when_a_machine_is_used_again() -> None:
    pool, actors, clock = started_pool(2)
    set_aside(pool, HERE)
    pool.restart(pool.slots[1])
    assert actor_numbers(pool) == [3, 4]
    assert actors.avoided[3] == actors.avoided[4] == {HERE.node}
    locate(pool, pool.slots[1], THERE)
    clock[0] = FIRST_SECONDS
    pool.lift_quarantines()
    assert actor_numbers(pool) == [5, 4]


def test_a_machine_that_is_gone_is_not_what_the_search_waits_for() -> None:
    pool, actors, clock = started_pool(1, nodes=[THERE.node])
    for _ in range(6):
        clock[0] += MOST_SECONDS
        admit(pool, pool.slots[0], HERE, BROKEN)
    (aside,) = pool.fleet().aside
    assert aside.seconds > GIVE_UP_SECONDS + 1
    pool.lift_quarantines()
    clock[0] += GIVE_UP_SECONDS + 1
    pool.lift_quarantines()
    assert pool.fleet().aside == ()
    clock[0] += GIVE_UP_SECONDS + 1
    pool.lift_quarantines()
    assert actors.avoided[-1] == frozenset()


def test_a_worker_is_asked_to_open_the_task_only_where_that_is_of_use() -> None:
    pool, actors, _ = started_pool(3)
    set_aside(pool, HERE)
    set_aside(pool, OTHER_GPU)
    killed = len(actors.killed)
    locate(pool, pool.slots[1], HERE)
    assert (pool.slots[1].place, len(actors.killed)) == (None, killed + 1)
    locate(pool, pool.slots[1], OTHER_GPU)
    assert (pool.slots[1].place, len(actors.killed)) == (None, killed + 1), "it keeps the GPU"
    locate(pool, pool.slots[1], THERE)
    assert (pool.slots[1].place, pool.slots[1].up) == (THERE, False)


def test_a_machine_on_which_workers_die_while_they_open_the_task_is_set_aside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool, actors, _ = started_pool(2)
    admit(pool, pool.slots[1], THERE)
    for _ in range(2):
        locate(pool, pool.slots[0], HERE)
        pool.remove(pool.slots[0], "it was killed")
        pool.start(pool.slots[0])
    assert actors.avoided[2:] == [frozenset(), frozenset({HERE.node})]
    (aside,) = pool.fleet().aside
    assert (aside.node, aside.why) == ("host-a (aaaaaaaa)", "it was killed")
    assert warnings(caplog) == ["node host-a (aaaaaaaa) is set aside for 60 s: it was killed"]


def test_the_only_machine_is_not_set_aside_under_the_workers_that_run_on_it() -> None:
    pool, _, _ = started_pool(2, several=False)
    admit(pool, pool.slots[1], HERE)
    for _ in range(2 * STARTS):
        locate(pool, pool.slots[0], HERE)
        pool.remove(pool.slots[0], "it was killed")
        pool.start(pool.slots[0])
    pool.lift_quarantines()
    assert pool.fleet().aside == ()


def test_a_node_that_is_gone_with_a_worker_that_opened_the_task_is_not_at_fault() -> None:
    pool, _, _ = started_pool(3)
    admit(pool, pool.slots[1], THERE)
    for _ in range(2):
        locate(pool, pool.slots[0], HERE)
        assert pool.lose_node(pool.slots[0]) == 1
        pool.remove(pool.slots[0], "node lost")
        pool.start(pool.slots[0])
    assert pool.fleet().aside == ()


def test_the_user_is_told_once_that_no_worker_finds_room(caplog: pytest.LogCaptureFixture) -> None:
    pool, _, clock = started_pool(2)
    for _ in range(4):
        pool.lift_quarantines()
        clock[0] += NOTICE_SECONDS / 2
    (told,) = warnings(caplog)
    assert told.startswith("no worker has started in 60 s: each needs executor.cpus=1 ")


def test_a_worker_that_opens_the_task_has_found_room(caplog: pytest.LogCaptureFixture) -> None:
    pool, _, clock = started_pool(2)
    locate(pool, pool.slots[1], THERE)
    for _ in range(4):
        pool.lift_quarantines()
        clock[0] += NOTICE_SECONDS
    assert not warnings(caplog)


def test_that_nothing_but_what_is_set_aside_has_room_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    pool, _, clock = started_pool(1)
    pool.lift_quarantines()
    clock[0] = NOTICE_SECONDS - 1
    set_aside(pool, HERE)
    clock[0] = NOTICE_SECONDS
    pool.lift_quarantines()
    (told,) = warnings(caplog)
    assert " is set aside for " in told


def test_idle_workers_of_a_node_that_is_gone_are_replaced_and_busy_ones_answer_for_themselves() -> None:
    pool, actors, _ = started_pool(5)
    for slot, place in zip(pool.slots, (HERE, GPU, OTHER_GPU, THERE), strict=False):
        admit(pool, slot, place)
    pool.slots[1].begin(Job(7, 0, "spec", 1.0, 0), 0.0)
    assert pool.lose_node(pool.slots[0]) == 1
    assert pool.slots[0].place is None, "no place is at fault any more"
    assert actor_numbers(pool) == [0, 1, 5, 3, 4]
    assert (pool.slots[1].job is None, actors.killed) == (False, []), "the actors are gone with their node"


def test_workers_on_devices_of_two_kinds_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    pool, _, _ = started_pool(5)
    devices = ("NVIDIA V100", "NVIDIA V100", "NVIDIA A100", "NVIDIA V100", "CPU")
    for slot, device in zip(pool.slots, devices, strict=True):
        admit(pool, slot, THERE, device=device)
    (told,) = warnings(caplog)
    assert "the workers compute on different devices (NVIDIA A100 and NVIDIA V100)" in told
