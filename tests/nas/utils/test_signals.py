"""SIGINT, SIGTERM and SIGHUP at every moment of a command's life: status 130, and never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

BEGINNING = """
import sys, time
import nas.__main__ as entry

class Slow:
    def find_spec(self, name, *_):
        if name == "nas.cli.main":
            print("here", flush=True)
            time.sleep(300)

sys.meta_path.insert(0, Slow())
sys.exit(entry.main())
"""

MIDDLE = """
import sys, time
import nas.__main__ as entry
from nas.cli import main as cli

def run(options):
    try:
        print("here", flush=True)
        time.sleep(300)
    finally:
        print("cleaning", flush=True)
        time.sleep({cleaning})

build = cli.build_parser
def patched():
    parser = build()
    parser.set_defaults(run=run)
    return parser

cli.build_parser = patched
sys.argv = ["nas"]
sys.exit(entry.main())
"""

FINALIZER = """
import signal, sys
import nas.__main__ as entry
from nas.utils.signals import end_on_lost_interrupts, interrupt_on_signals

class Holder:
    def __del__(self):
        print("here", flush=True)
        sys.stdin.read()

end_on_lost_interrupts()
with interrupt_on_signals():
    holder = Holder()
    del holder
    print("never")
"""

END = """
import atexit, sys, time
import nas.__main__ as entry

def close():
    print("here", flush=True)
    time.sleep(300)

atexit.register(close)
sys.argv = ["nas", "--version"]
sys.exit(entry.main())
"""


def start(code: str) -> subprocess.Popen[str]:
    """A process that has printed "here"; SIGINT was ignored at its start, as in the background of a shell.

    SIGHUP was not, even if the tests run under nohup.
    """

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        preexec_fn=begin,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "here\n":
            return process
    raise AssertionError(process.communicate()[1])


def signal_until_it_ends(process: subprocess.Popen[str], number: int, times: int = 1_000) -> tuple[int, str]:
    """Sends a signal so many times, or until the process ends; its status and its errors."""
    deadline = time.monotonic() + 120  # Only so that a hang ends.
    while process.poll() is None and times and time.monotonic() < deadline:
        process.send_signal(number)
        times -= 1
        time.sleep(0.05)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "code", [BEGINNING, MIDDLE.format(cleaning=0.2), FINALIZER], ids=["load", "run", "del"]
)
def test_an_interrupted_command_says_so_and_nothing_else(code: str, times: int, number: int) -> None:
    status, errors = signal_until_it_ends(start(code), number, times)
    assert (status, errors) == (130, "nas: interrupted\n")


def test_an_end_of_the_terminal_that_nohup_ignores_stays_ignored() -> None:
    code = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
import nas.__main__
from nas.utils.signals import interrupt_on_signals
with interrupt_on_signals():
    print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "True\nTrue\n"


def test_whoever_does_not_want_to_wait_for_the_end_gets_it() -> None:
    status, errors = signal_until_it_ends(start(MIDDLE.format(cleaning=300)), signal.SIGINT)
    assert status == 130
    assert errors == "nas: interrupted again; it ends at once\n"


def test_a_signal_after_the_end_leaves_no_traceback() -> None:
    status, errors = signal_until_it_ends(start(END), signal.SIGINT)
    assert (status, errors) == (130, "")
