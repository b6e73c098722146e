"""The sections of a search's report, from top to bottom.

A section is a function that takes the run folder and its history and returns a block, or None where it has
nothing to show. To add one, write such a function in a file beside this one, and add it to `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas.journal.history import History
from nas.reporting.best_trials import show_best_trials, show_finalists
from nas.reporting.blocks import Block
from nas.reporting.curves import show_curves
from nas.reporting.drawings import show_drawings
from nas.reporting.facts import show_facts
from nas.reporting.failures import show_failures, show_why_it_stopped
from nas.reporting.insights import show_insights
from nas.reporting.next_steps import show_command, show_next
from nas.reporting.pareto_front import show_front
from nas.reporting.short_trainings import show_short_trainings
from nas.reporting.versus import show_versus, show_versus_dots
from nas.reporting.workers import show_machines, show_workers

Section = Callable[[Path, History], Block | None]

SECTIONS: tuple[Section, ...] = (
    show_facts,
    show_why_it_stopped,
    show_curves,
    show_insights,
    show_drawings,
    show_best_trials,
    show_front,
    show_finalists,
    show_short_trainings,
    show_versus_dots,
    show_versus,
    show_workers,
    show_machines,
    show_failures,
    show_next,
    show_command,
)
