"""The commands on odd machines: any locale, no home, any path, a clock that is set, a disk that is full."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas.cli.main import main
from nas.journal.reading import read_events
from nas.journal.store import open_journal
from nas.journal.trials import Trials
from tests.proxy_tasks.small_data import box, entry, write_set

QUICK = ["task=synthetic", "executor=in_process", "workers=1", "controller=random"]
ODD = "a%20b#c?d=e&f+g;h,[i]{j}'k'\"l\" m~n:o@p*q\\r|ü\n"
"""A name with every character that means something in an address, a glob, a shell or Hydra's grammar."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and a cache, for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class AsciiTerminal(io.TextIOWrapper):
    """A stream of a locale that knows few letters."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii", write_through=True)

    def shown(self) -> bytes:
        self.seek(0)
        return bytes(self.buffer.read())


def use_ascii_terminal(monkeypatch: pytest.MonkeyPatch) -> AsciiTerminal:
    """Standard output and error of that locale."""
    terminal = AsciiTerminal()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, terminal)
    return terminal


def make_oddly_named_set(root: Path) -> None:
    """A set whose classes are called after a German word and half an emoji."""
    for split in ("train", "val"):
        boxes = [box(i, i, [2, 2, 20, 20]) for i in (1, 2)]
        write_set(root, [entry(1), entry(2)], boxes, split)
        file = root / "annotations" / f"instances_{split}.json"
        data = json.loads(file.read_text(encoding="utf-8"))
        for category, name in zip(data["categories"], ("Größe", "half \ud83d"), strict=True):
            category["name"] = name
        file.write_text(json.dumps(data), encoding="utf-8")


def counts(folder: Path) -> dict[str, int]:
    trials = Trials()
    for event in read_events(folder):
        trials.apply(event)
    return {status: count for status, count in trials.counts.items() if count}


@pytest.mark.parametrize("text", ["データがありません", "bild\\udce4.jpg", "half \\ud83d"])
def test_a_message_that_the_terminal_cannot_show_ends_no_search(
    text: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = use_ascii_terminal(monkeypatch)
    (here / "odd_words.py").write_text(
        f'class Fails:\n    def evaluate(self, spec):\n        raise ValueError("{text}")\n', encoding="utf-8"
    )
    words = ["task._target_=odd_words.Fails", "search.max_failures=1", "trials=12", "run_dir=run"]
    assert main(["search", *QUICK[1:], *words]) == 1  # No trial has a score.
    sys.modules.pop("odd_words")
    assert counts(here / "run") == {"failed": 12}
    shown = text.encode("ascii", "backslashreplace")
    assert shown in terminal.shown()


def test_names_of_files_that_the_terminal_cannot_show(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_ascii_terminal(monkeypatch)
    write_set(here / "set", [entry(1)], [box(1, 1, [2, 2, 20, 20])], "val")
    missing = {**entry(2), "file_name": "Größe.png"}
    write_set(here / "set", [entry(1), missing], [box(1, 1, [2, 2, 20, 20]), box(2, 2, [2, 2, 20, 20])])
    (here / "set" / "images" / "train" / "Größe.png").unlink()
    assert main(["data", "check", "set"]) == 1
    shown = terminal.shown()
    assert b"Gr\\xf6\\xdfe.png" in shown
    assert b"val: 1 image" in shown  # It comes to its end.


@pytest.mark.slow
def test_a_training_writes_names_of_classes_that_are_no_text(here: Path) -> None:
    make_oddly_named_set(here / "set")
    words = ["task.data.root=set", "task.train.image_size=64", "task.train.steps=2", "task.train.batch=2"]
    assert main(["train", *words, "run_dir=run", "task.train.warm_up=0"]) == 0
    assert "half \\ud83d" in (here / "run" / "card.md").read_text(encoding="utf-8")


def test_starts_in_one_second_have_folders_of_their_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "2026-01-01-000000")
    for seed in range(3):
        assert main(["search", *QUICK, "trials=2", f"seed={seed}"]) == 0
    assert sorted(path.name for path in (here / "runs").iterdir()) == [
        "2026-01-01-000000",
        "2026-01-01-000000-2",
        "2026-01-01-000000-3",
    ]


def test_what_is_refused_leaves_no_folder(here: Path) -> None:
    assert main(["search", *QUICK, "task.noise=-1"]) == 2
    assert main(["search", *QUICK, "tracker=mlflow", "trials=1"]) in (0, 2)
    assert main(["train", "spec=no-such-spec"]) == 2
    assert not [path for path in here.rglob("*") if path.is_dir() and not list(path.iterdir())]


def test_a_path_is_kept_as_it_was_meant(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "table.csv").write_text("genotype,reward\n", encoding="utf-8")
    (here / "notes").mkdir()
    (here / "own_paths.py").write_text(
        "from pathlib import Path\n\n\n"
        "class Reads:\n"
        "    def __init__(self, file: Path, more: list[Path] = (), plain='plain.txt', later=Path('notes')):\n"
        "        self.files, self.plain, self.later = [file, *more], plain, later\n\n"
        "    def evaluate(self, spec):\n"
        "        assert all(Path(file).is_absolute() for file in self.files)\n"
        "        assert Path(self.later).is_dir()\n"
        "        return float(sum(len(Path(file).read_text()) for file in (self.plain, *self.files)))\n",
        encoding="utf-8",
    )
    for name in ("a.txt", "b.txt", "plain.txt"):
        (here / name).write_text(name, encoding="utf-8")
    task = ["task._target_=own_paths.Reads", "task.file=a.txt", "task.more=[b.txt]"]
    assert main(["search", *QUICK[1:], *task, "trials=1", "run_dir=run"]) == 0
    kept = OmegaConf.load(here / "run" / "config.yaml")
    assert kept.run_dir == str(here / "run")
    assert kept.task.file == str(here / "a.txt")
    assert kept.task.more == [str(here / "b.txt")]
    assert kept.task.later == str(here / "notes")
    monkeypatch.chdir("/")
    assert main(["resume", str(here / "run"), "trials=3"]) == 0
    sys.modules.pop("own_paths")
    assert counts(here / "run")["completed"] + counts(here / "run").get("cached", 0) == 3


def test_the_paths_of_data_are_absolute_in_the_configuration(here: Path) -> None:
    from nas.config import compose

    config = compose("search", ["task.data.root=set", 'task.data.cache="~/packs"'])
    assert config.task.data.root == str(here / "set")
    assert config.task.data.cache == str(Path.home() / "packs")
    config = compose("search", ["task=classification", "task.data.root=set"])
    assert config.task.data.root == str(here / "set")
    config = compose("search", ["task=table", "task.path=t.csv"])
    assert config.task.path == str(here / "t.csv")
    (here / "mine.json").touch()
    config = compose("train", ["spec=mine.json", "weights=w.safetensors"])
    assert (config.spec, config.weights) == (str(here / "mine.json"), str(here / "w.safetensors"))
    assert compose("train", ["spec=spinenet-49"]).spec == "spinenet-49"


def test_any_characters_in_a_path(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import optuna

    from nas.reporting.trial_table import study_address

    folder = here / ODD / "run"
    config = "run_dir: " + json.dumps(str(folder)) + "\ndefaults: [search, _self_]\n"
    (here / "own").mkdir()
    (here / "own" / "odd.yaml").write_text(config, encoding="utf-8")
    assert main(["search", "--config-dir", "own", "--config-name", "odd", *QUICK, "trials=3"]) == 0
    assert main(["status", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    for name in ("trials.csv", "study.db", "study.log"):
        assert main(["trials", str(folder), str(folder / name)]) == 0
        assert (folder / name).is_file()
    study = optuna.load_study(study_name="run", storage=study_address(folder / "study.db"))
    assert len(study.trials) == 3
    assert main(["resume", str(folder), "trials=4"]) == 0
    assert {path.name for path in here.iterdir()} == {ODD, "own"}


def test_a_package_in_a_folder_with_special_characters_finds_its_presets(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from nas import config_folder
    from nas.config import compose

    place = here / ODD / "configs"
    shutil.copytree(config_folder(), place)
    monkeypatch.setattr("nas.config.composition.config_folder", lambda: place)
    (here / "own").mkdir()
    (here / "own" / "mine.yaml").write_text("defaults: [search, _self_]\ntrials: 7\n", encoding="utf-8")
    assert compose("mine", ["task=synthetic"], here / "own").trials == 7


def test_a_start_that_was_cut_off_can_be_begun_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = open_journal(here / "run", create=True)
    journal.write("session", None, {"workers": 1, "cwd": str(here)})
    journal.close()  # As a kill before config.yaml leaves it.
    assert main(["resume", "run"]) == 2
    assert "its start was cut off before the first trial; start it again" in capsys.readouterr().err
    assert main(["search", *QUICK, "trials=2", "run_dir=run"]) == 0
    assert counts(here / "run") == {"completed": 2}


@pytest.mark.parametrize(("word", "unbuffered"), [("--help", ""), ("spaces", ""), ("spaces", "1")])
def test_output_on_a_full_disk_is_one_line(here: Path, word: str, unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        found = subprocess.run(
            [sys.executable, "-m", "nas", word],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert found.returncode == 1
    assert found.stderr.decode().splitlines() == ["nas: No space left on device"]


def test_a_working_folder_that_is_gone_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = here / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        assert main(["search", "task=synthetic"]) in (1, 2)
        assert "the working folder has been removed; change to another one" in capsys.readouterr().err
    finally:
        os.chdir(here)


def test_a_traceback_that_cannot_be_kept_is_no_second_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise AttributeError("a fault of ours")

    monkeypatch.setattr("nas.cli.plugins.list_plugins", fail)
    monkeypatch.setattr("tempfile.tempdir", str(here / "no" / "such"))
    assert main(["tasks"]) == 1
    lost = "its traceback is lost, as the temporary folder cannot be written"
    assert capsys.readouterr().err.splitlines() == [f"nas: AttributeError: a fault of ours; {lost}"]
