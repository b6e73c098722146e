"""Values of trials in a report: the reward of one, and how a number stands in a table."""

from __future__ import annotations

import math

from nas.journal.history import TrialRow
from search_space.utils.validation import is_number

NO_VALUE = "\u2013"
"""Stands in a table where there is no number."""


def first_reward(row: TrialRow) -> float:
    """Gives the first reward of a trial; -inf for none, which no scored row has."""
    return -math.inf if row.rewards is None else row.rewards[0]


def show_value(value: float | None) -> str:
    """Writes a number for a table: with four digits, or from 1,000 on with all those before the point.

    Args:
        value: what was measured. Of None, and of what is no finite number, `NO_VALUE` is given.
    """
    if value is None or not is_number(value):
        return NO_VALUE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
