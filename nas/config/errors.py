"""The error of configurations, and how errors of Hydra are shortened."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration cannot be composed or built: says which key is wrong and what would be right."""


def unknown_key(key: str, known: Iterable[str]) -> ConfigError:
    """The error for a key that does not exist, with the nearest one that does.

    Args:
        key: with the names of all nodes above it, such as "task.train.stepz".
        known: names that would be right in its place.
    """
    names = list(known)
    close = difflib.get_close_matches(key.rpartition(".")[2], names, n=1)
    if close:
        return ConfigError(f"{key}: no such key; did you mean {close[0]}?")
    return ConfigError(f"{key}: no such key{'; known are ' if names else ''}{', '.join(names)}")


def reason(error: BaseException) -> str:
    """The innermost reason of an error of Hydra or OmegaConf in one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    theirs = (HydraException, OmegaConfBaseException)
    # The innermost error of Hydra's parser has no message.
    while isinstance(error, theirs) and error.__cause__ is not None and str(error.__cause__) != "None":
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, theirs):
        lines = [line for line in lines if "=" not in line.split(" ")[0] and not line.startswith("full_key:")]
    text = "; ".join(lines) or type(error).__name__
    return text.split("; Config search path")[0]
