"""Charts as SVG: ticks, labels, lines, and rows of workers."""

from __future__ import annotations

import re

import pytest

from nas.reporting.charts import Chart, area, bars, lines, tick_labels, ticks, timeline


def test_numbers_of_ticks_differ() -> None:
    assert tick_labels([0, 0.5, 1]) == ["0", "0.5", "1"]
    near = ticks(0.3912345, 0.3912349)
    assert len(set(tick_labels(near))) == len(near) > 2
    large = ticks(1234567, 1234570)
    assert [float(label) for label in tick_labels(large)] == large
    assert tick_labels([]) == []


def test_ticks_of_tiny_numbers_differ() -> None:
    labels = tick_labels(ticks(1e-13, 1.2e-12))
    assert labels == ["2e-13", "4e-13", "6e-13", "8e-13", "1e-12", "1.2e-12"]
    assert ticks(1e-300, 1e-299)[-1] == 1e-299


@pytest.mark.parametrize("limit", [0.0, 0.02, 0.1, 0.3, 0.5, 1.0])
def test_no_percentage_is_crossed_by_the_mark_of_chance(limit: float) -> None:
    picture = bars(["a", "b", "c", "d"], [0.904, 0.25, 0.06, 0.0], limit)
    mark = float(re.findall(r"M([\d.]+) \d+v16", picture)[0])
    texts = re.findall(r'<text x="([\d.]+)" y="\d+">([\d.]+%)', picture)
    assert [label for _, label in texts] == ["90.4%", "25.0%", "6.0%", "0.0%"]
    for x, label in texts:
        assert not float(x) - 1 < mark < float(x) + 7 * len(label)
        assert float(x) + 7 * len(label) <= 400


def test_charts_keep_the_best_and_have_round_ticks() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.7, 13) == [0, 5, 10]
    chart = Chart("x", "y", [1, 4], [0, 1])
    assert lines(chart, [1, 2, 3, 4], [0, 0, 1, 1]).count("V") == 2
    alone = Chart("x", "y", [3], [0.5])
    assert alone.place(3, 0.5)[0] == pytest.approx((alone.left + alone.right) / 2)
    assert ticks(0, 3, whole=True) == [0, 1, 2, 3]
    assert ticks(0, 1, 5, whole=True) == [0, 1]


def test_a_line_stays_level_until_the_next_point() -> None:
    path = lines(Chart("", "", [0, 1], [0, 1]), [0, 1], [0, 1]).split('"')[1]
    assert path.index("H") < path.index("V")


def test_the_edge_of_an_area_goes_forth_above_and_back_below() -> None:
    chart = Chart("", "", [0, 1], [0, 1])
    path = area(chart, [0, 1], [0, 0], [1, 1], "--best").split('"')[1]
    across = [float(place.split()[0]) for place in path.strip("MZ").split("L")]
    middle = len(across) // 2
    assert across == sorted(across[:middle]) + sorted(across[middle:], reverse=True)


def test_each_worker_has_a_row_from_the_top_of_the_picture_on() -> None:
    picture = timeline(["a", "b"], [(0, 0, 1, "completed"), (1, 0, 1, "completed")], 2.0)
    assert " 11H" in picture
    assert " 33H" in picture


def test_colors_of_many_trials_have_the_share_of_their_time() -> None:
    statuses = ["failed" if i % 20 == 7 else "completed" for i in range(14_000)]
    spans = [(0, i + 0.1, i + 0.9, status) for i, status in enumerate(statuses)]
    picture = timeline(["a"], spans, 14_000.0)
    widths = {}
    for path, color in re.findall(r'<path d="([^"]+)" stroke="var\((--\w+)\)"', picture):
        widths[color] = sum(float(b) - float(a) for a, b in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", path))
    hours = 14_000 / 3600
    whole = Chart("hours", "", [0, hours], [0, 1])
    whole.left = 8.0
    width = whole.place(hours, 0)[0] - whole.place(0.0, 0)[0]
    assert widths["--bad"] == pytest.approx(0.04 * width, abs=1.5)
    assert widths["--ok"] == pytest.approx(0.76 * width, abs=1.5)
    assert len(picture) < 12_000


@pytest.mark.parametrize("bad", [0, 1999, 3999])
def test_a_short_failure_among_many_trials_is_seen_where_it_was(bad: int) -> None:
    spans = [(0, i * 300.0, i * 300.0 + 298.0, "completed") for i in range(4000)]
    spans[bad] = (0, bad * 300.0, bad * 300.0, "failed")
    picture = timeline(["a"], spans, 1_200_000.0)
    (path,) = re.findall(r'<path d="([^"]+)" stroke="var\(--bad\)"', picture)
    ((begin, end),) = re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", path)
    hours = 1_200_000 / 3600
    whole = Chart("hours", "", [0, hours], [0, 1])
    whole.left = 8.0
    assert float(begin) <= whole.place(bad / 12, 0)[0] + 1
    assert float(end) >= whole.place(bad / 12, 0)[0]
    assert float(end) == float(begin) + 1
    assert ">failed<" in picture


def test_a_paused_trial_has_not_failed_in_the_picture_of_the_workers() -> None:
    picture = timeline(["a"], [(0, 0, 1, "paused")], 2.0)
    assert "pruned or paused" in picture
    assert "failed" not in picture


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.00012, 0.00012), (1e-7, 3e-7), (0, 14000), (-1e6, 1e6)], ids=str
)
def test_labels_stay_clear_of_each_other_and_inside_the_picture(low: float, high: float) -> None:
    text = Chart("trial", "reward", [0, 14000], [low, high]).drawn("")
    numbers = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(end|middle)">([^<]*)<', text)
    assert len(numbers) > 4
    for x, anchor, label in numbers:
        width = 6.8 * len(label)  # At most, with 12 px letters.
        left = float(x) - (width if anchor == "end" else width / 2)
        assert left >= 18, f"{label} meets the name of the axis, which ends at 18"
        assert left + width <= 400
