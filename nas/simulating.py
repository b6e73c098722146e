"""One simulated search: a controller, a task whose scores are at hand, and workers on a virtual clock.

No journal and no files, so that thousands of searches take minutes. Scores are told as they come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from controllers import Proposal
from nas.executors.virtual_clock import VirtualClock
from nas.jobs import Ended, Job, evaluation_seed
from nas.objective import Objective, ObjectiveError, check_objectives, told_reward
from nas.proposing import ask, spec_and_key, tell
from nas.trials import AsksAndTells, Rewards
from search_space import Space


@dataclass(frozen=True)
class Simulated:
    """What a simulated search came to.

    Args:
        steps: (trials that had ended, virtual seconds, best first reward) wherever the best improved.
        trials: how many were asked.
        seconds: virtual seconds of the whole.
        distinct: different keys among the proposals.
        failed: trials without a score.
        ask_ms: mean real milliseconds of one ask and one tell.
        failure: the last trial's that failed.
    """

    steps: tuple[tuple[int, float, float], ...]
    trials: int
    seconds: float
    distinct: int
    failed: int
    ask_ms: float
    failure: str = ""


def simulate(
    space: Space,
    controller: AsksAndTells,
    task: Any,
    objective: Objective,
    trials: int,
    workers: int = 1,
    seconds: float = 1.0,
    fidelity: float = 1.0,
    seed: int = 0,
) -> Simulated:
    """Runs a search on the virtual clock.

    Args:
        space, controller, objective, trials, fidelity: see `nas.search.run_search`.
        task: see `proxy_tasks.task.evaluated` for what its `evaluate` may take.
        workers: evaluations at a time.
        seconds: of an evaluation that does not tell its own.
        seed: of the evaluations.
    """
    check_objectives(controller, objective)
    clock = VirtualClock(workers, seconds)
    clock.open(task, lambda *_: False)
    open_trials: dict[int, tuple[Proposal, str]] = {}
    known: dict[str, Rewards | None] = {}
    keys: set[str] = set()
    steps: list[tuple[int, float, float]] = []
    failure = ""
    asked = over = failed = 0
    thinking = 0.0

    def learn(proposal: Proposal, rewards: Rewards | None) -> None:
        nonlocal over, failed, thinking
        over += 1
        failed += rewards is None
        if rewards is not None and (not steps or rewards[0] > steps[-1][2]):
            steps.append((over, clock.now(), rewards[0]))
        began = time.perf_counter()
        tell(controller, proposal, told_reward(rewards))
        thinking += time.perf_counter() - began

    while over < trials:
        while asked < trials and len(open_trials) < workers:
            began = time.perf_counter()
            proposal = ask(controller)
            thinking += time.perf_counter() - began
            spec, key = spec_and_key(space, proposal.genotype)
            keys.add(key)
            number, asked = asked, asked + 1
            if key in known:  # As in a search, a known score costs a trial of the budget, but no time.
                learn(proposal, known[key])
                continue
            open_trials[number] = proposal, key
            clock.submit(Job(number, 0, spec, fidelity, evaluation_seed(seed, number)))
        for ended in clock.wait(0):
            proposal, key = open_trials.pop(ended.trial)
            known[key], failure = _rewards(ended, objective, failure)
            learn(proposal, known[key])
    return Simulated(
        tuple(steps),
        asked,
        clock.now(),
        len(keys),
        failed,
        1000 * thinking / asked if asked else 0.0,
        failure,
    )


def _rewards(ended: Ended, objective: Objective, failure: str) -> tuple[Rewards | None, str]:
    """Rewards of an ended trial, and the last failure so far."""
    if ended.score is None:
        return None, ended.message
    try:
        return objective.rewards(ended.score), failure
    except ObjectiveError as error:
        return None, str(error)
