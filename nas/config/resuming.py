"""What a resume may change of the configuration that a run was begun with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nas.config.errors import ConfigError, config_errors
from nas.config.overrides import sort_overrides
from search_space.utils.parsing import printable

FREE = (
    *("trials", "workers", "wall_time", "target", "executor", "ray", "tracker", "observers"),
    *("task.device", "task.data.cache", "search.max_failures", "search.retries"),
    *("search.finalists", "search.finalist_seeds", "search.finalist_fidelity", "search.pick"),
)
"""Keys that change nothing of what a trial is: a resume may give them anew without a word."""

PROPOSING = ("search.deterministic", "search.max_staleness", "search.cache")
"""Keys that change which specs are proposed or trained from then on, and no score."""


def check_resume(config: Any, overrides: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Looks at what a resume changes, before anything is loaded.

    Args:
        config: that the run was begun with.
        overrides: words of the resume.
        kept: keys that must stay as they are.

    Returns:
        A sentence for each change after which scores may not compare with those before, or proposals differ.

    Raises:
        ConfigError: if a key must stay as it is; it names these keys.
    """
    notes = []
    for key, old, new in _differences(config, overrides):
        if _is_below(key, kept):
            fixed = ", ".join(name for name in kept if name != "layout")
            raise ConfigError(
                f"{key}={printable(new)}: a resume keeps what it was begun with, {printable(old)}; so it "
                f"does with {fixed}. Begin a new run for another one"
            )
        if not _is_below(key, FREE):
            differs = (
                "later proposals may differ from those with the old value"
                if _is_below(key, PROPOSING)
                else "later scores may not compare with earlier ones"
            )
            notes.append(f"{key} is {printable(new)} from here on and was {printable(old)}: {differs}")
    return notes


def _differences(config: Any, overrides: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """The keys whose values change, with both as text."""
    from omegaconf import OmegaConf

    changes = sort_overrides(overrides)
    for group in changes.groups:
        key, _, name = group.partition("=")
        yield key.replace("/", "."), _about(OmegaConf.select(config, key.replace("/", "."))), name
    for key, path in changes.plugins:
        if OmegaConf.select(config, f"{key}._target_") != path:
            yield f"{key}._target_", _about(OmegaConf.select(config, key)), path
    for change in changes.values:
        with config_errors(f"{change.key}: "):
            old = OmegaConf.select(config, change.key)
            old = OmegaConf.to_container(old) if OmegaConf.is_config(old) else old
        if (old or None) != (change.value or None) and str(old) != change.text:
            yield change.key, _text(old), "null" if change.value is None else change.text


def _about(node: Any) -> str:
    """A node in a word: its class."""
    return str(node["_target_"]) if hasattr(node, "keys") and "_target_" in node else _text(node)


def _text(value: Any) -> str:
    if isinstance(value, dict) and "_target_" in value:
        return str(value["_target_"])
    return "null" if value is None or value == {} else str(value)


def _is_below(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
