"""The order of observations is that of the requests, and requests are never too far ahead of it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers import Proposal
from nas.journal.trials import Trial
from nas.search.config import SearchConfig
from nas.search.observation_order import ObservationOrder, choose_staleness


def asked(number: int) -> Trial:
    return Trial(number, Proposal(number, (0,)), f"key {number}", seed=number, fidelity=1.0)


def ordered(
    count: int, staleness: int = 1, deterministic: bool = True
) -> tuple[list[Trial], ObservationOrder]:
    """So many running trials, and their order."""
    trials = [asked(number) for number in range(count)]
    return trials, ObservationOrder(trials=trials, deterministic=deterministic, max_staleness=staleness)


def due(order: ObservationOrder) -> list[int]:
    """Observes all trials that can be observed before another one is asked for; gives their numbers."""
    found = []
    while order.is_behind() and (trial := order.next()) is not None:
        trial.observed = True
        found.append(trial.number)
    return found


@given(
    rng=st.randoms(use_true_random=False),
    staleness=st.integers(1, 8),
    workers=st.integers(1, 8),
    count=st.integers(1, 30),
)
def test_any_order_of_ends_gives_the_same_observations(
    rng: Random, staleness: int, workers: int, count: int
) -> None:
    trials, order = ordered(0, staleness)
    observed: list[int] = []
    known: list[int] = []
    while len(trials) < count:
        running = [trial for trial in trials if trial.status == "running"]
        if len(running) < workers:
            observed += due(order)
            if not order.is_behind():
                known.append(len(observed))
                trials.append(asked(len(trials)))
                assert sum(not trial.observed for trial in trials) <= staleness
                continue
        rng.choice(running).status = rng.choice(["completed", "failed", "paused", "pruned", "cached"])
    # Request k knows the trials up to k - staleness, in their order, and no other.
    assert known == [max(0, number - staleness + 1) for number in range(count)]
    assert observed == list(range(known[-1]))


def test_the_first_that_runs_holds_up_the_others() -> None:
    trials, order = ordered(3)
    trials[1].status = trials[2].status = "completed"
    assert order.is_behind()
    assert order.next() is None
    trials[0].status = "failed"
    assert due(order) == [0, 1, 2]
    assert order.next() is None
    assert not order.is_behind()


def test_a_trial_may_be_observed_before_the_staleness_demands_it() -> None:
    """After the last proposal, a promotion may follow from each further observation."""
    trials, order = ordered(2, staleness=8)
    trials[0].status = "paused"
    assert not order.is_behind()
    assert order.next() is trials[0]


def test_what_an_earlier_session_has_observed_is_passed_over() -> None:
    trials, order = ordered(4)
    for number in (0, 2):
        trials[number].status, trials[number].observed = "completed", True
    assert order.next() is None
    trials[1].status = trials[3].status = "completed"
    assert due(order) == [1, 3]


def test_only_a_deterministic_search_waits() -> None:
    trials, order = ordered(9, staleness=1, deterministic=False)
    trials[0].status = trials[8].status = "completed"
    assert not order.is_behind()
    assert order.next() is None
    assert [trial.number for trial in trials if order.is_due(trial)] == [0, 8]
    trials[8].observed = True
    assert [trial.number for trial in trials if order.is_due(trial)] == [0]
    trials, order = ordered(1)
    trials[0].status = "completed"
    assert not order.is_due(trials[0])


@pytest.mark.parametrize(
    ("settings", "workers", "differ", "expected"),
    [
        (SearchConfig(), 1, False, 8),
        (SearchConfig(), 8, False, 16),
        (SearchConfig(), 8, True, 32),
        (SearchConfig(max_staleness=4), 4, True, 4),
        (SearchConfig(max_staleness=1, deterministic=False), 9, False, 1),
    ],
)
def test_the_staleness_is_that_of_the_settings_or_follows_from_the_workers(
    settings: SearchConfig, workers: int, differ: bool, expected: int
) -> None:
    assert choose_staleness(settings, workers=workers, trials=300, differ=differ) == expected


def test_a_staleness_with_which_workers_would_always_wait_is_refused() -> None:
    told = "max_staleness must be at least the number of workers, 9, not 8; or give deterministic=false"
    with pytest.raises(ValueError, match=told):
        choose_staleness(SearchConfig(max_staleness=8), workers=9, trials=300, differ=False)
