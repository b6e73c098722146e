"""Runs it: the search loop, journal, executors, winners and command line."""

from pathlib import Path
from typing import TYPE_CHECKING

from search_space.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from nas.analysis.settings import CompareSettings, JudgeSettings, VersusSettings
    from nas.config import load_task
    from nas.search.config import LoopSettings, SearchConfig, TrialSettings
    from nas.search.halving import HalvingScheduler
    from nas.search.loop import run_search
    from nas.search.objective import Objective
    from nas.search.pruning import PruningScheduler
    from nas.search.result import SearchError, SearchResult, load_result
    from nas.search.scheduler import Decision, FullTraining, Promotion, Scheduler
    from nas.search.settings import SearchSettings, ZeroCostSettings
    from nas.training.settings import RaySettings, TrainSettings

__all__ = [
    "CompareSettings",
    "Decision",
    "FullTraining",
    "HalvingScheduler",
    "JudgeSettings",
    "LoopSettings",
    "Objective",
    "Promotion",
    "PruningScheduler",
    "RaySettings",
    "Scheduler",
    "SearchConfig",
    "SearchError",
    "SearchResult",
    "SearchSettings",
    "TrainSettings",
    "TrialSettings",
    "VersusSettings",
    "ZeroCostSettings",
    "config_folder",
    "load_result",
    "load_task",
    "run_search",
]


def config_folder() -> Path:
    """The folder with the Hydra configurations: inside the installed package, or in the checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"


__getattr__ = lazy_exports(
    __name__,
    {
        "CompareSettings": "nas.analysis.settings",
        "Decision": "nas.search.scheduler",
        "FullTraining": "nas.search.scheduler",
        "HalvingScheduler": "nas.search.halving",
        "JudgeSettings": "nas.analysis.settings",
        "LoopSettings": "nas.search.config",
        "Objective": "nas.search.objective",
        "Promotion": "nas.search.scheduler",
        "PruningScheduler": "nas.search.pruning",
        "RaySettings": "nas.training.settings",
        "Scheduler": "nas.search.scheduler",
        "SearchConfig": "nas.search.config",
        "SearchError": "nas.search.result",
        "SearchResult": "nas.search.result",
        "SearchSettings": "nas.search.settings",
        "TrainSettings": "nas.training.settings",
        "TrialSettings": "nas.search.config",
        "VersusSettings": "nas.analysis.settings",
        "ZeroCostSettings": "nas.search.settings",
        "load_result": "nas.search.result",
        "load_task": "nas.config",
        "run_search": "nas.search.loop",
    },
)
