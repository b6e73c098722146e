"""Those that learn from the trials of a search: the scheduler, and the controller that proposes them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from controllers.controller import AskTell, ResumesProposals
from controllers.evidence import LearnsFromEvidence, Prior, TakesPrior
from controllers.filters import behind_filters
from nas.journal.trials import Trial, Trials
from nas.plugins.faults import reraise_as
from nas.search.ask_tell import learn_evidence, tell
from nas.search.guarded_prior import GuardedPrior
from nas.search.objective import as_controller_reward
from nas.search.picking import evidence_of
from nas.search.scheduler import FullTraining, GuardedScheduler, Scheduler


@dataclass(frozen=True, kw_only=True)
class Learners:
    """The controller and the scheduler of a search; `make_learners` makes them ready.

    Args:
        controller: what proposes.
        scheduler: what decides how long each trial is trained.
        prior: what is known of specs before the search; None for nothing.
        trials: of the search so far.
    """

    controller: AskTell
    scheduler: Scheduler
    prior: Prior | None
    trials: Trials

    def begin_again(self, trial: Trial) -> None:
        """Shows the scheduler a failed trial that runs again.

        It sees no finalists. If it and the controller were told how the trial ended, they keep what they know
        and are not told a second time.

        Raises:
            FaultError: if the scheduler fails.
        """
        if trial.finalist_of is None and not trial.observed:
            self.scheduler.begin(trial)

    def observe(self, trial: Trial) -> None:
        """Lets the scheduler, and the controller if it proposed the trial, know how a trial ended.

        Raises:
            FaultError: if one of them fails.
        """
        self.scheduler.observe(trial)
        if isinstance(self.controller, LearnsFromEvidence):
            # What another trial has measured is told again of one that shares it, at the same length.
            evidence = evidence_of(trial if trial.shares is None else self.trials.all[trial.shares])
            if evidence is not None:
                learn_evidence(self.controller, trial.proposal, evidence)
        if not trial.promoted:
            tell(self.controller, trial.proposal, as_controller_reward(trial.rewards))

    def may_resume(self, trial: Trial) -> bool:
        """Says whether the scheduler or the controller may want to go on from a trial that is over or paused.

        Raises:
            FaultError: if one of them fails.
        """
        if self.scheduler.may_resume(trial):
            return True
        if not isinstance(self.controller, ResumesProposals):
            return False
        with reraise_as(f"{type(self.controller).__name__}.may_resume"):
            return bool(self.controller.may_resume(trial.proposal))


def make_learners(
    *, controller: AskTell, scheduler: Scheduler | None, prior: Prior | None, trials: Trials
) -> Learners:
    """Makes the controller and the scheduler ready; those that can use a prior are given it.

    Args:
        controller: what proposes.
        scheduler: what decides how long each trial is trained; None for all to their end. The search works on
            a copy.
        prior: what is known of specs before the search; None for nothing.
        trials: of the search so far.

    Raises:
        FaultError: if the controller or the scheduler cannot take the prior.
    """
    guarded = None if prior is None else GuardedPrior(prior)
    known: Scheduler = FullTraining()
    if scheduler is not None:
        own = copy.deepcopy(scheduler)
        _give_prior(guarded, own)
        known = GuardedScheduler(own)
    _give_prior(guarded, behind_filters(controller))
    return Learners(controller=controller, scheduler=known, prior=guarded, trials=trials)


def _give_prior(prior: Prior | None, part: object) -> None:
    if prior is not None and isinstance(part, TakesPrior):
        with reraise_as(f"{type(part).__name__}.take_prior"):
            part.take_prior(prior)
