"""A training script of one's own as a task."""

from proxy_tasks.script.task import ScriptTask

__all__ = ["ScriptTask"]
