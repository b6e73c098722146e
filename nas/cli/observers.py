"""What `nas search` itself does along a search: it keeps the configuration and prints the expected cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.utils.files import replace_file
from nas.utils.terminal import duration

if TYPE_CHECKING:
    from nas.journal.store import Event
    from nas.journal.trials import Trials
    from nas.search.config import SearchConfig
    from search_space import Space


class ConfigFile:
    """Writes `config.yaml` as soon as the run folder belongs to the search; without it none can be resumed.

    Args:
        folder: the run folder.
        text: the configuration as YAML.
    """

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.text = folder, text

    def on_event(self, event: Event, trials: Trials) -> None:
        """Writes the file at the beginning of a session.

        Raises:
            SearchError: if the file cannot be written.
        """
        if event.kind != "session":
            return
        from nas.search.result import SearchError

        path = self.folder / "config.yaml"
        try:
            replace_file(path, self.text)
        except OSError as error:
            raise SearchError(f"{path} cannot be written: {error.strerror or error}") from None

    def close(self) -> None:
        """Has nothing to close."""


class CostEstimate:
    """Prints how long the search will take, with the first proposal, while the workers start.

    Args:
        estimate_seconds: gives the seconds of an evaluation from a spec and a fidelity.
        space: of the search, of which one random spec is tried.
        config: of the search.
        trials: its budget.
        workers: evaluations at a time.
    """

    def __init__(
        self,
        estimate_seconds: Callable[[Any, float], float],
        space: Space,
        config: SearchConfig,
        trials: int,
        workers: int,
    ) -> None:
        self.estimate_seconds, self.space, self.config = estimate_seconds, space, config
        self.trials, self.workers = trials, workers

    def on_event(self, event: Event, trials: Trials) -> None:
        """Prints the estimate when the first trial is asked for."""
        if event.kind != "asked" or event.trial != 0:
            return
        import numpy as np

        spec = self.space.decode(self.space.sample(np.random.default_rng(0)))
        seconds = self.estimate_seconds(spec, self.config.fidelity)
        total = seconds * self.trials / self.workers
        print(
            f"{self.trials} trials on {self.workers} workers, about {seconds:.0f} s each by a dry run: "
            f"about {duration(total)} in all",
            flush=True,
        )
        if self.config.finalists:
            seconds = self.estimate_seconds(spec, self.config.finalist_fidelity)
            runs = min(self.config.finalists, self.trials) * self.config.finalist_seeds
            print(
                f"then the best {self.config.finalists} are evaluated again in {runs} runs of about "
                f"{duration(seconds)}: about {duration(seconds * runs / min(self.workers, runs))} more",
                flush=True,
            )

    def close(self) -> None:
        """Has nothing to close."""
