"""Groups of presets: which keys choose one, and which names there are."""

from __future__ import annotations

from pathlib import Path

from nas import config_folder
from nas.config.errors import ConfigError, unknown_choice
from nas.plugins.kinds import installed, kind_of_key
from search_space.utils.parsing import printable


def is_group(key: str, folder: Path | None = None) -> bool:
    """Whether a key such as "task" or "task.head" chooses among presets.

    Args:
        key: of an override.
        folder: further configurations of the user's own.
    """
    return _group(key) in {
        found.relative_to(place).as_posix() for place in _places(folder) for found in _folders(place)
    }


def list_presets(key: str, folder: Path | None = None) -> list[str]:
    """The names that a group's key may have: of files, and of what installed packages offer."""
    kind = kind_of_key(key)
    files = {path.stem for place in _places(folder) for path in (place / _group(key)).glob("*.yaml")}
    return sorted(files | set(installed(kind) if kind else ()))


def check_preset(key: str, name: str, folder: Path | None = None) -> None:
    """Refuses a name that a group does not have.

    Raises:
        ConfigError: with the nearest name and all names.
    """
    known = list_presets(key, folder)
    own = folder / _group(key) if folder else None
    if name in known or (own is not None and name in _nested(own)):
        return
    if "," in name:
        raise ConfigError(
            f"{key}={printable(name)}: several presets are tried one after the other by --multirun"
        )
    raise unknown_choice(key, name, known)


def offered(key: str, name: str, folder: Path | None = None) -> str | None:
    """The import path of what an installed package offers by that name for a key; None if there is none.

    A preset of the same name is not replaced.

    Args:
        key: of a node, such as "task" or "observers.diary".
        name: of the package's entry point.
        folder: further configurations of the user's own.
    """
    kind = kind_of_key(key)
    path = installed(kind).get(name) if kind else None
    if path is None or any((place / _group(key) / f"{name}.yaml").is_file() for place in _places(folder)):
        return None
    return path


def _group(key: str) -> str:
    """The folder of a key's group; "space@other" is Hydra's way to say where a preset is put."""
    return key.partition("@")[0].replace(".", "/")


def _places(folder: Path | None) -> list[Path]:
    return [place for place in (config_folder(), folder) if place is not None]


def _folders(place: Path) -> list[Path]:
    """The folders below a configuration folder, which are its groups."""
    found = [path for path in place.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]
    return found + [deeper for path in found for deeper in _folders(path)]


def _nested(group: Path) -> set[str]:
    """Names such as "big/one" of presets in folders below a group's."""
    return {path.relative_to(group).with_suffix("").as_posix() for path in group.rglob("*.yaml")}
