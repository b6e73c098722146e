"""A search's figures to an experiment tracker: MLflow or Weights & Biases, each an extra."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.faults import one_line
from nas.scalars import scalars
from nas.trials import Trial, Trials


class TrackerError(ValueError):
    """A tracker that cannot be used: says what to do."""


class Tracking:
    """Sends what TensorBoard gets to a tracker; its own settings come from its environment variables.

    Args:
        name: of the tracker.
        folder: of the run, whose name the tracker's run has.
        config: told to the tracker, flat.

    Raises:
        TrackerError: if there is no such tracker, or its package is missing.
    """

    def __init__(self, name: str, folder: Path, config: dict[str, Any]) -> None:
        if name not in ("mlflow", "wandb"):
            raise TrackerError(f"tracker must be mlflow or wandb, not {name!r}")
        try:
            self._package = importlib.import_module(name)
        except ImportError:
            raise TrackerError(f"tracker={name} needs a package: pip install 'spinenas[{name}]'") from None
        self.name, self.folder, self.config = name, folder, config
        self._run: Any = None
        self._lost = False

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._run is None:
            return
        with contextlib.suppress(Exception):  # The search's own end matters more.
            if self.name == "mlflow":
                self._package.end_run()
            else:
                self._run.finish()

    def ended(self, trial: Trial, seconds: float, metrics: Mapping[str, float], trials: Trials) -> None:
        """Takes a trial's end. A tracker that fails is told once and left alone; the search goes on."""
        if self._lost:
            return
        try:
            if self._run is None:
                self._begin()
            found = scalars(trial, seconds, metrics, trials)
            if self.name == "mlflow":
                self._package.log_metrics(found, step=trial.number)
            else:
                # Trials end out of order, and a step of this tracker never falls.
                self._run.log({**found, "trial": trial.number})
        except Exception as error:
            self._lost = True
            print(
                f"nas: {self.name} gets no more: {type(error).__name__}: {one_line(error)}", file=sys.stderr
            )

    def _begin(self) -> None:
        name = self.folder.resolve().name
        if self.name == "mlflow":
            self._package.set_experiment("spinenas")
            self._run = self._package.start_run(run_name=name)
            self._package.log_params(self.config)
        else:
            self._run = self._package.init(project="spinenas", name=name, config=self.config, dir=self.folder)
