"""`nas versus` as a user types it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas.cli.main import main
from nas.cli.versus import verdicts
from nas.reporting.versus import Contender, Versus

QUICK = ("task=synthetic", "executor=in_process", "controller=random", "trials=6")
FEW = ("against=[spinenet-49,random]", "executor=in_process")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a search with a task of its own settings."""
    folder = tmp_path_factory.mktemp("searched")
    assert main(["search", *QUICK, "task.noise=0.5", f"run_dir={folder / 'runs' / 'first'}"]) == 0
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder, in a working folder of its own."""
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("runs/first")


def test_the_latest_winner_is_compared_by_the_task_of_its_search(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["versus", "--trust", *FEW, "seeds=2"]) == 0
    out, err = capsys.readouterr()
    assert f"the latest run: {run}" in err
    summary = json.loads((run / "winners" / "summary.json").read_text())
    assert f"trial {summary['trial']} of that search" in out
    assert "winner, seed 0: " in out
    assert "6 of 6" in out
    assert "minus the winner's" in out
    data = json.loads((run / "versus" / "versus.json").read_text())
    first = json.loads((run / "versus" / "results.jsonl").read_text().splitlines()[0])
    assert first["task"]["noise"] == 0.5
    rewards = data["contenders"][0]["rewards"]
    assert rewards[0] != rewards[1], "the noise of the search's task"
    assert main(["report", str(run)]) == 0
    assert "The winner and its baselines" in (run / "report.html").read_text()


@pytest.mark.parametrize("named", ["runs/first", "runs/first/winners/best.json", "spec=runs/first"])
def test_a_winner_is_named_by_its_folder_or_its_file(
    run: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    capsys.readouterr()
    assert main(["versus", "--trust", named, *FEW, "seeds=1", "task.noise=0", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [contender["name"] for contender in found["contenders"]] == ["winner", "spinenet-49", "random"]
    assert "winner, seed 0" in err
    assert (run / "versus" / "versus.json").read_text() == out


def test_a_second_call_makes_no_training_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versus", "--trust", *FEW, "seeds=1"]) == 0
    assert main(["versus", "--trust", *FEW, "seeds=2"]) == 0
    assert "3 of 6 trainings are in runs/first/versus already" in capsys.readouterr().out
    assert main(["versus", "--trust", *FEW, "fidelity=2"]) == 2
    assert "holds another comparison: fidelity changed" in capsys.readouterr().err
    assert main(["versus", "--trust", *FEW, "fidelity=2", "seeds=1", "out=other"]) == 0
    assert Path("other/versus.json").is_file()


def test_a_spec_without_a_search_takes_the_task_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["versus", "r0-sp53", "task=synthetic", *FEW, "seeds=1"]) == 0
    out = capsys.readouterr().out
    assert "SyntheticTask does not report multiply-adds" in out
    assert Path("versus/versus.png").is_file()


def test_the_configuration_is_shown_with_what_is_the_searchs_own(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["versus", "--trust", str(run), "--cfg", "job", "seeds=2"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert (shown.seeds, shown.task._target_) == (2, "proxy_tasks.SyntheticTask")
    assert not (run / "versus").exists()


def test_trainings_that_fail_give_status_1(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["against=[spinenet-49,random]", "executor=in_process", "seeds=4", "task.failing=0.3"]
    assert main(["versus", "--trust", *words]) == 1
    out, err = capsys.readouterr()
    failed = re.findall(r"^(\S+, seed \d): failed", out, re.MULTILINE)
    assert 0 < len(failed) < 12
    told = f"{len(failed)} trainings failed, and the same command tries them again; {failed[0]}: diverged:"
    assert told in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["absent", "task=synthetic"], "absent is no run folder, no spec file and no published spec"),
        (["absent.json", "task=synthetic"], "absent.json: no such file"),
        (["runs"], "runs holds no search"),
        (["runs/first", "spinenet-49"], "takes one winner, not runs/first and spinenet-49"),
        (["seeds=0"], "seeds must be a whole number of at least 1, not 0"),
        (["against=[nope]"], "unknown spec"),
        (["against=5"], "against must be a list"),
        (["fidelity=nan"], "fidelity must be a number above 0"),
        (["seedz=1"], "seedz: no such key"),
        (["task.noize=1"], "task.noize: no such key"),
        (["task=synthetic", "against=[r50-fpn]"], "SyntheticTask scores specs of SpineNet's family alone"),
        (["workers=0"], "workers must be a whole number of at least 1"),
        (["--multirun", "seed=1,2"], "takes no --multirun"),
        (["--cfg", "hydra"], "takes only KEY=VALUE, --json, --trust and --cfg job"),
        (["--seeds=3"], "unknown option --seeds=3; write it without dashes: seeds=3"),
    ],
)
def test_wrong_input_is_told_in_one_line_and_leaves_nothing(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    capsys.readouterr()
    assert main(["versus", "--trust", *words]) == 2
    error = capsys.readouterr().err.removeprefix(f"the latest run: {run}\n")
    assert told in error
    assert not (run / "versus").exists()
    assert not Path("versus").exists()
    assert error.count("\n") == 1


def test_without_any_search_the_winner_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["versus"]) == 2
    assert "there is no run in runs/" in capsys.readouterr().err


def test_what_a_difference_means_is_said() -> None:
    def contender(name: str, gap: float, low: float, high: float) -> Contender:
        return Contender(name=name, mean=0.4, gap=gap, gap_interval=(low, high))

    contenders = (
        Contender(name="winner", mean=0.4),
        contender("a", 0.1, 0.05, 0.15),
        contender("b", -0.1, -0.15, -0.05),
        contender("c", 0.01, -0.05, 0.07),
        Contender(name="d", mean=0.4, gap=0.1),
    )
    found = Versus(contenders=contenders, metric="AP", seeds=(0, 1, 2), fidelity=1.0)
    assert verdicts(found) == [
        "a is better than the winner, by 0.1000 (95 %: +0.0500 to +0.1500)",
        "b is worse than the winner, by 0.1000 (95 %: -0.1500 to -0.0500)",
        "c shows no clear difference from the winner with 3 seeds (95 %: -0.0500 to +0.0700)",
    ]
    failed = replace(contenders[3], failed=1)
    assert verdicts(replace(found, contenders=(contenders[0], failed))) == [
        "c shows no clear difference from the winner with 2 trainings of its own and 3 of the winner "
        "(95 %: -0.0500 to +0.0700)"
    ]


@pytest.mark.slow
def test_real_trainings_of_networks_of_equal_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["task=cpu", "task.device=cpu", f"task.data.cache={tmp_path / 'cache'}", "task.train.steps=2"]
    words += ["task.data.shapes.train=8", "task.data.shapes.val=4", "task.train.image_size=64"]
    words += ["executor=in_process", "against=[r50-fpn,random]", "seeds=1", "--json"]
    assert main(["versus", "spinenet-49", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    macs = [contender["macs"] for contender in found["contenders"]]
    assert macs == pytest.approx([macs[0]] * 3, rel=0.05)
    assert found["metric"] == "AP"
