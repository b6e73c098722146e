from __future__ import annotations

import time
from pathlib import Path

import pytest

from nas.config import ConfigError, compose, load_task
from nas.executors.in_process import LocalExecutor
from nas.executors.job import Decision, Job
from proxy_tasks.script import ScriptTask
from proxy_tasks.task import Score, TaskFailureError, adapt
from proxy_tasks.testing import check_task
from search_space import published_spec

SPEC = published_spec("r0-sp53")
EXAMPLE = Path(__file__).parents[2] / "examples" / "train.py"


def script(folder: Path, text: str) -> ScriptTask:
    (folder / "mine.py").write_text(text)
    return ScriptTask(command=["python", "mine.py", "{spec}", "{seed}"], folder=folder)


def evaluate(task: ScriptTask, checkpoint: Path | None = None) -> tuple[Score, list[tuple[int, Score]]]:
    reports: list[tuple[int, Score]] = []
    score = task.evaluate(SPEC, 1.0, 7, lambda step, s: reports.append((step, s)), checkpoint)
    return score, reports


def test_the_example_keeps_the_contract(tmp_path: Path) -> None:
    task = ScriptTask(command=["python", str(EXAMPLE), "{spec}", "--epochs", "2"])
    check_task(task, SPEC, tmp_path)
    score, reports = evaluate(task)
    assert [step for step, _ in reports] == [1, 2]
    assert reports[-1][1] == score
    assert score.metrics == {"blocks": len(SPEC.blocks)}


def test_the_script_gets_spec_seed_and_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import json, pathlib, sys\n"
        "spec, seed, fidelity, folder = sys.argv[1:]\n"
        "print('talks', file=sys.stderr)\n"
        "blocks = len(json.load(open(spec))['blocks'])\n"
        "state = pathlib.Path(folder, 'state')\n"
        "state.write_text('x' + (state.read_text() if state.exists() else ''))\n"
        'print(\'{"reward": %s, "seed": %s, "blocks": %s}\' % (fidelity, seed, blocks))\n'
    )
    task = ScriptTask(
        command=["python", "mine.py", "{spec}", "{seed}", "{fidelity}", "{checkpoint}"], folder=tmp_path
    )
    kept = tmp_path / "kept"
    assert evaluate(task, kept)[0] == Score(1.0, {"seed": 7.0, "blocks": len(SPEC.blocks)})
    evaluate(task, kept)
    assert (kept / "state").read_text() == "xx"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print('no score')", "printed no line such as"),
        ('print(\'{"reward": "high"}\')', "printed no line such as"),
        (
            "print('{\"reward\": 0.5}'); raise SystemExit('out of patience')",
            "status 1; its last line: out of patience",
        ),
        ("1 / 0", "status 1; its last line: ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
    ],
)
def test_what_goes_wrong_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(TaskFailureError, match=told):
        evaluate(script(tmp_path, text))


def test_a_report_ends_the_script(tmp_path: Path) -> None:
    task = script(
        tmp_path,
        'import time, pathlib\nprint(\'{"reward": 0.1, "step": 1}\', flush=True)\ntime.sleep(60)\n'
        "pathlib.Path('late').touch()",
    )
    executor = LocalExecutor()
    executor.open(adapt(task), lambda *_: Decision.STOP)
    executor.submit(Job(0, 0, SPEC, 1.0, 0))
    ended = executor.wait(1)[0]
    assert (ended.status, ended.score) == ("pruned", Score(0.1))
    assert ended.seconds < 30


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("python train.py {spec}", "command: a list of words"),
        (["python", "train.py"], "one of which holds {spec}"),
        (["python", "{spec}", "{sed}"], "words may hold {spec}, {seed}, {fidelity}, {checkpoint}, not 'sed'"),
    ],
)
def test_wrong_commands_are_told(command: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("{", r"\{").replace("}", r"\}")):
        ScriptTask(command=command)


def test_an_absent_program_is_told() -> None:
    with pytest.raises(TaskFailureError, match="no-such-program: No such file"):
        evaluate(ScriptTask(command=["no-such-program", "{spec}"]))
    with pytest.raises(ConfigError, match="command"):
        load_task("script")


def test_a_configuration_records_where_the_script_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search may be resumed from elsewhere."""
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ["task.command=[python, x.py, '{spec}']"]
    assert compose("task/script", words).folder == str(tmp_path)
    assert compose("task/script", [*words, "task.folder=inner"]).folder == str(tmp_path / "inner")
    assert load_task("script", "command=[python, x.py, '{spec}']").folder == tmp_path


def test_what_the_script_started_ends_with_it(tmp_path: Path) -> None:
    task = script(
        tmp_path,
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        'print(\'{"reward": 0.1, "step": 1}\', flush=True)\nchild.wait()',
    )
    executor = LocalExecutor()
    executor.open(adapt(task), lambda *_: Decision.STOP)
    executor.submit(Job(0, 0, SPEC, 1.0, 0))
    assert executor.wait(1)[0].status == "pruned"
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False


def test_a_wrong_folder_and_a_wrong_step_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder: .*nowhere is no folder"):
        ScriptTask(command=["python", "{spec}"], folder=tmp_path / "nowhere")
    ScriptTask(command=["python", "{spec}", "{fidelity:.2f}"])
    with pytest.raises(TaskFailureError, match="\"step\" that is no whole number: 'abc'"):
        evaluate(script(tmp_path, 'print(\'{"reward": 0.1, "step": "abc"}\')'))
