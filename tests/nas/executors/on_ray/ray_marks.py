"""What tests with a real Ray have in common: it leaves sockets and processes to the end of the session."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def ray_cluster(**node: float) -> Iterator[str]:
    """The address of a cluster of one node, which ends afterwards.

    Args:
        node: what it claims to have, such as `num_cpus`.
    """
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**node, **LEAN})
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


LEAN = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Arguments of a head node without what no test looks at."""
