from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.config import ConfigError, compose, load_task
from nas.executors.job import Decision, Job
from nas.executors.local_executor import LocalExecutor
from proxy_tasks.adapted_task import adapt
from proxy_tasks.script import ScriptTask
from proxy_tasks.script.task import _locked
from proxy_tasks.task import Score, TaskFailureError
from proxy_tasks.testing import check_task
from search_space import published_spec

SPEC = published_spec("r0-sp53")
EXAMPLE = Path(__file__).parents[3] / "examples" / "train.py"


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
        (
            'print(\'{"reward": 0.1, "step": 1}\')\nprint(\'{"reward": null}\')',
            'the last "reward" is none that can be read: {"reward": null}',
        ),
        (
            'print(\'{"reward": 0.1, "step": 1}\')\nprint(\'{"reward": 0,9}\')',
            'the last "reward" is none that can be read: {"reward": 0,9}',
        ),
    ],
)
def test_what_goes_wrong_is_told(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(TaskFailureError, match=re.escape(told)):
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
        (["python", "{{spec}}"], "one of which holds {spec}"),
        (["", "{spec}"], "command: a list of words"),
        ([], "command: a list of words"),
        (5, "command: a list of words"),
        (["python", "{spec}", "{seed.foo}"], "words may hold {spec}, {seed}, {fidelity}, {checkpoint}, not"),
        (["python", "{spec}", "{seed[0]}"], "words may hold {spec}, {seed}, {fidelity}, {checkpoint}, not"),
        (["python", "{spec}", "--tag", 1.1], "command: 1.1 is no text; write the word in quotes"),
        (["python", "{spec}", "--cache", False], "command: False is no text; write the word in quotes"),
        (["python", "{spec}", "--resume", None], "command: None is no text; write the word in quotes"),
        (["python", "{spec}", "{sed}"], "words may hold {spec}, {seed}, {fidelity}, {checkpoint}, not 'sed'"),
    ],
)
def test_wrong_commands_are_told(command: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
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


LEAVES_A_CHILD = """
import json, subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], **MORE)
with open('child', 'w') as file:
    file.write(str(child.pid))
print(json.dumps({'reward': 0.1, 'step': 1}), flush=True)
print(json.dumps({'reward': 0.2}), flush=True)
"""


def leaves_a_child(folder: Path, *, new_session: bool = False, then: str = "") -> ScriptTask:
    """A script that starts a process which holds its pipes."""
    more = "start_new_session=True" if new_session else ""
    return script(folder, LEAVES_A_CHILD.replace("**MORE", more) + then)


def wait_until(holds: Callable[[], bool]) -> None:
    """The limit is only there so that a hang ends."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def child_has_ended(folder: Path) -> bool:
    return not _lives(int((folder / "child").read_text()))


@pytest.mark.parametrize("new_session", [False, True])
def test_a_trial_ends_with_the_scripts_own_process(tmp_path: Path, new_session: bool) -> None:
    """Whatever it left running and holds the pipes; a daemon is found on Linux alone."""
    score, reports = evaluate(leaves_a_child(tmp_path, new_session=new_session))
    assert (score, reports) == (Score(0.2), [(1, Score(0.1))])
    if sys.platform == "linux" or not new_session:
        wait_until(lambda: child_has_ended(tmp_path))


def test_what_the_script_started_ends_when_a_report_ends_it(tmp_path: Path) -> None:
    task = leaves_a_child(tmp_path, then="child.wait()\n")
    executor = LocalExecutor()
    executor.open(adapt(task), lambda *_: Decision.STOP)
    executor.submit(Job(0, 0, SPEC, 1.0, 0))
    assert executor.wait(1)[0].status == "pruned"
    wait_until(lambda: child_has_ended(tmp_path))


SEARCHES = """
import sys
from pathlib import Path
from proxy_tasks.script import ScriptTask
from proxy_tasks.script.task import _locked
from search_space import published_spec

task = ScriptTask(command=["python", "mine.py", "{spec}", "{seed}"], folder=Path(sys.argv[1]))
task.evaluate(published_spec("r0-sp53"), 1.0, 7, lambda *_: None, Path(sys.argv[1], "checkpoint"))
"""


def test_a_script_ends_with_a_search_that_is_killed(tmp_path: Path) -> None:
    """And with it all that it has started; until then its folder is locked."""
    leaves_a_child(
        tmp_path,
        then="import os\nwith open('own', 'w') as file:\n    file.write(str(os.getpid()))\nchild.wait()\n",
    )
    search = subprocess.Popen([sys.executable, "-c", SEARCHES, str(tmp_path)])
    wait_until(lambda: (tmp_path / "own").exists() and (tmp_path / "own").read_text() != "")
    search.send_signal(signal.SIGKILL)
    search.wait()
    task = script(tmp_path, "print('{\"reward\": 1}')")
    assert evaluate(task, tmp_path / "checkpoint")[0] == Score(1.0)
    assert not _lives(int((tmp_path / "own").read_text()))  # As the lock says.
    wait_until(lambda: child_has_ended(tmp_path))


def test_a_folder_in_which_a_script_runs_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_tasks.script.task.SECONDS_TO_END", 0.1)
    task = script(tmp_path, "print('{\"reward\": 1}')")
    with (
        _locked(tmp_path / "checkpoint"),
        pytest.raises(TaskFailureError, match="earlier attempt still runs") as caught,
    ):
        evaluate(task, tmp_path / "checkpoint")
    assert caught.value.kind == "infrastructure"
    assert evaluate(task, tmp_path / "checkpoint")[0] == Score(1.0)
    (tmp_path / "victim").write_text("keep")
    (tmp_path / "linked.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=r"linked\.lock"):
        evaluate(task, tmp_path / "linked")


BAR = """
import json, sys
for epoch in range(1, 4):
    sys.stderr.write(f"\\r {epoch}/3 |{'#' * epoch}|")
    sys.stderr.flush()
    print(json.dumps({"step": epoch, "reward": epoch / 10}), flush=True)
"""


@pytest.mark.parametrize("same_stream", [False, True])
def test_a_score_is_found_behind_a_progress_bar(tmp_path: Path, same_stream: bool) -> None:
    text = BAR.replace("sys.stderr", "sys.stdout") if same_stream else BAR
    score, reports = evaluate(script(tmp_path, text))
    assert (score, [step for step, _ in reports]) == (Score(0.3), [1, 2, 3])


def test_both_streams_are_read_and_neither_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More than a pipe holds, cut within characters, and bytes that are no text."""
    text = """
import json, sys
print(json.dumps({"step": 1, "reward": 0.1}), file=sys.stderr, flush=True)
print("\u00e9" * 100_001, flush=True)
sys.stdout.buffer.write(b"\\xff\\xfe\\n")
print("x" * 200_000, file=sys.stderr, flush=True)
print(json.dumps({"reward": 0.2}))
"""
    assert evaluate(script(tmp_path, text)) == (Score(0.2), [(1, Score(0.1))])
    shown = capsys.readouterr()
    assert "\u00e9" * 100_001 in shown.out
    assert "x" * 200_000 in shown.err


def test_a_script_whose_streams_are_closed_early_goes_on(tmp_path: Path) -> None:
    text = """
import os, pathlib
print('{"reward": 0.5}', flush=True)
os.close(1)
os.close(2)
pathlib.Path("late").write_text("done")
os._exit(3)
"""
    with pytest.raises(TaskFailureError, match="status 3"):
        evaluate(script(tmp_path, text))
    assert (tmp_path / "late").read_text() == "done"


def test_a_guard_that_is_killed_is_the_machines_fault_and_the_script_ends(tmp_path: Path) -> None:
    text = """
import os, signal, time
with open("child", "w") as file:
    file.write(str(os.getpid()))
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""
    with pytest.raises(TaskFailureError, match="guards it was killed") as caught:
        evaluate(script(tmp_path, text))
    assert caught.value.kind == "infrastructure"
    wait_until(lambda: child_has_ended(tmp_path))


def test_pipes_of_a_shell_end_as_in_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that writes into a closed pipe ends by SIGPIPE, which Python would have it ignore."""
    (tmp_path / "run.sh").write_text("yes | head -n 1\necho '{\"reward\": 0.5}'\n")
    assert evaluate(ScriptTask(command=["sh", "run.sh", "{spec}"], folder=tmp_path))[0] == Score(0.5)
    assert "Broken pipe" not in capsys.readouterr().err


def test_a_spec_is_written_whatever_its_class_calls_its_methods(tmp_path: Path) -> None:
    class Namesake(tuple[int, ...]):
        def to_json(self, path: str) -> None:
            raise AssertionError("called")

    task = script(
        tmp_path, "import sys\nprint('{\"reward\": %s}' % sum(map(int, eval(open(sys.argv[1]).read()))))"
    )
    assert task.evaluate(Namesake((1, 2)), 1.0, 7, lambda *_: None, None) == Score(3.0)
    with pytest.raises(TaskFailureError, match=r"a object cannot be written.*to_json\(self\)"):
        task.evaluate(object(), 1.0, 7, lambda *_: None, None)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False


def test_a_wrong_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder: .*nowhere is no folder"):
        ScriptTask(command=["python", "{spec}"], folder=tmp_path / "nowhere")
    ScriptTask(command=["python", "{spec}", "{fidelity:.2f}"])
