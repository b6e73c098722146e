"""A command without RUN_DIR takes the run that was started or resumed last, and says so."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.cli.run_folders import RUNS, TRAININGS, NoRunError, pick_run

QUICK = ("task=synthetic", "executor=in_process", "controller=random")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(folder: str, at: float, *names: str) -> Path:
    path = Path(folder)
    path.mkdir(parents=True)
    for name in names:
        (path / name).touch()
        os.utime(path / name, (at, at))
    return path


def test_the_latest_is_the_one_whose_last_session_began_last(capsys: pytest.CaptureFixture[str]) -> None:
    make("runs/2026-01-02", 300, "journal.db", "config.yaml")
    resumed = make("runs/2026-01-01", 100, "journal.db", "config.yaml")
    (resumed / "lock").touch()
    os.utime(resumed / "lock", (400, 400))
    make("runs/notes", 900, "notes.txt")
    training = make("trainings/2026-01-03", 350, "config.yaml")
    assert pick_run(None) == resumed
    assert capsys.readouterr().err == f"the latest run: {resumed}\n"
    os.utime(resumed / "lock", (200, 200))
    assert pick_run(None, (RUNS, TRAININGS)) == training
    assert pick_run(None) == Path("runs/2026-01-02")
    assert pick_run("anything") == Path("anything"), "a name is taken as it is"


def test_of_one_instant_the_later_name_is_taken() -> None:
    for name in ("2026-01-01-000000", "2026-01-01-000000-2"):
        make(f"runs/{name}", 100, "journal.db")
    assert pick_run(None).name == "2026-01-01-000000-2"


@pytest.mark.parametrize("command", ["status", "report", "resume"])
def test_without_any_run_one_line_says_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 2
    error = capsys.readouterr().err
    assert "there is no run in runs/" in error
    assert error.count("\n") == 1
    with pytest.raises(NoRunError, match="name the run folder"):
        pick_run(None)


def test_every_command_of_a_run_takes_the_latest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *QUICK, "trials=3", "run_dir=runs/0"]) == 0
    shutil.copytree("runs/0", "runs/1")
    os.utime("runs/0/lock", (100, 100))
    capsys.readouterr()
    assert main(["status", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["folder"] == str(Path("runs/1"))
    assert err == f"the latest run: {Path('runs/1')}\n"
    assert main(["report"]) == 0
    assert (Path("runs/1") / "report.html").is_file()
    assert main(["trials", "trials.csv"]) == 0
    assert len(list(csv.DictReader(io.StringIO(Path("trials.csv").read_text())))) == 3
    assert main(["resume", "trials=5", "--trust"]) == 0  # It is a copy.
    assert "resuming in runs/1" in capsys.readouterr().out


def test_a_forgotten_file_is_not_taken_for_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    make("runs/a", 100, "journal.db")
    assert main(["trials", "runs/a"]) == 2
    assert "runs/a is a folder; name the FILE too, such as: nas trials runs/a trials.csv" in (
        capsys.readouterr().err
    )
