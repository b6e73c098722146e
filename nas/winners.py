"""Winners as files: specs that every other command takes, kept up to date while a search runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from nas.files import replace_file
from nas.trials import Trials, spec_text, trained_again
from search_space import Space, SpineNetSpec

SECONDS_BETWEEN = 5.0
"""At least so long between two writings while a search runs, so that they cost it nothing."""


class Winners:
    """Writes `best.json` (a spec file), `best.svg`, `pareto.json` and `summary.json`.

    Args:
        folder: where to.
        space: of the search.
    """

    def __init__(self, folder: Path, space: Space) -> None:
        self.folder, self.space = folder, space
        self._written: object = None
        self._at = -SECONDS_BETWEEN

    def winner(self, trials: Trials) -> int | None:
        """The best trial, by its scores after training again where there are any."""
        return next(iter(trained_again(trials)), trials.best)

    def update(self, trials: Trials, now: bool = False) -> None:
        """Writes what has changed, if it is time or `now`."""
        best = self.winner(trials)
        state = (best, tuple(trials.front), len(trials.retrained))
        if best is None or state == self._written:
            return
        if not now and time.monotonic() - self._at < SECONDS_BETWEEN:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        spec = self.space.decode(trials.genotype(best))
        replace_file(self.folder / "best.json", spec_text(self.space, trials.genotype(best)).rstrip() + "\n")
        front = [self._entry(trials, number) for number in trials.front]
        replace_file(self.folder / "pareto.json", json.dumps(front, indent=1) + "\n")
        summary = {**self._entry(trials, best), "retrained": trials.retrained}
        del summary["spec"]
        replace_file(self.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
        if isinstance(spec, SpineNetSpec):
            from search_space.drawing import draw_spec

            rewards = trials.all[best].rewards or (0.0,)
            draw_spec(spec, self.folder / "best.svg", f"trial {best}, reward {rewards[0]:.4f}")
        self._written, self._at = state, time.monotonic()

    def _entry(self, trials: Trials, number: int) -> dict[str, Any]:
        trial = trials.all[number]
        score = trials.scores.get(number)
        return {
            "trial": number,
            "key": trial.key,
            "rewards": trial.rewards,
            "metrics": {} if score is None else dict(score.metrics),
            "spec": json.loads(spec_text(self.space, trial.proposal.genotype)),
        }
