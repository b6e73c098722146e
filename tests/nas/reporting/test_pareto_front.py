"""The front of a search with several objectives."""

from __future__ import annotations

from pathlib import Path

from nas.reporting.html_report import page
from nas.reporting.insights import show_insights
from nas.reporting.pareto_front import show_front
from tests.nas.journal.test_history import Recorder, replayed
from tests.nas.reporting.checked_page import checked


def test_several_objectives_have_their_front(tmp_path: Path) -> None:
    record = Recorder()
    record.session(0, objective={"maximize": ["reward"], "minimize": ["latency_ms"]})
    for number, rewards in enumerate([(2.0, -1.0), (1.0, -7.0), (4.0, -8.0), (3e-7, -0.5), (2.0, -9.0)]):
        record.ask(number, number)
        record.end(number, number, reward=rewards[0], rewards=list(rewards))
    history = replayed(record)
    table = show_front(tmp_path, history)
    assert table is not None
    assert table.head == ["trial", "reward", "-latency_ms", "key"]
    assert [row[:3] for row in table.rows] == [
        ["2", "4.0000", "-8.0000"],
        ["0", "2.0000", "-1.0000"],
        ["3", "3e-07", "-0.5000"],
    ]
    block = show_insights(tmp_path, history)
    assert block is not None
    (figure,) = [figure for figure in block.figures if figure.title == "Pareto front"]
    assert str(figure.picture).count("h0") == 5 + 3
    checked(page(tmp_path, history))
    one = Recorder()
    one.session(0, objective={"maximize": 5, "minimize": None})
    one.ask(0, 0)
    one.end(1, 0)
    assert show_front(tmp_path, replayed(one)) is None
