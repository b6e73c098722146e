"""The environment of every test process, as several run side by side."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.util import Finalize

import pytest

# Dozens of processes import torch. Without bytecode on the disk, each compiles it, which takes seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray would build a second environment for the workers of a driver that `uv run` started.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
# Workers for each core, which no test can use: ours have another environment.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# Ray gives its workers a low priority; beside another test process they would hardly run.
os.environ.setdefault("RAY_worker_niceness", "0")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script that puts the tests in the background lets them ignore it, and all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Gives what libraries and commands leave in the temporary folder one that ends with the tests."""
    if hasattr(config, "workerinput"):
        return  # A process of pytest-xdist has the folder of the one that started it.
    # The folders of `tmp_path` stay where pytest keeps those of the last sessions.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix="nas-tests-")
    os.environ["TMPDIR"], tempfile.tempdir = folder, None
    # After multiprocessing has removed its own folder in it, which has the priority -100.
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-200)


@pytest.fixture(autouse=True, scope="module")
def _imports_are_not_collected() -> None:
    """Takes what modules have made so far out of the collector's sight.

    A search collects at its end, which takes half a second among the objects of torch, Ray and thousands of
    tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _logging_stays_as_it_was() -> Iterator[None]:
    """Takes back what a command that a test runs in its own process does to the root logger.

    Otherwise which records a later test sees depends on what ran before it.
    """
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()


@pytest.hookimpl(optionalhook=True)  # Tests run without pytest-xdist too.
def pytest_xdist_auto_num_workers(config: object) -> int:
    """Half as many test processes again as cores: a test with Ray or a subprocess waits half of its time."""
    cores = len(os.sched_getaffinity(0))
    return cores + cores // 2


def pytest_unconfigure() -> None:
    """Shows everything to the collector again: libraries count what is left at the end of a process."""
    gc.unfreeze()
