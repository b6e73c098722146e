"""How a search stands: how far it is, what it found, and what it took."""

from __future__ import annotations

from pathlib import Path
from time import time

from nas.journal.budget import read_budget
from nas.journal.history import History
from nas.journal.trials import END_REASONS
from nas.reporting.blocks import Tiles
from nas.reporting.values import first_reward
from nas.utils.files import is_in_use
from nas.utils.terminal import counted, describe_pace, duration, show_reward


def show_facts(folder: Path, history: History) -> Tiles:
    """How far the search is, what it found, what it took."""
    trials = history.trials
    over = trials.proposals_over
    hits = trials.counts["cached"] / over if over else 0.0
    budget = read_budget(folder) or 0
    whole = max(budget, len(trials.proposed))
    seconds = trials.seconds
    if history.last_at is not None and is_in_use(folder):
        seconds += max(0.0, time() - history.last_at)
    tiles = [
        ("state", describe_state(folder, history)),
        ("trials", f"{over} of {whole} have ended"),
    ]
    if trials.promotions:
        tiles.append(("promotions", str(trials.promotions)))
    if trials.best is not None:
        tiles.append(
            ("best reward", f"{show_reward(first_reward(history.rows[trials.best]))} (trial {trials.best})")
        )
    if trials.picked in trials.expected:
        expected = show_reward(trials.expected[trials.picked])
        tiles.append(("winner", f"trial {trials.picked}, expected {expected}"))
    tiles += [
        ("time", duration(seconds)),
        ("workers' time", duration(history.worker_seconds)),
        ("utilization", f"{history.utilization:.0%} of {counted(history.activity.ready, 'worker')}"),
        ("pace", describe_pace(history.activity.trials_an_hour(seconds))),
        ("cache hits", f"{trials.counts['cached']} ({hits:.0%})"),
        ("failed", str(trials.counts["failed"])),
    ]
    return Tiles(tiles=tiles)


def describe_state(folder: Path, history: History) -> str:
    """How a search stands: finished and why, running, or stopped before its end."""
    if history.trials.finished:
        return f"finished: {END_REASONS.get(history.trials.finished, history.trials.finished)}"
    return "running" if is_in_use(folder) else "stopped before its end"
