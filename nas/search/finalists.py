"""The end of a search: its best networks are evaluated again, and the winner is picked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from controllers import Proposal
from controllers.evidence import Prior
from nas.executors.job import evaluation_seed
from nas.journal.trials import Trial, Trials, best_by_reward, winner_by_reward
from nas.search.ask_tell import decode, text_of
from nas.search.config import SearchConfig
from nas.search.picking import expected_rewards, pick
from search_space import Space

MOST_EXPECTED = 10
"""The journal keeps the expected rewards of this number of networks, or of all finalists if more."""


class WriteEvent(Protocol):
    """Writes an event to the journal, and lets the trials of the search take it."""

    def __call__(
        self, kind: str, trial: int | None, data: dict[str, Any], proposal: Proposal | None = None
    ) -> None:
        """Writes an event.

        Args:
            kind: such as "asked".
            trial: number of the trial that it is about; None if it is about the whole search.
            data: of the event.
            proposal: of an event `asked`.
        """


@dataclass(frozen=True, kw_only=True)
class Finalists:
    """Chooses what is evaluated again, asks for these evaluations, and picks the winner.

    Args:
        space: of the search.
        trials: of the search so far.
        config: says how many finalists there are, how they are evaluated, and what decides.
        prior: what is known of specs before the search.
        keeps_specs: whether the journal keeps the text of each spec.
        write: writes an event.
    """

    space: Space
    trials: Trials
    config: SearchConfig
    prior: Prior | None
    keeps_specs: bool
    write: WriteEvent

    def missing(self) -> list[tuple[Trial, int]]:
        """Gives the best networks with the seeds that each is still to be evaluated with."""
        fidelity = self.config.finalist_fidelity
        known = {(t.finalist_of, t.seed) for t in self.trials.finalists if t.fidelity == fidelity}
        found = []
        for best in map(self.trials.all.__getitem__, self._choose()):
            for index in range(self.config.finalist_seeds):
                seed = evaluation_seed(self.config.seed, best.proposal.number, index + 1)
                if (best.number, seed) not in known:
                    found.append((best, seed))
        return found

    def running(self) -> list[Trial]:
        """Gives the evaluations that were asked for and are not over."""
        return [trial for trial in self.trials.finalists if trial.status == "running"]

    def ask(self, *, apart: bool) -> None:
        """Asks for the evaluations that are missing.

        Args:
            apart: whether they use images that no trial of the search was scored on.

        Raises:
            FaultError: if the space fails.
        """
        for best, seed in self.missing():
            data: dict[str, Any] = {
                "proposal": best.proposal.number,
                "genotype": best.genotype,
                "key": best.key,
                "seed": seed,
                "fidelity": self.config.finalist_fidelity,
                "finalist_of": best.number,
                "apart": apart,
            }
            if self.keeps_specs:
                data["spec"] = text_of(self.space, decode(self.space, best.genotype))
            self.write("asked", len(self.trials.all), data, best.proposal)

    def pick(self) -> None:
        """Notes the winner, unless the journal has it already, picked in the same way."""
        by_expected = self.trials.picked is not None and bool(self.trials.expected)
        if by_expected == self._go_by_expected:
            return  # By reward, the winner follows from the trials.
        if not self._go_by_expected:
            self.write("picked", None, {"trial": winner_by_reward(self.trials), "expected": []})
            return
        expected = self._expect()
        winner = pick(self.trials, expected)
        if winner is not None:
            self.write("picked", None, {"trial": winner, "expected": self._first(expected, winner)})

    @property
    def _go_by_expected(self) -> bool:
        """Whether what is expected of networks decides."""
        return self.config.pick == "expected" and len(self.config.objective.names) == 1

    def _choose(self) -> list[int]:
        count = self.config.finalists
        if not count or not self._go_by_expected:
            return best_by_reward(self.trials, count)
        if len(self.trials.ranked) < count:
            self._rank(self._expect())
        return self.trials.ranked[:count]

    def _rank(self, expected: Mapping[int, float]) -> None:
        """Notes who may become a finalist; those of a search that was cut off, or had fewer, stay first."""
        trials, before = self.trials.all, self.trials.ranked
        known = {trials[number].key for number in before}
        more = {number: value for number, value in expected.items() if trials[number].key not in known}
        kept = {
            number: expected[number] if number in expected else self.trials.first_reward(number)
            for number in before
        }
        if more:
            self.write("ranked", None, {"expected": self._first(kept | more)})

    def _expect(self) -> dict[int, float]:
        return expected_rewards(self.space, self.trials, self.prior)

    def _first(self, expected: Mapping[int, float], also: int | None = None) -> list[dict[str, float]]:
        """The first of what is expected, as the journal keeps it, and that of one trial more."""
        most = max(MOST_EXPECTED, self.config.finalists)
        numbers = dict.fromkeys([*list(expected)[:most], *([] if also is None else [also])])
        return [{"trial": number, "reward": expected[number]} for number in numbers]
