"""What `nas search` itself does along a search: it keeps the configuration and says how long it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.pace import SHORT_SECONDS, Pace
from nas.executors.job import NODE_LOST
from nas.utils.files import replace_file
from nas.utils.run_files import config_file
from nas.utils.terminal import duration

if TYPE_CHECKING:
    from nas.journal.event import Event
    from nas.journal.trials import Trials
    from nas.search.config import SearchConfig


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

        path = config_file(self.folder)
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


class TimeEstimate:
    """Prints how long the search will take, as soon as a trial shows its pace on its worker.

    Args:
        folder: of the run.
        config: of the search.
        trials: its budget.
        workers: evaluations at a time.
    """

    def __init__(self, folder: Path, config: SearchConfig, trials: int, workers: int) -> None:
        self.folder, self.config = folder, config
        self.trials, self.workers = trials, workers
        self._pace = Pace(self._say)

    def on_event(self, event: Event, trials: Trials) -> None:
        """Watches the first trial that runs, and measures the first that ends."""
        if event.kind == "submitted":
            self._pace.begin(self.folder / "trials" / str(event.trial))
        elif event.kind == "ended" and event.data.get("status") == "completed" and event.data["seconds"]:
            self._pace.end(event.data["seconds"])

    def close(self) -> None:
        """Stops watching."""
        self._pace.close()

    def _say(self, seconds: float) -> None:
        total = seconds * self.trials / self.workers
        if total < SHORT_SECONDS:
            return
        print(
            f"a trial takes about {duration(seconds)}: {self.trials} trials on {self.workers} workers take "
            f"about {duration(total)}",
            flush=True,
        )
        if self.config.finalists:
            again = seconds * self.config.finalist_fidelity / self.config.fidelity
            runs = min(self.config.finalists, self.trials) * self.config.finalist_seeds
            print(
                f"then the best {self.config.finalists} are evaluated again in {runs} runs of about "
                f"{duration(again)}: about {duration(again * runs / min(self.workers, runs))} more",
                flush=True,
            )
