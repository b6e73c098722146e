"""What is shipped of the table of trained detectors, and what is said about it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from benchmarks.spinenet_bench import facts as facts_module
from benchmarks.spinenet_bench import learning_curve, pictures, recipe
from benchmarks.spinenet_bench.card import CARD, write_card
from benchmarks.spinenet_bench.facts import table_facts
from benchmarks.spinenet_bench.held_out import SEARCHES, Judged, share_inside
from benchmarks.spinenet_bench.long_trainings import find_long, long_trainings
from benchmarks.spinenet_bench.measures import (
    DEPTHS,
    FEWEST,
    find_top,
    lost_by_halving,
    misjudgement,
    shares_of_variance,
    without_line,
)
from benchmarks.spinenet_bench.neighbors import (
    FEWEST_PAIRS,
    Neighbors,
    chain_pairs,
    find_neighbors,
    search_pairs,
)
from benchmarks.spinenet_bench.pictures import main as draw
from benchmarks.spinenet_bench.plan import PLANNED, uniform_genotypes
from benchmarks.spinenet_bench.publish import known_before
from benchmarks.spinenet_bench.seeds import FEWEST_REPEATED, chance_of_training, find_repeats
from benchmarks.spinenet_bench.table import ROWS, read_table
from nas.config import load_task
from proxy_tasks.spinenet_bench import SpineNetBenchTask, read_trainings
from proxy_tasks.spinenet_bench.families import assign_folds
from proxy_tasks.spinenet_bench.settings import Settings, find_settings, read_settings
from proxy_tasks.spinenet_bench.trainings import (
    DATA_FOLDER,
    TRAININGS,
    RecordedTraining,
    outputs,
    write_trainings,
)
from search_space import Genotype, published_space
from tests.proxy_tasks.spinenet_bench import made_up

SPACE = published_space("spinenet-49")


def test_the_preset_scores_specs_of_the_table_and_others() -> None:
    task: SpineNetBenchTask = load_task("spinenet-bench")
    task.check()
    space, known = published_space("spinenet-49"), read_trainings()[0]
    exact = replace(task, exact=True)
    score = exact.evaluate(space.decode(known.genotype), 1.0, 0, lambda *_: None)
    found = [t.scores["val_AP_560"] for t in read_trainings() if t.key == known.key]
    assert score.reward == pytest.approx(min(found, key=lambda value: abs(value - score.reward)))
    other = space.sample(np.random.default_rng(123))
    assert 0 <= task.evaluate(space.decode(other), 0.25, 0, lambda *_: None).reward < 0.6


def test_what_is_shipped_was_trained() -> None:
    rows = {row.place: row for row in read_table(recipe.digest(), ROWS)}
    for training in read_trainings():
        row = rows[training.group, training.number]
        assert (training.key, training.genotype, training.seed) == (row.key, row.genotype, row.seed)
        for part in ("val", "test"):
            assert training.curve(part) == pytest.approx([row.ap(n, part) for n in recipe.LENGTHS])


def test_the_card_is_that_of_the_table() -> None:
    trainings, settings = read_trainings(), read_settings()
    facts = table_facts(trainings, settings)
    card = (DATA_FOLDER / CARD).read_text(encoding="utf-8")
    failed = {name: int(count) for name, count in re.findall(r"^\| `(\w+)` .* (\d+) \|$", card, re.MULTILINE)}
    band = card[card.index("Share of the trainings in the 90 % band") :]
    told = re.findall(r"\| (\d+) steps \| ([\d.]+) \| ([\d.]+) \|", band)
    inside = {int(length): (float(over_all), float(zero)) for length, over_all, zero in told}
    assert tuple(inside) == recipe.LENGTHS
    assert card == write_card(facts, inside, failed=failed)
    assert all(0.8 < share <= 1 for shares in inside.values() for share in shares)
    assert sum(facts.groups.values()) == len(trainings)
    assert sum(count for count, _ in facts.by_excess.values()) == facts.groups["uniform"]
    means = [mean for _, mean in facts.by_excess.values()]
    assert facts.mean == pytest.approx(
        np.average(means, weights=[count for count, _ in facts.by_excess.values()])
    )


def test_the_page_counts_what_is_shipped() -> None:
    """What a page says of a table that grows is wrong after the next one is published."""
    trainings = read_trainings()
    specs = len({training.key for training in trainings})
    page = (Path(__file__).parents[2] / "docs" / "spinenet-bench.md").read_text(encoding="utf-8")
    assert f"The shipped table has {len(trainings):,} trainings of {specs:,} specs." in page
    assert ("No spec of the table has two seeds yet" in page) == (specs == len(trainings))
    assert ("The table is not complete yet" in page) == (len(trainings) < PLANNED)
    assert f"plan of {PLANNED:,} trainings" in page
    assert ("differences of random specs" in page) == (table_neighbors(trainings).unit == "decisions")


def table_neighbors(trainings: Sequence[RecordedTraining]) -> Neighbors:
    return find_neighbors(trainings, "uniform", SEARCHES)


@pytest.mark.slow
def test_the_card_tells_random_specs_and_searches_apart() -> None:
    """What a search finds is worse here than its like, which the others' trainings cannot know."""
    known = [
        replace(
            found,
            scores={"loss_25_70": 1.0, "loss_25_140": 1.0, "loss_25_280": 1.0, **found.scores}
            | known_before(found.genotype),
        )
        for found in made_up.trainings(36, 0)
    ]
    for place in range(24, 36):
        scores = {**known[place].scores, "val_AP_560": known[place].scores["val_AP_560"] - 0.1}
        known[place] = replace(known[place], group="evolution", scores=scores)
    settings = find_settings(known, 3)
    facts, alone = table_facts(known, settings), table_facts(known[:24], find_settings(known[:24], 3))
    assert (facts.groups, facts.mean) == ({"uniform": 24, "evolution": 12}, alone.mean)
    assert facts.quantiles == alone.quantiles
    assert set(facts.searches) == {"evolution"}
    assert facts.searches["evolution"].trainings == 12
    assert facts.searches["evolution"].overrated > 0.05
    assert "| `evolution` | 12 |" in write_card(facts, {560: (0.9, 0.8)}, failed={})
    more = [replace(found, group="excess-0") if found.group == "evolution" else found for found in known]
    both = table_facts(more, settings)
    zero = [found.scores["val_AP_560"] for found in more if found.scores["excess"] == 0]
    assert both.within == len(zero)
    assert both.within_mean == pytest.approx(np.mean(zero))
    assert both.within > alone.within
    assert (both.mean, both.by_excess) == (alone.mean, alone.by_excess), "over all, one group is random"
    assert alone.searches == {}


def test_the_variance_is_divided_as_it_was_made() -> None:
    rng, count = np.random.default_rng(0), 20_000
    classes = rng.integers(0, 3, count)
    parts = [rng.normal(0, deviation, count) for deviation in (0.3, 0.2, 0.1)]
    known = 0.5 * classes + parts[0]
    ap, test = known + parts[1] + parts[2], 0.9 * (known + parts[1]) + rng.normal(0, 0.1, count)
    found = shares_of_variance(ap, test, classes.astype(float), known)
    whole = ap.var()
    assert found.excess == pytest.approx((0.5 * classes).var() / whole, abs=0.02)
    assert found.surrogate == pytest.approx(known.var() / whole, abs=0.02)
    assert found.training == pytest.approx(0.9 * 0.04 / whole, abs=0.02)
    assert found.surrogate + found.images + found.training == pytest.approx(1)


def test_what_is_misjudged_is_found() -> None:
    """Of two trainings that stand alike early, the deeper one ends higher here."""
    rng = np.random.default_rng(1)
    early, depth = rng.normal(size=500), rng.normal(size=500)
    late = early + 0.3 * depth
    assert abs(np.corrcoef(without_line(late, early), depth)[0, 1]) > 0.99
    assert abs(np.corrcoef(without_line(early, early), depth)[0, 1]) < 0.99


def test_what_halving_loses_by_hand() -> None:
    worth = np.arange(16.0)
    assert lost_by_halving(worth, worth) == 0
    assert lost_by_halving(-worth, worth) == 8
    assert lost_by_halving(worth[:15], worth[:15]) == 0


def test_what_is_misjudged_within_a_group_is_judged_by_a_line_of_its_own() -> None:
    """Groups differ with a slope of 1, and within one late scores rise half as much as early ones."""
    rng = np.random.default_rng(2)
    group = np.repeat([0.0, 4.0, 8.0], 200)
    within = rng.normal(size=600)
    early, late = group + within, group + 0.5 * within + 0.1 * rng.normal(size=600)
    alike = group == 8.0
    over_all, own = misjudgement(early, late, early), misjudgement(early[alike], late[alike], early[alike])
    assert abs(own) < 0.1
    assert abs(over_all) < 0.3
    line = without_line(late, early)[alike]
    assert kendalltau(early[alike], line).statistic < -0.5, "the line of all would tell another tale"


@pytest.mark.slow
def test_the_band_holds_what_deviates_as_its_own_trainings_do() -> None:
    known = [
        replace(found, scores={**found.scores, "excess": float(number % 3 > 1)})
        for number, found in enumerate(made_up.trainings(24, 0))
    ]
    assert share_inside(known, 2)[560][0] > 0.75
    # Every second spec lies far off: a surrogate of the others cannot know it.
    held = np.flatnonzero(assign_folds(known, 2) == 0).tolist()
    for number, place in enumerate(held):
        scores = known[place].scores
        wrong = {**scores, "val_AP_560": scores["val_AP_560"] + (0.3 if number % 2 else -0.3)}
        known[place] = replace(known[place], scores=wrong)
    inside = share_inside(known, 2)
    assert inside[560][0] <= 0.6
    assert inside[70][0] > 0.6, "only the full length was changed"


def test_what_is_expected_too_high_at_the_top_is_told() -> None:
    ap = np.linspace(0.3, 0.5, 41)
    expected = np.where(ap > 0.4, 0.4 + 2 * (ap - 0.4), ap)
    found, right = find_top(expected, ap), find_top(ap, ap)
    assert found.slope == pytest.approx(0.5)
    assert found.overrated == pytest.approx((ap[-10:] - 0.4).mean())
    assert found.error == pytest.approx(ap[-10:].std(ddof=1) / 10**0.5)
    assert right.slope == pytest.approx(1)
    assert (right.overrated, right.error) == (0, 0)
    assert find_top(ap[:21], ap[:21]).slope is None, "much is expected of none"


def test_the_picture_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pictures", str(tmp_path / "table.svg")])
    draw()
    assert (tmp_path / "table.svg").read_text(encoding="utf-8").count("<use") > 100


def a_training(group: str, number: int, genotype: Genotype, ap: float, **changes: Any) -> RecordedTraining:
    """One whose AP after N steps is N / 560 of that after the full length, on both sets of images."""
    scores = {f"{p}_AP_{n}": ap * n / 560 for p in ("val", "test") for n in recipe.LENGTHS}
    scores |= {f"loss_25_{n}": 1 - ap for n in recipe.LENGTHS} | {"core_seconds": 360.0}
    scores |= known_before(genotype) | changes.pop("scores", {})
    about = {"key": key_of(genotype), "seed": number, "seconds": 1.0, "machine": "m"}
    fields: dict[str, Any] = {**about, "group": group, "number": number, "genotype": genotype, **changes}
    return RecordedTraining(**fields, scores=scores)


def key_of(genotype: Genotype) -> str:
    return SPACE.key(SPACE.decode(genotype))


def edited(*genotypes: Genotype) -> Genotype:
    """A network that is one edit from the last of these, and none of them."""
    known = {key_of(genotype) for genotype in genotypes}
    return next(near for near in SPACE.neighbors(genotypes[-1]) if key_of(near) not in known)


def grown(random: int = 14) -> list[RecordedTraining]:
    """Random specs, of which 10 have three seeds, a chain, a search beside some, and long trainings."""
    specs = uniform_genotypes()[:random]
    found = [a_training("uniform", i, genotype, 0.2 + 0.01 * i) for i, genotype in enumerate(specs)]
    for i in range(2 * FEWEST_REPEATED):
        place, apart = i // 2, 0.001 * (i // 2 + 1) * (-1) ** i
        test = {"test_AP_560": 0.2 + 0.01 * place + apart / 2}
        found.append(a_training("seeds", i, specs[place], 0.2 + 0.01 * place + apart, scores=test))
    chain, start = [specs[0]], key_of(specs[0])
    for i in range(4):
        chain.append(edited(*chain))
        more = {"edits": i + 1.0}
        found.append(a_training("chains", i, chain[-1], 0.3 + 0.1 * i, start=start, scores=more))
    for i in range(FEWEST_PAIRS):
        found.append(a_training("evolution", i, edited(specs[i + 3]), 0.5 + 0.01 * (i + 3)))
    for i in range(FEWEST):
        ap = 0.2 + 0.01 * i
        late = {f"val_AP_{n}": ap + 0.1 + 0.01 * (i if n == 1120 else -i) for n in (1120, 2240)}
        found.append(a_training("long", i, specs[i + 4], ap, scores=late))
    return found


def settings_of(trainings: Sequence[RecordedTraining]) -> Settings:
    """Of a surrogate that expects a little less than what is measured."""
    expected = tuple(tuple(0.9 * value for value in row) for row in outputs(trainings).tolist())
    return replace(read_settings(), expected=expected, uncalibrated=expected)


def test_what_seeds_do_by_hand() -> None:
    """The seeds of spec n deviate by 0, d and -d from its mean, where d is (n + 1) thousandths."""
    table = grown()
    known = [training for training in table if training.group != "long"]
    found = find_repeats(known)
    assert found is not None
    steps = np.array([0.001 * (n + 1) for n in range(FEWEST_REPEATED)])
    assert found.trainings == [3] * FEWEST_REPEATED
    assert found.means == pytest.approx([0.2 + 0.01 * n for n in range(FEWEST_REPEATED)])
    assert found.deviations == pytest.approx(steps)
    thirds = np.array_split(steps, 3)
    assert [deviation for _, deviation in found.by_quality] == pytest.approx(
        [np.sqrt(np.mean(third**2)) for third in thirds]
    )
    assert found.by_length[280] == pytest.approx(found.by_length[560] / 2)
    # On the test images they deviate half as much.
    assert chance_of_training(known, "uniform") == pytest.approx(np.mean(steps**2) / 2)
    assert chance_of_training(known, "excess-0") is None
    few = [training for training in known if training.key != known[0].key]
    assert find_repeats(few) is None, "one spec less is too few"
    assert chance_of_training(few, "uniform") is None


def test_pairs_that_are_edits_apart_by_hand() -> None:
    table = grown()
    chain = [0, 14, 15, *range(34, 38)]
    assert [table[place].group for place in chain] == ["uniform", "seeds", "seeds", *["chains"] * 4]
    pairs = [*chain_pairs(table)]
    assert len(pairs) == len(set(pairs)) == 3 * 4 + 6
    assert set(pairs) >= {(1, 0, 34), (1, 14, 34), (4, 15, 37), (3, 34, 37), (1, 36, 37)}
    near = set(search_pairs(table, {"evolution"}))
    assert {(1, 3, 38), (1, 12, 47)} <= near
    found = find_neighbors(table, "uniform", ["evolution"])
    assert found.unit == "edits"
    ap = [training.scores["val_AP_560"] for training in table]
    wanted = sorted(abs(ap[i] - ap[j]) for distance, i, j in {*pairs, *near} if distance == 1)
    assert sorted(found.differences[1]) == pytest.approx(wanted)
    assert list(found.differences) == [0, 1], "there are fewer than ten pairs of each other distance"
    assert found.random == pytest.approx(0.01 * 15 / 3)  # Of 0 to 13, the mean difference of two.


def test_one_neighbor_by_chance_tells_nothing_of_neighbors() -> None:
    table = grown()
    random = table[:14]
    for known in (random, [*random, table[38]]):
        found = find_neighbors(known, "uniform", ["evolution"])
        assert found.unit == "decisions"
        assert sum(map(len, found.differences.values())) > 80, "of 91 pairs"


def test_four_times_the_length_by_hand() -> None:
    """After 1,120 steps the order is that after 560, and in the end it is the other way round."""
    table = [t for t in grown() if t.group == "long"]
    assert len(long_trainings(grown())) == FEWEST
    for training in table:
        own = 0.02 * training.number
        training.scores["val_AP_2240"] -= own  # type: ignore[index]
    found = find_long(table)
    assert found is not None
    assert found.trainings == FEWEST
    assert [found.ranks[length][0] for length in (70, 560, 1120)] == pytest.approx([-1, -1, -1])
    assert found.gain == pytest.approx(0.1 - 0.03 * 4.5)
    assert set(found.misjudged) == {(n, d) for n in (70, 140, 280, 560, 1120) for d in DEPTHS}
    assert find_long(table[1:]) is None


def test_a_grown_table_has_a_card_and_panels_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []

    @contextmanager
    def keep(path: Path, width: float, height: float) -> Iterator[Figure]:
        figures.append(Figure(figsize=(width, height)))
        yield figures[-1]

    monkeypatch.setattr(pictures, "figure_file", keep)
    monkeypatch.setattr(facts_module, "unknown_searches", lambda _: {})
    table = grown()
    pictures.draw(table, settings_of(table), Path("all.png"))
    pictures.draw(table[:14], settings_of(table[:14]), Path("random.png"))
    grown_titles, titles = ([axes.get_title() for axes in figure.axes] for figure in figures)
    new = [
        "Noise over quality: 14 specs",
        "How far neighbors resemble each other",
    ]
    assert set(new) <= set(grown_titles)
    assert any(title.startswith("Ranks after 560 steps: tau") for title in grown_titles)
    assert not set(new) & set(titles)
    assert not any(title.startswith("Ranks after 560 steps") for title in titles)
    card = write_card(
        table_facts(table, settings_of(table)), {560: (0.9, 0.8)}, failed={"local": 2, "long": 1}
    )
    assert "- Machine of 58 trainings: m.\n" in card
    assert "- Processor time: 5.8 core-hours" in card
    for told in (
        "| `long` | 10 | 10 | 0.245 | 0.029 | 1.0 | 1 |",
        "| `local` | 0 | 0 | | | | 2 |",
        "| `start`, `edits` |",
        "of some trainings also 1120 and 2240",
        "| chance of the training (random specs with several seeds) |",
        "| the rest: what is the spec's own |",
        "| lowest third |",
        "| two random specs | |",
        "10 trainings of four times the length",
        "| misjudged after 1120 steps |",
    ):
        assert told in card, told
    alone = write_card(table_facts(table[:14], settings_of(table[:14])), {560: (0.9, 0.8)}, failed={})
    for told in ("start", "2240", "several seeds", "third", "random specs |", "four times"):
        assert told not in alone.replace("trained with several seeds, what seeds do", ""), told


def test_a_learning_curve_asks_about_what_was_not_learned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[list[RecordedTraining], list[RecordedTraining]]] = []

    def judge(known: Sequence[RecordedTraining], others: Sequence[RecordedTraining]) -> Judged:
        """A surrogate that is right about specs of excess 0, and wrong by 0.1 about the others."""
        asked.append((list(known), list(others)))
        measured, zero = outputs(others), np.arange(len(others)) % 2 == 0
        expected = measured + 0.1 * ~zero[:, None]
        return Judged(measured=measured, expected=expected, inside=expected == measured, zero=zero)

    monkeypatch.setattr(learning_curve, "judge", judge)
    monkeypatch.setattr(learning_curve, "SIZES", (20, 40, 80))
    found = list(made_up.trainings(70, 0))
    write_trainings([*found, replace(found[0], group="local")], tmp_path / TRAININGS)
    words = ["learning_curve", str(tmp_path), "--table", str(tmp_path), "--subsets", "3"]
    monkeypatch.setattr(sys, "argv", words)
    learning_curve.main()
    data = json.loads((tmp_path / "learning-curve.json").read_text(encoding="utf-8"))
    assert [(size, len(subsets)) for size, subsets in data["curve"].items()] == [("20", 3), ("40", 3)]
    assert (data["trainings"], data["seed"]) == (70, 0)
    assert {len(known) + len(others) for known, others in asked} == {70}
    assert not any({t.key for t in known} & {t.key for t in others} for known, others in asked)
    assert len({tuple(t.number for t in known) for known, _ in asked}) == 6, "subsets differ"
    first = data["curve"]["20"][0]
    assert first["tau_excess_0"] == pytest.approx(1)
    assert first["inside_excess_0"] == 1
    assert first["inside"] == 0.5
    assert first["error"] == pytest.approx(0.05)
    text = (tmp_path / "learning-curve.md").read_text(encoding="utf-8")
    assert "| 40 | 3 |" in text
    assert text.startswith("`python -m benchmarks.spinenet_bench.learning_curve ")
