"""`nas search` and its kin as a user types them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nas import config_folder
from nas.cli.main import main
from nas.config import ConfigError, build, build_root, compose
from nas.config.workers import settle_workers
from nas.journal.history import read_history
from nas.search.settings import SearchSettings
from nas.utils.signals import INTERRUPTED
from search_space import load_spec
from search_space.utils.json_text import parse_json
from tests.nas.search.killing import Forked

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
    out = capsys.readouterr().out
    assert ": finished after " in out
    assert ": all trials have ended\n6 of 6 trials: " in out


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
            "task=nope: no such preset; known are classification, cpu, ",
        ),
        (["search", "trials=0"], "trials must be a whole number of at least 1, not 0"),
        (["search", "trials=many"], "trials must be a whole number"),
        (["search", "foo=1"], "foo: no such key"),
        (["search", "--foo"], "unknown option --foo; options are KEY=VALUE"),
        (["search", "--trials=5"], "unknown option --trials=5; write it without dashes: trials=5"),
        (["search", "task.data.root=/absent"], "/absent: no such folder"),
        (["search", "task=paper"], "task.data.root: needs a value"),
        (["search", "search.max_failures=2"], "max_failures must be a number above 0 and at most 1, not 2"),
        (
            ["search", "search.max_staleness=1", "task=synthetic", "workers=2"],
            "max_staleness must be at least the number of workers, 2",
        ),
        (["search", *QUICK, "wall_time=abc"], "wall_time must be a number above 0 or null, not 'abc'"),
        (["search", *QUICK, "target=abc"], "target must be a number"),
        (["search", *QUICK, "seed=null"], "seed must be a whole number of at least 0, not None"),
        (["search", *QUICK, "seed=-1"], "seed must be a whole number of at least 0, not -1"),
        (["search", *QUICK, "fidelity=nan"], "fidelity must be a number above 0"),
        (["search", *QUICK, "search.finalists=1.5"], "finalists must be a whole number"),
        (["search", *QUICK, "executor.workers=0"], "workers must be a whole number of at least 1"),
        (
            ["search", "task=cpu", "cost_limits.macs=abc"],
            "cost_limits.macs must be a number of at least 0, not 'abc'",
        ),
        (["search", "task=cpu", "cost_limits.mac=1"], "cost_limits.mac: no such cost"),
        (
            ["search", "task=cpu", "cost_limits.macs=nan"],
            "cost_limits.macs must be a number of at least 0, not nan",
        ),
        (["search", *QUICK, "zero_cost=5"], "zero_cost must be a mapping of settings, not 5"),
        (["search", *QUICK, "~objective"], "~objective: a key cannot be removed; give it a value"),
        (["search", *QUICK, "objective.maximize=AP"], "maximize must be a list"),
        (["search", *QUICK, "objective.limits.AP=nan"], "limits.AP must be a number above 0"),
        (["search", *QUICK, "controller=nsga2"], "the controller needs 2 objectives"),
        (["search", *QUICK, "controller=ppo", "objective.minimize=[AP]"], "takes 1 of the 2 objectives"),
        (["search", *QUICK, "controller=optuna", "controller.sampler=5"], "unknown sampler '5'"),
        (["search", *QUICK, "controller=optuna", "controller.sampler=cmaes"], "pip install cmaes"),
        (
            ["search", *QUICK, "space._target_=collections.OrderedDict"],
            "space: collections.OrderedDict has no",
        ),
        (
            ["search", *QUICK, "executor._target_=collections.OrderedDict"],
            "executor: collections.OrderedDict has",
        ),
        (
            ["search", *QUICK, "task.noise=[1"],
            "task.noise=[1: this cannot be read as a value; give a number of at least 0",
        ),
        (["compare", "controllers=5"], "controllers must be a list, every item a text, not 5"),
        (["compare", "controllers=[]"], "controllers: give at least one"),
        (["compare", "controllers=['evolution \\'']"], "cannot be read: No closing quotation"),
        (["compare", "out=[a]"], "out must be a text, not ['a']"),
        (["compare", "search.retries=-1"], "search.retries must be a whole number of at least 0, not -1"),
        (["compare", "search.finalists=1"], "search.finalists: no such key"),
        (["judge", "workers=0"], "workers must be a whole number of at least 1 or auto, not 0"),
        (["compare", "controllers=[nsga2]"], "the controller needs 2 objectives"),
        (["compare", "processes=0"], "processes must be a whole number of at least 1"),
        (["compare", "fidelity=abc"], "fidelity must be a number above 0"),
        (["search", "controller.candidates=0"], "candidates"),
        (["search", "controller=evolution", "controller.population=0"], "population"),
        (
            ["search", *QUICK, "controller=evolution", "controller.population=abc"],
            "controller.population must be",
        ),
        (
            ["search", *QUICK, "controller=ppo", "controller.learning_rate=-1"],
            "must be a number above 0, not -1",
        ),
        (
            ["search", *QUICK, "executor=virtual", "executor.seconds=x"],
            "executor.seconds must be a number of at",
        ),
        (
            ["search", "task=synthetic", "executor.time_limit=0"],
            "executor.time_limit must be a number above 0 or null",
        ),
        (
            ["search", *QUICK, "space=nas-bench-201"],
            "SyntheticTask scores specs of SpineNet's family alone, not",
        ),
        (
            ["search", "-m", *QUICK, "seed=1,2", "run_dir=x"],
            "run_dir=x: each job of a sweep needs a folder of its",
        ),
        (["search", "space=nas-bench-201"], "a tuple has no method build; search a space of backbones"),
        (["search", "task=spinenet-bench", "space=r35-sp18"], "the table is of the space spinenet-49"),
        (["compare", "space=nas-bench-201"], "not tuple; give space=spinenet-49"),
        (["judge", "space=nas-bench-201", "out=out"], "a tuple has no method build"),
        (
            ["search", "objective.maximize=[mAP]"],
            "objective.maximize: no metric 'mAP' in the scores of Train",
        ),
        (["search", "objective.minimize=[latency_ms]"], "objective.minimize: no metric 'latency_ms'"),
        (
            ["search", "objective.limits.mac=1e9"],
            "no metric 'mac' in the scores of TrainingTask (did you mean macs",
        ),
        (["resume", "absent"], "absent: no such folder"),
        (["status", "absent"], "absent: no such folder"),
        (["search", *QUICK, "objective.maximize=[speed]"], "no metric 'speed' in the score"),
        (["judge", "out=out", "task=cpuu"], "task=cpuu: no such preset; did you mean task=cpu?"),
        (["judge", "out=out", "specs=1"], "specs must be a whole number of at least 3, not 1"),
        (["correlate", "out=out", "reference=0.5"], "fidelity must be below reference, 0.5, not 1"),
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
    if words[-1] != "objective.maximize=[speed]":
        assert not list(tmp_path.iterdir())


def test_a_second_search_in_a_folder_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "journal.db").read_bytes()
    assert main(["search", *QUICK, f"run_dir={run}"]) == 2
    assert f"to continue: nas resume {run}" in capsys.readouterr().err
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
    settle_workers(config)
    assert build(config.executor).workers == config.workers
    assert build_root(config, SearchSettings).workers == config.workers
    samples = {"spinenet49": 14000, "r35_sp18": 6000, "r23_sp30": 10000, "r14_sp39": 13000, "r0_sp53": 13000}
    if name in samples:
        assert (config.trials, config.workers) == (samples[name], 100)


@pytest.mark.parametrize("group", ["controller", "executor", "pruner"])
def test_every_choice_of_a_group_builds(group: str) -> None:
    for path in (config_folder() / group).glob("*.yaml"):
        config = compose("search", [f"{group}={path.stem}"])
        if group == "executor":  # Numbers take the place of "auto" before an executor is built.
            config.executor.update({name: 1 for name in ("workers", "gpus") if name in config.executor})
        built = build(config[group]) if config[group] else None
        assert built is None or callable(built) or hasattr(built, "open") or hasattr(built, "prune")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--hydra-help"], "== Flags =="),
        (["--cfg", "job", "trials=77"], "trials: 77"),
        (["-m", *QUICK, "seed=1,2", "run_dir=swept/${seed}"], "winner: trial"),
    ],
)
def test_hydras_own_flags_work(tmp_path: Path, words: list[str], told: str) -> None:
    output = tmp_path / "output.txt"
    assert Forked(output, "search", *words).wait(600) == 0, output.read_text()
    assert told in output.read_text()
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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is damaged: it has no 'space'"),
        ("trials: 5\n", "is damaged: it has no 'space'"),
        ("- a\n", "is damaged: it has no 'space'"),
        ("trials: [1\n", "config.yaml: "),
        (b"\xff\xfe\x00", "config.yaml: "),
    ],
)
def test_a_damaged_configuration_is_told_with_its_file(
    run: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, told: str
) -> None:
    capsys.readouterr()
    (run / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["resume", "run"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "run/config.yaml" in error
    assert error.count("\n") == 1


def test_a_reader_that_goes_away_does_not_end_the_search(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nas", "search", *QUICK, "trials=40", f"run_dir={tmp_path / 'run'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(600) == 0
    assert json.loads((tmp_path / "run" / "winners" / "summary.json").read_text())
    assert main(["status", str(tmp_path / "run")]) == 0
    assert read_history(tmp_path / "run").trials.finished == "budget"


def test_an_own_controller_gets_the_seed_and_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told_one.py").write_text(
        "from controllers import RandomSearch\n\n\nclass Mine(RandomSearch):\n"
        "    def __init__(self, space, seed):\n        super().__init__(space, seed)\n"
        "    def tell(self, proposal, reward):\n        assert reward is None or float(reward) > -9\n"
    )
    found = []
    for seed in (1, 2):
        words = [*QUICK, "controller._target_=told_one.Mine", f"seed={seed}", f"run_dir={seed}"]
        assert main(["search", *words]) == 0
        found.append([t.key for t in read_history(Path(str(seed))).trials.all])
    assert found[0] != found[1]
    words = ["controllers=[random,told_one.Mine]", "trials=5", "seeds=2", "processes=1"]
    assert main(["compare", *words]) == 0
    assert "told_one.Mine" in capsys.readouterr().out


def test_an_empty_run_dir_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the shell that is not set must not fill the working folder."""
    monkeypatch.chdir(tmp_path)
    assert main(["search", *QUICK, "run_dir="]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_resume_stays_in_its_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(run), "run_dir=other"]) == 2
    assert "run_dir=other: a resume keeps what it was begun with" in capsys.readouterr().err


def test_a_pruner_without_reports_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *QUICK, "pruner=median", "task.reports=0"]) == 2
    assert "no trial would be ended early, as none reports before its end; give task.reports=4" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("word", ["zero_cost.start=2", "zero_cost.keep=0.5"])
def test_measures_that_are_not_named_are_asked_for(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *QUICK, word]) == 2
    assert "start and keep need a measure" in capsys.readouterr().err


def test_an_interrupt_ends_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begun: list[object] = []

    def interrupted(*arguments: object, **_: object) -> int:
        begun.append(arguments)
        return INTERRUPTED

    monkeypatch.setattr("nas.cli.search._run_search", interrupted)
    assert main(["search", "--multirun", *QUICK, "seed=1,2,3"]) == INTERRUPTED
    assert len(begun) == 1


def test_a_winner_that_is_not_written_is_told_and_no_success(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "winners")
    (run / "winners").write_text("in the way")
    assert main(["resume", str(run), "trials=7"]) == 1
    shown = capsys.readouterr()
    assert "could not be written; correct the cause, then type: nas resume" in shown.err
    assert "best.json" not in shown.out
    (run / "winners").unlink()
    assert main(["resume", str(run)]) == 0
    assert (run / "winners" / "best.json").is_file()


@pytest.mark.parametrize("place", ["__init__", "ask", "on_event"])
def test_code_that_ends_the_program_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ending.py").write_text(
        "import sys\nfrom controllers import RandomSearch\n\n\nclass Ending(RandomSearch):\n"
        "    def __init__(self, space, seed=0):\n        super().__init__(space, seed)\n"
        "        if PLACE == '__init__':\n            sys.exit(0)\n\n"
        "    def ask(self):\n        if PLACE == 'ask':\n            sys.exit(0)\n"
        "        return super().ask()\n\n\nclass Watch:\n    def on_event(self, event, trials):\n"
        "        sys.exit(0)\n\n    def close(self):\n        pass\n".replace("PLACE", repr(place))
    )
    words = ["controller._target_=ending.Ending", *QUICK[:3], "run_dir=run"]
    if place == "on_event":
        words = ["observers.watch._target_=ending.Watch", *QUICK, "run_dir=run"]
    status, errors = main(["search", *words]), capsys.readouterr().err
    assert (status == 0) == (place == "on_event"), errors
    assert "ending.py, line" in errors
    assert "SystemExit" in errors
    sys.modules.pop("ending", None)


@pytest.mark.parametrize(
    "words", [["report", "run", "--out"], ["export", "spinenet-49", "--format", "tuples", "--to"]]
)
def test_what_is_no_report_and_no_export_is_not_replaced(
    run: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "journal.db").read_bytes()
    assert main([*words, "run/journal.db"]) == 2
    assert "is a file" in capsys.readouterr().err
    assert (run / "journal.db").read_bytes() == before


def test_a_search_that_has_lost_its_journal_is_no_training(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in run.glob("journal.db*"):
        file.unlink()
    before = (run / "winners" / "best.json").read_bytes()
    for words in (["status", "run"], ["resume", "run"], ["search", *QUICK, "run_dir=run"]):
        assert main(words) == 2
        told = capsys.readouterr().err
        assert "its journal.db is missing: take an earlier copy" in told
    assert (run / "winners" / "best.json").read_bytes() == before


@pytest.mark.parametrize("word", ["trials=${nope}", "seed=${trials:1}", "trials=${trials}"])
def test_an_interpolation_that_cannot_be_names_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["search", "task=synthetic", "executor=in_process", word]) == 2
    assert word.partition("=")[0] in capsys.readouterr().err


def test_a_resume_keeps_no_event_of_the_record_while_it_runs(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of 100,000 trials would take about a gigabyte."""
    made: list[weakref.ref[CountedData]] = []
    kept: list[int] = []

    class CountedData(dict[str, Any]):
        """The data of an event, which a weak reference can follow."""

    def parse_counted(text: str) -> CountedData:
        data = CountedData(parse_json(text))
        made.append(weakref.ref(data))
        return data

    def count_kept(*_: object, **__: object) -> int:
        kept.append(sum(data() is not None for data in made))
        return 0

    monkeypatch.setattr("nas.journal.reading.parse_json", parse_counted)
    monkeypatch.setattr("nas.cli.search._run", count_kept)
    assert main(["resume", "run"]) == 0
    assert len(made) > 6
    assert kept == [0]
