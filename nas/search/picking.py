"""Looks back on a search: what is expected of its networks, and which trial is the winner.

The best of many noisy scores is mostly a lucky one. What is expected of a network counts everything that was
measured of it and of its like, in short trainings, long ones and final evaluations.
"""

from __future__ import annotations

import math

from controllers.evidence import REWARD, Evidence, Length, Prior
from nas.journal.trials import Trial, Trials, best_by_reward, finalist_rewards
from search_space import Space

FEWEST = 5
"""Trainings from which something more than their own rewards can be learned."""


def evidence_of(trial: Trial) -> Evidence | None:
    """Gives what was measured of a trial that has ended or is paused; None if it has no reward of its own."""
    if trial.rewards is None or trial.score is None:
        return None
    whole = trial.status == "completed"
    if not whole and not trial.curve:
        return None
    metrics = {name: value for name, value in trial.score.metrics.items() if value is not None}
    return Evidence(
        length=Length(trial.fidelity, math.inf if whole else max(trial.curve), trial.apart),
        metrics={**metrics, REWARD: trial.rewards[0]},
        curve=dict(trial.curve),
    )


def training_of(trials: Trials, trial: Trial) -> int:
    """Gives the number of the trial with which the training of a trial began."""
    return trial.number if trial.finalist_of is not None else trials.proposed[trial.proposal.number]


def expected_rewards(space: Space, trials: Trials, prior: Prior | None = None) -> dict[int, float]:
    """Gives the reward that is expected of another training of each network, best first.

    A network stands there with the last trial that has trained it, a completed one if there is one. Of
    thousands of trainings only some are learned from, the best ones among them; the others are left out.

    Args:
        space: of the search.
        trials: of a search with one objective.
        prior: what is known of specs before the search.

    Returns:
        rewards by number of the trial. With few trainings they are their own rewards.
    """
    from controllers.posterior import Posterior

    posterior = Posterior(space, prior=prior)
    latest: dict[int, int] = {}
    rewards: set[float] = set()
    for trial in trials.all:
        evidence = evidence_of(trial)
        if evidence is None:
            continue
        training = training_of(trials, trial)
        posterior.add(training, trial.genotype, evidence)
        rewards.add(evidence.metrics[REWARD])
        if trial.finalist_of is None:
            latest[training] = trial.number
    if posterior.trainings < FEWEST or len(rewards) == 1:  # Nothing tells one from another.
        return _own_rewards(trials)
    found = posterior.expect(own=False) if posterior.fit() else {}
    if not found:
        return _own_rewards(trials)
    named = [(latest[training], value) for training, value in found.items() if training in latest]
    return _one_of_each_network(trials, named)


def _own_rewards(trials: Trials) -> dict[int, float]:
    best = best_by_reward(trials, len(trials.search))
    return _one_of_each_network(trials, [(n, trials.first_reward(n)) for n in best])


def _one_of_each_network(trials: Trials, rewards: list[tuple[int, float]]) -> dict[int, float]:
    """The best of each key, best first; among equals a completed trial, then a better own reward, then the
    first one."""
    ordered = sorted(
        rewards,
        key=lambda item: (
            -item[1],
            trials.all[item[0]].status != "completed",
            -trials.first_reward(item[0]),
            item[0],
        ),
    )
    found: dict[str, tuple[int, float]] = {}
    for number, value in ordered:
        found.setdefault(trials.all[number].key, (number, value))
    return dict(found.values())


def pick(trials: Trials, expected: dict[int, float]) -> int | None:
    """Gives the trial of which most is expected: of the finalists, or of the whole trainings without them.

    Args:
        trials: of the search.
        expected: see `expected_rewards`.

    Returns:
        number of the trial; None if nothing is known of any of them.
    """
    candidates = finalist_rewards(trials) or best_by_reward(trials, len(trials.search))
    keys = {trials.all[number].key for number in candidates}
    return next((number for number in expected if trials.all[number].key in keys), None)
