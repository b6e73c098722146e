"""What `nas search` itself does along a search: it keeps the configuration and prints the expected cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.executors.job import NODE_LOST
from nas.utils.files import replace_file
from nas.utils.terminal import duration

if TYPE_CHECKING:
    from nas.executors import Executor
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


class Retries:
    """Prints one line when infrastructure has failed a trial and it runs again."""

    def on_event(self, event: Event, trials: Trials) -> None:
        """Prints the line."""
        if event.kind == "ended" and event.data["retry"]:
            what, _, more = event.data["message"].partition(", ")
            if what == NODE_LOST:
                print(f"{what}: trial {event.trial} runs again, {more}", flush=True)
            else:
                print(f"trial {event.trial} runs again: {event.data['message']}", flush=True)

    def close(self) -> None:
        """Has nothing to close."""


class SourceDigests:
    """Keeps the digests of the user's own files that a search uses, so that a resume can tell of a change.

    Args:
        folder: the run folder.
        config: of the search.
    """

    def __init__(self, folder: Path, config: Any) -> None:
        self.folder, self.config = folder, config

    def on_event(self, event: Event, trials: Trials) -> None:
        """Writes the digests at the beginning of a session."""
        if event.kind == "session":
            from nas.config.sources import keep_sources

            keep_sources(self.folder, self.config)

    def close(self) -> None:
        """Has nothing to close."""


class StartSteps:
    """Prints what is done before the first trial, as it is begun; each takes some seconds.

    Args:
        executor: of the search.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def on_event(self, event: Event, trials: Trials) -> None:
        """Prints that the workers start, with the session."""
        if event.kind != "session":
            return
        from nas.executors import RayExecutor

        if isinstance(self.executor, RayExecutor):
            where = f" at {self.executor.address}" if self.executor.address else ""
            print(f"starting {self.executor.workers} workers on Ray{where}", flush=True)

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

        print("measuring one step of a training", flush=True)
        spec = self.space.decode(self.space.sample(np.random.default_rng(0)))
        seconds = self.estimate_seconds(spec, self.config.fidelity)
        total = seconds * self.trials / self.workers
        print(
            f"a dry run estimates {seconds:.0f} s for each trial: {self.trials} trials on {self.workers} "
            f"workers take about {duration(total)}",
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
