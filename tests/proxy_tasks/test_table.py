from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from nas.__main__ import main
from proxy_tasks.table import TableError, TableTask
from proxy_tasks.task import Score, TaskFailureError
from proxy_tasks.testing import check_task
from search_space import NotInSpaceError, published_spec, spec_key
from search_space.choices import ChoiceSpace
from search_space.testing import check_space

CHOICES = {"first": ["a", "b", "c"], "second": ["a", "b"], "third": ["x", "y", "z"]}


def table(folder: Path) -> Path:
    rows = ["spec,accuracy,seconds,note"]
    for number, labels in enumerate(itertools.product(*CHOICES.values())):
        rows.append(f"{'|'.join(labels)},{number},{10 + number},text")
    path = folder / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_choice_space_keeps_the_contract() -> None:
    space = ChoiceSpace(CHOICES)
    check_space(space)
    assert space.size == 18
    with pytest.raises(NotInSpaceError, match="second has no option 'x'"):
        space.encode(("a", "x", "x"))
    with pytest.raises(ValueError, match="first: options must be there and differ"):
        ChoiceSpace({"first": ["a", "a"]})


def test_a_table_is_a_task(tmp_path: Path) -> None:
    task = TableTask(str(table(tmp_path)), "accuracy")
    assert task.evaluate(("b", "a", "y")) == Score(7.0, {"accuracy": 7.0, "seconds": 17.0})
    assert TableTask(task.path, "accuracy", -1.0).evaluate(("b", "a", "y")).reward == -7.0
    with pytest.raises(TaskFailureError, match=r"has no row b\|a\|q"):
        task.evaluate(("b", "a", "q"))
    check_task(task, ("c", "b", "z"), tmp_path)


def test_specs_of_spinenet_are_named_by_their_key(tmp_path: Path) -> None:
    spec = published_spec("spinenet-49")
    path = tmp_path / "table.json"
    path.write_text(json.dumps([{"spec": spec_key(spec), "reward": 0.4}]))
    assert TableTask(str(path)).evaluate(spec).reward == 0.4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no rows"),
        ("spec,score\na,1\n", "row 1: no 'reward'; the columns are spec, score"),
        ("spec,reward\na,1\na,2\n", "row 2: a is there twice"),
        ("spec,reward\na,good\n", "row 1: reward is no finite number: 'good'"),
        ("spec,reward\na,nan\n", "row 1: reward is no finite number: 'nan'"),
        ("name,reward\na,1\n", "row 1: no 'spec'"),
    ],
)
def test_wrong_tables_are_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=told):
        TableTask(str(path))


def test_a_table_is_searched_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = "{first: [a, b, c], second: [a, b], third: [x, y, z]}"
    words = ["space=choices", f"space.choices={choices}", "task=table", f"task.path={table(tmp_path)}"]
    words += ["task.reward=accuracy", "executor=virtual", "workers=4", "controller=local", "trials=40"]
    assert main(["search", *words, f"run_dir={tmp_path / 'run'}"]) == 0
    assert "reward 17.0000" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "run")]) == 0
    absent = [word for word in words if not word.startswith("task.path")]
    assert main(["search", *absent, f"run_dir={tmp_path / 'other'}"]) == 2
    assert "task.path" in capsys.readouterr().err
