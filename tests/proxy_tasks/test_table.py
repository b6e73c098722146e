from __future__ import annotations

import gzip
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.config import build, compose
from proxy_tasks import table as module
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
    with pytest.raises(ValueError, match="first: a decision needs at least one option, all different"):
        ChoiceSpace({"first": ["a", "a"]})


def test_a_table_is_a_task(tmp_path: Path) -> None:
    task = TableTask(str(table(tmp_path)), "accuracy")
    assert task.evaluate(("b", "a", "y")) == Score(7.0, {"accuracy": 7.0, "seconds": 17.0})
    assert TableTask(task.path, "accuracy", -1.0).evaluate(("b", "a", "y")).reward == -7.0
    with pytest.raises(TaskFailureError, match=r"has no row b\|a\|q"):
        task.evaluate(("b", "a", "q"))
    check_task(task, ("c", "b", "z"), tmp_path)


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_table_may_be_compressed(tmp_path: Path, ending: str) -> None:
    text = "spec,reward\nab,1\n" if ending == "csv" else '{"ab": 1}'
    path = tmp_path / f"table.{ending}.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert TableTask(path).evaluate(("ab",)).reward == 1
    for damaged in (b"no gzip file", gzip.compress(text.encode())[:-12]):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match=rf"table\.{ending}\.gz: no gzip file: "):
            TableTask(path)


def test_a_compressed_table_is_held_to_the_size_of_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"spec,reward\n" + b" " * (4 << 20)))
    with pytest.raises(TableError, match="over 1 MiB"):
        TableTask(path)


def test_keys_may_have_no_separators_where_they_are_no_riddle(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("spec,reward\n0121,1\n1021,2\n")
    task = TableTask(path, space=ChoiceSpace({name: [0, 1, 2] for name in "abcd"}))
    assert task.evaluate(("1", "0", "2", "1")).reward == 2
    with pytest.raises(TaskFailureError, match=r"no row 0\|0\|0\|0; it has rows such as 0121"):
        task.evaluate(("0", "0", "0", "0"))
    riddle = TableTask(path, space=ChoiceSpace({"a": [1, 10], "b": [2, 21, "021"]}))
    with pytest.raises(TaskFailureError, match="no row 10"):
        riddle.evaluate(("10", "21"))


def test_one_of_several_rows_may_be_drawn_by_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("spec,reward,seed\n" + "".join(f"{name},{i},{i}\n" for name in "ab" for i in range(4)))
    mean, draw = TableTask(path), TableTask(path, noise="draw")
    assert mean.evaluate(("a",), 0).reward == mean.evaluate(("a",), 7).reward == 1.5
    drawn = [draw.evaluate(("a",), seed) for seed in range(400)]
    assert drawn == [draw.evaluate(("a",), seed) for seed in range(400)]
    assert all(score.metrics["seed"] == score.reward for score in drawn), "the numbers are of one row"
    assert {score.metrics["expected_reward"] for score in drawn} == {1.5}
    counts = [sum(score.reward == i for score in drawn) for i in range(4)]
    assert min(counts) > 60
    assert [draw.evaluate(("b",), seed) for seed in range(20)] != drawn[:20]
    assert [score.reward for score in draw.scores()] == [1.5, 1.5]
    with pytest.raises(TableError, match=r"task\.noise must be mean or draw, not 'some'"):
        TableTask(path, noise="some")  # type: ignore[arg-type]


def test_the_expected_reward_has_the_sign_of_the_rewards(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("spec,error\na,3\na,5\n")
    score = TableTask(str(path), "error", sign=-1.0, noise="draw").evaluate(("a",))
    assert score.reward in (-3, -5)
    assert score.metrics["expected_reward"] == -4


def test_the_drawn_rows_are_the_same_however_the_table_writes_its_keys(tmp_path: Path) -> None:
    space, path = ChoiceSpace({"first": ["a", "b"], "second": ["a", "b"]}), tmp_path / "table.csv"
    drawn = []
    for key in ("a|b", "ab"):
        path.write_text("spec,reward\n" + "".join(f"{key},{i}\n" for i in range(50)))
        task = TableTask(str(path), space=space, noise="draw")
        drawn.append([task.evaluate(("a", "b"), seed).reward for seed in range(20)])
    assert drawn[0] == drawn[1]


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
        ("spec,reward\na,good\n", "row 1: reward is no finite number: 'good'"),
        ("spec,reward\na,nan\n", "row 1: reward is no finite number: 'nan'"),
        ("spec,reward\na,71,2\n", "row 1: 3 cells, and the header has 2; decimals need a point"),
        ("spec,reward,reward\na,1,2\n", "two columns are called 'reward'"),
        ("spec,reward\na,7_1\n", "row 1: reward is no finite number: '7_1'"),
        (f'spec,reward\n"{"a" * 140_000}",1\n', "line 2: field larger than field limit"),
        (
            "name,reward\na,1\n",
            "which one names the spec with task.name=COLUMN; the columns are name, reward",
        ),
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


def test_rows_may_be_named_by_genotypes(tmp_path: Path) -> None:
    space, path = ChoiceSpace(CHOICES), tmp_path / "table.csv"
    path.write_text('genotype,reward,time\n"(1, 0, 1)",3,5\n0-1-2,4,6\n"[1, 0, 1]",5,7\n')
    task = TableTask(str(path), seconds="time", space=space)
    assert task.evaluate(("b", "a", "y")) == Score(4.0, {"reward": 4.0, "time": 6.0, "seconds": 6.0})
    assert task.evaluate(("a", "b", "z")).reward == 4.0
    assert max(score.reward for score in task.scores()) == 4.0
    assert max(score.reward for score in TableTask(str(path), sign=-1.0, space=space).scores()) == -4.0
    with pytest.raises(TableError, match="row 1: genotypes are of a space; give the task its space"):
        TableTask(str(path))
    for wrong in ('"-1 1,1"', '"1.5,0,1"'):
        path.write_text(f"genotype,reward\n{wrong},3\n")
        with pytest.raises(TableError, match="row 1: "):
            TableTask(str(path), space=space)
    path.write_text('genotype,reward\n"1,0,7",3\n')
    with pytest.raises(TableError, match=r"row 1: '1,0,7': decision 2 \(third\): 7 is not among"):
        TableTask(str(path), space=space)


def test_rows_of_one_spec_count_with_their_mean(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("Cell,seed,accuracy\na|b,0,70\na|c,0,50\na|b,1,72\n")
    task = TableTask(str(path), "accuracy", name="Cell")
    assert task.evaluate(("a", "b")) == Score(71.0, {"seed": 0.5, "accuracy": 71.0})
    with pytest.raises(TableError, match="row 1: no 'arch'; the columns are Cell, seed, accuracy"):
        TableTask(str(path), "accuracy", name="arch")


def test_what_one_row_of_a_spec_lacks_is_no_metric_of_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("spec,reward,hours\na|b,70,3\na|b,72,\n")
    assert TableTask(str(path)).evaluate(("a", "b")) == Score(71.0, {"reward": 71.0})


def test_json_may_be_one_object_of_names(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"a|b": 71.5, "a|c": {"reward": 60, "seconds": 3}}))
    task = TableTask(str(path))
    assert task.evaluate(("a", "b")) == Score(71.5, {"reward": 71.5})
    assert task.evaluate(("a", "c")) == Score(60.0, {"reward": 60.0, "seconds": 3.0})
    path.write_text('{"a|b": 1, "a|b": 2}')
    with pytest.raises(TableError, match=r"table.json: .*'a\|b' occurs twice in one object"):
        TableTask(str(path))
    path.write_text(json.dumps({"rows": [1, 2]}))
    with pytest.raises(TableError, match=r"row 1: reward is no finite number: \[1, 2\]"):
        TableTask(str(path))


def test_keys_can_be_written_as_others_write_them() -> None:
    space = build(compose("space/nas-bench-201"))
    check_space(space)
    spec = space.decode((3, 3, 1, 0, 4, 2))
    assert space.key(spec) == (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    )
    assert space.size == 15625
    with pytest.raises(ValueError, match="a: no option may hold 'aa'"):
        ChoiceSpace({"a": ["x", "xa"], "b": ["ay", "y"]}, "{}aa{}")  # "x" and "ay", "xa" and "y" read alike
    with pytest.raises(ValueError, match=r"text needs one .* for each of the 3 decisions"):
        ChoiceSpace(CHOICES, "{}-{}")


def test_files_of_spreadsheets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "TABLE.CSV"
    path.write_bytes("\ufeffspec, reward ,note\r\na|b , 1.5,x\u2028y\r\n\r\n".encode())
    assert TableTask(str(path)).evaluate(("a", "b")) == Score(1.5, {"reward": 1.5})
    other = tmp_path / "TABLE.JSON"
    other.write_text(json.dumps([{"spec": "a|b", "reward": 1.5, "huge": 10**400, "flag": True}]), "utf-8-sig")
    assert TableTask(str(other)).evaluate(("a", "b")) == Score(1.5, {"reward": 1.5})


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ({"a": ["1", "11"], "b": ["1", "11"]}, "{}{}"),
        ({"a": ["x", "x|y"], "b": ["z", "y|z"]}, None),
        ({"a": "skip"}, None),
    ],
)
def test_choices_whose_keys_could_be_mistaken_are_refused(choices: dict[str, Any], text: str | None) -> None:
    with pytest.raises(ValueError, match=r"may hold|must be a list"):
        ChoiceSpace(choices, text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.json", "[" * 100_000),
        ("table.json", "9" * 5000),
        ("table.json", '[{"key": ' + "[" * 900 + "]" * 900 + ', "reward": 1}]'),
        ("table.json", '[{"key": "a", "reward": ' + "9" * 400 + "}]"),
        ("table.json", '[{"key": "a", "reward": 1e308}, {"key": "a", "reward": 1e308}]'),
        ("table.json", '{"a": [1]}'),
        ("table.json", "\x00"),
        ("table.json", '[{"key": "a", "reward": [[[1]]]}]'),
        ("table.csv", "key,reward\na," + "9" * 140_000),
        ("table.csv", 'key,reward\n"' + "x" * 140_000),
        ("table.csv", "key,reward\na,1\x00"),
        ("table.csv", "\x00"),
        ("table.csv", ",".join(["x"] * 200_000)),
    ],
)
def test_whatever_is_wrong_in_a_table_is_a_table_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TableError) as raised:
        TableTask(tmp_path / name)
    assert str(raised.value).startswith(str(tmp_path / name))
    assert len(str(raised.value)) < 1000


def test_a_header_of_many_columns_takes_no_longer_than_its_length(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(100_000)]
    (tmp_path / "t.csv").write_text("key,reward," + ",".join(names) + "\na,1\n")
    assert [score.reward for score in TableTask(tmp_path / "t.csv").scores()] == [1.0]


def test_a_table_is_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"t\.csv: not a regular file"):
        TableTask(tmp_path / "t.csv")
