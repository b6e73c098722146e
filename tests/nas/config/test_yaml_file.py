"""Files of settings: nested or dotted keys, words that change them, errors with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.cli.main import main
from nas.config import ConfigError, build_root, compose
from nas.config.yaml_file import read_tree
from nas.search.settings import SearchSettings

QUICK = "task: synthetic\nexecutor: in_process\ncontroller: random\ntrials: 2\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_keys_are_nested_or_dotted_and_words_change_them(folder: Path) -> None:
    (folder / "a.yaml").write_text(
        f"{QUICK}task.noise: 0.5\nsearch:\n  retries: 1\n  finalists: 2\nobjective: {{maximize: [reward]}}\n"
        "cost_limits: {macs: 1e8}\nrun_dir: 2026\n"
    )
    (folder / "b.yml").write_text("\ufefftrials: 4\npruner: median\n")
    config = compose("search", ["a.yaml", "b.yml", "search.retries=0"])
    assert (config.trials, config.task.noise, config.run_dir) == (4, 0.5, "2026")
    assert (config.search.retries, config.search.finalists, config.cost_limits.macs) == (0, 2, 1e8)
    assert config.pruner.n_startup_trials == 8
    assert compose("search", ["b.yml", "a.yaml"]).trials == 2
    assert compose("search", ["a.yaml", "task._target_=proxy_tasks.SyntheticTask"]).task.noise == 0.5


def test_a_file_without_settings_changes_nothing(folder: Path) -> None:
    for text in ("", "# nothing\n", "---\n", "task: {}\n"):
        (folder / "a.yaml").write_text(text)
        assert compose("search", ["a.yaml"]) == compose("search")


def test_a_search_runs_from_a_file_and_from_its_own_record(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.yaml").write_text(QUICK)
    assert main(["search", "mine.yaml", "trials=3", "run_dir=first-run"]) == 0
    assert "3 completed" in capsys.readouterr().out
    assert main(["search", "first-run/config.yaml"]) == 2
    assert "already holds a search" in capsys.readouterr().err
    assert main(["search", "first-run/config.yaml", "run_dir=other-run"]) == 0
    first, second = ((folder / run / "config.yaml").read_text() for run in ("first-run", "other-run"))
    assert first.replace("first-run", "other-run") == second


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trails: 3\n", "line 1: trails: no such key; did you mean trials?"),
        (
            f"{QUICK}\nsearch:\n  finalist: 3\n",
            "line 7: search.finalist: no such key; did you mean finalists?",
        ),
        (f"{QUICK}task.noise: loud\n", "line 5: task.noise must be a number"),
        ("controller: evoltion\n", "line 1: controller=evoltion: no such preset; did you mean"),
        ("seed: -1\n", "line 1: seed must be a whole number of at least 0, not -1"),
        ("task: null\n", "line 1: task: needs a value"),
        ("controller: [a]\n", "line 1: controller must name a preset or hold settings"),
        ("zero_cost: 5\n", "line 1: zero_cost must be a mapping of settings"),
        ("trials: 3\nworkers: 1\ntrials: 4\n", "line 3: trials is in line 1 already"),
        ("defaults: [search]\n", "line 1: defaults: a file of settings names a preset by its group"),
        ("- trials\n", "settings are lines of KEY: VALUE"),
        ("trials\n", "settings are lines of KEY: VALUE"),
        ("trials: [1\n", "line "),
        ("trials: 1\n\tseed: 2\n", "line 2: "),
        ("a: &a [*a]\n", "line 1: the alias *a stands for what it is a part of"),
        ("a: !!python/object/apply:os.system [touch x]\n", "line 1: could not determine a constructor"),
        ("[a]: 1\n", "line 1: a key is a name"),
        ("_target_: os.system\n", "line 1: _target_: these settings are nas.SearchSettings, not os.system"),
        (b"\xff\xfe\x00", "a.yaml: "),
        ("a: " + "[" * 5000, "it is nested too deeply"),
        ("a: " + "9" * 5000, "a.yaml: "),
        ("x" * (2**20 + 1), "the file is over 1 MiB"),
        ("a:\n- &a {b: 1}\n- [*a, {c: 1, c: 2}]\n", "line 3: c is in line 3 already"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_key(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, told: str
) -> None:
    (folder / "a.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["search", "a.yaml"]) == 2
    error = capsys.readouterr().err
    assert "a.yaml" in error
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["a.yaml"]


def test_a_wrong_word_after_a_file_is_not_the_files_fault(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.yaml").write_text(QUICK)
    assert main(["search", "a.yaml", "trials=0"]) == 2
    error = capsys.readouterr().err
    assert "a.yaml" not in error
    assert "trials must be" in error
    assert main(["search", "absent.yaml"]) == 2
    assert "absent.yaml: no such file" in capsys.readouterr().err
    (folder / "folder.yaml").mkdir()
    assert main(["search", "folder.yaml"]) == 2
    assert "folder.yaml: is no file" in capsys.readouterr().err


def test_a_few_bytes_do_not_become_billions_of_values(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (folder / "a.yaml").write_text("\n".join(lines))
    for read in (read_tree, lambda path: compose("search", [str(path)])):
        with pytest.raises(ConfigError, match="line 5: it stands for over 100,000 values"):
            read(folder / "a.yaml")


def test_numbers_are_those_of_the_command_line(folder: Path) -> None:
    (folder / "a.yaml").write_text("a: 1e3\nb: 2026-01-01\nc: 0.5\nd: 1_000\ne: on\nf: ~\ng: 1e\n")
    assert read_tree(folder / "a.yaml") == {
        **{"a": 1000.0, "b": "2026-01-01", "c": 0.5, "d": 1000, "e": True, "f": None, "g": "1e"}
    }


def test_values_of_a_file_are_those_of_the_command_line(folder: Path) -> None:
    """YAML 1.1 has other numbers, such as 90 for 1:30."""
    (folder / "a.yaml").write_text(
        "trials: 1_000\nwall_time: 1e3\nrun_dir: 007\ntask: {noise: .5}\nspace: r0-sp53\n"
    )
    config = compose("search", ["a.yaml", "task=synthetic"])
    assert (config.trials, config.wall_time, config.run_dir, config.task.noise) == (1000, 1000.0, "007", 0.5)
    assert compose("search", ["trials=1_000"]).trials == 1000
    (folder / "a.yaml").write_text("wall_time: 1:30\n")
    for words in (["a.yaml"], ["wall_time=1:30"]):
        with pytest.raises(ConfigError, match="wall_time must be a number above 0 or null, not '1:30'"):
            build_root(compose("search", words), SearchSettings)


def test_words_of_a_command_stay_as_they_are_written(folder: Path) -> None:
    words = "python, t.py, '{spec}', --id, 007, --bits, 0x10, --n, 3, --at, 1:30"
    (folder / "a.yaml").write_text(f"task: {{command: [{words}]}}\n")
    command = compose("search", ["task=script", "a.yaml"]).task.command
    assert list(map(str, command))[3:] == ["--id", "007", "--bits", "0x10", "--n", "3", "--at", "1:30"]
