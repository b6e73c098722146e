"""Scores among all else that scripts print."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from proxy_tasks.script.output import MAX_OBJECT, SHOWN, OutputReader, is_meant_as_score, read_score
from proxy_tasks.task import Score, TaskFailureError


def found_in(text: str, size: int | None = None) -> list[dict[str, Any] | str]:
    """What a reader finds, in one piece or in pieces of so many characters."""
    reader, found = OutputReader(), list[dict[str, Any] | str]()
    pieces = [text] if size is None else [text[i : i + size] for i in range(0, len(text), size)]
    for piece in pieces:
        found += reader.read(piece)
    return [*found, *reader.read("", is_end=True)]


SCORE = {"step": 2, "reward": 0.5, "AP50": 1e-3}
LINE = json.dumps(SCORE)


@pytest.mark.parametrize(
    "text",
    [
        f"{LINE}\n",
        LINE,
        f"\r 50%|#####     | 5/10{LINE}\n",
        f" 50%|#####     | 5/10 {LINE}\r 60%|######    | 6/10",
        f"{LINE}\r\n",
        f"2026-01-01 12:00:00 INFO [rank0]: {LINE}\n",
        f"loss {{mean}} of {{'a': 1}}: {LINE} (saved)\n",
        f"\x1b[32mINFO\x1b[0m {LINE}\x1b[K\n",
        '\x1b[1m{\x1b[0m\x1b[34m"step"\x1b[0m: 2, \x1b[34m"reward"\x1b[0m: 0.5, "AP50": 0.001}\x1b[0m\n',
        f"\x1b]0;training\x07{LINE}\n",
        f"working\x08\x08\x08{LINE}\x00\n",
        json.dumps(SCORE, indent=2) + "\n",
        f"result:\n{json.dumps(SCORE, indent=4)}\ndone\n",
        "{\n" + LINE + "\n}\n",
        f"{{{{{LINE}\n",
    ],
)
@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_score_is_found_behind_whatever_stands_around_it(text: str, size: int | None) -> None:
    assert found_in(text, size) == [SCORE]


def test_every_report_is_found_in_its_order() -> None:
    """With bars between them, and two in one line."""
    lines = [json.dumps({"step": step, "reward": step / 10}) for step in range(6)]
    text = f"{lines[0]}\r 10%|#|{lines[1]}{lines[2]}\n\r 50%|###|\r{lines[3]}\n[{lines[4]}, {lines[5]}]"
    for size in (None, 1, 5):
        assert [found["step"] for found in found_in(text, size) if isinstance(found, dict)] == list(range(6))


def test_an_object_counts_as_a_whole() -> None:
    """What is inside another object, or within a text, is no score."""
    outer: list[dict[str, Any]] = [{"config": {"reward": 1}}, {"message": json.dumps({"reward": 2})}]
    found = found_in("\n".join(map(json.dumps, outer)))
    assert found == outer
    assert [read_score(thing) for thing in found if isinstance(thing, dict)] == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        '{"reward": 0.5, "st\r |##  | 5/10\rep": 2}x\n',
        '{"reward": 0.5, \n',
        'usage: {"reward": <number>}\n',
        '{"step": 3, "reward": 0,5}\n',
    ],
)
def test_a_reward_that_cannot_be_read_is_told(text: str) -> None:
    (line,) = [found for found in found_in(text) if isinstance(found, str)]
    assert '"reward"' in line


def test_of_several_rewards_that_cannot_be_read_the_last_one_is_told() -> None:
    assert found_in('"reward": first\n"reward": last\n') == ['"reward": last']


def test_an_object_that_never_ends_is_not_kept() -> None:
    reader = OutputReader()
    text = '{"a": [' + "1, " * MAX_OBJECT
    assert list(reader.read(text)) == []
    assert len(reader._rest) <= MAX_OBJECT < len(text)
    assert list(reader.read(LINE)) == [SCORE]


def test_of_a_line_that_never_ends_little_is_kept() -> None:
    reader = OutputReader()
    for _ in range(50):
        assert list(reader.read("x" * 100_000)) == []
    assert len(reader._line) <= 10 * SHOWN


def test_deep_nesting_and_endless_digits_are_no_scores() -> None:
    reader = OutputReader()
    for _ in range(200):
        assert list(reader.read('{"a": [' * 2000)) == []
    assert list(reader.read(LINE)) == [SCORE]
    assert list(reader.read("[" * 100_000 + '{"a": ' * 100_000)) == []
    digits = "9" * 5000
    assert read_score({"reward": 0.5, "large": int("9" * 400)}) == (None, Score(0.5))
    assert [found for found in found_in(f'{{"reward": {digits}}}\n{LINE}') if isinstance(found, dict)] == [
        SCORE
    ]


@pytest.mark.parametrize(
    ("found", "score"),
    [
        ({"reward": 1}, (None, Score(1.0))),
        ({"reward": "0.25", "step": "3"}, (3, Score(0.25))),
        ({"reward": 0.5, "step": 3.0}, (3, Score(0.5))),
        ({"reward": 0.5, "ok": True, "name": "x", "list": [1]}, (None, Score(0.5, {"ok": 1.0}))),
        ({"reward": None}, None),
        ({"reward": "high"}, None),
        ({"reward": [0.5]}, None),
        ({"reward": True}, None),
        ({"loss": 0.5}, None),
    ],
)
def test_what_counts_as_a_score(found: dict[str, Any], score: tuple[int | None, Score] | None) -> None:
    assert read_score(found) == score
    assert score is None or is_meant_as_score(found)


def test_a_metric_that_was_not_measured_is_no_number() -> None:
    found = read_score({"reward": 0.5, "AP": None})
    assert found is not None
    assert math.isnan(found[1].metrics["AP"])


@pytest.mark.parametrize("step", ["abc", 1.5, float("nan"), float("inf"), True, [1]])
def test_a_step_that_is_no_whole_number_is_told(step: object) -> None:
    with pytest.raises(TaskFailureError, match='"step" that is no whole number'):
        read_score({"reward": 0.1, "step": step})


def test_the_last_line_is_kept_without_colors() -> None:
    reader = OutputReader()
    list(reader.read("first\n\x1b[31mValueError: no\x1b[0m\n\n"))
    assert reader.last_line == "ValueError: no"
    list(reader.read("\r 10%"))
    list(reader.read("|##"))
    assert reader.last_line == "10%|##"
