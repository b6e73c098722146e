"""What the rewards of all trials tell of the decisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas.reporting.insights import show_insights
from tests.nas.journal.test_history import Recorder, replayed


def decisions_of(record: Recorder, folder: Path) -> str:
    block = show_insights(folder, replayed(record))
    figures = [] if block is None else [figure for figure in block.figures if "Decisions" in figure.title]
    return "".join(f"{figure.about}{figure.picture}" for figure in figures)


def test_scores_that_trials_share_are_no_evidence_of_a_decision(tmp_path: Path) -> None:
    """Ten copies of twelve rewards of chance would look like a hundred rewards that agree."""
    rng = np.random.default_rng(3)
    record = Recorder()
    record.session(0)
    genotypes = rng.integers(0, 3, (12, 20)).tolist()
    for number, genotype in enumerate(genotypes):
        record.ask(number, number, genotype=genotype)
        record.end(number, number, reward=float(rng.normal()))
    alone = decisions_of(record, tmp_path)
    assert "All may be due to chance" in alone
    for copy in range(12, 120):
        source = copy % 12
        record.ask(copy, copy, key=f"key {source}", genotype=genotypes[source], source=source)
        record.end(copy, copy, "cached", reward=replayed(record).rows[source].rewards[0], source=source)  # type: ignore[index]
    assert decisions_of(record, tmp_path) == alone


def test_repeated_evaluations_of_a_network_count_with_their_mean(tmp_path: Path) -> None:
    once, twice = Recorder(), Recorder()
    for record in (once, twice):
        record.session(0)
        for number in range(12):
            record.ask(number, number)
            record.end(number, number, reward=4.0 if number == 3 and record is once else float(number))
    twice.ask(20, 12, key="key 3")
    twice.end(21, 12, reward=5.0)
    assert decisions_of(once, tmp_path) == decisions_of(twice, tmp_path) != ""
