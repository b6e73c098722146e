"""Tasks and controllers in a file of the user's own, right and wrong, as users type them."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from nas.analysis.result_log import OWN_FILES, append_result, read_results
from nas.cli.main import main
from nas.config import ConfigError, compose
from nas.config.sources import own_digests
from nas.journal.reading import read_events
from nas.plugins.import_path import PluginError, find_target
from tests.nas.search.killing import ROOT, Forked

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
    monkeypatch.setattr("importlib.metadata.entry_points", EntryPoints([offered]).select)
    assert main(["tasks"]) == 0
    assert "shallow.Shallow" in capsys.readouterr().out
    assert main(["search", "task=short", "controller=random", *QUICK]) == 0


GOOD = "class Task:\n    def evaluate(self, spec):\n        return 1.0\n"


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        (None, "mine.Task", "there is no mine.py in "),
        (GOOD, "mine.Tusk", "mine.py has no Tusk; it has Task"),
        (GOOD, "mine.", "'mine.' names no class; write FILE.CLASS"),
        (GOOD, "mine", "names no class; write FILE.CLASS, such as mine.Task"),
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
        (GOOD, "sub/mine.Task", "'sub/mine.Task' is no FILE.CLASS; write sub.mine.Task"),
        (GOOD, "Task", "names no class; write FILE.CLASS, such as mine.Task"),
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
    output = folder / "output.txt"
    process = Forked(output, "search", *words, "seed=1,2", "run_dir=run-${seed}", "--multirun")
    assert process.wait(300) == 0, output.read_text()
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
    assert "comparison holds another comparison: own files (own.py) changed" in capsys.readouterr().err


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
    assert "# 6 random specs at fidelity 1 (2 seeds) and at fidelity 3 (1 seed)" in capsys.readouterr().out
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


@pytest.mark.parametrize(
    "path",
    [
        *(
            "./mine.py:Task",
            "mine.py:Task",
            "mine.py.Task",
            "mine:Task",
            "mine::Task",
            "./mine.Task",
            "./mine",
        ),
        *(
            "mine.py",
            "./mine.py",
            "mine.py::Task",
            "HERE/mine.py::Task",
            "HERE/mine.Task",
            "./sub/../mine.py:Task",
        ),
    ],
)
def test_other_ways_to_name_a_class_are_answered_with_the_right_one_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    (folder / "mine.py").write_text(GOOD)
    path = path.replace("HERE", str(folder))
    assert main(["search", f"task._target_={path}", *QUICK]) == 2
    assert f"{path!r} is no FILE.CLASS; write mine.Task\n" in capsys.readouterr().err
    assert not (folder / "run").exists()
    assert main(["search", "task._target_=mine.Task", *QUICK]) == 0


def test_a_class_in_another_folder_is_answered_with_the_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "mine.py").write_text(GOOD)
    assert main(["search", "task._target_=sub/mine.py:Task", *QUICK]) == 2
    assert "write sub.mine.Task\n" in capsys.readouterr().err
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    for path in ("../sub/mine.py:Task", f"{folder}/sub/mine.py"):
        assert main(["search", f"task._target_={path}", *QUICK]) == 2
        assert (
            f"write mine.Task, and run the command in the folder {folder / 'sub'}" in capsys.readouterr().err
        )


@pytest.mark.parametrize("path", ["/", ":", "...", ".py", "::", "~", "a/", "./:Mine", "mine.py:"])
def test_a_path_of_marks_alone_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    with pytest.raises(PluginError, match=r"names no class|is no FILE\.CLASS"):
        find_target(path)


UNSENDABLE = """
import socket
import threading


def open_socket():
    import atexit
    made = socket.socket()
    atexit.register(made.close)
    return made


class Model:
    def __init__(self):
        self.lock = threading.Lock()


class Task:
    def __init__(self):
        MEMBER

    def evaluate(self, spec):
        return 1.0


class Slotted:
    __slots__ = ("lock",)

    def __init__(self):
        self.lock = threading.Lock()


class Delegates:
    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)
"""


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ("self.lock = threading.Lock()", "(lock: cannot pickle '_thread.lock' object)"),
        ("self.model = Model()", "(model.lock: cannot pickle"),
        ("self.parts = {'a': [1, Model()]}", "(parts['a'][1].lock: cannot pickle"),
        ("self.slotted = Slotted()", "(slotted.lock: cannot pickle"),
        ("self.rows = (row for row in [1])", "(rows: cannot pickle 'generator' object)"),
        ("self.log = open_socket()", "(log: cannot pickle 'socket' object)"),
        ("lock = threading.Lock(); self.take = lambda: lock.acquire()", "(take.lock: cannot pickle"),
        ("self.model = Delegates(1)", "(model: the recursion has no end, perhaps in a __getattr__)"),
    ],
)
def test_a_task_that_cannot_be_sent_is_told_before_anything_begins(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, member: str, told: str
) -> None:
    def start(*_: object) -> bool:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("nas.executors.on_ray.executor.start_ray", start)
    (folder / "mine.py").write_text(UNSENDABLE.replace("MEMBER", member))
    words = ["task._target_=mine.Task", "controller=random", "trials=2", "run_dir=run"]
    judged = ["judge", words[0], "out=run", "specs=4", "workers=1"]
    for command in [["search", *words, "workers=1"], *([judged] if "Model" not in member else [])]:
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "mine.py: Task cannot be sent to workers " in line
        assert told in line
        assert line.endswith("; executor=in_process works")
        assert not (folder / "run").exists()


def test_a_task_that_cannot_be_sent_works_in_one_process(folder: Path) -> None:
    (folder / "mine.py").write_text(UNSENDABLE.replace("MEMBER", "self.lock = threading.Lock()"))
    assert main(["search", "task._target_=mine.Task", "controller=random", *QUICK]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["task._target_=mine.Task", "space._target_=mine.Space"],
            "mine.py: the spec, a Net, cannot be sent to workers (lock: cannot pickle",
        ),
        (
            ["task=synthetic", "scheduler._target_=mine.Scheduler"],
            "mine.py: Scheduler cannot be copied, which each search does (model.lock: cannot pickle",
        ),
        (
            ["task=synthetic", "task.reports=4", "pruner._target_=mine.Pruner"],
            "mine.py: PruningScheduler cannot be copied, which each search does (pruner.lock: cannot pickle",
        ),
        (
            ["task._target_=mine.Wraps", "task.head._target_=mine.Head"],
            "mine.py: Wraps cannot be sent to workers (head.lock: cannot pickle",
        ),
    ],
)
def test_specs_schedulers_and_parts_that_cannot_be_sent_are_told_too(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    told: str,
) -> None:
    (folder / "mine.py").write_text(
        UNSENDABLE.replace("MEMBER", "pass")
        + """

from nas import FullTraining
from search_space import ChoiceSpace


class Net(Model):
    pass


class Space(ChoiceSpace):
    def __init__(self):
        super().__init__({"a": ["x", "y"]})

    def decode(self, genotype):
        return Net()

    def key(self, spec):
        return "key"


class Scheduler(FullTraining):
    def __init__(self):
        self.model = Model()


class Pruner(Model):
    def prune(self, study, trial):
        return False


class Head(Model):
    pass


class Wraps(Task):
    def __init__(self, head):
        self.head = head
"""
    )
    monkeypatch.setattr("nas.executors.on_ray.executor.start_ray", lambda *_: 1 / 0)
    assert main(["search", *words, "controller=random", "trials=2", "run_dir=run"]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "run").exists()


NAMESAKES = """
class Task:
    digest = 3
    device = object()

    def evaluate(self, spec):
        return float(self.check(spec))

    def check(self, spec):
        return len(spec.blocks) > 3

    def setup(self):
        raise AssertionError("called")

    def open(self, path="x"):
        raise AssertionError("called")

    def costs(self):
        raise AssertionError("called")

    def fit(self, x, y):
        raise AssertionError("called")

    def folder(self, name):
        raise AssertionError("called")
"""


def test_methods_that_are_called_like_ours_do_not_disturb_a_search(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.py").write_text(NAMESAKES)
    assert main(["search", "task._target_=mine.Task", *QUICK]) == 0
    assert capsys.readouterr().err == ""
    assert main(["train", "task._target_=mine.Task", "spec=spinenet-49", "run_dir=training"]) == 2
    assert (
        "Task has no fit, model and categories as proxy_tasks.TrainingTask has them"
        in capsys.readouterr().err
    )


def test_specs_and_controllers_with_methods_called_like_ours_do_not_disturb_a_search(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.py").write_text(
        """
from controllers import RandomSearch
from search_space import ChoiceSpace


class Net(str):
    def draw(self, axes):
        raise AssertionError("called")

    def to_json(self, path, indent):
        raise AssertionError("called")


class Space(ChoiceSpace):
    def __init__(self):
        super().__init__({"a": ["x", "y"], "b": ["x", "y"]})

    def decode(self, genotype):
        return Net(super().decode(genotype))

    def key(self, spec):
        return str(spec)


class Controller(RandomSearch):
    objectives = ["AP", "macs"]


class Task:
    def evaluate(self, spec):
        return float(len(spec))
"""
    )
    words = ["task._target_=mine.Task", "space._target_=mine.Space", "controller._target_=mine.Controller"]
    assert main(["search", *words, *QUICK]) == 0
    assert capsys.readouterr().err == ""
    assert "Net" not in json.loads((folder / "run" / "winners" / "best.json").read_text())["spec"]
    assert main(["report", "run"]) == 0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "def check(self):\n        return self.model.ready",
            "mine.py, line 6: AttributeError in Task.check: ",
        ),
        ("def check(self):\n        raise ValueError('no data')", "nas: no data"),
        ("def costs(self, spec):\n        return 3.0", "Task.costs must give numbers by name, not a float"),
        (
            "def costs(self, spec):\n        return {'macs': 1 / 0}",
            "mine.py, line 6: ZeroDivisionError in Task.costs",
        ),
    ],
)
def test_a_method_that_fails_before_a_search_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], body: str, told: str
) -> None:
    (folder / "mine.py").write_text(f"{GOOD}\n    {body}\n")
    more = ["cost_limits.macs=1"] if "costs" in body else []
    assert main(["search", "task._target_=mine.Task", *QUICK, *more]) in (1, 2)
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert not (folder / "run").exists()


NOT_FINITE = """
from proxy_tasks.task import Score


class Task:
    def evaluate(self, spec, report):
        metrics = {"acc": float("nan"), "loss": float("inf"), "AP": None, "fine": 1.0, "macs": float("nan")}
        report(1, Score(0.4, metrics))
        return Score(0.5, metrics)
"""


@pytest.mark.slow
def test_a_metric_that_is_no_number_is_null_in_every_file_and_nothing_is_printed_of_it(folder: Path) -> None:
    """In a process of its own, as libraries write warnings of theirs where no test can catch them."""
    (folder / "mine.py").write_text(NOT_FINITE)
    words = [
        "task._target_=mine.Task",
        "executor=in_process",
        "trials=3",
        "run_dir=run",
        "search.finalists=1",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "nas", "search", *words]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert (found.returncode, found.stderr) == (0, "")
    expected = {"acc": None, "loss": None, "AP": None, "fine": 1.0, "macs": None}
    summary = strictly((folder / "run" / "winners" / "summary.json").read_text())
    assert summary["metrics"] == summary["finalists"][0]["metrics"]
    assert summary["metrics"].items() >= expected.items()
    pareto = strictly((folder / "run" / "winners" / "pareto.json").read_text())
    assert pareto[0]["metrics"] == summary["metrics"]
    with closing(sqlite3.connect(folder / "run" / "journal.db")) as journal:
        events = [strictly(text) for (text,) in journal.execute("SELECT data FROM events")]
    metrics = [event["metrics"] for event in events if "metrics" in event]
    assert len(metrics) == 10
    assert all(found.items() >= expected.items() for found in metrics)


def test_every_reader_of_a_search_takes_metrics_that_are_null(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.py").write_text(NOT_FINITE)
    assert main(["search", "task._target_=mine.Task", *QUICK]) == 0
    capsys.readouterr()
    assert main(["status", "run", "--json"]) == 0
    assert strictly(capsys.readouterr().out)["best"]["metrics"]["acc"] is None
    for name in ("trials.json", "trials.csv", "trials.parquet", "trials.log"):
        assert main(["trials", "run", name]) == 0
    rows = strictly((folder / "trials.json").read_text())
    assert [rows[0][name] for name in ("acc", "loss", "AP", "fine")] == [None, None, None, 1.0]
    assert main(["report", "run"]) == 0
    assert main(["resume", "run", "trials=8"]) == 0
    words = ["task._target_=mine.Task", "executor=in_process", "specs=4", "out=out", "neighbors=0"]
    assert main(["judge", *words]) == 0
    strictly((folder / "out" / "judgement.json").read_text())


def strictly(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def test_what_the_objective_needs_must_be_a_number(folder: Path) -> None:
    (folder / "mine.py").write_text(NOT_FINITE)
    words = ["task._target_=mine.Task", "objective.maximize=[acc]", "search.max_failures=1"]
    assert main(["search", *words, *QUICK]) == 1
    ended = [event.data for event in read_events("run") if event.kind == "ended"]
    assert {(data["failure"], data["message"]) for data in ended} == {("error", "acc is nan")}


def test_a_search_runs_failed_trials_again_once_they_are_mended(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.py").write_text(GOOD.replace("return 1.0", "return spec.blokcs"))
    words = ["task._target_=mine.Task", "executor=in_process", "trials=4", "run_dir=run", "controller=random"]
    assert main(["search", *words]) == 1
    assert "4 of 4 trials failed" in capsys.readouterr().err
    (folder / "mine.py").write_text(GOOD)
    sys.modules.pop("mine")
    assert main(["resume", "run"]) == 0
    shown = capsys.readouterr().out
    assert "running 4 failed trials again: 0, 1, 2, 3\n" in shown
    assert "Finished: 4 of 4 trials (4 completed)." in shown
    assert main(["resume", "run"]) == 0
    assert "again" not in capsys.readouterr().out


POOLS = """
import multiprocessing, os, signal, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor


def double(x):
    return 2 * x


def handlers(_=None):
    return [signal.getsignal(number) == signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)]


class Task:
    def evaluate(self, spec, report):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(double, [1, 2]) == [2, 4]
            assert all(map(all, pool.map(handlers, range(4))))
        self.left = multiprocessing.get_context("fork").Pool(1)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.map(double, [1]) == [2]
        with ProcessPoolExecutor(1) as pool:
            assert pool.submit(double, 1).result() == 2
        hanging = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        hanging.start()
        hanging.terminate()
        hanging.join()
        assert hanging.exitcode == -signal.SIGTERM
        subprocess.run([sys.executable, "-c", ""], check=True)
        child = os.fork()
        if child == 0:
            sys.exit(7)  # And not the search.
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        child = os.fork()
        if child == 0:
            return 2.0
        os.waitpid(child, 0)
        child = multiprocessing.get_context("fork").Process(target=self.report_elsewhere, args=(report,))
        child.start()
        child.join()
        assert child.exitcode == 3
        return 1.0

    def report_elsewhere(self, report):
        try:
            report(1, 0.5)
        except RuntimeError:
            os._exit(3)
"""


@pytest.mark.slow
def test_a_task_may_start_processes_of_its_own(folder: Path) -> None:
    (folder / "mine.py").write_text(POOLS)
    words = ["task._target_=mine.Task", "executor=in_process", "trials=1", "run_dir=run", "controller=random"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "nas", "search", *words]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count("winner: trial 0") == 1
    ended = [event.data["rewards"] for event in read_events(folder / "run") if event.kind == "ended"]
    assert ended == [[1.0]]


def test_packages_offer_observers_and_readers_by_name_and_replace_no_preset(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.py").write_text(
        "class Diary:\n"
        "    def on_event(self, event, trials):\n        print('noted', event.kind)\n"
        "    def close(self):\n        pass\n\n\n"
        "class Reader:\n    pass\n"
    )
    offered = [
        EntryPoint("diary", "mine:Diary [extra]", "spinenas.observers"),
        EntryPoint("mine", "mine:Reader", "spinenas.readers"),
        EntryPoint("cpu", "mine:Task", "spinenas.tasks"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", EntryPoints(offered).select)
    assert main(["search", "task=synthetic", "controller=random", "observers.x=diary", *QUICK]) == 0
    assert "noted finished" in capsys.readouterr().out
    sys.path.append(str(folder))
    config = compose("search", ["task=cpu", "task.data.reader=mine"])
    assert config.task.data.reader._target_ == "mine.Reader"
    assert config.task._target_ == "proxy_tasks.TrainingTask"
    assert main(["tasks"]) == 0
    assert "mine.Task" not in capsys.readouterr().out


def test_files_of_installed_plug_ins_are_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.plugins import own_code

    package = tmp_path / "site" / "plug"
    package.mkdir(parents=True)
    for name in ("__init__.py", "task.py"):
        (package / name).write_text("")
    (tmp_path / "site" / "other.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    monkeypatch.setattr(own_code, "_NOT_OWN", (f"{tmp_path / 'site'}{os.sep}",))
    offered = EntryPoints([EntryPoint("mine", "plug.task:Task", "spinenas.tasks"), EntryPoint("x", "y", "z")])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda: offered)
    own_code._plugin_places.cache_clear()
    try:
        assert own_code.is_own(str(package / "task.py"))
        assert not own_code.is_own(str(tmp_path / "site" / "other.py"))
    finally:
        own_code._plugin_places.cache_clear()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def __init__(self, space):\n        {}['a']", "controller: mine.py, line 3: KeyError: 'a'"),
        (
            "def __init__(self, space):\n        open('w.csv')",
            "controller: mine.py, line 3: FileNotFoundError",
        ),
        ("def __init__(self, space):\n        1 + 'a'", "controller: mine.py, line 3: unsupported operand"),
        ("def __init__(self, space):\n        exit(3)", "controller: mine.py, line 3: SystemExit: 3"),
    ],
)
def test_a_fault_in_a_constructor_names_the_line(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (folder / "mine.py").write_text(f"class C:\n    {text}\n")
    assert main(["search", "task=synthetic", "controller._target_=mine.C", *QUICK]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("words", "text", "told"),
    [
        (
            ["scheduler._target_=mine.S"],
            "class S:\n    def report(self, trial, step, reward):\n        pass\n",
            "scheduler: mine.S has no method promote; inherit nas.FullTraining",
        ),
        (
            ["controller._target_=mine.Grid"],
            "class Grid:\n    def __init__(self, space):\n        self.it = iter(())\n"
            "    def ask(self):\n        return next(self.it)\n"
            "    def tell(self, proposal, reward):\n        pass\n",
            "mine.py, line 5: StopIteration in Grid.ask",
        ),
        (
            ["controller._target_=mine.Half"],
            "from controllers import Proposal\n\n\n"
            "class Half:\n    def __init__(self, space):\n        pass\n"
            "    def ask(self):\n        return Proposal(0, (0.9, 1.9))\n"
            "    def tell(self, proposal, reward):\n        pass\n",
            "Half.ask must give a genotype of whole numbers, not (0.9, 1.9)",
        ),
        (
            ["space._target_=mine.Space"],
            "from search_space import ChoiceSpace\n\n\nclass Space(ChoiceSpace):\n    def __init__(self):\n"
            "        super().__init__({'a': ['x', 'y']})\n    def decisions(self):\n        return ()\n",
            "Space.decisions must be a tuple of search_space.Decision, not <bound method",
        ),
        (
            ["space._target_=mine.Space"],
            "from search_space import ChoiceSpace\n\n\nclass Space(ChoiceSpace):\n    def __init__(self):\n"
            "        super().__init__({'a': ['x', 'y']})\n    def sample(self, rng):\n        return 1 / 0\n",
            "mine.py, line 8: ZeroDivisionError in Space.sample",
        ),
        (
            ["space._target_=mine.Space"],
            "from search_space import ChoiceSpace\n\n\nclass Space(ChoiceSpace):\n    def __init__(self):\n"
            "        super().__init__({'a': ['x', 'y']})\n    def decode(self, genotype):\n        pass\n",
            "Space.decode must give a spec, not None; is a return missing?",
        ),
        (
            ["task._target_=mine.Task"],
            "import argparse\n\nargparse.ArgumentParser().parse_args(['x'])\n",
            "line 3: SystemExit at import: 2; what ends the program belongs below: if __name__",
        ),
        (["task._target_=mine.Task"], "raise ValueError('a\\nb\\nc')\n", "ValueError at import: a b c"),
    ],
)
def test_beginners_mistakes_are_told_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str, told: str
) -> None:
    (folder / "mine.py").write_text(text)
    assert main(["search", "task=synthetic", "prior=none", *words, *QUICK]) in (1, 2)
    assert told in capsys.readouterr().err


def test_an_error_of_a_library_at_import_names_the_users_line_wherever_the_library_lies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # Its virtual environment may lie in it.
    (folder / "broken_yaml.py").write_text("import yaml\n\nyaml.safe_load('{a: [')\n")
    sys.path.append(str(folder))
    with pytest.raises(PluginError, match=r"broken_yaml\.py, line 3: ParserError at import"):
        find_target("broken_yaml.Task")


def test_a_forgotten_return_is_guessed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.py").write_text("class Task:\n    def evaluate(self, spec):\n        pass\n")
    assert main(["search", "task._target_=mine.Task", "controller=random", *QUICK]) == 1
    told = "Task.evaluate must return a number or a Score, not a NoneType; is a return missing?"
    assert told in capsys.readouterr().err


def test_a_study_notices_code_that_its_task_imports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "helper_of_mine.py").write_text("SCORE = 1.0\n")
    (folder / "mine.py").write_text(
        "import helper_of_mine\n\n\nclass Task:\n    def evaluate(self, spec):\n"
        "        return helper_of_mine.SCORE + len(str(spec))\n"
    )
    words = ["judge", "task._target_=mine.Task", "specs=3", "neighbors=0", "out=out", "executor=in_process"]
    assert main(words) == 0
    (folder / "helper_of_mine.py").write_text("SCORE = 2.0\n")
    capsys.readouterr()
    assert main(words) == 2
    assert "own files (helper_of_mine.py) changed; give another folder with out=" in capsys.readouterr().err


TASK_OF_A_PACKAGE = """from proxy_tasks.task import Score


class Mine:
    def evaluate(self, spec, seed):
        from my_package.parts.helper import value

        return Score(value(spec) + seed % 7 / 100)
"""


def study(task: str) -> None:
    """Does with a task and its log what each study does."""
    log, about = Path("results.jsonl"), {"task": {"_target_": task}}
    read_results(log, {"plan": 1, OWN_FILES: own_digests(about)}, "proxy study", lambda _: True)
    append_result(log, {"score": find_target(task)().evaluate("spec", 0).reward})


def stand_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes to a folder and imports from there, as a process does that is begun in it."""
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [str(place), *[entry for entry in sys.path if entry]])
    importlib.invalidate_caches()


def test_a_study_goes_on_whatever_is_imported_and_wherever_its_folder_lies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = folder / "here", folder / "there"
    parts = here / "my_package" / "parts"
    parts.mkdir(parents=True)
    (here / "my_package" / "task.py").write_text(TASK_OF_A_PACKAGE)
    (parts / "helper.py").write_text("def value(spec):\n    return float(len(str(spec)))\n")
    stand_in(here, monkeypatch)
    study("my_package.task.Mine")
    study("my_package.task.Mine")  # The helper has been imported since.
    wanted = {"my_package/task.py", "my_package/parts/helper.py"}
    assert set(own_digests({"_target_": "my_package.task.Mine"})) == wanted
    shutil.copytree(here, there)
    shutil.rmtree(here)
    stand_in(there, monkeypatch)
    assert set(own_digests({"_target_": "my_package.task.Mine"})) == {"my_package/task.py"}
    study("my_package.task.Mine")
    (there / "my_package" / "task.py").write_text(TASK_OF_A_PACKAGE + "\n")
    with pytest.raises(
        ConfigError, match=r"another proxy study: own files \(my_package/task\.py\) changed; give"
    ):
        study("my_package.task.Mine")


def test_a_value_that_a_file_is_called_like_is_no_file_of_a_study(
    folder: Path,
) -> None:
    for name in ("cpu", "t.csv"):
        (folder / name).write_text("x")
    (folder / "parts").mkdir()
    (folder / "parts" / "list").write_text("x")
    assert set(own_digests({"device": "cpu", "more": ["t.csv", "parts/list"]})) == {"t.csv", "parts/list"}


def test_a_value_is_no_method(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.py").write_text(
        "class C:\n    ask = tell = 3\n    def __init__(self, space):\n        pass\n"
    )
    assert main(["search", "task=synthetic", "controller._target_=mine.C", *QUICK]) == 2
    assert "mine.C has no method ask" in capsys.readouterr().err
