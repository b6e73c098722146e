"""`nas resume` of a run that was begun elsewhere runs nothing of it unless the user says so."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.cli.trust import TrustError, check_trust
from nas.utils.origin import ORIGIN_FILE, describe_origin, foreign_origin, read_origin, write_origin

QUICK = ("task=synthetic", "executor=in_process", "trials=4", "controller=random")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "run"
    assert main(["search", *QUICK, f"run_dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """A search that was begun in its folder."""
    shutil.copytree(begun, tmp_path / "run")
    change_origin(tmp_path / "run", folder=str(tmp_path / "run"))
    return tmp_path / "run"


def change_origin(run: Path, **changes: Any) -> None:
    with closing(sqlite3.connect(run / "journal.db", isolation_level=None)) as file:
        (text,) = file.execute("SELECT data FROM events WHERE kind = 'session'").fetchone()
        data = json.loads(text)
        data["origin"] |= changes
        file.execute("UPDATE events SET data = ? WHERE kind = 'session'", (json.dumps(data),))


def poison(run: Path, mark: Path) -> None:
    """Makes the settings call a command of the shell."""
    node = "{_target_: torch.utils.collect_env.run, command: 'touch " + str(mark) + "'}"
    lines = (run / "config.yaml").read_text().splitlines()
    (run / "config.yaml").write_text("\n".join([f"space: {node}", *lines[lines.index("task:") :]]))


def test_a_run_of_ones_own_goes_on_without_a_question(run: Path) -> None:
    assert main(["resume", str(run), "trials=6"]) == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"user": 99999}, "by user 99999"),
        ({"host": "elsewhere"}, "on elsewhere"),
        ({"folder": "/home/else/run"}, "in /home/else/run"),
        ({"host": "\x1b[2J"}, r"on '\x1b[2J'"),
        ({"folder": None}, "in None"),
    ],
)
def test_a_run_from_elsewhere_waits_for_trust(
    run: Path,
    tmp_path: Path,
    change: dict[str, Any],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # No terminal: nobody can be asked.
    change_origin(run, **change)
    kept = (run / "config.yaml").read_text()
    poison(run, tmp_path / "executed")
    capsys.readouterr()
    assert main(["resume", str(run), "trials=6"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert told in error
    assert f"nas resume {run} --trust" in error
    assert not (tmp_path / "executed").exists()
    (run / "config.yaml").write_text(kept)
    assert main(["resume", str(run), "--trust", "trials=6"]) == 0
    assert main(["resume", str(run), "trials=7"]) == 0, "it is this user's now"


def test_a_moved_folder_was_begun_elsewhere(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    assert main(["resume", str(tmp_path / "copy")]) == 2
    assert main(["resume", "--trust", str(tmp_path / "copy")]) == 0


def test_a_training_from_elsewhere_waits_for_trust(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "executed"
    folder = tmp_path / "training"
    folder.mkdir()
    node = f"{{_target_: torch.utils.collect_env.run, command: 'touch {mark}'}}"
    (folder / "config.yaml").write_text(f"layout: 2\ntask: {node}\n")
    assert main(["resume", str(folder)]) == 2
    assert "nothing tells who began it" in capsys.readouterr().err
    write_origin(tmp_path)
    (tmp_path / ORIGIN_FILE).rename(folder / ORIGIN_FILE)
    assert main(["resume", str(folder)]) == 2
    assert f"in {tmp_path}" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("content", ["", "[" * 10**5, "7", "null", "x" * 10**5])
def test_a_damaged_record_of_the_origin_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / ORIGIN_FILE).write_text(content)
    assert foreign_origin(read_origin(tmp_path), tmp_path) == "nothing tells who began it"


def test_what_was_begun_here_is_not_foreign(tmp_path: Path) -> None:
    write_origin(tmp_path)
    assert foreign_origin(read_origin(tmp_path), tmp_path) == ""
    (tmp_path / "link").symlink_to(tmp_path)
    assert foreign_origin(describe_origin(tmp_path), tmp_path / "link") == ""


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False), ("", False)])
def test_on_a_terminal_the_user_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, goes_on: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", Terminal())
    if goes_on:
        check_trust(tmp_path, None, trusted=False)
    else:
        with pytest.raises(TrustError, match="was not begun here"):
            check_trust(tmp_path, None, trusted=False)
    assert "Go on? [y/N]" in sys.stderr.getvalue()  # type: ignore[union-attr]


def test_a_folder_of_configurations_may_hold_no_bomb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["a0: &a0 x", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    assert main(["search", "--config-dir", str(tmp_path), "--config-name", "mine"]) == 2
    error = capsys.readouterr().err
    assert "mine.yaml: line 7: it stands for over 100,000 values" in error
    assert len(error.splitlines()) == 1
