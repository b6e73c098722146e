"""What strata say of proxies that rank kinds of specs, specs of one kind, or both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from nas.analysis.proxy_study import run_proxy_study
from nas.analysis.settings import ProxyStudyConfig
from nas.analysis.strata import Feature, Strata, explain_unknown, find_feature, stratify
from nas.executors.local_executor import LocalExecutor
from nas.plugins.faults import FaultError
from proxy_tasks.adapted_task import adapt
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import TaskFailureError
from search_space import ChoiceSpace, SpineNetSpec, published_space


def feature(name: str, values: Iterable[float | None]) -> Feature:
    return Feature(name=name, values=tuple(values))


def two_kinds(good: int, poor: int, within: float, seed: int = 0) -> Strata:
    """Specs of excess 0 and 2, whose kinds differ by much; `within` is what a proxy knows of one kind."""
    rng = np.random.default_rng(seed)
    excess = np.repeat([0.0, 2.0], [good, poor])
    own = rng.normal(size=good + poor)
    reference = own - 10 * excess
    proxy = within * own - 10 * excess + rng.normal(size=good + poor) * (1 - within)
    scores = proxy[:, None] + rng.normal(0, 0.1, (good + poor, 2))
    return stratify(feature("excess", excess), scores, reference)


def test_a_proxy_that_knows_kinds_alone_is_warned_of() -> None:
    found = two_kinds(40, 40, within=0.0)
    assert found.kendall.low < 0 < found.kendall.high
    assert [len(stratum.specs) for stratum in found.strata] == [40, 40]
    assert [stratum.name for stratum in found.strata] == ["excess 0", "excess 2"]
    assert "among specs of like excess: the proxy tells kinds of specs apart" in found.warning


def test_a_proxy_that_ranks_specs_of_one_kind_is_not() -> None:
    found = two_kinds(40, 40, within=1.0)
    assert found.kendall.value > 0.9
    assert found.reliability > 0.9
    assert found.warning == ""


def test_few_specs_that_carry_the_correlation_are_named() -> None:
    found = two_kinds(20, 6, within=0.0)
    assert "without the 6 specs of excess 2 it is" in found.warning
    few = two_kinds(20, 3, within=0.0)
    assert np.isnan(few.strata[1].kendall)
    assert "more specs would tell more" in few.warning


@pytest.mark.parametrize("proxy", [[0.0] * 8, [0.0] * 7 + [1.0]])
def test_a_correlation_that_is_not_defined_is_not_warned_of(proxy: list[float]) -> None:
    """A short proxy gives many specs the same score; without the one that differs nothing is known."""
    excess = feature("excess", [0, 1, 1, 1, 1, 1, 1, 2])
    found = stratify(excess, np.array(proxy)[:, None], np.arange(8.0), resamples=9)
    assert "nan" not in found.warning
    assert "carry it" not in found.warning


def test_few_pairs_in_perfect_order_give_no_interval() -> None:
    scores = np.arange(24.0)
    few = stratify(feature("kind", [0, 0, 0, 1, 1, 1]), scores[:6, None], scores[:6], resamples=50)
    assert (few.kendall.value, np.isnan(few.kendall.low), np.isnan(few.kendall.high)) == (1, True, True)
    more = stratify(feature("kind", np.repeat([0, 1], 12)), scores[:, None], scores, resamples=50)
    assert np.isnan(more.kendall.low), "132 pairs"
    many = stratify(feature("kind", [0] * 24), scores[:, None], scores, resamples=50)
    assert (many.kendall.low, many.kendall.high) == (1, 1)


def test_half_of_the_specs_are_not_a_few() -> None:
    rng = np.random.default_rng(0)
    reference, proxy = (np.concatenate([np.arange(20.0), rng.normal(10, 1, 20)]) for _ in range(2))
    excess = feature("excess", np.repeat([0.0, 1.0], 20))
    found = stratify(excess, proxy[:, None], reference, resamples=20)
    assert found.strata[0].without < 0.3
    assert "a few specs" not in found.warning


def test_correlation_within_is_that_of_the_pairs_of_one_stratum() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3, 30).astype(float)
    proxy, reference = rng.normal(size=(30, 1)), rng.normal(size=30)
    found = stratify(feature("blocks", values), proxy, reference)
    pairs = [(i, j) for i, j in combinations(range(30), 2) if values[i] == values[j]]
    signs = [np.sign(proxy[i, 0] - proxy[j, 0]) * np.sign(reference[i] - reference[j]) for i, j in pairs]
    assert found.kendall.value == pytest.approx(np.mean(signs))
    for stratum in found.strata:
        at = list(stratum.specs)
        expected = stats.kendalltau(proxy[at, 0], reference[at]).statistic
        assert stratum.kendall == pytest.approx(expected)


def test_reliability_leaves_out_what_tells_the_strata_apart() -> None:
    rng = np.random.default_rng(4)
    excess = np.repeat([0.0, 1.0], 2000)
    true = rng.normal(0, 1, 4000) - 50 * excess
    found = stratify(
        feature("excess", excess), true[:, None] + rng.normal(0, 1, (4000, 2)), true, resamples=1
    )
    assert found.reliability == pytest.approx(0.5, abs=0.03)
    assert [stratum.reliability for stratum in found.strata] == pytest.approx([0.5, 0.5], abs=0.05)


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        ([0, 0, 1, 1, 2, 5], [2, 2, 1, 1]),
        (list(range(12)), [4, 4, 4]),
        ([0] * 9 + [1, 2, 3, 4, 5], [9, 1, 4]),
        # Fewer than a third have excess 0, as in `nas judge task=spinenet-bench specs=40`.
        ([0] * 8 + [1] * 9 + [2] * 14 + [3] * 6 + [4, 5, 6], [8, 23, 9]),
        ([0] * 4 + [1] * 4 + list(range(2, 8)), [4, 5, 5]),
        ([0] * 3 + [1] * 4 + list(range(2, 9)), [7, 3, 4]),
        ([7.0] * 5, [5]),
    ],
)
def test_values_make_strata(values: list[float], sizes: list[int]) -> None:
    scores = np.random.default_rng(0).normal(size=len(values))
    found = stratify(feature("x", values), scores[:, None], scores)
    assert [len(stratum.specs) for stratum in found.strata] == sizes
    ordered = [[values[i] for i in stratum.specs] for stratum in found.strata]
    ends: NDArray[np.float64] = np.array([[min(part), max(part)] for part in ordered])
    assert (ends[1:, 0] > ends[:-1, 1]).all(), "no value is in two strata"


def test_specs_of_which_nothing_is_known_are_in_no_stratum() -> None:
    scores = np.arange(6.0)
    found = stratify(feature("macs", [3, None, 1, 1, None, 3]), scores[:, None], scores)
    assert [stratum.specs for stratum in found.strata] == [(2, 3), (0, 5)]


def test_strata_have_names_of_their_own() -> None:
    scores = np.arange(3.0)
    found = stratify(feature("params", [1234561, 1234562, 1234563]), scores[:, None], scores)
    assert [stratum.name for stratum in found.strata] == [
        "params 1234561",
        "params 1234562",
        "params 1234563",
    ]


def test_a_feature_that_means_nothing_is_seldom_warned_of() -> None:
    rng, warned = np.random.default_rng(0), 0
    for _ in range(60):
        reference = rng.normal(size=24)
        proxy = reference[:, None] + rng.normal(size=(24, 2))
        chance = feature("macs", rng.normal(size=24))
        warned += "carry it" in stratify(chance, proxy, reference, resamples=1).warning
    assert warned <= 6


def test_the_feature_is_the_users_or_one_that_is_known() -> None:
    known: list[dict[str, float]] = [{"macs": 1.0, "excess": 0.0}, {"excess": 1.0}]
    assert find_feature(known, None) == feature("excess", [0.0, 1.0])
    assert find_feature(known, "MACs") == feature("macs", [1.0, None])
    assert find_feature([{}, {}], None) is None
    assert find_feature([{"params": 1.0}], None) is None
    assert find_feature(known, "exces") is None
    assert explain_unknown(known, "exces").startswith("no such feature (did you mean excess?); known")
    assert explain_unknown([{}], "macs") == "nothing is known of these specs before training"


def test_a_study_says_it_and_a_wrong_feature_costs_no_training(tmp_path: Path) -> None:
    space, plan = published_space("r35-sp18"), ProxyStudyConfig(specs=12, seeds=2, reference=2.0, neighbors=0)
    with pytest.raises(ValueError, match="strata=depth: no such feature"):
        run_proxy_study(space, SyntheticTask(), LocalExecutor(), plan, tmp_path / "a", strata="depth")
    assert not (tmp_path / "a").exists()
    run_proxy_study(space, SyntheticTask(noise=0.1), LocalExecutor(), plan, tmp_path / "b")
    strata = json.loads((tmp_path / "b" / "judgement.json").read_text())["strata"]
    assert strata["feature"] == "excess"
    assert sum(len(stratum["specs"]) for stratum in strata["strata"]) == 12
    assert "Among specs that are alike before training" in (tmp_path / "b" / "judgement.md").read_text()
    # Another view of the same trainings.
    run_proxy_study(
        space, SyntheticTask(noise=0.1), LocalExecutor(), plan, tmp_path / "b", strata="edges_far"
    )
    assert "| edges_far" in (tmp_path / "b" / "judgement.md").read_text()


def test_a_space_of_which_nothing_is_known_has_no_strata(tmp_path: Path) -> None:
    space = ChoiceSpace({f"c{i}": ["a", "b", "c"] for i in range(4)})
    plan = ProxyStudyConfig(specs=6, reference=2.0, neighbors=0)
    run_proxy_study(space, adapt(CountingLabels()), LocalExecutor(), plan, tmp_path)
    assert json.loads((tmp_path / "judgement.json").read_text())["strata"] is None


class Half:
    """Every second spec fails, and of these alone the costs are known."""

    def fails(self, spec: SpineNetSpec) -> bool:
        return int(spec.key(), 16) % 2 == 0

    def evaluate(self, spec: SpineNetSpec, seed: int) -> float:
        if self.fails(spec):
            raise TaskFailureError("diverged", "the loss is nan")
        return (int(spec.key(), 16) % 1000 + seed % 7) / 1000

    def costs(self, spec: SpineNetSpec) -> dict[str, float]:
        if not self.fails(spec):
            raise ValueError("no")
        return {"macs": 1e9}


def test_a_feature_of_none_of_the_scored_specs_makes_no_strata(tmp_path: Path) -> None:
    space, plan = published_space("r35-sp18"), ProxyStudyConfig(specs=16, reference=2.0, neighbors=0)
    run_proxy_study(space, adapt(Half()), LocalExecutor(), plan, tmp_path, strata="macs")
    found = json.loads((tmp_path / "judgement.json").read_text())
    assert (found["strata"], set(found["macs"])) == (None, {None})
    assert "macs is not known of any spec that has all its scores" in (tmp_path / "judgement.md").read_text()


class CountingLabels:
    """Counts labels."""

    def evaluate(self, spec: tuple[str, ...], seed: int) -> float:
        return spec.count("a") + 0.1 * (seed % 7)


class Costly(SyntheticTask):
    """Its costs cannot be computed for every spec, or not at all."""

    fault: ClassVar[type[Exception]] = ValueError

    def costs(self, spec: SpineNetSpec) -> dict[str, float]:
        if spec.key() < "8":
            raise self.fault("no")
        return {"macs": float(len(repr(spec)))}


def test_costs_are_asked_for_only_where_they_are_needed(tmp_path: Path) -> None:
    class Broken(Costly):
        fault = KeyError

    space, plan = published_space("r35-sp18"), ProxyStudyConfig(specs=12, reference=2.0, neighbors=0)
    run_proxy_study(space, Broken(), LocalExecutor(), plan, tmp_path / "a")
    with pytest.raises(FaultError, match=r"KeyError in Broken\.costs"):
        run_proxy_study(space, Broken(), LocalExecutor(), plan, tmp_path / "a", strata="macs")
    run_proxy_study(space, Costly(), LocalExecutor(), plan, tmp_path / "b", strata="macs")
    strata = json.loads((tmp_path / "b" / "judgement.json").read_text())["strata"]
    assert 0 < sum(len(stratum["specs"]) for stratum in strata["strata"]) < 12


def test_few_specs_that_any_others_might_be_are_seldom_warned_of() -> None:
    """Three of twelve are few, and whichever three are left out, the correlation changes."""
    rng, warned = np.random.default_rng(0), 0
    for _ in range(60):
        reference = rng.normal(size=12)
        proxy = reference[:, None] + rng.normal(size=(12, 2))
        chance = feature("kind", rng.permutation(np.repeat([0.0, 1.0, 2.0, 3.0], 3)))
        warned += "carry it" in stratify(chance, proxy, reference, resamples=1).warning
    assert warned <= 7
