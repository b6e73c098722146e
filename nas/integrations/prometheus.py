"""Serves the state of a search to Prometheus, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from search_space.utils.extras import install_hint

GAUGES = {
    "nas_up": ("whether a process works on the search", "alive"),
    "nas_budget_trials": ("trials that the search may take", "budget"),
    "nas_asked_trials": ("trials that were proposed", "asked"),
    "nas_search_seconds": ("time of the search", "seconds"),
    "nas_left_seconds": ("time that the search will still take", "seconds_left"),
    "nas_trials_per_hour": ("trials that end in an hour", "trials_an_hour"),
    "nas_utilization_ratio": ("share of the workers' time that went into trials", "utilization"),
}
"""What each gauge says, and its key in the state that `nas status --json` prints."""


class MetricsError(ValueError):
    """The metrics cannot be served: says why."""


class StateCollector:
    """Gives the state of a search as Prometheus's gauges, whenever it is asked.

    Args:
        read: gives what `nas status --json` prints of a search.
    """

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Any]:
        """Gives all gauges; those of unknown value are left out."""
        from prometheus_client.core import GaugeMetricFamily

        state = self._read()
        for name, (about, key) in GAUGES.items():
            if state[key] is not None:
                yield GaugeMetricFamily(name, about, value=float(state[key]))
        if state["best"] is not None and state["best"]["reward"] is not None:
            yield GaugeMetricFamily("nas_best_reward", "best reward so far", value=state["best"]["reward"])
        trials = GaugeMetricFamily("nas_trials", "trials by how they stand", labels=["status"])
        for status, count in state["trials"].items():
            trials.add_metric([status], count)
        yield trials
        workers = state["workers"]
        for name, about, key in (
            ("nas_workers_wanted", "workers that the search would use", "wanted"),
            ("nas_workers_ready", "workers that are ready", "ready"),
        ):
            yield GaugeMetricFamily(name, about, value=workers[key])
        machines = GaugeMetricFamily(
            "nas_machine_workers", "workers that are ready", labels=["node", "device"]
        )
        for group in workers.get("workers", ()):
            machines.add_metric([group["node"], group["device"]], group["count"])
        yield machines
        aside = GaugeMetricFamily(
            "nas_machine_set_aside", "1 for what gets no trial", labels=["node", "gpus"]
        )
        for one in workers.get("aside", ()):
            aside.add_metric([one["node"], ",".join(one["gpus"])], 1)
        yield aside


def serve_metrics(
    read: Callable[[], Mapping[str, Any]], host: str, port: int
) -> tuple[int, Callable[[], None]]:
    """Starts a server, in a thread, at which Prometheus can ask for the state of a search.

    Args:
        read: see `StateCollector`.
        host: address of this machine at which it listens.
        port: 0 for a free one.

    Returns:
        the port, and what ends the server.

    Raises:
        MetricsError: if the package is missing.
        OSError: if the port cannot be used.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise MetricsError(f"--metrics needs a package: {install_hint('prometheus')}") from None
    registry = CollectorRegistry()
    registry.register(StateCollector(read))
    server, thread = start_http_server(port, host, registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), end
