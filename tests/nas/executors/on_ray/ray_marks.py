"""What tests with a real Ray have in common: it leaves sockets and processes to the end of the session."""

from __future__ import annotations

import logging

import pytest

REAL_RAY = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What users were warned of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


LEAN = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Arguments of a head node without what no test looks at."""
