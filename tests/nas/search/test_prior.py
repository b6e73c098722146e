"""What is known of specs before a search: who makes use of it, and what is told if it is wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from controllers import PredictorSearch, RandomSearch, ZeroCostFilter
from nas.cli.main import main
from nas.config import build_prior
from nas.config.yaml_file import read_tree
from nas.plugins.faults import FaultError
from nas.search.guarded_prior import GuardedPrior
from nas.search.halving import HalvingScheduler
from nas.search.picking import expected_rewards
from proxy_tasks.task import Score
from search_space.choices import ChoiceSpace
from tests.nas.search.stepwise import search

SPACE = ChoiceSpace({str(i): list(range(4)) for i in range(6)})


def worth(spec: tuple[str, ...]) -> float:
    return sum(map(int, spec)) / 18


def prior(specs: Sequence[tuple[str, ...]]) -> Any:
    """Knows the half of it."""
    return np.array([(sum(map(int, spec[:3])) - 4.5) / 1.9 for spec in specs])


class Noisy:
    """Reports what a spec is worth, with noise, three times."""

    def evaluate(self, spec: tuple[str, ...], seed: int, report: Any) -> Score:
        rng = np.random.default_rng(seed)
        for step in (1, 2, 3):
            report(step, Score(worth(spec) + 0.2 * rng.normal()))
        return Score(worth(spec) + 0.2 * rng.normal())


def test_a_prior_helps_to_choose_what_is_proposed_and_who_wins() -> None:
    proposed: dict[bool, list[float]] = {True: [], False: []}
    ranked: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(15):
        for known in (True, False):
            found = search(
                None,
                Noisy(),
                None,
                trials=12,
                space=SPACE,
                controller=PredictorSearch(SPACE, seed),
                config={"seed": seed, "prior": prior if known else None},
            ).trials
            proposed[known].append(float(np.mean([worth(SPACE.decode(t.genotype)) for t in found.search])))
        same = search(
            None, Noisy(), None, trials=12, space=SPACE, controller=RandomSearch(SPACE, seed)
        ).trials
        for known in (True, False):
            expected = expected_rewards(SPACE, same, prior if known else None)
            worths = [worth(SPACE.decode(same.all[number].genotype)) for number in expected]
            ranked[known].append(float(stats.kendalltau(list(expected.values()), worths).statistic))
    for values in (proposed, ranked):
        assert stats.wilcoxon(values[True], values[False], alternative="greater").pvalue < 0.01


@pytest.mark.parametrize("part", ["controller", "scheduler", "winner"])
def test_every_part_that_can_use_a_prior_is_given_it(part: str) -> None:
    asked: list[int] = []

    def noted(specs: Sequence[tuple[str, ...]]) -> Any:
        asked.append(len(specs))
        return prior(specs)

    controller = RandomSearch(SPACE, 0)
    if part == "controller":
        controller = ZeroCostFilter(PredictorSearch(SPACE, 0), SPACE.decode, worth, 0.9)  # type: ignore[assignment]
    scheduler = HalvingScheduler(rungs=(1,), random=0, space=SPACE) if part == "scheduler" else None
    pick = "expected" if part == "winner" else "reward"
    config: dict[str, Any] = {"prior": noted, "pick": pick}
    search(None, Noisy(), scheduler, trials=12, space=SPACE, controller=controller, config=config)
    assert sum(asked) >= 6


def test_a_fault_of_a_prior_is_told_as_its_own() -> None:
    def fails(specs: Any) -> Any:
        raise KeyError("no such spec")

    faults: list[tuple[Any, str]] = [
        (fails, "KeyError in fails: 'no such spec'"),
        (lambda specs: [1.0], r"must give 2 numbers, not an array \(1,\)"),
        (lambda specs: ["a", "b"], "must give numbers"),
        (lambda specs: [0.0, np.nan], "must give finite numbers"),
    ]
    for wrong, told in faults:
        with pytest.raises(FaultError, match=told):
            GuardedPrior(wrong)([("0",), ("1",)])
    assert list(GuardedPrior(prior)([("0",) * 6, ("3",) * 6])) == pytest.approx([-2.37, 2.37], abs=0.01)


QUICK = ("task=synthetic", "executor=in_process", "workers=1", "trials=6")


def test_a_table_that_is_missing_is_told_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    missing = f"prior.folder={tmp_path / 'none'}"
    assert main(["search", *QUICK, "prior=spinenet-bench", missing, f"run_dir={run}"]) == 2
    told = capsys.readouterr().err
    assert "prior: " in told
    assert "none" in told
    assert len(told.splitlines()) == 1
    assert not run.exists()


def test_a_prior_that_cannot_be_called_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prior._target_=collections.OrderedDict", f"run_dir={tmp_path / 'run'}"]
    assert main(["search", *QUICK, "prior=none", *words]) == 2
    assert "prior: OrderedDict cannot be called with a list of specs" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_search_with_a_prior_can_be_resumed_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place of the installed table is not written down: it is another one on another machine."""
    run = tmp_path / "run"
    assert main(["search", *QUICK, "controller=predictor", "prior=spinenet-bench", f"run_dir={run}"]) == 0
    assert read_tree(run / "config.yaml")["prior"] == {"_target_": "proxy_tasks.TablePrior", "folder": None}
    assert main(["resume", str(run), "prior=none"]) == 2
    assert "prior=none" in capsys.readouterr().err
    assert main(["resume", str(run), "trials=8"]) == 0


def test_a_function_of_the_specs_is_a_prior(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "told_before.py").write_text(
        "def depth(specs, weight=1.0):\n    return [weight * len(spec.blocks) for spec in specs]\n\n\n"
        "def wrong(specs):\n    return None\n"
    )
    words = ["search", *QUICK, "prior._target_=told_before.depth", "prior.weight=0.5", "run_dir=run"]
    assert main(words) == 0
    assert main(["search", *QUICK, "prior._target_=told_before.wrong", "run_dir=other"]) == 2
    assert "prior: wrong must give" in capsys.readouterr().err


PRIORS = """
def scaled(scale, specs):
    return [scale * len(spec) for spec in specs]


def named(*, specs, scale=1.0):
    return [scale * len(spec) for spec in specs]


def placed(specs, /, scale=1.0):
    return [scale * len(spec) for spec in specs]


def factory(path, scale=1.0):
    return lambda specs: [scale * len(spec) for spec in specs]
"""


@pytest.mark.parametrize("name", ["scaled", "named", "placed"])
def test_the_specs_may_be_any_argument_of_a_prior(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "told_of_specs.py").write_text(PRIORS)
    made = build_prior({"_target_": f"told_of_specs.{name}", "scale": 2.0, "specs": "???"})
    assert list(GuardedPrior(made)([("0",), ("1", "2")])) == [2.0, 4.0]


def test_a_factory_of_a_prior_that_lacks_a_value_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "told_by_factory.py").write_text(PRIORS)
    words = ["search", *QUICK, "prior._target_=told_by_factory.factory", "run_dir=run"]
    assert main(words) == 2
    assert "prior.path: needs a value; give prior.path=..." in capsys.readouterr().err
    made = build_prior({"_target_": "told_by_factory.factory", "path": "x", "scale": 3.0})
    assert list(GuardedPrior(made)([("0",)])) == [3.0]
