"""One training, measured at several lengths, on the images that a search sees and on others."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.spinenet_bench.recipe import METRICS, test_task
from nas.utils.files import replace_file
from proxy_tasks.data.batches import Batches
from proxy_tasks.data.pixel_cache import PixelCache
from proxy_tasks.engine.state_file import forget_state
from proxy_tasks.task import Report, Score
from proxy_tasks.training_task import TrainingTask
from search_space import Spec

SCORES = "scores.json"
"""Beside a checkpoint: what was measured so far."""

Measured = dict[str, dict[str, Any]]
"""By number of steps: "val" and "test" metrics, means of the losses, seconds."""


@dataclass(frozen=True, kw_only=True)
class MeasuredTraining:
    """The task: its reward is the AP on the search's images at the end.

    Args:
        training: how a network is trained.
        lengths: steps after which it is measured; the last one is the training's end.
        known: what was measured before, by (key of the spec, seed); it is not trained again.
    """

    training: TrainingTask
    lengths: Sequence[int]
    known: Mapping[tuple[str, int], Measured] = field(default_factory=dict)

    def setup(self, run_dir: Path) -> None:
        """Makes the images."""
        self.training.setup(run_dir)
        self.test_images()

    def open(self) -> None:
        """Opens the images."""
        self.training.open()

    def test_images(self) -> PixelCache:
        """Gives the images that no search sees."""
        return test_task(self.training).data.caches(self.training.train.image_size)[1]

    def evaluate(
        self, spec: Spec, fidelity: float, seed: int, report: Report, checkpoint: Path | None
    ) -> Score:
        """Trains a network to the last length, and measures it at each."""
        known = self.known.get((spec.key(), seed), {})
        if all(str(length) in known for length in self.lengths):
            return as_score(known, self.lengths[-1])
        assert checkpoint is not None
        path = checkpoint / SCORES
        found = _read_scores(path)
        for length in self.lengths:
            if str(length) not in found:
                found[str(length)] = self._measure(spec, length, seed, checkpoint)
                replace_file(path, json.dumps(found))
            report(length, Score(found[str(length)]["val"]["AP"]))
        forget_state(checkpoint)
        return as_score(found, self.lengths[-1])

    def _measure(self, spec: Spec, length: int, seed: int, checkpoint: Path) -> dict[str, Any]:
        """Trains from the last length to this one."""
        task, test = self.training, {}
        images = Batches(self.test_images(), task.train.image_size, torch.device("cpu"))

        def look(net: nn.Module, step: int, score: Score) -> None:
            test.update(task.evaluator.measure(net, images, batch=2 * task.train.batch))

        started = time.process_time()  # One thread, which may be paused.
        fidelity = length / task.train.steps
        score = task.fit(spec, fidelity, seed, lambda *_: None, checkpoint, on_evaluation=look)
        losses = {name: score.metrics[name] for name in ("loss", "loss_25", "loss_50")}
        return {
            "val": {name: score.metrics[name] for name in METRICS if name in score.metrics},
            "test": {name: test[name] for name in METRICS if name in test},
            **losses,
            "seconds": round(time.process_time() - started, 1),
        }


def _read_scores(path: Path) -> Measured:
    """Gives what was measured so far; nothing if the file is lost."""
    try:
        found: Measured = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def as_score(measured: Measured, length: int) -> Score:
    """Gives what was measured as a score whose metrics have names such as "140/val/AP"."""
    flat = {
        f"{steps}/{part}" + (f"/{name}" if name else ""): value
        for steps, parts in measured.items()
        for part, values in parts.items()
        for name, value in (values.items() if isinstance(values, dict) else [("", values)])
    }
    return Score(measured[str(length)]["val"]["AP"], flat)


def as_measured(metrics: Mapping[str, float]) -> Measured:
    """Gives back what `as_score` was given; other metrics, such as those of the graph, are left out."""
    found: Measured = {}
    for path, value in metrics.items():
        if "/" not in path:
            continue
        steps, part, *name = path.split("/")
        if name:
            found.setdefault(steps, {}).setdefault(part, {})[name[0]] = value
        else:
            found.setdefault(steps, {})[part] = value
    return found
