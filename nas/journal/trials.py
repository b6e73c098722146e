"""The state of a search: its trials, which of them are best, and what the controller knows.

It changes by events only, the same ones that the journal keeps, so that replaying a journal gives the
state in which a search was cut off.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from controllers import Proposal
from nas.journal.errors import JournalError
from nas.journal.event import Event
from proxy_tasks.task import Score
from search_space import Genotype
from search_space.utils.parsing import reading, shown
from search_space.utils.strict_json import own_json, to_json

Curve = dict[int, float]
"""Reported rewards by step."""

Status = Literal["running", "paused", "completed", "pruned", "failed", "cached"]
"""How a trial stands. A paused one was interrupted; a later trial may go on from its checkpoint."""

STATUSES: tuple[Status, ...] = ("running", "paused", "completed", "pruned", "failed", "cached")

Rewards = tuple[float, ...]

RUN_AGAIN = ("error", "infrastructure")
"""Classes of failures that another session may not meet: code, data or the machine may have been mended."""

END_REASONS = {
    "budget": "all trials have ended",
    "target": "the target was reached",
    "wall time": "the time limit was reached",
}
"""Why a search has finished, in words, by the reason that the journal holds."""


@dataclass(slots=True)
class Trial:
    """One evaluation of one proposal.

    Most trials come from a proposal of the controller. A scheduler may promote a trial: then a new trial goes
    on from its checkpoint. After the search the best trials are evaluated again; these are its finalists.

    Args:
        number: position among all trials, from 0.
        proposal: what is evaluated; a promoted trial and a finalist share that of the trial they stem from.
        key: of the spec.
        seed: of the evaluation.
        fidelity: of the evaluation.
        source: number of the earlier trial of the same key and fidelity that was known when it was asked for.
        shares: number of the earlier trial whose score it shares; another one, if the source has failed.
        resume_from: number of the earlier trial from whose checkpoint this one goes on.
        promoted: whether the scheduler asked for it, not the controller.
        at_random: whether the scheduler did so whatever the reward of the trial that it goes on from.
        finalist_of: number of the trial that is evaluated again, if this is a finalist.
        apart: whether this finalist is evaluated on images that no trial of the search was scored on.
        status: how it stands.
        attempts: how often it was submitted.
        faults: how often infrastructure failed it before it made any progress.
        failure: class of its failure; "" if it has not failed.
        score: of its evaluation, perhaps an early one; None if it failed, or shares that of another trial.
        rewards: what it earned; None if it has no score, or a hard limit forbids it.
        curve: first rewards by the objective that were reported, by step.
        pruner_attrs: what the scheduler wants to remember of it.
        observed: whether the controller and the scheduler know how it ended.
    """

    number: int
    proposal: Proposal
    key: str
    seed: int
    fidelity: float
    source: int | None = None
    resume_from: int | None = None
    promoted: bool = False
    at_random: bool = False
    finalist_of: int | None = None
    apart: bool = False
    shares: int | None = None
    status: Status = "running"
    attempts: int = 0
    faults: int = 0
    failure: str = ""
    score: Score | None = None
    rewards: Rewards | None = None
    curve: Curve = field(default_factory=dict)
    pruner_attrs: dict[str, Any] = field(default_factory=dict)
    observed: bool = False

    @property
    def genotype(self) -> Genotype:
        """What is evaluated, as the space encodes it."""
        return self.proposal.genotype


class Trials:
    """All trials of a search, and what follows from them.

    Attributes:
        all: every trial by its number, finalists included.
        search: the proposals and promotions, in the order in which they were asked for.
        finalists: the best trials' evaluations after the search.
        proposed: numbers of the trials that the controller proposed, by the numbers of its proposals.
        running_promotions: how many of the running trials go on with an earlier one, as the scheduler wants.
        counts: how many trials of the search have each status.
        first_of: number of the trial whose score others of the same key and fidelity share.
        front: numbers of the completed trials that no other beats, best first reward first. Trials of a lower
            fidelity than the highest one completed are left out, as their rewards cannot be compared.
        seconds: how long the search has run, over all its sessions.
        expected: rewards that are expected of the networks of trials, by number, best first; empty until the
            search looks back, see `nas.search.picking`.
        ranked: numbers of the trials that may become finalists, best first; as `expected` was before these.
        picked: number of the trial that the search has picked as its winner; None before.
        finished: why it stopped, if it has.
    """

    def __init__(self) -> None:
        self.all: list[Trial] = []
        self.search: list[Trial] = []
        self.finalists: list[Trial] = []
        self.proposed: list[int] = []
        self.counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
        self.first_of: dict[tuple[str, float], int] = {}
        self.front: list[int] = []
        self.seconds = 0.0
        self.expected: dict[int, float] = {}
        self.ranked: list[int] = []
        self.picked: int | None = None
        self.finished: str | None = None
        self.running_promotions = 0
        self._session_began = 0.0
        self._before = 0.0

    def apply(self, event: Event, proposal: Proposal | None = None) -> None:
        """Takes an event.

        Args:
            event: the next one.
            proposal: of an `asked` event, if it is at hand; otherwise it is made from the event.

        Raises:
            JournalError: if it cannot follow the events before it.
        """
        kind, data = event.kind, event.data
        if kind == "session":
            self._before, self._session_began = self.seconds, event.time
        # A journal from elsewhere may have been written while somebody set the clock back.
        self.seconds = max(self.seconds, self._before + event.time - self._session_began)
        # A journal may hold anything; its reader has one error.
        with reading(JournalError, f"the journal is damaged: event {kind!r}: "):
            if kind == "asked":
                self._ask(event.trial, data, proposal)
            elif kind == "submitted":
                self._submit(self._find(event), data["attempt"])
            elif kind == "reported":
                reward = data.get("objective", data["reward"])
                if reward is not None:
                    self._find(event).curve[data["step"]] = reward
            elif kind == "ended":
                self._end(self._find(event), data)
            elif kind == "observed":
                self._find(event).observed = True
            elif kind == "retried":
                self._run_again(data["trials"])
            elif kind == "ranked":
                self.expected = self._expected(data)
                self.ranked = list(self.expected)
            elif kind == "picked":
                self.picked, self.expected = self._existing(data["trial"]), self._expected(data)
            elif kind == "finished":
                self.finished = data["reason"]

    @property
    def proposals_over(self) -> int:
        """How many of the controller's proposals do not run any more."""
        return len(self.proposed) - (self.counts["running"] - self.running_promotions)

    @property
    def promotions(self) -> int:
        """How many trials the scheduler asked for, not the controller."""
        return len(self.search) - len(self.proposed)

    def to_run_again(self) -> list[int]:
        """Gives the numbers of the failed trials, finalists included, that a resumed search runs again."""
        return [trial.number for trial in self.all if trial.status == "failed" and trial.failure in RUN_AGAIN]

    def genotype(self, number: int) -> Genotype:
        """Gives the genotype of a trial."""
        return self.all[number].proposal.genotype

    @property
    def best(self) -> int | None:
        """The completed trial with the best first reward."""
        return self.front[0] if self.front else None

    def _find(self, event: Event) -> Trial:
        if event.trial is None:
            raise ValueError("it names no trial")
        return self._get(event.trial)

    def _get(self, number: int) -> Trial:
        if not 0 <= number < len(self.all):
            raise ValueError(f"there is no trial {number}")
        return self.all[number]

    def _expected(self, data: dict[str, Any]) -> dict[int, float]:
        return {self._existing(item["trial"]): item["reward"] for item in data["expected"]}

    def _existing(self, number: int) -> int:
        if not 0 <= number < len(self.all) or self.all[number].finalist_of is not None:
            raise ValueError(f"there is no trial {number} of the search")
        return number

    def _ask(self, number: int | None, data: dict[str, Any], proposal: Proposal | None) -> None:
        if number != len(self.all):
            raise ValueError(f"trial {number} where {len(self.all)} was due")
        for name in ("source", "resume_from", "finalist_of"):
            if data.get(name) is not None:
                self._check_earlier(number, name, data[name])
        trial = Trial(
            number,
            proposal or Proposal(data["proposal"], tuple(data["genotype"])),
            data["key"],
            data["seed"],
            data["fidelity"],
            data.get("source"),
            data.get("resume_from"),
            data.get("promoted", False),
            data.get("at_random", False),
            data.get("finalist_of"),
            data.get("apart", False),
        )
        self.all.append(trial)
        self.finished = self.picked = None
        if trial.finalist_of is not None:
            self.finalists.append(trial)
            return
        self.search.append(trial)
        self.expected, self.ranked = {}, []
        self.counts["running"] += 1
        if trial.promoted:
            self.running_promotions += 1
        else:
            self.proposed.append(number)
        if trial.resume_from is None:
            self.first_of.setdefault((trial.key, trial.fidelity), number)
        elif trial.source is None and trial.fidelity != self.all[trial.resume_from].fidelity:
            self.first_of[trial.key, trial.fidelity] = number

    @staticmethod
    def _check_earlier(number: int, name: str, other: int) -> None:
        if not 0 <= other < number:
            raise ValueError(f"trial {number} has {name} {other}, which is no earlier trial")

    def _submit(self, trial: Trial, attempt: int) -> None:
        trial.attempts = attempt + 1
        if self.finished is not None and trial.finalist_of is None:
            self.expected, self.ranked = {}, []  # The search goes on with what still ran at its end.
        self.finished = None

    def _end(self, trial: Trial, data: dict[str, Any]) -> None:
        if data["retry"]:
            trial.faults += not data.get("progress", False)
            return
        if trial.status != "running":
            raise ValueError(f"trial {trial.number} ended twice")
        self.picked = None
        if data["status"] == "cached":
            trial.shares = data.get("source", trial.source)
            if trial.shares is not None:
                self._check_earlier(trial.number, "source", trial.shares)
        if data["status"] not in STATUSES:
            raise ValueError(f"{shown(data['status'])} is no status of a trial")
        trial.status, trial.failure = data["status"], data.get("failure") or ""
        trial.rewards = None if data["rewards"] is None else tuple(data["rewards"])
        if data["reward"] is None and trial.status == "completed":
            raise ValueError("the completed trial has no reward")
        if data["reward"] is not None and trial.status not in ("failed", "cached"):
            trial.score = Score(data["reward"], data["metrics"])
        if trial.finalist_of is not None:
            return
        self.counts["running"] -= 1
        self.counts[trial.status] += 1
        self.running_promotions -= trial.promoted
        trial.pruner_attrs = data["pruner_attrs"]
        if trial.status == "failed":
            self._pass_on(trial)
        elif trial.status == "completed" and trial.rewards is not None:
            self._add_to_front(trial)

    def _run_again(self, numbers: Sequence[int]) -> None:
        """Lets failed trials run as if they had not been submitted; what they earned so far is forgotten."""
        self.finished = self.picked = None
        for number in numbers:
            trial = self._get(number)
            if trial.status != "failed":
                raise ValueError(f"trial {number} runs again, but is {trial.status}")
            trial.status, trial.failure, trial.faults, trial.curve = "running", "", 0, {}
            if trial.finalist_of is None:
                self.expected, self.ranked = {}, []
                self.counts["failed"] -= 1
                self.counts["running"] += 1
                self.running_promotions += trial.promoted
                self.first_of.setdefault((trial.key, trial.fidelity), number)

    def _pass_on(self, trial: Trial) -> None:
        """Lets the next trial of a failed one's key be evaluated, and the others share its score."""
        name = trial.key, trial.fidelity
        if self.first_of.get(name) != trial.number:
            return
        later = self.all[trial.number + 1 :]
        waiting = (
            t.number
            for t in later
            if (t.key, t.fidelity) == name and t.finalist_of is None and t.status != "failed"
        )
        next_trial = next(waiting, None)
        if next_trial is None:
            del self.first_of[name]
        else:
            self.first_of[name] = next_trial

    def _add_to_front(self, trial: Trial) -> None:
        assert trial.rewards is not None
        highest = self.all[self.front[0]].fidelity if self.front else trial.fidelity
        if trial.fidelity < highest:
            return
        if trial.fidelity > highest or not self.front:
            self.front = [trial.number]
            return
        # The others do not beat each other, so that one look at each suffices. Ties go to the earlier trial.
        if any(_covers(self._rewards(number), trial.rewards) for number in self.front):
            return
        self.front = [n for n in self.front if not _covers(trial.rewards, self._rewards(n))]
        insort(self.front, trial.number, key=lambda n: tuple(-r for r in self._rewards(n)))

    def first_reward(self, number: int) -> float:
        """Gives the first reward of a trial that has rewards, such as those that completed."""
        return self._rewards(number)[0]

    def _rewards(self, number: int) -> Rewards:
        rewards = self.all[number].rewards
        assert rewards is not None
        return rewards


def _covers(a: Rewards, b: Rewards) -> bool:
    """Whether a is as good as b in all rewards."""
    return all(x >= y for x, y in zip(a, b, strict=True))


def named_rewards(rewards: Rewards | None) -> dict[str, float]:
    """Gives rewards as "reward", "reward_2", ...; nothing if there are none."""
    named = enumerate(rewards or (), start=1)
    return {f"reward_{number}" if number > 1 else "reward": reward for number, reward in named}


def best_by_reward(trials: Trials, count: int) -> list[int]:
    """Gives the completed trials with the best first rewards, best first; of the highest fidelity alone."""
    if not trials.front:
        return []
    highest = trials.all[trials.front[0]].fidelity
    scored = [
        (-t.rewards[0], t.number)
        for t in trials.search
        if t.status == "completed" and t.rewards is not None and t.fidelity == highest
    ]
    return [number for _, number in sorted(scored)[:count]]


def finalist_rewards(trials: Trials) -> dict[int, list[float]]:
    """Gives the first rewards of the finalists by the trials that were evaluated again, best mean first.

    Evaluations that failed are left out, and those of another fidelity than the latest ones.
    """
    found: dict[int, list[float]] = {}
    for trial in trials.finalists:
        same = trial.fidelity == trials.finalists[-1].fidelity
        if same and trial.finalist_of is not None and trial.rewards is not None:
            found.setdefault(trial.finalist_of, []).append(trial.rewards[0])
    return {number: found[number] for number in sorted(found, key=lambda n: (-fmean(found[n]), n))}


def pick_winner(trials: Trials) -> int | None:
    """Gives the trial that the search has picked.

    Until it has, it is that of `winner_by_reward`.
    """
    if trials.picked is not None:
        return trials.picked
    return winner_by_reward(trials)


def winner_by_reward(trials: Trials) -> int | None:
    """Gives the trial with the best mean of its finalists, or the best of the search without finalists."""
    return next(iter(finalist_rewards(trials)), trials.best)


def spec_text(spec: object, genotype: Genotype) -> str:
    """Gives a spec as JSON: its own if it has a `to_json(self)`, the genotype otherwise."""
    return own_json(spec) or to_json({"genotype": list(genotype), "spec": repr(spec)})
