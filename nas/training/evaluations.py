"""The evaluations of a training, as its folder keeps them; read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nas.utils.run_files import METRICS_FILE
from search_space.utils.json_text import parse_json
from search_space.utils.parsing import reading
from search_space.utils.regular_file import read_regular
from search_space.utils.strict_json import to_json
from search_space.utils.validation import is_number


@dataclass
class Evaluations:
    """The evaluations of a training.

    Args:
        by_step: the metrics of each, and its "reward".
        finished: whether the training is over.
        seconds: time that the training has taken, over all its sessions.
    """

    by_step: dict[int, dict[str, float]] = field(default_factory=dict)
    finished: bool = False
    seconds: float = 0.0

    @property
    def best(self) -> int | None:
        """The step with the best reward, the earliest of equals; None if there is no evaluation."""
        steps = self.by_step
        return max(steps, key=lambda step: (steps[step]["reward"], -step)) if steps else None

    def to_json(self) -> str:
        """The text of the file."""
        data = {"finished": self.finished, "seconds": self.seconds, "evaluations": self.by_step}
        return to_json(data, indent=1) + "\n"


def read_evaluations(folder: Path) -> Evaluations:
    """Reads a folder's `metrics.json`; there are no evaluations if it is not there.

    Raises:
        ValueError: if it is damaged.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        return Evaluations()
    with reading(lambda why: ValueError(f"{path} is damaged: {why}")):
        data = parse_json(read_regular(path))
        by_step = {int(step): dict(metrics) for step, metrics in data["evaluations"].items()}
        wrong = next((step for step, found in by_step.items() if not is_number(found["reward"])), None)
        if wrong is not None:
            raise ValueError(f"the reward of step {wrong} is no number")
        return Evaluations(by_step, data["finished"] is True, float(data["seconds"]))
