from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.cli.main import main
from nas.config import compose, load_task
from nas.reporting.trial_table import trial_rows
from nas.search.build import build_setup
from nas.search.zero_cost import best_by
from proxy_tasks import TrainingTask
from proxy_tasks.task import Score
from proxy_tasks.zero_cost import ZeroCostTask
from search_space import Spec, published_space
from search_space.choices import ChoiceSpace
from search_space.utils.extras import install_hint

SMALL = [
    *("task.data.shapes.train=16", "task.data.shapes.val=8", "task.train.steps=2", "task.train.batch=4"),
    *("executor=in_process", "workers=1", "fidelity=1", "controller=random"),
]


def search(folder: Path, *words: str) -> list[dict[str, Any]]:
    assert main(["search", *SMALL, *words, f"run_dir={folder}"]) == 0
    return trial_rows(folder)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks get their costs as scores, without a training."""

    def evaluate(self: TrainingTask, spec: Spec, *_: object) -> Score:
        return Score(0.0, self.costs(spec))

    monkeypatch.setattr(TrainingTask, "evaluate", evaluate)


def test_the_best_of_random_ones() -> None:
    space = ChoiceSpace({"a": list(range(10)), "b": list(range(10))})
    found = best_by(lambda spec: None if spec[0] == "9" else float(spec[0]), space, 5, 60, 0)
    assert [genotype[0] for genotype in found] == [8, 8, 8, 8, 7]  # Four of the ten eights were drawn.
    assert len(set(found)) == 5


def test_only_those_that_may_be_proposed_are_scored() -> None:
    space = ChoiceSpace({"a": list(range(10)), "b": list(range(10))})
    scored: list[Any] = []

    def score(spec: Any) -> float:
        scored.append(spec)
        return float(spec[0])

    found = best_by(score, space, 5, 60, 0, lambda spec: spec[1] == "3")
    assert [space.decode(genotype) for genotype in found] == [(str(9 - i), "3") for i in range(5)]
    assert len(scored) == 60
    assert best_by(score, space, 5, 60, 0, lambda spec: False) == []


@pytest.mark.slow
@pytest.mark.usefixtures("untrained")
def test_a_search_begins_with_the_best_within_its_limits(
    tmp_path: Path,
) -> None:
    largest = ["zero_cost.measure=params", "zero_cost.candidates=20", "zero_cost.start=4"]
    free = search(tmp_path / "free", "trials=4", *largest)
    limit = 0.98 * min(row["params"] for row in free[:4])
    words = [*largest, "zero_cost.keep=0.25", f"cost_limits.params={limit}"]
    limited = [row["params"] for row in search(tmp_path / "limited", "trials=6", *words)]
    assert max(limited) <= limit
    assert limited[:4] == sorted(limited[:4], reverse=True)
    rows = search(tmp_path / "plain", "trials=6", f"cost_limits.params={limit}")
    assert min(limited[:4]) > sorted(row["params"] for row in rows)[2]


@pytest.mark.slow
@pytest.mark.usefixtures("untrained")
def test_a_search_begins_with_the_smallest_and_keeps_to_them(
    tmp_path: Path,
) -> None:
    smallest = ["zero_cost.measure=params", "zero_cost.sign=-1", "zero_cost.candidates=20"]
    begun = search(tmp_path / "begun", "trials=4", *smallest, "zero_cost.start=3")
    plain = search(tmp_path / "plain", "trials=4")
    assert max(row["params"] for row in begun[:3]) < min(row["params"] for row in plain)
    assert begun[3]["key"] not in {row["key"] for row in begun[:3]}
    # A search cut off goes on with the same proposals.
    assert main(["resume", str(tmp_path / "begun"), "trials=6"]) == 0
    assert [row["key"] for row in trial_rows(tmp_path / "begun")[:4]] == [row["key"] for row in begun]
    kept = search(tmp_path / "kept", "trials=6", *smallest, "zero_cost.keep=0.2")
    more = search(tmp_path / "more", "trials=6")
    assert sum(row["params"] for row in kept[2:]) < sum(row["params"] for row in more[2:])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["zero_cost.measure=synflw"], "measure must be params, macs, synflow"),
        (
            ["zero_cost.measure=params", "zero_cost.start=9", "zero_cost.candidates=3"],
            "zero_cost.start must be at most candidates (3), not 9",
        ),
        (["zero_cost.measure=params", "zero_cost.keep=0"], "keep must be a number above 0 and at most 1"),
        (
            ["task=synthetic", "zero_cost.measure=naswot"],
            "look at a task that trains; SyntheticTask does not",
        ),
        (["tracker=nothing"], "tracker must be mlflow, wandb or null, not 'nothing'"),
    ],
)
def test_wrong_settings_are_told(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [] if "task=synthetic" in words else SMALL
    assert main(["search", *small, *words, f"run_dir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_tracker_is_told(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    words = ["task=synthetic", "executor=in_process", f"tracker={name}", f"run_dir={tmp_path / 'run'}"]
    assert main(["search", *words]) == 2
    assert install_hint(name) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_trackers_get_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called, in what order; the packages themselves are extras."""
    calls: list[tuple[str, Any]] = []

    class Run:
        def log(self, values: dict[str, float]) -> None:
            calls.append(("log", values))

        def finish(self) -> None:
            calls.append(("finish", None))

    def init(**words: Any) -> Run:
        calls.append(("init", words))
        return Run()

    module = types.ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    folder = tmp_path / "run"
    words = ["task=synthetic", "executor=in_process", "trials=5", "tracker=wandb", f"run_dir={folder}"]
    assert main(["search", *words, "search.pick=reward"]) == 0
    assert [name for name, _ in calls] == ["init", *["log"] * 5, "finish"]
    assert calls[0][1]["name"] == "run"
    assert calls[0][1]["config"]["seed"] == 0
    best = json.loads((folder / "winners" / "summary.json").read_text())["rewards"][0]
    assert calls[5][1]["best"] == best
    assert {values["trial"] for name, values in calls if name == "log"} == set(range(5))


def test_what_a_limit_forbids_is_neither_measured_nor_among_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The largest are measured as the best, and most of them exceed the limit."""
    space = published_space("spinenet-49")
    rng = np.random.default_rng(1)
    task = load_task("cpu")
    params = sorted(task.costs(space.decode(space.sample(rng)))["params"] for _ in range(100))
    limit, measured = params[30], list[float]()
    evaluate = ZeroCostTask.evaluate

    def counted(self: ZeroCostTask, spec: Any, seed: int) -> Any:
        measured.append(task.costs(spec)["params"])
        return evaluate(self, spec, seed)

    monkeypatch.setattr(ZeroCostTask, "evaluate", counted)
    words = ["controller=random", "zero_cost.measure=params", "zero_cost.keep=0.2", "executor=in_process"]
    setup = build_setup(compose("search", [*words, "workers=1", f"cost_limits.params={limit}"]))
    for _ in range(12):
        proposal = setup.controller.ask()
        assert task.costs(space.decode(proposal.genotype))["params"] <= limit
    assert len(measured) > 12
    assert max(measured) <= limit
