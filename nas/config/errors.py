"""The error of configurations, what it suggests, and how errors of Hydra are shortened."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import AbstractContextManager

from search_space.utils.lookup import nearest
from search_space.utils.parsing import explain, printable, reading


class ConfigError(ValueError):
    """A configuration cannot be composed or built: says which key is wrong and what would be right."""


class UnknownKeyError(ConfigError):
    """A key that does not exist.

    Args:
        key: with the names of all nodes above it, such as "task.train.stepz".
        known: names that would be right in its place.
        everywhere: further keys, in full, of the whole configuration.
        typed: what the user wrote, which may be a key below the unknown one.
    """

    def __init__(
        self, key: str, known: Iterable[str], everywhere: Iterable[str] = (), typed: str = ""
    ) -> None:
        self.key, self.known = key, list(known)
        nearest, self.is_sure = _nearest(typed or key, key, self.known, list(everywhere))
        hint = f"; did you mean {nearest}?" if nearest else ""
        if not nearest and self.known:
            hint = f"; known are {', '.join(self.known)}"
        super().__init__(f"{printable(key)}: no such key{hint}")


def _nearest(typed: str, key: str, siblings: list[str], everywhere: list[str]) -> tuple[str, bool]:
    """The key that was most likely meant, or "", and whether that is beyond doubt."""
    moved = [found for found in everywhere if found.endswith(f".{typed}")]
    if moved:
        return moved[0], True
    last = key.rpartition(".")[2]
    for cutoff in (0.8, 0.6):
        near = difflib.get_close_matches(last, siblings, n=1, cutoff=cutoff)
        if near:
            return near[0], cutoff > 0.7
        # Of equal names the outermost counts.
        elsewhere = {found.rpartition(".")[2]: found for found in reversed(everywhere)}
        far = difflib.get_close_matches(typed.rpartition(".")[2], elsewhere, n=1, cutoff=0.8)
        if far:
            return elsewhere[far[0]], False
    return "", False


def unknown_choice(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that is not among those which may be chosen.

    Args:
        what: is chosen, such as "controller".
        name: as the user wrote it.
        known: all names.
    """
    names = sorted(known)
    meant = nearest(name, names)
    hint = f"did you mean {what}={meant}? " if meant else ""
    return ConfigError(f"{what}={printable(name)}: no such preset; {hint}known are {', '.join(names)}")


def config_errors(where: str = "") -> AbstractContextManager[None]:
    """Turns whatever a block raises into a `ConfigError` of one line.

    Args:
        where: begins the message, such as the name of a file.

    Raises:
        ConfigError: in the place of any other exception.
    """
    return reading(ConfigError, where, say=reason)


def reason(error: BaseException) -> str:
    """The innermost reason of an error of Hydra or OmegaConf in one line of at most 300 characters."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    theirs = (HydraException, OmegaConfBaseException)
    # The innermost error of Hydra's parser has no message.
    while isinstance(error, theirs) and error.__cause__ is not None and str(error.__cause__) != "None":
        error = error.__cause__
    if isinstance(error, (RecursionError, MemoryError, UnicodeDecodeError, OSError, MarkedYAMLError)):
        return printable(explain(error), 300)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, theirs):
        lines = [line for line in lines if "=" not in line.split(" ")[0] and not line.startswith("full_key:")]
    text = "; ".join(lines) or type(error).__name__
    key = getattr(error, "full_key", None)
    if isinstance(error, OmegaConfBaseException) and key and str(key) not in text:
        text = f"{key}: {text}"
    return printable(text.split("; Config search path")[0], 300)
