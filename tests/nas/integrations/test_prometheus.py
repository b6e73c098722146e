"""The state of a search, as Prometheus gets it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nas.cli.main import main
from nas.journal.store import SqliteJournal, open_journal
from tests.nas.cli.test_status import ASKED, end
from tests.nas.journal.test_activity import BROKEN


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """Of a search that runs on many machines: trial 0 is over, trial 1 runs."""
    with contextlib.closing(open_journal(tmp_path / "run", create=True)) as found:
        found.write("session", None, {"workers": 20})
        found.write("workers", None, BROKEN.to_dict())
        for number in range(2):
            found.write("asked", number, {"proposal": number, "key": str(number), **ASKED})
            found.write("submitted", number, {"attempt": 0})
        end(found, 0)
        yield found


def test_the_figures_are_those_of_the_status(journal: SqliteJournal) -> None:
    words = [sys.executable, "-m", "nas", "status", str(journal.folder), "--metrics", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as server:
        assert server.stdout is not None
        told = server.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/metrics", told)
        assert address, told
        with urllib.request.urlopen(address[0]) as answer:
            text = answer.read().decode()
        os.kill(server.pid, signal.SIGINT)
        assert server.wait() == 0
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["nas_up",] == 1
    assert found["nas_best_reward",] == 0.5
    assert found["nas_trials", "completed"] == 1
    assert found["nas_trials", "running"] == 1
    assert (found["nas_workers_wanted",], found["nas_workers_ready",]) == (20, 16)
    assert found["nas_machine_workers", "NVIDIA H100", "a"] == 8
    assert found["nas_machine_set_aside", "3", "b"] == 1
    assert found["nas_asked_trials",] == 2
    assert "nas_budget_trials" not in text, "no configuration tells it"
    assert {name for name, *_ in found} >= {"nas_utilization_ratio", "nas_trials_per_hour"}


def test_a_search_that_has_not_begun_has_metrics_too(tmp_path: Path) -> None:
    from nas.cli.status.search import SearchReader
    from nas.integrations.prometheus import StateCollector

    with contextlib.closing(open_journal(tmp_path, create=True)) as journal:
        journal.write("session", None, {})
        names = {
            family.name for family in StateCollector(lambda: SearchReader(tmp_path).read().data).collect()
        }
    assert "nas_up" in names
    assert "nas_best_reward" not in names


@pytest.mark.parametrize("address", ["", "abc", "70000", "host:", ":x"])
def test_a_wrong_address_is_refused(
    address: str, journal: SqliteJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(journal.folder), f"--metrics={address}"]) == 2
    assert "--metrics must be PORT or HOST:PORT, such as 9464" in capsys.readouterr().err


def test_a_missing_package_is_told(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["status", str(journal.folder), "--metrics", "0"]) == 2
    assert (
        "pip install prometheus-client, or in a checkout: uv sync --extra prometheus"
        in capsys.readouterr().err
    )
