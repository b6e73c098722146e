"""`nas status`: of searches and trainings, while they run, after a kill and at the end."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.cli.status.search import SearchReader
from nas.cli.status.watch import OF_THE_MOMENT
from nas.executors.job import CHECKPOINT
from nas.journal import reading
from nas.journal.event import Event
from nas.journal.reading import read_events
from nas.journal.store import SqliteJournal, open_journal
from nas.utils.files import locked_folder
from proxy_tasks.engine.progress import Progress, write_progress

NOTE = Progress(
    step=3, steps=12, loss=2.5, learning_rate=0.1, images_per_second=9.0, seconds=40.0, seconds_left=5.0
)
ASKED = {"genotype": [0], "seed": 1, "fidelity": 1.0, "spec": "{}"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """Of a search that runs: trial 0 is over, trial 1 runs, and has reported."""
    with contextlib.closing(open_journal(tmp_path / "run", create=True)) as found:
        found.write("session", None, {"workers": 2})
        for number in range(2):
            found.write("asked", number, {"proposal": number, "key": str(number), **ASKED})
            found.write("submitted", number, {"attempt": 0})
        found.write("reported", 1, {"step": 2, "reward": 0.25, "metrics": {}})
        end(found, 0)
        yield found


def end(journal: SqliteJournal, trial: int) -> None:
    score = {"status": "completed", "rewards": [0.5], "reward": 0.5, "metrics": {"AP": 0.5}}
    about = {"retry": False, "attempt": 0, "failure": "", "pruner_attrs": {}, "message": "", "worker": "w"}
    journal.write("ended", trial, {**score, **about, "seconds": 1.0})


def asked_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["status", str(folder), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def shift_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("nas.cli.status.status.time", lambda: time.time() + seconds)


def test_a_search_that_runs_tells_what_runs(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = journal.folder
    (folder / "trials" / "1" / CHECKPOINT).mkdir(parents=True)
    write_progress(folder / "trials" / "1" / CHECKPOINT, NOTE)
    found = asked_of(folder, capsys)
    assert (found["kind"], found["alive"], found["finished"]) == ("search", True, False)
    (row,) = found["running"]
    assert (row["name"], row["step"], row["steps"], row["loss"]) == ("trial 1", 3, 12, 2.5)
    assert row["report"] == {"step": 2, "reward": 0.25}
    assert main(["status", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "running after" in shown
    assert "trial 1: step 3/12, loss 2.5000, 9.0 images/s, 5 s left, reward 0.2500 at step 2" in shown
    assert "resume" not in shown


def test_a_search_on_many_machines_tells_which_work(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    aside = [{"node": f"n{i}", "gpus": [], "seconds": 60.0, "why": "no disk"} for i in range(7)]
    groups = [{"node": "a", "device": "NVIDIA H100", "count": 8}]
    journal.write("workers", None, {"workers": groups, "aside": aside})
    assert asked_of(journal.folder, capsys)["workers"] == {
        "wanted": 2,
        "ready": 8,
        "workers": groups,
        "aside": aside,
    }
    assert main(["status", str(journal.folder)]) == 0
    shown = capsys.readouterr().out
    assert "workers: 8 of 2 (8 NVIDIA H100 on 1 machine), " in shown
    assert "set aside for 60 s: n4: no disk\n2 more are set aside\n" in shown
    from nas.reporting.html_report import write_report

    page = write_report(journal.folder, None).read_text()
    assert "Machines" in page
    assert "NVIDIA H100" in page
    assert "n6" in page


def test_elapsed_time_is_that_of_the_clock_while_a_search_runs(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asked_of(journal.folder, capsys)["seconds"]
    shift_clock(monkeypatch, 3600)
    later = asked_of(journal.folder, capsys)
    assert later["seconds"] >= before + 3600, "a trial of an hour has written no event"
    assert later["running"][0]["seconds"] >= 3600


def test_a_clock_that_is_set_back_gives_no_time_below_zero(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shift_clock(monkeypatch, -86_400)
    found = asked_of(journal.folder, capsys)
    assert 0 <= found["seconds"] < 3600
    assert found["running"][0]["seconds"] == 0


def test_a_search_that_was_cut_off_runs_nothing_and_its_time_stands_still(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.close()
    assert main(["status", str(journal.folder)]) == 0
    assert "nas resume" not in capsys.readouterr().out, "there are no settings with which a command continues"
    (journal.folder / "config.yaml").touch()
    shift_clock(monkeypatch, 3600)
    found = asked_of(journal.folder, capsys)
    assert (found["alive"], found["running"]) == (False, [])
    assert found["seconds"] < 3600
    assert main(["status", str(journal.folder)]) == 0
    assert f"to continue: nas resume {journal.folder}" in capsys.readouterr().out


def test_a_watch_reads_each_event_once_and_begins_anew_with_another_journal(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted_events(folder: Path, after: int = 0) -> list[Event]:
        found = read_events(folder, after)
        read.append(len(found))
        return found

    monkeypatch.setattr("nas.journal.reading.read_events", counted_events)
    reader = SearchReader(journal.folder)
    before = reader.read().data
    assert reader.read().data["trials"] == before["trials"] == {**before["trials"], "running": 1}
    end(journal, 1)
    found, anew = reader.read().data, SearchReader(journal.folder).read().data
    changing = dict.fromkeys((*OF_THE_MOMENT, "seconds_left"))
    assert {**found, **changing} == {**anew, **changing}
    assert read == [7, 2, 8], "nothing that is unchanged, and of those read before the last alone"
    journal.close()
    for file in journal.folder.glob("journal.db*"):
        file.unlink()
    with contextlib.closing(open_journal(journal.folder, create=True)) as other:
        other.write("session", None, {"workers": 1})
        assert reader.read().data["asked"] == 0


def test_on_a_network_disk_a_journal_is_copied_and_checked_once_for_each_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    for module in ("reading", "store"):
        monkeypatch.setattr(f"nas.journal.{module}.is_on_network", lambda _: True)
    for name in ("_copy", "_check_integrity"):
        monkeypatch.setattr(reading, name, _counted(getattr(reading, name), calls))
    with contextlib.closing(open_journal(tmp_path / "run", create=True)) as journal:
        journal.write("session", None, {"workers": 2})
        reader = SearchReader(tmp_path / "run")
        for events in range(3):
            for _ in range(3):
                assert reader.read().data["asked"] == events
            assert calls == {"_copy": events + 1, "_check_integrity": events + 1}
            before = journal.path.stat()
            journal.write("asked", events, {"proposal": events, "key": str(events), **ASKED})
            assert journal.path.stat().st_size == before.st_size
            # A disk whose clock has not gone on meanwhile.
            os.utime(journal.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not reader.read().data["alive"], "it is looked at once more when its writer has ended"
    assert calls == {"_copy": 4, "_check_integrity": 4}


def _counted(function: Callable[..., Any], calls: Counter[str]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        calls[function.__name__] += 1
        return function(*args)

    return call


def test_the_share_of_the_budget_and_the_time_left_are_told(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    (journal.folder / "config.yaml").write_text("task:\n  trials: 3\ntrials: 400002\n")
    found = asked_of(journal.folder, capsys)
    assert found["budget"] == 400_002
    assert 199_000 < found["seconds_left"] <= 200_001, "a second for each trial, on two workers"
    assert main(["status", str(journal.folder)]) == 0
    shown = capsys.readouterr().out
    assert "h left\n2 of 400002 trials: 1 running, 1 completed" in shown
    journal.close()
    found = asked_of(journal.folder, capsys)
    assert (found["budget"], found["seconds_left"]) == (400_002, None)
    assert main(["status", str(journal.folder)]) == 0
    assert "2 of 400002 trials: 1 interrupted, 1 completed" in capsys.readouterr().out


def test_a_resume_of_what_runs_is_refused_at_once(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(journal.folder)]) == 2
    told = capsys.readouterr()
    assert "is in use by another search or training (process" in told.err
    assert f"nas status {journal.folder} shows how far it is" in told.err
    assert told.out == ""


@pytest.mark.parametrize("command", ["status", "report", "trials", "resume"])
@pytest.mark.parametrize(("name", "told"), [("absent", "absent: no such folder"), (".", "holds no search")])
def test_a_folder_without_a_search_is_told_from_one_that_is_not_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, name, *(["trials.csv"] if command == "trials" else [])]) == 2
    assert told in capsys.readouterr().err


def on_sleep(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Does a step at each sleep of a watch."""
    left = list(steps)
    monkeypatch.setattr("nas.cli.status.watch.sleep", lambda _: left.pop(0)())


@pytest.mark.parametrize("as_json", [False, True])
def test_a_watch_follows_a_search_to_its_end(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    on_sleep(monkeypatch, lambda: None, lambda: end(journal, 1), journal.close)
    words = ["status", str(journal.folder), "--watch", *(["--json"] if as_json else [])]
    assert main(words) == 0
    out = capsys.readouterr().out
    if as_json:
        found = [json.loads(line) for line in out.splitlines()]
        assert [entry["trials"]["completed"] for entry in found] == [1, 2, 2], (
            "what is unchanged is not repeated"
        )
        assert [entry["alive"] for entry in found] == [True, True, False]
    else:
        assert out.count("\n2 trials: ") == 3
        assert "stopped after" in out


def test_a_watch_ends_with_ctrl_c(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    on_sleep(monkeypatch, interrupt)
    assert main(["status", str(journal.folder), "--watch"]) == 0


def make_training(folder: Path, metrics: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text("spec: spinenet-49\n")
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_a_training_that_runs_tells_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {
        "finished": False,
        "seconds": 30.0,
        "evaluations": {"2": {"reward": 0.2, "AP50": 0.4, "AP75": None}},
    }
    folder = make_training(tmp_path / "t", metrics)
    with locked_folder(folder):
        write_progress(folder, NOTE)
        found = asked_of(folder, capsys)
        assert (found["kind"], found["step"], found["steps"], found["alive"]) == ("training", 3, 12, True)
        assert found["best"]["reward"] == 0.2
        assert found["running"][0]["loss"] == 2.5
        assert 40 <= found["seconds"] < 3600
        shift_clock(monkeypatch, 3600)
        assert asked_of(folder, capsys)["seconds"] >= 3640, "an evaluation of an hour has written no note"
        assert main(["status", str(folder)]) == 0
        shown = capsys.readouterr().out
        assert "training, running after" in shown
        assert "training: step 3/12, loss 2.5000, 9.0 images/s, 5 s left" in shown
        assert "best: step 2, reward 0.2000 (AP50 0.4)" in shown
    stopped = asked_of(folder, capsys)
    assert (stopped["alive"], stopped["running"], stopped["seconds"]) == (False, [], 40.0)
    assert main(["status", str(folder)]) == 0
    assert f"to continue: nas resume {folder}" in capsys.readouterr().out


def test_a_training_that_has_just_begun_and_one_that_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = make_training(tmp_path / "begun")
    assert asked_of(begun, capsys) | {"seconds": 0} == {
        "kind": "training",
        "folder": str(begun),
        "step": 0,
        "steps": None,
        "running": [],
        "best": None,
        "evaluations": 0,
        "finished": False,
        "alive": False,
        "seconds": 0,
    }
    metrics = {"finished": True, "seconds": 7200.0, "evaluations": {"12": {"reward": 0.5}}}
    over = make_training(tmp_path / "over", metrics)
    assert asked_of(over, capsys)["seconds"] == 7200.0
    assert main(["status", str(over)]) == 0
    shown = capsys.readouterr().out
    assert "training, finished after 2.0 h, step 12" in shown
    assert str(over / "best.safetensors") in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"finished": false, "seconds": "long", "evaluations": {}}',
        '{"finished": false, "seconds": 1, "evaluations": {"x": {"reward": 1}}}',
        '{"finished": false, "seconds": 1, "evaluations": {"1": {"AP": 1}}}',
        '{"finished": false, "seconds": 1, "evaluations": {"1": 7}}',
        '{"finished": false, "seconds": 1, "evaluations": {"1": {"reward": "high"}}}',
        "[" * 10_000,
    ],
)
def test_damaged_metrics_are_told_with_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    folder = make_training(tmp_path / "t")
    (folder / "metrics.json").write_text(text)
    assert main(["status", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "metrics.json is damaged" in error
    assert error.count("\n") == 1
