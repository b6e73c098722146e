"""How a training stands, by the notes in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.cli.live_board import Running
from nas.cli.status.status import Status, seconds_since
from nas.utils.run_files import best_model, model_card
from nas.utils.run_folder import resume_command
from nas.utils.terminal import duration, show_reward
from proxy_tasks.engine.progress import read_progress
from search_space.utils.validation import is_number


def read_training(folder: Path) -> Status:
    """How a training stands.

    Raises:
        ValueError: if its metrics are damaged.
    """
    from nas.training.evaluations import read_evaluations
    from nas.utils.files import is_in_use

    evaluations, progress, alive = read_evaluations(folder), read_progress(folder), is_in_use(folder)
    seconds = max(evaluations.seconds, 0.0 if progress is None else progress.seconds)
    if alive:
        seconds = max(seconds, _session_seconds(folder, progress is not None, seconds))
    state = "finished" if evaluations.finished else "running" if alive else "stopped"
    step = progress.step if progress is not None else max(evaluations.by_step, default=0)
    best: dict[str, Any] | None = None
    if evaluations.best is not None:
        metrics = evaluations.by_step[evaluations.best]
        best = {"step": evaluations.best, "reward": metrics["reward"], "metrics": metrics}
    running = (Running(name="training", progress=progress),) if alive and progress is not None else ()
    data = {
        "kind": "training",
        "folder": str(folder),
        "step": step,
        "steps": None if progress is None else progress.steps,
        "running": [row.to_dict() for row in running],
        "best": best,
        "evaluations": len(evaluations.by_step),
        "finished": evaluations.finished,
        "alive": alive,
        "seconds": round(seconds, 3),
    }
    whole = "" if progress is None else f" of {progress.steps}"
    lines = [f"{folder}: training, {state} after {duration(seconds)}, step {step}{whole}"]
    if best is not None:
        shown = ", ".join(
            f"{name} {value:.4g}"
            for name, value in best["metrics"].items()
            if name in SHOWN_METRICS and is_number(value)
        )
        lines.append(
            f"best: step {best['step']}, reward {show_reward(best['reward'])}{shown and f' ({shown})'}"
        )
    hint = f"to continue: {resume_command(folder)}" if state == "stopped" else ""
    if evaluations.finished:
        hint = f"look at it: {model_card(folder)}; the model: {best_model(folder)}"
    return Status(data=data, lines=tuple(lines), running=running, hint=hint)


SHOWN_METRICS = ("AP50", "APs", "mask_AP", "top5", "loss")
"""Metrics that `nas status` shows beside the reward of a training."""


def _session_seconds(folder: Path, noted: bool, before: float) -> float:
    """Time of a training that runs: what it has noted, and what has passed since.

    Args:
        folder: of the training.
        noted: whether it has written a note in this or an earlier session.
        before: what is noted.
    """
    from nas.utils.files import LOCK_FILE
    from proxy_tasks.engine.progress import PROGRESS_FILE

    began = _modified(folder / LOCK_FILE)
    note = _modified(folder / PROGRESS_FILE) if noted else None
    if note is not None and began is not None and note > began:
        return before + seconds_since(note)
    return before + (0.0 if began is None else seconds_since(began))


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
