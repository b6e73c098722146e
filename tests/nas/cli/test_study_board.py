"""What `nas judge` and `nas versus` say of their trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.analysis.trainings import StudyTraining
from nas.cli.main import main
from nas.cli.study_board import TrainingsBoard
from nas.executors.job import JobResult
from nas.utils.files import locked_folder
from proxy_tasks.synthetic import SyntheticTask
from proxy_tasks.task import Score

JUDGE = ("judge", "task=synthetic", "executor=in_process", "specs=4", "seeds=1", "reference=2", "out=out")


def training(number: int, fidelity: float = 1.0) -> StudyTraining:
    return StudyTraining(label=f"spec {number}", spec=None, fidelity=fidelity, seed=number)


def ended(seconds: float) -> JobResult:
    return JobResult(0, 0, "completed", score=Score(0.25), seconds=seconds)


@pytest.mark.parametrize(
    ("fidelities", "workers", "told"),
    [
        ([1.0] * 4, 2, "a training takes about 1.7 min: 4 trainings take about 3.3 min"),
        ([1.0] * 5, 2, "a training takes about 1.7 min: 5 trainings take about 5.0 min"),
        ([1.0], 2, "a training takes about 1.7 min: 1 training takes about 1.7 min"),
        ([0.5, 2.0] * 3, 1, "the first training takes about 1.7 min: 6 trainings take about 25.0 min"),
        ([0.5, 4.0], 2, "the first training takes about 1.7 min: 2 trainings take about 13.3 min"),
    ],
)
def test_the_first_training_tells_how_long_all_take(
    tmp_path: Path, fidelities: list[float], workers: int, told: str
) -> None:
    said: list[str] = []
    wanted = [training(i, fidelity) for i, fidelity in enumerate(fidelities)]
    with TrainingsBoard(said.append, tmp_path, workers) as board:
        board.start(wanted, len(wanted))
        board.end(wanted[0], ended(100.0), 1, len(wanted))
    assert said == [told, f"spec 0: 0.2500, 1.7 min, 1 of {len(wanted)}"]


def test_a_longer_training_that_ends_first_tells_the_same(tmp_path: Path) -> None:
    said: list[str] = []
    wanted = [training(0, 0.5), training(1, 2.0)]
    with TrainingsBoard(said.append, tmp_path, 2) as board:
        board.start(wanted, 2)
        board.end(wanted[1], ended(400.0), 1, 2)
    assert said[0] == "the first training takes about 1.7 min: 2 trainings take about 6.7 min"


def test_a_study_tells_every_training_and_what_is_there_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluate = SyntheticTask.evaluate
    calls = 0

    def cut(*arguments: Any) -> Score:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(SyntheticTask, "evaluate", cut)
    assert main(JUDGE) == 130
    out, err = capsys.readouterr()
    assert "spec 0, fidelity 1, seed 0: " in out
    assert "5 of 12" in out
    assert "the same command continues with what is missing" in err
    assert main(JUDGE) == 0
    out, _ = capsys.readouterr()
    assert "5 of 12 trainings are in out already" in out
    assert "neighbor of spec 3, fidelity 1, seed 0: " in out
    assert "12 of 12" in out
    assert calls == 13
    with locked_folder(tmp_path / "out"):
        assert main(JUDGE) == 2
    assert "out is in use" in capsys.readouterr().err


def test_a_study_with_failures_says_so_and_gives_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*JUDGE, "specs=12", "task.failing=0.3"]) == 1
    out, err = capsys.readouterr()
    failed = out.count(": failed: ")
    assert failed > 1
    assert f"nas: {failed} trainings failed, and the same command tries them again; " in err
    assert json.loads(Path("out/judgement.json").read_text())["failed"] == failed


def test_two_comparisons_of_controllers_in_one_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    with locked_folder(Path("out")):
        assert main(["compare", "controllers=[random]", "seeds=2", "trials=3", "out=out"]) == 2
    assert "out is in use" in capsys.readouterr().err
    assert not Path("out/searches.jsonl").exists()
