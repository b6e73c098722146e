"""From the words of a command to its configuration, with Hydra's flags --help, --cfg and --multirun."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nas.plugins import FaultError

if TYPE_CHECKING:
    from omegaconf import DictConfig

HYDRAS = ("--hydra-help", "--info", "-i", "--package", "-p", "--shell-completion", "-sc")
"""Further flags that go to Hydra as they are."""


def run_configured(name: str, words: Sequence[str], start: Callable[[DictConfig], int]) -> int:
    """Calls `start` with the configuration that the words of a command make; returns its status.

    Args:
        name: of the command and of its configuration, such as "search".
        words: KEY=VALUE, or flags of Hydra's.
        start: is called once for every job of --multirun.

    Raises:
        ConfigError: if a word is neither, or the configuration cannot be composed.
    """
    from nas.config import ConfigError, compose

    flags, rest = _parser(name).parse_known_args(list(words))
    if flags.help or flags.multirun or flags.cfg in ("hydra", "all") or any(w in HYDRAS for w in rest):
        return _run_hydra(name, words, start)
    wrong = next((word for word in rest if word.startswith("-")), None)
    if wrong is not None:
        raise ConfigError(f"unknown option {wrong}; nas {name} takes KEY=VALUE, see nas {name} --help")
    if flags.config_name and not flags.config_dir:
        raise ConfigError("--config-name needs --config-dir=DIR, the folder in which it is")
    folder = Path(flags.config_dir) if flags.config_dir else None
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: no such folder")
    config = compose(flags.config_name or name, rest, folder)
    if flags.cfg == "job":
        print(_shown(config, flags.resolve), end="")
        return 0
    return start(config)


def _parser(name: str) -> argparse.ArgumentParser:
    """The flags that are ours to answer, of those that Hydra has."""
    parser = argparse.ArgumentParser(f"nas {name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-name", "-cn")
    return parser


def _shown(config: DictConfig, resolve: bool) -> str:
    from omegaconf import OmegaConf

    from nas.config import config_text

    return OmegaConf.to_yaml(config, resolve=True) if resolve else config_text(config)


def _run_hydra(name: str, words: Sequence[str], start: Callable[[DictConfig], int]) -> int:
    """Has Hydra answer its flags or sweep; every job is composed anew from its overrides."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from nas import config_folder
    from nas.config import compose
    from nas.config.overrides import as_hydra

    flags, _ = _parser(name).parse_known_args(list(words))
    folder = Path(flags.config_dir) if flags.config_dir else None
    statuses: list[int] = []

    def job(_: DictConfig) -> None:
        found = HydraConfig.get()
        try:
            config = compose(found.job.config_name or name, list(found.overrides.task), folder)
            statuses.append(start(config))
        except (ValueError, OSError, FaultError) as error:  # Hydra would add a traceback.
            print(f"nas: {' '.join(str(error).split())}", file=sys.stderr)
            statuses.append(1 if isinstance(error, FaultError) else 2)

    hydra_words = [as_hydra(word, folder) if "=" in word and word[0] != "-" else word for word in words]
    decorated = hydra.main(str(config_folder().resolve()), name, version_base="1.3")(job)
    with _state_kept([f"nas {name}", *hydra_words]):
        try:
            decorated()
        except SystemExit as error:
            return 2 if error.code else 0
    return max(statuses, default=0)


@contextmanager
def _state_kept(words: list[str]) -> Iterator[None]:
    """Gives Hydra the words of a command, and leaves the process as it was."""
    from hydra.core.global_hydra import GlobalHydra

    argv, before = sys.argv, GlobalHydra.instance().hydra
    sys.argv = words
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        sys.argv = argv
        GlobalHydra.instance().hydra = before
