"""What trials earn: the objective's rewards of what they report and of their scores.

Metrics of a trial are those of the task and the features of its spec's graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nas.executors.job import JobResult
from nas.journal.trials import Rewards, Status, Trial, Trials
from nas.plugins.faults import reraise_as
from nas.search.objective import MissingMetricError, Objective, ObjectiveError
from proxy_tasks.task import Score
from search_space import graph_features
from search_space.utils.validation import is_number


@dataclass(frozen=True, kw_only=True)
class TrialRewards:
    """Gives the rewards of running trials.

    Args:
        objective: what the search maximizes.
        trials: of the search so far.
        scheduled: whether a scheduler goes by what trials report.
    """

    objective: Objective
    trials: Trials
    scheduled: bool
    _features: dict[int, dict[str, float]] = field(default_factory=dict, init=False)

    def begin(self, trial: Trial, spec: Any) -> None:
        """Notes what the graph of a trial's spec tells.

        Raises:
            FaultError: if the spec's own `graph_features` fails.
        """
        with reraise_as(f"{type(spec).__name__}.graph_features"):
            self._features[trial.number] = graph_features(spec, summary=True)

    def of_report(self, trial: Trial, score: Score) -> float | None:
        """Gives the first reward of a report; None if the report does not tell it.

        Raises:
            MissingMetricError: if no report is likely to tell it, and a scheduler goes by it.
        """
        try:
            found = _with_features(score, self._features.get(trial.number, {}))
            rewards = self.objective.rewards(found, early=True)
        except MissingMetricError:
            if self.objective.names[0] == "reward":  # The other objectives may be known at the end alone.
                return score.reward
            if self.scheduled and trial.finalist_of is None and self._none_has_rewards("paused"):
                raise
            return None
        except ObjectiveError:
            return None
        return None if rewards is None else rewards[0]

    def of_result(self, trial: Trial, result: JobResult) -> tuple[JobResult, Rewards | None]:
        """Gives a result with all metrics of the trial, and the rewards; a score without them has failed.

        Raises:
            MissingMetricError: if no trial is likely to have the metric.
        """
        features = self._features.pop(trial.number, {})
        if result.score is None:
            return result, None
        score = _with_features(result.score, features)
        result = replace(result, score=score)
        try:
            # Of a trial that was ended early the last report counts, for controllers that learn from it.
            return result, self.objective.rewards(score, early=result.status != "completed")
        except ObjectiveError as error:
            if isinstance(error, MissingMetricError) and self._none_has_rewards(result.status):
                raise  # Most likely the objective's name is wrong, or no report has that metric.
            if result.status == "completed":
                result = replace(result, status="failed", score=None, failure="error", message=str(error))
            return result, None

    def _none_has_rewards(self, status: Status) -> bool:
        """Whether a trial that came so far is the first one; those that were pruned need no rewards."""
        if status == "pruned" or self.trials.counts["completed"]:
            return False
        return all(trial.rewards is None for trial in self.trials.search)


def _with_features(score: Score, features: Mapping[str, float]) -> Score:
    """A score with what its spec's graph tells; the task's metrics come first and win where both have one."""
    return Score(score.reward, {**score.metrics, **features, **score.metrics})


def recorded_metrics(score: Score) -> dict[str, float | None]:
    """Gives the metrics of a score as the journal keeps them: None for one that is not finite."""
    return {name: value if is_number(value) else None for name, value in score.metrics.items()}
