"""Values of annotations, however a program has written them."""

from __future__ import annotations

import time

import pytest

from proxy_tasks.data.fields import as_flag, as_id, as_number, as_whole
from search_space.utils.parsing import shown


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (12, 12),
        (12.0, 12),
        ("12", 12),
        (" 12.0 ", 12),
        ("1e2", 100),
        (2**62 + 1, 2**62 + 1),
        (str(2**62 + 1), 2**62 + 1),
        (12.5, None),
        ("12.5", None),
        ("", None),
        ("12 px", None),
        ("1_000", None),
        (True, None),
        (None, None),
        (float("nan"), None),
        (2**63, None),
        (1e300, None),
        ("9" * 5000, None),
        ([1], None),
    ],
)
def test_whole_numbers(value: object, found: int | None) -> None:
    assert as_whole(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (8, 8.0),
        ("16.5", 16.5),
        ("nan", None),
        ("inf", None),
        (10**400, None),
        ("1e999", None),
        ("12,5", None),
        (False, None),
        ({}, None),
    ],
)
def test_numbers(value: object, found: float | None) -> None:
    assert as_number(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        ("7.0", 7),
        ("007", "007"),
        ("img-1", "img-1"),
        ("1e3", "1e3"),
        ("", None),
        (None, None),
        (2**70, None),
        ([1], None),
        (True, None),
    ],
)
def test_ids_that_are_texts_stay_texts(value: object, found: object) -> None:
    assert as_id(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, False), ("", False), (0, False), ("0", False), (1.0, True), ("1", True), (True, True), (2, None)],
)
def test_flags(value: object, found: bool | None) -> None:
    assert as_flag(value) is found


def test_a_value_in_a_message_is_short_and_quick_whatever_it_is() -> None:
    bomb: list[object] = ["x"]
    for _ in range(40):
        bomb = [bomb] * 9
    begun = time.perf_counter()
    for value in (bomb, "a" * 10**6, {"k": bomb}, 10**5000, float("nan"), "two\nlines"):
        assert len(shown(value)) <= 60
        assert "\n" not in shown(value)
    assert time.perf_counter() - begun < 60  # Its whole text would have 9**40 parts.
