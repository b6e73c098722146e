"""The nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping


def nodes_alive() -> dict[str, Mapping[str, float]]:
    """Gives what each node that is alive has in all, such as {"CPU": 48.0, "GPU": 2.0}, by the node's id."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}
