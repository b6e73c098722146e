"""`nas search` and its kin as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas import config_folder
from nas.__main__ import main
from nas.config import ConfigError, build, compose
from search_space import load_spec

QUICK = ("task=synthetic", "executor=in_process", "trials=6", "controller=random")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["search", *QUICK, "run_dir=run"]) == 0
    return tmp_path / "run"


def test_a_search_leaves_a_winner_that_other_commands_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["search", *QUICK, f"run_dir={run}"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\ntrial ") == 6
    assert "winner: trial" in shown
    assert main(["spec", "check", str(run / "winners" / "best.json")]) == 0
    assert load_spec(run / "winners" / "best.json")
    config = OmegaConf.load(run / "config.yaml")
    assert config.trials == 6


def test_status_tells_what_tools_rely_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == {"completed": 6, "pruned": 0, "failed": 0, "cached": 0, "running": 0}
    assert (found["asked"], found["finished"]) == (6, True)
    assert {"reward", "key", "metrics"} <= set(found["best"])
    assert main(["status", str(run)]) == 0
    assert "finished by budget" in capsys.readouterr().out


@pytest.mark.parametrize("controller", ["evolution", "ppo", "optuna"])
def test_resume_takes_more_trials_whatever_the_controllers_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controller: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["task=synthetic", "executor=in_process", f"controller={controller}"]
    assert main(["search", *words, "trials=14", "run_dir=run"]) == 0
    assert main(["resume", "run", "trials=20"]) == 0
    assert "20 completed" in capsys.readouterr().out


def test_without_a_run_dir_every_search_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert main(["search", *QUICK]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["search", "task=nope"],
            "Could not find 'task/nope'; Available options in 'task':",
        ),
        (["search", "trials=0"], "trials must be a whole number of at least 1, not 0"),
        (["search", "trials=many"], "trials must be a whole number"),
        (["search", "foo=1"], "foo: no such key"),
        (["search", "--foo"], "unknown option --foo; nas search takes KEY=VALUE"),
        (["search", "task.data.root=/absent"], "/absent: no such folder"),
        (["search", "task=paper"], "task.data.root: needs a value"),
        (["search", "rules.max_failures=2"], "max_failures must be above 0 and up to 1"),
        (["search", "rules.lag=1", "task=synthetic"], "2 workers need a lag"),
        (["search", "controller.population=0"], "population"),
        (["resume", "absent"], "absent holds no search"),
        (["status", "absent"], "absent holds no search"),
        (["search", *QUICK, "objective.maximise=[speed]"], "no metric 'speed' in the score"),
        (["judge", "out", "--task", "cpuu"], "unknown task 'cpuu' (did you mean cpu?)"),
        (["judge", "out", "--specs", "1"], "at least 3 specs"),
    ],
)
def test_wrong_input_is_told_in_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    if "objective" not in words[-1]:
        assert not list(tmp_path.iterdir())


def test_a_second_search_in_a_folder_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "journal.db").read_bytes()
    assert main(["search", *QUICK, f"run_dir={run}"]) == 2
    assert f"go on with: nas resume {run}" in capsys.readouterr().err
    assert (run / "journal.db").read_bytes() == before


@pytest.mark.parametrize("kind", ["tasks", "controllers"])
def test_lists_tell_what_is_installed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([kind, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"tasks": "cpu", "controllers": "ppo"}[kind] in found
    assert all(found.values())
    assert main([kind]) == 0


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (config_folder() / "experiment").glob("*.yaml"))
)
def test_every_experiment_composes_and_builds(name: str) -> None:
    config = compose("search", [f"experiment={name}", "task.data.root=somewhere"])
    space = build(config.space)
    controller = build(config.controller)(space)
    space.check(controller.ask().genotype)
    assert build(config.executor).workers == config.workers
    build(config.rules)
    samples = {"spinenet49": 14000, "r35_sp18": 6000, "r23_sp30": 10000, "r14_sp39": 13000, "r0_sp53": 13000}
    if name in samples:
        assert (config.trials, config.workers) == (samples[name], 100)


@pytest.mark.parametrize("group", ["controller", "executor", "pruner"])
def test_every_choice_of_a_group_builds(group: str) -> None:
    for path in (config_folder() / group).glob("*.yaml"):
        config = compose("search", [f"{group}={path.stem}"])
        built = build(config[group]) if config[group] else None
        assert built is None or callable(built) or hasattr(built, "open") or hasattr(built, "prune")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--help"], "== Configuration groups =="),
        (["--cfg", "job", "trials=77"], "trials: 77"),
        (["-m", *QUICK, "seed=1,2", "run_dir=swept/${seed}"], "winner: trial"),
    ],
)
def test_hydras_own_flags_work(tmp_path: Path, words: list[str], told: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "nas", "search", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(root)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    if "-m" in words:
        assert {path.name for path in (tmp_path / "swept").iterdir()} == {"1", "2"}


def test_limits_take_any_name(tmp_path: Path) -> None:
    words = ["objective.limits.seconds=1e9", "cost_limits.macs=5e8"]
    config = compose("search", words)
    assert dict(config.objective.limits) == {"seconds": 1e9}
    assert dict(config.cost_limits) == {"macs": 5e8}
    assert dict(compose("search", ["space=choices", "space.choices.a=[x,y]"]).space.choices) == {
        "a": ["x", "y"]
    }
    with pytest.raises(ConfigError, match="limit"):
        compose("search", ["objective.limit.macs=1"])
