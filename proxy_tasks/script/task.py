"""A training script of one's own as a task: a subprocess that gets a spec file and prints its score.

The script may be in any language. Every JSON object with a "reward" that it prints counts. One with a "step"
is an intermediate score. The last one is the score; its other numbers are metrics.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

from proxy_tasks.script.output import OutputReader, is_meant_as_score, read_score
from proxy_tasks.task import Report, Score, TaskFailureError
from search_space.utils.strict_json import own_json, to_json

PLACES = ("spec", "seed", "fidelity", "checkpoint")

_MARK = "\0"
"""Stands for the spec where the words are tried."""

GUARD = Path(__file__).with_name("guard.py")

PIECE = 1 << 16
"""Bytes that are read at a time."""

SECONDS_TO_END = 10.0
"""So long a script that was told to end may take, and so long is waited for one of an earlier attempt."""


@dataclass(frozen=True, kw_only=True)
class ScriptTask:
    """Runs a command for every spec.

    The evaluation is over when the command's own process ends. What the command has left running is ended
    then, and also when the search is killed.

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
        example = "a list of words, one of which holds {spec}, such as [python, train.py, '{spec}']"
        if isinstance(self.command, str) or not isinstance(self.command, Sequence) or not self.command:
            raise ValueError(f"command: {example}")
        for word in self.command:  # 1.10 would have become 1.1, and null None.
            if not isinstance(word, (str, Path)) and type(word) is not int:
                raise ValueError(f"command: {word!r} is no text; write the word in quotes")
        try:
            words = self._words(dict(zip(PLACES, (_MARK, 0, 1.0, ""), strict=True)))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"command: words may hold {{{'}, {'.join(PLACES)}}}, not {error}") from None
        if not any(_MARK in word for word in words) or not words[0]:
            raise ValueError(f"command: {example}")
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
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            file = scratch / "spec.json"
            file.write_text(_spec_text(spec), encoding="utf-8")
            lock = None if checkpoint is None else stack.enter_context(_locked(checkpoint))
            kept = scratch if checkpoint is None else checkpoint
            kept.mkdir(parents=True, exist_ok=True)
            words = self._words({"spec": file, "seed": seed, "fidelity": fidelity, "checkpoint": kept})
            run = _Run(words, report)
            stack.callback(run.end)
            run.start(self.folder, lock)
            return run.score()

    def _words(self, values: dict[str, Any]) -> list[str]:
        words = [word.format(**values) for word in map(str, self.command)]
        return [sys.executable, *words[1:]] if words[0] == "python" else words


class _Run:
    """One run of a command, under the guard of `proxy_tasks/script/guard.py`.

    Args:
        words: of the command.
        report: gets the scores with a step.
    """

    def __init__(self, words: list[str], report: Report) -> None:
        self._words, self._report = words, report
        self._process: subprocess.Popen[bytes] | None = None
        self._streams: list[_Stream] = []
        self._channel, self._theirs = socket.socketpair()
        self._last: Score | None = None
        self._unread, self._is_unguarded = "", False

    def start(self, folder: Path, lock: int | None) -> None:
        """Starts the command.

        Args:
            folder: where it runs.
            lock: descriptor that all its processes hold; None for none.

        Raises:
            TaskFailureError: if no process can be started there.
        """
        passed = [self._theirs.fileno()] if lock is None else [self._theirs.fileno(), lock]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(self._theirs.fileno()), *self._words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                process_group=0,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=passed,
            )
        except OSError as error:
            raise TaskFailureError("error", f"{error.filename or folder}: {error.strerror}") from None
        self._theirs.close()
        pipes: list[tuple[Any, TextIO]] = [
            (self._process.stdout, sys.stdout),
            (self._process.stderr, sys.stderr),
        ]
        self._streams = [_Stream(pipe, echo) for pipe, echo in pipes]

    def score(self) -> Score:
        """Waits for the end, and gives the last score.

        Raises:
            TaskFailureError: if the command fails or prints no score.
        """
        name, outcome = self._words[0], self._wait()
        self._drain()
        kind, _, value = outcome.partition(" ")
        if kind == "error":
            raise TaskFailureError("error", f"{name}: {value}")
        if kind != "status":
            self._is_unguarded = True
            raise TaskFailureError("infrastructure", f"{name}: the process that guards it was killed")
        if value != "0":
            last = next((stream.last_line for stream in reversed(self._streams) if stream.last_line), "")
            told = f"; its last line: {last}" if last else ""
            raise TaskFailureError("error", f"{name} ended with status {value}{told}")
        if self._last is None:
            raise TaskFailureError(
                "error", f'the script printed no line such as {{"reward": 0.5}}{self._hint()}'
            )
        if self._unread:  # An older score must not pass for the last one.
            raise TaskFailureError("error", f'the last "reward" is none that can be read: {self._unread}')
        return self._last

    def end(self) -> None:
        """Ends what still runs."""
        self._theirs.close()
        self._channel.close()  # The guard ends everything then.
        if self._process is None:
            return
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._is_unguarded = True
        if self._is_unguarded:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in self._streams:
            stream.pipe.close()

    def _wait(self) -> str:
        """Reads what is printed until the guard says how the command ended; "" if it cannot say so."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            for stream in self._streams:
                selector.register(stream.pipe, selectors.EVENT_READ, stream)
            while True:
                ready = [key for key, _ in selector.select()]
                for key in ready:
                    if key.data is not None and not self._take(key.data):
                        selector.unregister(key.fileobj)
                if any(key.data is None for key in ready):
                    return self._channel.recv(4096).decode("utf-8", "replace")

    def _drain(self) -> None:
        """Reads what is left in the pipes, and waits for no other process that may hold them."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_END)
        for stream in self._streams:
            for _ in range(64):  # More than a pipe holds; who still writes is no part of the trial.
                if not self._take(stream):
                    break
            self._find(stream, stream.close())

    def _take(self, stream: _Stream) -> bool:
        """Reads a piece; gives whether there was one."""
        text = stream.read()
        self._find(stream, text or "")
        return text is not None

    def _find(self, stream: _Stream, text: str) -> None:
        for found in stream.objects(text):
            if isinstance(found, str):
                self._unread = found
                continue
            step_and_score = read_score(found)
            if step_and_score is not None:
                step, self._last = step_and_score
                self._unread = ""
                if step is not None:
                    self._report(step, self._last)
            elif is_meant_as_score(found):
                self._unread = to_json(found)[:200]

    def _hint(self) -> str:
        last = next((stream.last_line for stream in self._streams if stream.last_line), "")
        shown = self._unread or last
        return f"; it printed: {shown}" if shown else ""


class _Stream:
    """One stream of a script.

    Args:
        pipe: where it is read; it does not block from now on.
        echo: gets all that is read, which is the trial's log.
    """

    def __init__(self, pipe: IO[bytes], echo: TextIO) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.pipe, self._echo = pipe, echo
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._reader, self._is_over = OutputReader(), False

    @property
    def last_line(self) -> str:
        """The last line that is not blank."""
        return self._reader.last_line

    def read(self) -> str | None:
        """Gives what there is to read; None if there is nothing, or the stream is over."""
        try:
            data = os.read(self.pipe.fileno(), PIECE)
        except BlockingIOError:
            return None
        return self._show(self._decoder.decode(data)) if data else None

    def close(self) -> str:
        """Gives what was held back as the start of a character; nothing follows."""
        self._is_over = True
        return self._show(self._decoder.decode(b"", final=True))

    def objects(self, text: str) -> Iterator[dict[str, Any] | str]:
        """Finds the objects in a text that was read; see `OutputReader.read`."""
        return self._reader.read(text, is_end=self._is_over)

    def _show(self, text: str) -> str:
        # A log that cannot be written is no reason to lose a trial.
        with contextlib.suppress(OSError, ValueError):
            encoding = self._echo.encoding or "utf-8"
            self._echo.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._echo.flush()
        return text


def _spec_text(spec: Any) -> str:
    """The spec as JSON: what it makes of itself, or plain data.

    Raises:
        TaskFailureError: if it is neither.
    """
    text = own_json(spec)
    if text is not None:
        return text
    try:
        return to_json(spec)
    except TypeError:
        raise TaskFailureError(
            "error",
            f"a {type(spec).__name__} cannot be written for the script; give it a method to_json(self)",
        ) from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Holds a lock beside a folder; gives its descriptor, with which the script holds it too.

    The lock is held until the last of these processes has ended, so that no two attempts at a trial work in
    one folder.

    Raises:
        TaskFailureError: if another process keeps the lock.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + SECONDS_TO_END
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise TaskFailureError(
                    "infrastructure", f"the script of an earlier attempt still runs in {folder}"
                )
            time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Takes the lock unless somebody has it; a file system without locks has none to wait for."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
