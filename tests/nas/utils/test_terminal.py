"""What is drawn on a terminal, and that nothing is drawn elsewhere."""

from __future__ import annotations

import io
import re
import sys

import pytest

from nas.utils.terminal import counter, duration, visible


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_counter_shows_what_is_done_and_gives_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    show = counter("images")
    assert show is not None
    for done in range(1, 4):
        show(done, 3)
    assert sys.stderr is terminal
    assert re.search(r"images .*3/3", terminal.getvalue())
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().count(hidden) == terminal.getvalue().count(shown) == 1


def test_nothing_is_counted_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert counter("images") is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "1.5 min"), (5400, "1.5 h"), (86400, "24.0 h")]
)
def test_durations_are_in_the_unit_that_reads_best(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert visible("a\x1b[2J\x00\x9b1mb") == r"a\x1b[2J\x00\x9b1mb"
    assert visible("two\nlines") == r"two\x0alines"
    assert visible("ä, 図, 👍") == "ä, 図, 👍"
