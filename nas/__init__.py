"""Runs it: the search loop, journal, executors, winners and command line."""

from pathlib import Path
from typing import Any


def config_folder() -> Path:
    """The folder with the Hydra configurations: inside the installed package, or in the checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"


def __getattr__(name: str) -> Any:
    """`run_search` is imported when it is wanted, so that the command line stays quick."""
    if name == "run_search":
        from nas.search import run_search

        return run_search
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
