"""What Ray's errors mean: why a worker is gone, and whether its node is."""

from __future__ import annotations

from nas.executors.on_ray.nodes import nodes_alive
from nas.plugins.faults import one_line


def is_node_lost(error: Exception, node: str) -> bool:
    """Whether an actor died, or cannot be reached, because its node is gone.

    Args:
        error: that Ray has raised for the actor.
        node: id of the node on which the actor ran.
    """
    return "node has died" in str(error) or node not in nodes_alive()


def is_unreachable(error: Exception) -> bool:
    """Whether an actor could not be reached, and may be alive."""
    import ray

    return isinstance(error, ray.exceptions.ActorUnavailableError)


def explain_death(error: Exception) -> str:
    """Gives Ray's long story in a few words."""
    text = one_line(error)
    if "OOM" in text or "memory" in text.lower():
        return f"the worker died, perhaps because memory ran out: {text}"
    return f"the worker died: {text.split('. ')[0]}"
