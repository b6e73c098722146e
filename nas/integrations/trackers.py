"""Sends a search's metrics to an experiment tracker: MLflow or Weights & Biases, each an extra."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from nas.integrations.tensorboard import scalars
from nas.journal.event import Event
from nas.journal.trials import Trials
from search_space.utils.extras import install_hint


class TrackerError(ValueError):
    """A tracker that cannot be used: says what to do."""


class Tracker:
    """Sends what TensorBoard gets to a tracker, whose own settings come from its environment variables.

    Args:
        name: "mlflow" or "wandb".
        folder: the run folder, whose name the tracker's run has.
        config: is sent as the run's parameters, by dotted names.

    Raises:
        TrackerError: if there is no such tracker, or its package is missing.
    """

    def __init__(self, name: str, folder: Path, config: dict[str, Any]) -> None:
        if name not in ("mlflow", "wandb"):
            raise TrackerError(f"tracker must be mlflow or wandb, not {name!r}")
        try:
            self._package = importlib.import_module(name)
        except ImportError:
            raise TrackerError(f"tracker={name} needs a package: {install_hint(name)}") from None
        self.name, self.folder, self.config = name, folder, config
        self._run: Any = None

    def on_event(self, event: Event, trials: Trials) -> None:
        """Sends the scalars of a trial that has ended."""
        found = scalars(event, trials)
        if found is None:
            return
        if self._run is None:
            self._begin()
        if self.name == "mlflow":
            self._package.log_metrics(found, step=event.trial)
        else:
            # Trials end out of order, and a step of this tracker never falls.
            self._run.log({**found, "trial": event.trial})

    def close(self) -> None:
        """Ends the tracker's run."""
        if self._run is None:
            return
        if self.name == "mlflow":
            self._package.end_run()
        else:
            self._run.finish()

    def _begin(self) -> None:
        name = self.folder.resolve().name
        if self.name == "mlflow":
            self._package.set_experiment("spinenas")
            self._run = self._package.start_run(run_name=name)
            self._package.log_params(self.config)
        else:
            self._run = self._package.init(project="spinenas", name=name, config=self.config, dir=self.folder)
