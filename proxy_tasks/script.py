"""A training script of one's own as a task: a subprocess that gets a spec file and prints its score.

The script may be in any language. Every line that it prints and that is a JSON object with a "reward" counts.
A line with a "step" is an intermediate score. The last line is the score; its other numbers are metrics.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy_tasks.task import Report, Score, TaskFailureError

PLACES = ("spec", "seed", "fidelity", "checkpoint")


@dataclass(frozen=True, kw_only=True)
class ScriptTask:
    """Runs a command for every spec.

    Args:
        command: words of the command, with {spec} for the spec's file and, where wanted, {seed}, {fidelity}
            and {checkpoint}, a folder that a second attempt at the same trial finds as the first one left
            it. A first word "python" is the Python that runs the search.
        folder: where it runs; by default where the task is made. It becomes absolute: workers run elsewhere,
            and a search may be resumed from elsewhere.

    Raises:
        ValueError: if no word holds {spec}, a word holds another name in braces, or the folder is missing.
    """

    command: Sequence[str]
    folder: Path = Path()

    def __post_init__(self) -> None:
        if isinstance(self.command, str) or not any("{spec}" in word for word in self.command):
            raise ValueError(
                "command: a list of words, one of which holds {spec}, such as [python, train.py, '{spec}']"
            )
        try:
            self._words(dict(zip(PLACES, ("", 0, 1.0, ""), strict=True)))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"command: words may hold {{{'}, {'.join(PLACES)}}}, not {error}") from None
        folder = Path(self.folder).absolute()
        if not folder.is_dir():
            raise ValueError(f"folder: {self.folder} is no folder")
        object.__setattr__(self, "folder", folder)

    def evaluate(
        self, spec: Any, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Returns the score that the script prints last; see `proxy_tasks.task.Task.evaluate`.

        Raises:
            TaskFailureError: if the script cannot be run, fails, or prints no score; the message holds its
                last line.
        """
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "spec.json"
            file.write_text(spec.to_json() if hasattr(spec, "to_json") else json.dumps(spec))
            kept = checkpoint if checkpoint is not None else Path(scratch)
            kept.mkdir(parents=True, exist_ok=True)
            words = self._words({"spec": file, "seed": seed, "fidelity": fidelity, "checkpoint": kept})
            return self._run(words, report)

    def _words(self, values: dict[str, Any]) -> list[str]:
        words = [word.format(**values) for word in map(str, self.command)]
        return [sys.executable, *words[1:]] if words[0] == "python" else words

    def _run(self, words: list[str], report: Report) -> Score:
        try:
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                process_group=0,  # What the script starts ends with it.
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise TaskFailureError("error", f"{words[0]}: {error.strerror}") from None
        score: Score | None = None
        last: deque[str] = deque(maxlen=1)
        with process:
            try:
                for line in process.stdout or ():
                    print(line, end="")  # To the trial's log.
                    if line.strip():
                        last.append(line.strip())
                    found = _score(line)
                    if found is not None:
                        step, score = found
                        if step is not None:
                            report(step, score)
                status = process.wait()
            finally:  # A report may end the evaluation early.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if status != 0:
            line = f"; its last line: {last[0][:200]}" if last else ""
            raise TaskFailureError("error", f"{words[0]} ended with status {status}{line}")
        if score is None:
            raise TaskFailureError("error", 'the script printed no line such as {"reward": 0.5}')
        return score


def _score(line: str) -> tuple[int | None, Score] | None:
    """Returns step and score of a printed line, None if the line is no score."""
    try:
        data = json.loads(line)
        reward = float(data.pop("reward"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    step = data.pop("step", None)
    numbers = {name: float(value) for name, value in data.items() if isinstance(value, (int, float))}
    if step is not None and (not isinstance(step, (int, float)) or step != int(step)):
        raise TaskFailureError("error", f'the script printed a "step" that is no whole number: {step!r}')
    return (None if step is None else int(step)), Score(reward, numbers)
