"""Our controllers inside Ray Tune, for those who want its schedulers and loggers.

Example::

    from ray import tune
    from nas.integrations.ray_tune import TuneSearcher, trainable

    searcher = TuneSearcher(space, RegularizedEvolution(space, seed=0, trials=100))
    tune.Tuner(
        trainable(task, space),
        tune_config=tune.TuneConfig(
            search_alg=searcher, num_samples=100, scheduler=ASHAScheduler(metric="reward", mode="max")
        ),
    ).fit()

A trial's configuration holds its genotype and, to be read, its spec as JSON. Tune costs tens of milliseconds
and some 300 KB of driver memory a trial; `nas.run_search` costs about a millisecond and none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from controllers import Proposal
from controllers.controller import AskTell
from nas.executors.job import validate_score
from nas.journal.trials import spec_text
from proxy_tasks.adapted_task import adapt
from proxy_tasks.task import Score, Task, TaskFailureError
from search_space import Space
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number


class TuneSearcher(Searcher):
    """A controller as a searcher of Ray Tune.

    Args:
        space: what is searched.
        controller: what proposes; new, even to restore.
        metric: the result that the controller gets as its reward; it is maximized.

    A restored searcher replays what its controller was asked and told.
    """

    def __init__(self, space: Space, controller: AskTell, metric: str = "reward") -> None:
        super().__init__(metric=metric, mode="max")
        self.space, self.controller = space, controller
        self._open: dict[str, Proposal] = {}
        self._history: list[tuple[str, str, float | None]] = []
        """("asked" or "observed", trial, reward), in order."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The next proposal as a trial's configuration."""
        proposal = self.controller.ask()
        self._open[trial_id] = proposal
        self._history.append(("asked", trial_id, None))
        spec = self.space.decode(proposal.genotype)
        return {"genotype": list(proposal.genotype), "spec": spec_text(spec, proposal.genotype)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the controller the last result; a trial without one has failed."""
        proposal = self._open.pop(trial_id, None)
        if proposal is None:
            return
        value = None if error or not result else result.get(self.metric)
        reward = None if value is None else float(value)
        self._history.append(("observed", trial_id, reward))
        self.controller.tell(proposal, reward)

    def save(self, checkpoint_path: str) -> None:
        """Writes what the controller was asked and told."""
        Path(checkpoint_path).write_text(to_json(self._history), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Replays it with this searcher's controller."""
        for kind, trial_id, reward in json.loads(Path(checkpoint_path).read_text(encoding="utf-8")):
            if kind == "asked":
                self.suggest(trial_id)
            else:
                result = None if reward is None else {self.metric: reward}
                self.on_trial_complete(trial_id, result, error=reward is None)


def trainable(
    task: Task, space: Space, fidelity: float = 1.0, seed: int = 0
) -> Callable[[dict[str, Any]], None]:
    """A task as a function that Ray Tune runs: every report and the score become results.

    Results hold "reward", "step" and the score's metrics.

    Args:
        task, space: what scores, and what decodes the genotypes.
        fidelity, seed: of the evaluations.

    Returns:
        The function. It raises RuntimeError, with the kind of the failure, if an evaluation fails as the task
        says.
    """

    adapted = adapt(task)

    def run(config: dict[str, Any]) -> None:
        step = 0

        def report(at: int, score: Score) -> None:
            nonlocal step
            step = at
            tell(score)

        def tell(score: Score) -> None:
            numbers = {
                name: value for name, value in validate_score(score).metrics.items() if is_number(value)
            }
            tune.report({**numbers, "reward": score.reward, "step": step})

        spec = space.decode(tuple(config["genotype"]))
        try:
            score = adapted.evaluate(spec, fidelity, seed, report, None)
            step += 1
            tell(score)
        except TaskFailureError as error:
            raise RuntimeError(f"{error.kind}: {error}") from None

    return run
