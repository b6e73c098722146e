"""Runs it: the command line over the search space, the controllers and the proxy tasks."""

from pathlib import Path


def config_folder() -> Path:
    """The folder with the Hydra configurations: inside the installed package, or in the checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "configs"
