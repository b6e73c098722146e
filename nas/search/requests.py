"""What is evaluated next: a promotion of the scheduler, or else a proposal of the controller.

A resumed search asks for everything again, and may find that something else would be asked for now. Where
that is possible, the recorded request takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controllers import Proposal
from controllers.controller import AskTell, Recalls
from controllers.filters import behind_filters
from nas.journal.errors import JournalError
from nas.journal.trials import Trial, Trials
from nas.plugins.faults import FaultError, reraise_as
from nas.search.ask_tell import Candidate, ask, decode
from nas.search.scheduler import Promotion, RecallsPromotions, Scheduler
from search_space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is evaluated next.

    Args:
        proposal: of the controller, or of the trial that is promoted.
        candidate: its genotype, decoded.
        resume_from: number of the trial that it goes on from.
        promoted: whether the scheduler asked for it.
        at_random: whether the scheduler did so whatever its reward.
    """

    proposal: Proposal
    candidate: Candidate
    resume_from: int | None
    promoted: bool
    at_random: bool = False


@dataclass(kw_only=True)
class Requests:
    """Asks the scheduler and the controller.

    Args:
        space: of the search.
        controller: what proposes.
        scheduler: what promotes.
        scheduler_name: what faults of the scheduler are told of.
        trials: of the search so far.

    Attributes:
        recalled: how many requests of the record would be others now.
    """

    space: Space
    controller: AskTell
    scheduler: Scheduler
    scheduler_name: str
    trials: Trials
    recalled: int = field(default=0, init=False)
    _promotion: Promotion | None = field(default=None, init=False)

    def has_promotion(self) -> bool:
        """Whether the next request is a promotion; the scheduler is asked if that is not known yet."""
        if self._promotion is None:
            self._promotion = self.scheduler.promote()
        return self._promotion is not None

    def next(self) -> Request:
        """Asks the scheduler which trial to promote, or the controller for a proposal if it promotes none.

        Raises:
            FaultError: if one of them fails, or wants to go on from what is not there or still runs.
        """
        if self.has_promotion():
            return self._promote()
        proposal = ask(self.controller, len(self.trials.proposed))
        candidate, resume_from = decode(self.space, proposal.genotype), None
        if proposal.resume_from is not None:
            what = f"{type(self.controller).__name__}.ask: resume_from"
            if not 0 <= proposal.resume_from < proposal.number:
                raise FaultError(f"{what}={proposal.resume_from} is no earlier proposal")
            resume_from = self._find_resumable(self.trials.proposed[proposal.resume_from], what).number
        return Request(proposal=proposal, candidate=candidate, resume_from=resume_from, promoted=False)

    def repeat(self, number: int | None, data: Mapping[str, Any]) -> Request:
        """Asks for what a journal has recorded.

        Args:
            number: of the recorded trial.
            data: of its event `asked`.

        Raises:
            JournalError: if it is something else, and what makes it cannot recall the recorded one.
        """
        found = self.next()
        if not _is_recorded(found, data):
            found = self._recall(found, data)
        same = _is_recorded(found, data)
        if not same or found.candidate.key != data["key"]:
            raise JournalError(
                f"trial {number} of the journal differs from what "
                f"{'its genotype stands for' if same else 'the controller proposes'} now: "
                "space, controller, scheduler, seed or version have changed"
            )
        return found

    def _promote(self) -> Request:
        promotion, self._promotion = self._promotion, None
        assert promotion is not None
        source = self._find_resumable(promotion.trial, f"{self.scheduler_name}.promote")
        fidelity = source.fidelity if promotion.fidelity is None else promotion.fidelity
        proposal = replace(source.proposal, fidelity=fidelity)
        return Request(
            proposal=proposal,
            candidate=decode(self.space, proposal.genotype),
            resume_from=source.number,
            promoted=True,
            at_random=promotion.at_random,
        )

    def _find_resumable(self, number: int, what: str) -> Trial:
        """Gives the trial that a new one goes on from.

        Raises:
            FaultError: if there is no such trial, or it still runs.
        """
        if not 0 <= number < len(self.trials.all) or self.trials.all[number].finalist_of is not None:
            raise FaultError(f"{what}: there is no trial {number} to go on from")
        if self.trials.all[number].status == "running":
            raise FaultError(f"{what}: trial {number} still runs; only what is over or paused can be resumed")
        return self.trials.all[number]

    def _recall(self, found: Request, data: Mapping[str, Any]) -> Request:
        """Gives the recorded request in the place of the one that was just made, if that is possible."""
        if found.promoted != data["promoted"]:
            return found
        recalled = (self._recall_promotion if found.promoted else self._recall_proposal)(found, data)
        if recalled is None:
            return found
        self.recalled += 1
        return recalled

    def _recall_promotion(self, found: Request, data: Mapping[str, Any]) -> Request | None:
        source = data["resume_from"]
        if not isinstance(self.scheduler, RecallsPromotions):
            return None
        assert found.resume_from is not None
        made = Promotion(found.resume_from, at_random=found.at_random)
        try:
            self.scheduler.recall(made, Promotion(source, at_random=data["at_random"]))
        except ValueError:
            return None
        proposal = replace(self.trials.all[source].proposal, fidelity=data["fidelity"])
        candidate = decode(self.space, proposal.genotype)
        return replace(found, proposal=proposal, candidate=candidate, resume_from=source)

    def _recall_proposal(self, found: Request, data: Mapping[str, Any]) -> Request | None:
        controller = self.controller
        if found.resume_from is not None or data["resume_from"] is not None:
            return None
        if not isinstance(controller, Recalls) or not isinstance(behind_filters(controller), Recalls):
            return None
        fidelity = None if found.proposal.fidelity is None else data["fidelity"]
        proposal = replace(found.proposal, genotype=tuple(data["genotype"]), fidelity=fidelity)
        try:
            candidate = decode(self.space, proposal.genotype)
        except FaultError:  # Of another space.
            return None
        with reraise_as(f"{type(controller).__name__}.recall"):
            controller.recall(proposal)
        return replace(found, proposal=proposal, candidate=candidate)


def _is_recorded(found: Request, data: Mapping[str, Any]) -> bool:
    """Whether a request is the one that an event `asked` has recorded."""
    same = found.proposal.genotype == tuple(data["genotype"])
    return same and (found.promoted, found.resume_from) == (data["promoted"], data["resume_from"])
