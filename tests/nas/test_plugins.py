"""Tasks and controllers in a file of the user's own, right and wrong, as users type them."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.config import ConfigError, compose
from nas.journal.store import read_events
from tests.nas.search.killing import ROOT

QUICK = ["executor=in_process", "trials=6", "run_dir=run"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which the user stands; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_the_examples_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("shallow.py", "coin.py"):
        shutil.copy(ROOT / "examples" / name, folder)
    words = ["task._target_=shallow.Shallow", "controller._target_=coin.Coin", "controller.seed=3"]
    assert main(["search", *words, *QUICK]) == 0
    capsys.readouterr()
    assert main(["status", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finished"] is True
    rewards = [e.data["reward"] for e in read_events("run") if e.kind == "ended"]
    assert found["best"]["reward"] == max(rewards) < 0
    assert main(["resume", "run", "trials=9"]) == 0


def test_a_plug_in_takes_its_own_arguments_and_none_of_the_presets(folder: Path) -> None:
    (folder / "my.py").write_text(
        "class Task:\n    def __init__(self, depth, more=None):\n        pass\n\n\n"
        "class Own:\n    def __init__(self, space):\n        pass\n"
    )
    sys.path.append(str(folder))
    config = compose("search", ["task._target_=my.Task", "task.depth=3", "+task.more.deep=a", "seed=4"])
    assert dict(config.task) == {"_target_": "my.Task", "depth": 3, "more": {"deep": "a"}}
    assert config.seed == 4
    config = compose("search", ["task=synthetic", "controller._target_=my.Own"])
    assert dict(config.controller) == {"_target_": "my.Own", "_partial_": True}
    with pytest.raises(ConfigError, match=r"task\.train: no such key; known are depth, more"):
        compose("search", ["task._target_=my.Task", "task.train.steps=3"])


def test_a_package_offers_a_task_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "examples" / "shallow.py", folder)
    offered = EntryPoint("short", "shallow:Shallow", "spinenas.tasks")
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [offered] if group == offered.group else []
    )
    assert main(["tasks"]) == 0
    assert "shallow.Shallow" in capsys.readouterr().out
    assert main(["search", "task=short", "controller=random", *QUICK]) == 0


GOOD = "class Task:\n    def evaluate(self, spec):\n        return 1.0\n"


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        (None, "mine.Task", "there is no mine.py in "),
        (GOOD, "mine.Tusk", "mine.py has no Tusk; it has Task"),
        (GOOD, "mine", "names no class; write FILE.CLASS"),
        ("Task = 3\n", "mine.Task", "is no class or function, but a int"),
        (
            "import absent_package\n" + GOOD,
            "mine.Task",
            "mine.py needs the package absent_package: pip install",
        ),
        ("x = 1 / 0\n" + GOOD, "mine.Task", "mine.py, line 1: ZeroDivisionError at import"),
        ("def :\n", "mine.Task", "mine.py, line 1: invalid syntax"),
        (
            "import json\njson.loads('{bad')\n" + GOOD,
            "mine.Task",
            "mine.py, line 2: JSONDecodeError at import",
        ),
        ("raise SystemExit(3)\n" + GOOD, "mine.Task", "mine.py, line 1: SystemExit at import"),
        (GOOD, "sub/mine.Task", "with dots for slashes, such as sub.mine.Task"),
        (
            GOOD + "    def __init__(self):\n        raise ValueError('depth=3 is too small')\n",
            "mine.Task",
            "task: depth=3 is too small",
        ),
        ("class Task:\n    pass\n", "mine.Task", "mine.py: Task has no method evaluate"),
        (GOOD.replace("self, spec", "self, spec, epochs"), "mine.Task", "asks for 'epochs'; after the spec"),
        (GOOD.replace("self, spec", "self"), "mine.Task", "Task.evaluate takes no spec"),
    ],
)
def test_a_wrong_task_gives_one_line_and_no_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str | None, target: str, told: str
) -> None:
    if text is not None:
        (folder / "mine.py").write_text(text)
    assert main(["search", f"task._target_={target}", *QUICK]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return 'good'", "evaluate must return a number or a Score, not a str"),
        ("return float('nan')", "the reward is nan"),
        ("raise KeyError('why')", "KeyError: 'why'"),
    ],
)
def test_a_wrong_score_stops_the_search_and_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str], body: str, told: str
) -> None:
    (folder / "mine.py").write_text(GOOD.replace("return 1.0", body))
    assert main(["search", "task._target_=mine.Task", "controller=random", *QUICK]) == 1
    assert told in capsys.readouterr().err


def test_a_controller_without_ask_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.py").write_text("class C:\n    def __init__(self, space):\n        pass\n")
    assert main(["search", "task=synthetic", "controller._target_=mine.C", *QUICK]) == 2
    assert "mine.C has no method ask" in capsys.readouterr().err
    (folder / "mine.py").write_text("class C:\n    pass\n")
    del sys.modules["mine"]
    assert main(["search", "task=synthetic", "controller._target_=mine.C", *QUICK]) == 2
    assert "mine.C is made from a space" in capsys.readouterr().err


def test_the_task_of_the_documents_searches(folder: Path) -> None:
    text = (ROOT / "docs" / "plugins.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    for name, target in (("shallow", "Shallow"), ("mine", "Mine")):
        block = next(block for block in blocks if f"class {target}:" in block)
        (folder / f"{name}.py").write_text(block)
        words = [f"task._target_={name}.{target}", "executor=in_process", "trials=4", f"run_dir={name}"]
        assert main(["search", *words]) == 0


def test_a_plug_in_is_searched_with_several_seeds(folder: Path) -> None:
    """Hydra's multirun, in a process of its own, as it changes the folder."""
    (folder / "mine.py").write_text(
        "class Mine:\n    def __init__(self, worth=1):\n        self.worth = worth\n"
        "    def evaluate(self, spec):\n        return self.worth * len(spec.blocks)\n"
    )
    words = ["task._target_=mine.Mine", "task.worth=3", "executor=in_process", "workers=1", "trials=3"]
    command = [sys.executable, "-m", "nas", "search", *words, "seed=1,2", "run_dir=run-${seed}", "--multirun"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    for seed in (1, 2):
        summary = json.loads((folder / f"run-{seed}" / "winners" / "summary.json").read_text())
        assert summary["rewards"] == [45.0]


def test_a_controller_of_numpy_integers_can_be_resumed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "arrays.py").write_text(
        "import numpy as np\nfrom controllers import Proposal, RandomSearch\n\n\n"
        "class Arrays(RandomSearch):\n    def ask(self):\n        found = super().ask()\n"
        "        return Proposal(found.number, tuple(np.array(found.genotype)))\n"
    )
    words = ["task=synthetic", "controller._target_=arrays.Arrays", *QUICK]
    assert main(["search", *words]) == 0
    assert main(["resume", "run", "trials=9"]) == 0
    assert main(["compare", "controllers=[arrays.Arrays]", "trials=4", "seeds=2", "processes=1"]) == 0
    (folder / "none.py").write_text(
        "from controllers import RandomSearch\n\n\nclass Bare(RandomSearch):\n"
        "    def ask(self):\n        return super().ask().genotype\n"
    )
    assert main(["search", "task=synthetic", "controller._target_=none.Bare", *QUICK[:2], "run_dir=b"]) == 1
    assert "Bare.ask must give a Proposal, not a tuple" in capsys.readouterr().err


OWN = """import math
from controllers import RandomSearch
from search_space.choices import ChoiceSpace


"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "class C(RandomSearch):\n    def ask(self):\n        a, b = (1,)\n",
            "line 8: ValueError in C.ask: not enough",
        ),
        (
            "class C(RandomSearch):\n    def tell(self, proposal, reward):\n        int('nothing')\n",
            "line 8: ValueError in C.tell: invalid literal",
        ),
        (
            "class C(RandomSearch):\n    def ask(self):\n        return 3\n",
            "C.ask must give a Proposal, not a int",
        ),
        (
            "class S(ChoiceSpace):\n    def key(self, spec):\n        return hash(spec)\n",
            "S.key must give a text, not",
        ),
        (
            "class S(ChoiceSpace):\n    def decode(self, genotype):\n        return open('missing.cfg')\n",
            "line 8: FileNotFoundError in S.decode",
        ),
    ],
)
@pytest.mark.parametrize("command", ["search", "compare"])
def test_faults_of_controllers_and_spaces_name_the_line(
    folder: Path, capsys: pytest.CaptureFixture[str], body: str, told: str, command: str
) -> None:
    """With status 1, as it is no wrong usage."""
    (folder / "own.py").write_text(OWN + body)
    words = ["task=synthetic"] if "class C" in body else ["task._target_=own.Any", "space._target_=own.S"]
    if "class S" in body:
        (folder / "own.py").write_text(
            OWN + body + "\n\nclass Any:\n    def evaluate(self, spec):\n        return 1.0\n"
        )
        words.append("space.choices={a: [x, y], b: [x, y]}")
    own = "own.C" if "class C" in body else "random"
    if command == "search":
        words += [f"controller._target_={own}" if "." in own else f"controller={own}", *QUICK, "trials=20"]
    else:
        words += [f"controllers=[{own}]", "trials=10", "seeds=2", "processes=1"]
    assert main([command, *words]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1


def test_a_tasks_fault_names_the_line_and_the_log_holds_the_rest(folder: Path) -> None:
    (folder / "own.py").write_text("class T:\n    def evaluate(self, spec):\n        return {}['depth']\n")
    assert main(["search", "task._target_=own.T", "search.max_failures=1", *QUICK]) == 1
    ended = next(e for e in read_events("run") if e.kind == "ended")
    assert ended.data["message"] == "own.py, line 3: KeyError: 'depth'"
    assert "Traceback" in (folder / "run" / "trials" / "0" / "log.txt").read_text()


def test_mended_code_is_run_again_and_other_code_is_another_comparison(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "task._target_=own.T", "controllers=[random]", "trials=4", "seeds=2", "processes=1"]
    file = folder / "own.py"
    file.write_text("class T:\n    def evaluate(self, spec):\n        return 'good'\n")
    assert main(words) == 2
    file.write_text("class T:\n    def evaluate(self, spec):\n        return float(spec.blocks[0].level)\n")
    sys.modules.pop("own")
    assert main(words) == 0
    file.write_text("class T:\n    def evaluate(self, spec):\n        return 1.0\n")
    assert main(words) == 2
    assert "comparison holds another comparison: files changed" in capsys.readouterr().err


def test_judging_takes_own_tasks_and_spaces_and_knows_its_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", "out=out", "workers=0"]) == 2
    assert "workers must be a whole number of at least 1" in capsys.readouterr().err
    assert main(["judge", "out=out", "trials=3"]) == 2
    assert "trials" in capsys.readouterr().err
    assert not (folder / "out").exists()
    (folder / "own.py").write_text(
        "class T:\n    def evaluate(self, spec, fidelity, seed):\n"
        "        return len(spec) * fidelity + spec.count('a') + 0.001 * seed\n"
    )
    words = [
        "judge",
        "task._target_=own.T",
        "space._target_=search_space.ChoiceSpace",
        *(f"space.choices.e{i}=[a,b,c]" for i in range(4)),
        "executor=in_process",
        "specs=6",
        "out=out",
    ]
    assert main(words) == 0
    assert "# 6 random specs, fidelity 1 (2 seeds) against 3 (1 seeds)" in capsys.readouterr().out
    found = json.loads((folder / "out" / "judgement.json").read_text())
    assert found["command"] == shlex.join(["nas", *words])
    assert main([*words, "seed=1"]) == 2
    assert "out holds another proxy study: plan and genotypes changed" in capsys.readouterr().err


def test_an_own_file_called_like_a_package_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "controllers.py").write_text("class Mine:\n    pass\n")
    assert main(["spec", "check", "spinenet-49"]) == 0
    assert main(["search", "task=synthetic", "controller._target_=controllers.Mine", *QUICK]) == 2
    assert "controllers.py needs another name" in capsys.readouterr().err


def test_the_advice_at_the_end_fits_the_space(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "own.py").write_text("class T:\n    def evaluate(self, spec):\n        return 1.0\n")
    words = ["task._target_=own.T", "space=choices", "space.choices={a: [x, y], b: [x, y]}"]
    assert main(["search", *words, *QUICK]) == 0
    assert "look at it: open run/report.html" in capsys.readouterr().out


def test_a_search_of_own_files_goes_on_from_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own.py").write_text("class T:\n    def evaluate(self, spec):\n        return 1.0\n")
    assert main(["search", "task._target_=own.T", *QUICK]) == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(folder)])
    sys.modules.pop("own")
    assert main(["resume", "../run", "trials=8"]) == 0
    assert main(["trials", "../run", "study.log"]) == 0
