"""What tasks return and report, as scores and costs of plain floats."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from proxy_tasks.task import Report, Score, TaskFailureError, describe_value
from search_space.utils.numbers import as_number, as_whole, unwrap


def as_score(found: Any, what: str) -> Score:
    """Gives what a task returns or reports as a score of plain floats.

    A reward and the metrics may be any numbers, arrays and tensors of one value included. A metric that is
    None becomes NaN.

    Args:
        found: a number or a `Score`.
        what: begins the message of the error, such as "evaluate must return".

    Raises:
        TaskFailureError: if it is neither, or the score holds something that is no number.
    """
    if not isinstance(found, Score):
        number = as_number(found)
        if number is None:
            hint = "; is a return missing?" if found is None else ""
            if inspect.iscoroutine(found):
                found.close()  # Or Python warns that nobody has waited for it.
                hint = "; it must not be async"
            raise TaskFailureError("error", f"{what} a number or a Score, not {describe_value(found)}{hint}")
        return Score(number)
    reward = as_number(found.reward)
    if reward is None:
        raise TaskFailureError(
            "error", f"the reward of a Score is no number, but {describe_value(found.reward)}"
        )
    if not isinstance(found.metrics, Mapping):
        raise TaskFailureError(
            "error", f"the metrics of a Score must be numbers by name, not {describe_value(found.metrics)}"
        )
    return Score(reward, {str(name): _metric(name, value) for name, value in found.metrics.items()})


def _metric(name: object, value: Any) -> float:
    value = unwrap(value)
    if value is None:
        return math.nan
    number = float(value) if isinstance(value, bool) else as_number(value)
    if number is None:
        raise TaskFailureError("error", f"the metric {str(name)!r} is no number, but {describe_value(value)}")
    return number


def taking_numbers(receive: Report) -> Report:
    """A report that takes plain numbers too, and whole numbers of every kind as its step."""

    def report(step: Any, score: Any) -> None:
        whole = as_whole(step)
        receive(step if whole is None else whole, as_score(score, "report takes a step and"))

    return report


def plain_costs(costs: Callable[[Any], Any], what: str, spec: Any) -> dict[str, float]:
    """Costs as floats by name.

    Raises:
        ValueError: if they are something else.
    """
    found = costs(spec)
    if not isinstance(found, Mapping):
        raise ValueError(f"{what} must give numbers by name, not {describe_value(found)}")
    numbers = {str(name): as_number(value) for name, value in found.items()}
    for name, value in found.items():
        if numbers[str(name)] is None:
            raise ValueError(f"{what}: {str(name)!r} is no number, but {describe_value(value)}")
    return {name: number for name, number in numbers.items() if number is not None}


def plain_scores(scores: Callable[[], Iterable[Any]]) -> Iterator[Score]:
    """Scores of plain floats."""
    return (as_score(found, "scores must give") for found in scores())
