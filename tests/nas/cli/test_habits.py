"""Completion, colors, exports of a search: what makes the command pleasant."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.reporting.trial_table import trial_rows
from nas.utils.terminal import paint
from search_space import published_space

TASK = ["task=synthetic", "executor=in_process", "workers=1"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of keys for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def completed(line: str, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    assert main(["complete", *more, line]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("nas ", ["search", "spec", "train"], ["complete"]),
        ("nas se", ["search"], ["spec"]),
        ("nas spec ", ["show", "check", "draw", "cost"], ["--help"]),
        ("nas spec cost ", ["spinenet-49", "--head", "retinanet"], []),
        ("nas search ", ["controller=", "trials=", "task=", "task.", "search.", "experiment="], ["layout="]),
        ("nas search task=synthetic task.", ["task.noise=", "task.reports="], ["task.train."]),
        ("nas search task=synthetic search.fin", ["search.finalists="], ["trials="]),
        ("nas search task=synthetic tracker=", ["mlflow", "wandb"], []),
        ("nas search task=synthetic task=no_such task.", [], ["task.noise="]),
        ("nas search tri", ["trials="], ["task="]),
        ("nas search controller=", ["ppo", "evolution", "nsga2"], ["spinenet-49"]),
        ("nas search trials=9 space=r", ["r0-sp53", "r35-sp18"], ["spinenet-49"]),
        ("nas train spec=", ["spinenet-49", "r50-fpn"], []),
        ("nas compare cont", ["controllers="], []),
        ("nas completion ", ["bash", "zsh", "fish"], []),
        ("nas nonsense ", [], ["search"]),
        ("nas search task=cpu task.train.aug", ["task.train.augmentation."], ["task.train.batch="]),
        ("nas search task=cpu task.train.augmentation.", ["task.train.augmentation.low="], []),
        ("nas search task=cpu task.data.shapes.", ["task.data.shapes.train="], []),
        ("nas search task=cpu task.head=", ["fcos", "mask-rcnn"], ["cpu"]),
        ("nas search task=cpu task.head=fcos task.head.", ["task.head.reach="], ["task.head.anchors."]),
        ("nas search +task=synthetic +task.no", ["+task.noise="], []),
        ("nas search ~pru", ["~pruner="], []),
        ("nas search --", ["--cfg", "--help", "--multirun"], ["trials="]),
        ("nas correlate spe", ["specs="], []),
        ("nas resume runs/one tri", ["trials="], []),
        ("nas data ", ["check", "shapes", "prepare"], []),
        ("nas data check --sp", ["--split"], []),
        ("nas export m --format ", ["onnx", "torch"], []),
    ],
)
def test_words_are_completed(
    line: str, wanted: list[str], unwanted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = completed(line, capsys)
    assert set(wanted) <= set(found)
    assert not set(unwanted) & set(found)


def test_keys_follow_a_file_of_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("task: synthetic\n")
    assert completed("nas search mine.yaml task.fai", capsys) == ["task.failing="]
    (tmp_path / "mine.yaml").write_text("task: table\n")
    os.utime(tmp_path / "mine.yaml", (1, 1))
    assert completed("nas search mine.yaml task.fai", capsys) == []


def test_fish_gets_whole_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert completed("nas search controller=pp", capsys, "--whole") == ["controller=ppo"]


def test_keys_are_kept_for_the_next_time(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "nas search task=synthetic task.no"
    assert completed(line, capsys, "--whole") == ["task.noise="]
    (kept,) = (cache / "spinenas" / "completion").iterdir()
    kept.write_text(json.dumps({"task.nothing": []}))
    assert completed(line, capsys, "--whole") == ["task.nothing="]
    kept.write_text("damaged")
    assert completed(line, capsys, "--whole") == ["task.noise="]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(tmp_path: Path) -> None:
    """The script in a real bash, asked as readline would ask."""
    script = (
        'eval "$(nas completion bash)"; COMP_LINE="nas search controller=pp"; COMP_POINT=${#COMP_LINE}; '
        'COMP_WORDS=(nas search controller = pp); COMP_CWORD=4; _nas; echo "${COMPREPLY[@]}"; complete -p nas'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert found.stdout.splitlines()[0] == "ppo"
    assert "-F _nas nas" in found.stdout


class Terminal:
    def isatty(self) -> bool:
        return True


def test_colors_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal: Any = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("no", "red", terminal) == "\x1b[31mno\x1b[0m"
    assert paint("no", "", terminal) == "no"
    assert paint("no", "red", sys.stdout) == "no"  # Piped.
    monkeypatch.setenv("TERM", "dumb")
    assert paint("no", "red", terminal) == "no"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("no", "red", terminal) == "no"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with failures, cached and pruned trials."""
    folder = tmp_path_factory.mktemp("search") / "run"
    words = [*TASK, "trials=40", f"run_dir={folder}", "space=r35-sp18", "task.failing=0.2", "task.reports=4"]
    assert main(["search", *words, "pruner=median", "controller=ppo", "controller.deduplicate=false"]) == 0
    return folder


def test_trials_as_csv_json_and_parquet(run: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    for name in ("trials.csv", "trials.json", "trials.parquet"):
        assert main(["trials", str(run), str(tmp_path / name)]) == 0
    rows = json.loads((tmp_path / "trials.json").read_text())
    assert [row["trial"] for row in rows] == list(range(40))
    assert {"completed", "pruned", "failed"} <= {row["status"] for row in rows}
    assert all("infinite" in row["message"] for row in rows if row["status"] == "failed")
    assert json.loads((run / "winners" / "summary.json").read_text())["key"] in {row["key"] for row in rows}
    table = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    columns = parquet.read_table(tmp_path / "trials.parquet").to_pydict()
    for i, row in enumerate(rows):
        assert columns["reward"][i] == row.get("reward")
        assert table[i]["reward"] == ("" if row.get("reward") is None else repr(row["reward"]))
        assert json.loads(table[i]["genotype"]) == row["genotype"]
        assert json.loads(table[i]["spec"])["format"] == "spinenet-spec"


@pytest.mark.parametrize("ending", ["db", "log"])
def test_trials_as_an_optuna_study(ending: str, run: Path, tmp_path: Path) -> None:
    import optuna

    file = tmp_path / f"study.{ending}"
    assert main(["trials", str(run), str(file)]) == 0
    if ending == "db":
        storage: object = f"sqlite:///{file}"
    else:
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="run", storage=storage)  # type: ignore[arg-type]
    rows = trial_rows(run)
    assert len(study.trials) == 40
    states = {"completed": "COMPLETE", "cached": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for trial, row in zip(study.trials, rows, strict=True):
        assert trial.state.name in (states[row["status"]], "FAIL")
        assert trial.user_attrs["key"] == row["key"]
        assert trial.intermediate_values == row["reports"]
    assert study.best_value == max(row["reward"] for row in rows if row["status"] == "completed")
    assert set(study.best_trial.params) == {d.name for d in published_space("r35-sp18").decisions}
    assert main(["trials", str(run), str(file)]) == 2  # It would be mixed.


@pytest.mark.parametrize(
    ("output", "told"),
    [("trials.xls", "the file name must end in one of .csv, .json"), ("no/such/t.csv", "No such file")],
)
def test_wrong_outputs_are_told(
    output: str, told: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trials", str(run), str(tmp_path / output)]) in (1, 2)
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_search_leaves_scalars_and_a_report(run: Path) -> None:
    events = list(run.glob("events.out.tfevents.*"))
    assert len(events) == 1
    data = events[0].read_bytes()
    for name in (b"reward", b"best", b"metrics/AP", b"trials/failed"):
        assert name in data
    assert (run / "report.html").stat().st_size > 10_000
