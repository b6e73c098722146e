"""Which worker may run which job."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nas.executors.job import Job
from nas.executors.on_ray.placement import ELSEWHERE_SECONDS, Placement
from nas.executors.on_ray.quarantine import Place
from nas.executors.on_ray.slots import Slot


class Machines:
    """Workers at places, of which some have just ended a trial well, and a clock."""

    def __init__(self, places: Sequence[str], worked: str = "", elsewhere: bool = True) -> None:
        self.time, self.aside = 0.0, ""
        self.slots = [Slot(up=place != "?", place=None if place == "?" else at(place)) for place in places]
        self.placement = Placement(
            lambda: self.time,
            lambda place: place.node in worked,
            lambda place: place.node in self.aside,
            elsewhere,
        )

    def may(self, trial: int, attempt: int = 0) -> str:
        """The places whose idle workers may run a trial."""
        job = Job(trial, attempt, "spec", 1.0, 0)
        return "".join(
            slot.place.node
            for slot in self.slots
            if slot.idle and slot.place is not None and self.placement.may_run(job, slot, self.slots)
        )


def at(place: str) -> Place:
    """ "a" is a machine, "A" its GPU."""
    return Place(node=place, gpus=("0",) if place.isupper() else ())


def test_what_is_set_aside_gets_no_trial_even_by_workers_that_stand_idle_there() -> None:
    machines = Machines("aabB")
    machines.aside = "aB"
    assert machines.may(0) == machines.may(0, attempt=1) == "b"


def test_a_new_trial_may_run_anywhere() -> None:
    assert Machines("ab?").may(0) == "ab"


def test_what_a_place_has_failed_runs_elsewhere() -> None:
    machines = Machines("aab")
    machines.placement.failed(0, at("a"))
    assert machines.may(0, attempt=1) == "b"
    machines.placement.failed(0, at("b"))
    assert machines.may(0, attempt=2) == "aab", "there is no other place"
    assert machines.may(1, attempt=1) == "aab", "other trials are free"


def test_a_machine_that_failed_a_trial_is_avoided_until_the_trial_itself_ends() -> None:
    machines = Machines("ab")
    machines.placement.failed(0, at("a"))
    machines.placement.ended(0, by_machine=True)
    assert machines.may(0, attempt=1) == "b", "its next attempt goes elsewhere"
    machines.placement.ended(0)
    assert machines.may(0, attempt=1) == "ab"


def test_a_place_that_has_just_worked_comes_first() -> None:
    machines = Machines("abc", worked="c")
    machines.placement.failed(0, at("a"))
    assert machines.may(0, attempt=1) == "c"


def test_a_worker_that_may_come_is_waited_for_a_while() -> None:
    machines = Machines("a?")
    machines.placement.failed(0, at("a"))
    assert machines.may(0, attempt=1) == ""
    machines.time = ELSEWHERE_SECONDS + 1
    assert machines.may(0, attempt=1) == "a"


def test_a_place_that_is_set_aside_is_waited_for_a_while() -> None:
    machines = Machines("ab")
    machines.placement.failed(0, at("a"))
    machines.aside = "b"
    assert machines.may(0, attempt=1) == ""
    machines.time = ELSEWHERE_SECONDS + 1
    assert machines.may(0, attempt=1) == "a"
    machines.aside = ""
    assert machines.may(0, attempt=1) == "b"


def test_on_one_machine_there_is_no_elsewhere() -> None:
    machines = Machines("a?", elsewhere=False)
    machines.placement.failed(0, at("a"))
    assert machines.may(0, attempt=1) == "a"


def test_a_trial_that_lacked_memory_gets_its_gpu_alone_and_once() -> None:
    machines = Machines("AABB")
    assert machines.placement.lacked_memory(3, at("A"))
    assert machines.placement.runs_alone(3)
    machines.slots[1].job = Job(4, 0, "spec", 1.0, 0)
    assert machines.may(3) == "", "the other worker of the GPU is still busy"
    assert machines.may(5) == "BB", "and gets nothing new"
    machines.slots[1].job = None
    assert machines.may(3) == "AA"
    machines.slots[0].job = Job(3, 0, "spec", 1.0, 0)
    assert machines.may(5) == "BB", "it is alone"
    assert not machines.placement.lacked_memory(3, at("A")), "more memory there is not"
    machines.placement.ended(3)
    machines.slots[0].job = None
    assert machines.may(5) == "AABB"


def test_two_trials_that_want_a_gpu_alone_take_turns() -> None:
    machines = Machines("AA")
    for trial in (7, 3):
        assert machines.placement.lacked_memory(trial, at("A"))
    assert (machines.may(3), machines.may(7)) == ("AA", "")
    machines.placement.ended(3)
    assert machines.may(7) == "AA"


def test_a_trial_whose_gpu_is_gone_gets_another_one_alone() -> None:
    machines = Machines("BB")
    machines.slots[1].job = Job(4, 0, "spec", 1.0, 0)
    assert machines.placement.lacked_memory(3, at("A"))
    assert machines.may(3) == "", "its neighbor is still busy"
    assert machines.may(5) == "", "and gets nothing new"
    machines.slots[1].job = None
    assert machines.may(3) == "BB"


def test_a_trial_whose_gpu_is_set_aside_gets_another_one_alone() -> None:
    machines = Machines("AABB")
    assert machines.placement.lacked_memory(3, at("A"))
    machines.aside = "A"
    assert machines.may(3) == "BB"
    assert machines.may(5) == "", "the other GPU is kept for it"
    machines.aside = ""
    assert machines.may(5) == "AA"


def test_a_gpu_is_kept_for_no_trial_that_the_machine_has_failed() -> None:
    """Its retries may be used up, so that it never comes back."""
    machines = Machines("AA")
    assert machines.placement.lacked_memory(3, at("A"))
    machines.placement.failed(3, at("A"))
    machines.placement.ended(3, by_machine=True)
    assert machines.may(5) == "AA"
    assert machines.placement.lacked_memory(3, at("A")), "the retry may lack memory again"


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_kept_gpu_is_no_ones_else(attempt: int) -> None:
    machines = Machines("A")
    assert machines.placement.lacked_memory(3, at("A"))
    assert machines.may(4, attempt=attempt) == ""
