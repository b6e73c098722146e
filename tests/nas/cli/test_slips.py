"""Slips that would mislead: a spec in the place of a model, a resume that changes what it must not."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.cli.model_path import ModelPathError, find_model
from search_space import published_spec

QUICK = ["task=synthetic", "executor=in_process", "controller=random", "trials=4", "run_dir=run"]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which one search was run."""
    place = tmp_path_factory.mktemp("slips")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        assert main(["search", *QUICK]) == 0
    return place


@pytest.fixture
def run(finished: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A finished search of this test's own."""
    shutil.copytree(finished / "run", folder / "run")
    capsys.readouterr()
    return folder / "run"


def test_what_is_no_model_is_told_with_what_to_do(run: Path, folder: Path) -> None:
    (folder / "my best.json").write_text(published_spec("r0-sp53").to_json())
    (folder / "data.json").write_text('\ufeff {"images": []}')
    (folder / "x.pth").write_bytes(b"PK\x03\x04" + bytes(99))
    (folder / "x.ONNX").write_bytes(b"\x08")
    (folder / "empty").mkdir()
    for name, told in {
        "run/winners/best.json": "is a spec, not a model; train it first: nas train spec=run/w",
        "my best.json": "train it first: nas train 'spec=my best.json'",
        "run": "is a search; its winner is a spec, not a model; train it first: nas train spec=run/w",
        "data.json": "is a JSON file, not a model",
        "x.pth": "was written by torch.save",
        "x.ONNX": "is an exported model",
        "empty": "is a folder that holds no best.safetensors",
        "absent": "absent: no such file",
        "spinenet-49": "spinenet-49 is a spec, not a model; train it first: nas train spec=spinenet-49",
        "/dev/null": "is not a regular file",
    }.items():
        with pytest.raises(ModelPathError) as raised:
            find_model(name)
        assert told in str(raised.value)
    (folder / "empty" / "best.safetensors").write_bytes(bytes(8))
    assert find_model("empty") == Path("empty/best.safetensors")


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "best.json", "--root", "."],
        ["predict", "best.json", "x.png", "--out", "out"],
        ["export", "best.json", "--to", "m.ONNX"],
        ["card", "best.json"],
    ],
)
def test_every_command_that_takes_a_model_tells_a_spec(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "best.json").write_text(published_spec("r0-sp53").to_json())
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "best.json is a spec, not a model; train it first: nas train spec=best.json" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "weights=best.json"], "best.json is a spec, not a model; train it first"),
        (
            ["train", "spec=run"],
            "spec=run is the folder of a search; its winner is spec=run/winners/best.json",
        ),
        (["train", "spec=m.safetensors"], "spec=m.safetensors is a model and no spec"),
        (["spec", "show", "m.safetensors"], "m.safetensors: "),
    ],
)
def test_a_spec_and_a_model_are_not_mixed_up(
    words: list[str], told: str, run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "best.json").write_text(published_spec("r0-sp53").to_json())
    (folder / "m.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{}")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("controller=ppo", "controller=ppo: a resume keeps what it was begun with, controllers.RandomSearch"),
        ("space=r0-sp53", "space=r0-sp53: a resume keeps"),
        ("seed=1", "seed=1: a resume keeps what it was begun with, 0; so it does with space, "),
        ("fidelity=0.5", "fidelity=0.5: a resume keeps what it was begun with, 0.25"),
        ("pruner=median", "pruner=median: a resume keeps what it was begun with, null"),
        ("scheduler=null", "scheduler=null: a resume keeps what it was begun with, nas.FullTraining"),
        ("objective.maximize=[AP]", "objective.maximize=[AP]: a resume keeps"),
        ("controller._target_=mine.C", "controller._target_=mine.C: a resume keeps"),
        ("task._target_=mine.T", "task._target_=mine.T: a resume keeps"),
        ("cost_limits.macs=5", "cost_limits.macs=5: a resume keeps"),
        ("zero_cost.keep=0.5", "zero_cost.keep=0.5: a resume keeps"),
        ("task=cpu", "task=cpu: a preset cannot be chosen anew; change single keys"),
        ("controller=pppo", "no such preset"),
        ("trails=9", "trails: no such key; did you mean trials?"),
    ],
)
def test_a_resume_refuses_what_would_make_it_another_search(
    word: str, told: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "config.yaml").read_bytes(), (run / "journal.db").read_bytes()
    assert main(["resume", "run", "--trust", word, "trials=6"]) == 2
    assert told in capsys.readouterr().err
    assert ((run / "config.yaml").read_bytes(), (run / "journal.db").read_bytes()) == before


def test_a_resume_says_what_it_changes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trials=6", "task.noise=0.5", "workers=1", "seed=0", "search.cache=false", "executor=in_process"]
    assert main(["resume", "run", "--trust", *words]) == 0
    shown = capsys.readouterr().out
    assert "task.noise is 0.5 from here on and was 0.0: later scores may not compare" in shown
    assert "search.cache is false from here on and was True: later proposals may differ" in shown
    assert shown.count("later scores") == 1
    assert shown.count("later proposals") == 1
    assert main(["resume", "run", "trials=7"]) == 0
    shown = capsys.readouterr().out
    assert "later scores" not in shown
    assert "later proposals" not in shown


@pytest.mark.parametrize("kind", ["task", "helper", "script", "table"])
def test_a_resume_says_which_of_the_users_files_has_changed(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"task": f"slip_{kind}.py", "helper": "slip_part.py", "script": "score.py", "table": "t.csv"}[kind]
    (folder / "slip_part.py").write_text("WORTH = 1.0\n")
    (folder / f"slip_{kind}.py").write_text(
        "import slip_part\n\n\nclass Mine:\n    def evaluate(self, spec):\n        return slip_part.WORTH\n"
    )
    (folder / "score.py").write_text("print('{\"reward\": 0.5}')\n")
    (folder / "t.csv").write_text("spec,reward\na,1\nb,2\n")
    words = {
        "script": ["task=script", f"task.command=[{sys.executable},score.py,'{{spec}}']"],
        "table": ["task=table", "task.path=t.csv", "space=choices", "space.choices.x=[a,b]"],
    }.get(kind, [f"task._target_=slip_{kind}.Mine"])
    sys.modules.pop("slip_part", None)
    assert main(["search", *QUICK, *words]) == 0
    assert json.loads((folder / "run" / "sources.json").read_text())
    capsys.readouterr()
    assert main(["resume", "run", "trials=5"]) == 0
    assert "has changed" not in capsys.readouterr().out
    with (folder / name).open("a") as file:
        file.write("\n")
    assert main(["resume", "run", "trials=6"]) == 0
    assert f"{name} has changed since this was begun: later scores may not" in capsys.readouterr().out


def test_an_optuna_study_is_opened_by_what_the_command_prints(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import optuna

    for name in ("study.db", "my study.DB"):
        assert main(["trials", "run", name]) == 0
        *_, storage = shlex.split(capsys.readouterr().out.splitlines()[-1])
        assert storage == f"sqlite:///{name}"
        assert len(optuna.load_study(study_name="run", storage=storage).trials) == 4


PROBE = """
import sys
from nas.cli.main import main
status = main(sys.argv[1:])
loaded = {"torch", "ray", "optuna", "matplotlib", "scipy"} & set(sys.modules)
print("LOADED", sorted(loaded), status)
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["search", "task.data.root=absent"], "absent: no such folder"),
        (["search", "task=table", "task.path=absent.csv"], "absent.csv: No such file"),
        (["search", "trails=3"], "did you mean trials?"),
        (["search", "search.retries=-1"], "search.retries must be a whole number"),
        (["search", "controller=evoltion"], "did you mean controller=evolution?"),
        (["train", "spec=absent.json"], "absent.json: no such file"),
        (["train", "weights=absent.safetensors"], "absent.safetensors: No such file"),
        (["train", "seed=-1"], "seed must be"),
        (["resume", "absent"], "absent: no such folder"),
        (["compare", "seeds=1"], "seeds must be a whole number of at least 2"),
        (["judge", "specs=1"], "specs must be a whole number of at least 3"),
        (["eval", "absent", "--root", "."], "absent: no such file"),
        (["versus", "absent"], "absent is no run folder, no spec file and no published spec"),
        (["versus", "winners/absent.json"], "winners/absent.json: no such file"),
    ],
)
@pytest.mark.slow
def test_what_can_be_told_early_is_told_before_anything_heavy_is_loaded(
    words: list[str], told: str, folder: Path
) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        timeout=120,
    )
    assert told in found.stderr
    assert found.stdout == "LOADED [] 2\n"
