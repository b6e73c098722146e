"""The state of a search: its trials, which are final, what the controller has been told.

It changes by events only, the same ones that the journal keeps, so that replaying a journal gives the
state in which a search was cut off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal, Protocol

from controllers import Proposal, Reward
from nas.journal import Event, JournalError
from nas.objective import pareto_front
from nas.pruning import Curve
from proxy_tasks.task import Score
from search_space import Genotype, Space

Status = Literal["running", "completed", "pruned", "failed", "cached"]
Rewards = tuple[float, ...]


class AsksAndTells(Protocol):
    """All that a controller needs."""

    def ask(self) -> Proposal:
        """The next proposal."""

    def tell(self, proposal: Proposal, reward: Reward) -> None:
        """The reward of a proposal."""


@dataclass
class Trial:
    """One evaluation of one proposal.

    Args:
        proposal: of the controller; its number is the trial's.
        key: of the spec.
        seed: of the evaluation.
        source: the earlier trial of the same key whose score this one shares, if there is one.
        status: how it ended, or "running".
        attempts: how often it was submitted.
        faults: how often infrastructure failed it.
        rewards: of a trial with a score that no hard limit forbids.
        curve: reported rewards by step.
        noted: what the pruner noted.
        told: whether the controller knows.
    """

    proposal: Proposal
    key: str
    seed: int
    source: int | None = None
    status: Status = "running"
    attempts: int = 0
    faults: int = 0
    rewards: Rewards | None = None
    curve: Curve = field(default_factory=dict)
    noted: dict[str, Any] = field(default_factory=dict)
    told: bool = False

    @property
    def number(self) -> int:
        """Position among the trials of the search, from 0."""
        return self.proposal.number


class Trials:
    """All trials of a search, and what follows from them."""

    def __init__(self) -> None:
        self.all: list[Trial] = []
        self.counts: dict[Status, int] = dict.fromkeys(
            ("running", "completed", "pruned", "failed", "cached"), 0
        )
        self.first_of: dict[str, int] = {}
        self.scores: dict[int, Score] = {}
        self.front: list[int] = []
        self.retrained: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.finished: str | None = None
        self._session_began = 0.0
        self._before = 0.0

    def apply(self, event: Event) -> None:
        """Takes an event.

        Raises:
            JournalError: if it cannot follow the events before it.
        """
        data = event.data
        if event.kind == "session":
            self._before, self._session_began = self.seconds, event.time
        self.seconds = self._before + event.time - self._session_began
        try:
            if event.kind == "asked":
                self._asked(event.trial, data)
            elif event.kind == "submitted":
                self._of(event).attempts = data["attempt"] + 1
                self.finished = None
            elif event.kind == "reported":
                self._of(event).curve[data["step"]] = data["reward"]
            elif event.kind == "ended":
                self._ended(self._of(event), data)
            elif event.kind == "told":
                self._of(event).told = True
            elif event.kind == "retrained":
                self.retrained.append(data)
            elif event.kind == "finished":
                self.finished = data["reason"]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise JournalError(f"the journal is damaged: event {event.kind!r}: {error!r}") from None

    def genotype(self, number: int) -> Genotype:
        """Of a trial."""
        return self.all[number].proposal.genotype

    @property
    def best(self) -> int | None:
        """The completed trial with the best first reward."""
        return self.front[0] if self.front else None

    def _of(self, event: Event) -> Trial:
        if event.trial is None:
            raise KeyError("trial")
        return self.all[event.trial]

    def _asked(self, number: int | None, data: dict[str, Any]) -> None:
        if number != len(self.all):
            raise KeyError(f"trial {number} where {len(self.all)} was due")
        proposal = Proposal(number, tuple(data["genotype"]))
        self.all.append(Trial(proposal, data["key"], data["seed"], data["source"]))
        self.counts["running"] += 1
        self.first_of.setdefault(data["key"], number)
        self.finished = None

    def _ended(self, trial: Trial, data: dict[str, Any]) -> None:
        if data["again"]:
            trial.faults += 1
            return
        if trial.status != "running":
            raise KeyError(f"trial {trial.number} ended twice")
        trial.status = data["status"]
        self.counts["running"] -= 1
        self.counts[trial.status] += 1
        trial.rewards = None if data["rewards"] is None else tuple(data["rewards"])
        trial.noted = data.get("noted", {})
        if trial.status == "failed" and self.first_of.get(trial.key) == trial.number:
            # The next of this key has its own chance.
            waiting = (t.number for t in self.all[trial.number + 1 :] if t.key == trial.key)
            heir = next(waiting, None)
            if heir is None:
                del self.first_of[trial.key]
            else:
                self.first_of[trial.key] = heir
        if trial.status in ("completed", "pruned") and data["reward"] is not None:
            self.scores[trial.number] = Score(data["reward"], data["metrics"])
        if trial.status == "completed" and trial.rewards is not None:
            self._to_front(trial)

    def _to_front(self, trial: Trial) -> None:
        assert trial.rewards is not None
        members = [*self.front, trial.number]
        rewards = [self.all[i].rewards or () for i in members]
        # Ties go to the earlier trial, which stands first among equals.
        self.front = [members[i] for i in pareto_front(rewards)]


def named_rewards(trial: Trial) -> dict[str, float]:
    """A trial's rewards as "reward", "reward_2", ...; nothing if it has none."""
    rewards = trial.rewards or ()
    return {f"reward_{number}" if number > 1 else "reward": r for number, r in enumerate(rewards, start=1)}


def best_by_reward(trials: Trials, count: int) -> list[int]:
    """The completed trials with the best first rewards, best first."""
    scored = [t for t in trials.all if t.status == "completed" and t.rewards is not None]
    scored.sort(key=lambda t: (-(t.rewards or (0.0,))[0], t.number))
    return [t.number for t in scored[:count]]


def trained_again(trials: Trials) -> dict[int, list[float]]:
    """Rewards of the top trials that were trained again, best mean first; those that failed are left out."""
    found: dict[int, list[float]] = {}
    for entry in trials.retrained:
        if entry["reward"] is not None:
            found.setdefault(entry["trial_number"], []).append(entry["reward"])
    return {number: found[number] for number in sorted(found, key=lambda n: (-fmean(found[n]), n))}


def spec_text(space: Space, genotype: Genotype) -> str:
    """The spec as JSON: its own if it has one, the genotype otherwise."""
    spec = space.decode(genotype)
    if hasattr(spec, "to_json"):
        text = spec.to_json()
        if not isinstance(text, str):
            raise TypeError(f"{type(spec).__name__}.to_json must give text, not a {type(text).__name__}")
        json.loads(text)
        return text
    return json.dumps({"genotype": list(genotype), "spec": repr(spec)})
