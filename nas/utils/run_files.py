"""The files of a run folder that more than one part of the program reads or writes."""

from __future__ import annotations

from pathlib import Path

JOURNAL_FILE = "journal.db"
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
WINNER_FILE = "best.json"

TRAINING_FILES = (METRICS_FILE, "training.pt")
"""Files of a training: one of them is there as soon as anything could be lost."""


def journal_file(folder: str | Path) -> Path:
    """Everything that has happened in a search."""
    return Path(folder) / JOURNAL_FILE


def config_file(folder: str | Path) -> Path:
    """The configuration of a search or a training, complete."""
    return Path(folder) / CONFIG_FILE


def winner_file(folder: str | Path) -> Path:
    """The spec of a search's winner so far."""
    return winners_folder(folder) / WINNER_FILE


def winners_folder(folder: str | Path) -> Path:
    """The winner of a search, and the best trials."""
    return Path(folder) / "winners"


def kept_spec(folder: str | Path) -> Path:
    """The spec of a training: the file from which it was begun may be another one by now."""
    return Path(folder) / "spec.json"


def best_model(folder: str | Path) -> Path:
    """The model of a training that had the best score."""
    return Path(folder) / "best.safetensors"


def model_card(folder: str | Path) -> Path:
    """The page that describes the model of a training."""
    return Path(folder) / "card.md"
