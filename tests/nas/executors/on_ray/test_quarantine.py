"""Places are set aside for faults of different trials in a row, and tried again later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nas.executors.on_ray.quarantine import FIRST_SECONDS, MOST_SECONDS, Place, Quarantine

A, B = Place(node="a"), Place(node="b", gpus=("0",))


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_two_trials_in_a_row_set_a_place_aside_and_the_time_doubles() -> None:
    clock = Clock()
    found = Quarantine(clock)
    assert found.fault(A, "trial 1") is None
    assert found.fault(A, "trial 1") is None, "one trial condemns no machine"
    assert found.fault(B, "trial 2") is None, "another place"
    assert not found.aside
    assert found.fault(A, "trial 2") == FIRST_SECONDS
    assert found.aside == (A,)
    assert found.fault(A, "trial 3") is None, "it is aside already"
    clock.seconds = FIRST_SECONDS
    assert not found.is_aside(A)
    assert found.fault(A, "trial 4") == 2 * FIRST_SECONDS, "one more fault suffices"
    for trial in range(5, 20):
        clock.seconds += MOST_SECONDS
        again = found.fault(A, f"trial {trial}")
    assert again == MOST_SECONDS
    clock.seconds += MOST_SECONDS
    found.success(A)
    assert found.fault(A, "trial 20") is None, "a success clears all"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40))
def test_only_faults_since_the_last_success_count(events: list[tuple[bool, int]]) -> None:
    found, failed = Quarantine(Clock()), set[int]()
    for well, trial in events:
        if well:
            found.success(A)
            failed.clear()
        else:
            found.fault(A, f"trial {trial}")
            failed.add(trial)
        assert found.is_aside(A) == (len(failed) >= 2)
        assert found.has_worked(A) == well
