"""The best reward so far: a step wherever a reward is better than all before it, and nowhere else."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from nas.journal.best_so_far import BestSoFar, Step, improvements


@given(st.lists(st.integers(-3, 3).map(float), max_size=20))
def test_the_steps_tell_the_best_after_each_point(rewards: list[float]) -> None:
    steps = improvements((float(place), reward) for place, reward in enumerate(rewards))
    bests = [[step.best for step in steps if step.at <= place][-1] for place in range(len(rewards))]
    assert bests == list(accumulate(rewards, max))
    assert len(steps) == len(set(bests))


def test_the_last_best_is_that_of_the_last_step() -> None:
    assert BestSoFar(steps=(), end=5.0).last is None
    found = BestSoFar(steps=improvements([(0.0, 0.2), (60.0, 0.1), (120.0, 0.3)]), end=180.0)
    assert found.last == 0.3
    assert found.in_units(60.0) == BestSoFar(steps=(Step(0.0, 0.2), Step(2.0, 0.3)), end=3.0)
