"""From the words of a command to its configuration, with --help and Hydra's flags --cfg and --multirun."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import CommandParser, ConfiguredHelp
from nas.plugins.faults import FaultError
from nas.utils.signals import INTERRUPTED
from nas.utils.terminal import complain

if TYPE_CHECKING:
    from omegaconf import DictConfig

HYDRAS = ("--hydra-help", "--info", "-i", "--package", "-p", "--shell-completion", "-sc")
"""Further flags that go to Hydra as they are."""


def run_configured(
    name: str,
    words: Sequence[str],
    about: ConfiguredHelp,
    kind: type,
    start: Callable[[DictConfig], int],
    before: Callable[[Mapping[str, Any]], None] = lambda root: None,
) -> int:
    """Calls `start` with the configuration that the words of a command make; returns its status.

    Args:
        name: of the command and of its configuration, such as "search".
        words: files of settings, KEY=VALUE, or flags of Hydra's.
        about: what --help says.
        kind: the dataclass of the configuration's root.
        start: is called once for every job of --multirun.
        before: gets the settings of the root, checked, before anything is imported that takes seconds.

    Raises:
        ConfigError: if a word is none of these, or the configuration cannot be composed.
    """
    from nas.config import ConfigError, check_root, compose

    flags, rest = _parser(name).parse_known_args(list(words))
    if flags.help:
        print(about.show(name))
        return 0

    def check(root: Mapping[str, Any]) -> None:
        check_root(root, kind)
        if flags.cfg is None:
            before(root)

    if flags.multirun or flags.cfg in ("hydra", "all") or any(w in HYDRAS for w in rest):
        return _run_hydra(name, words, start)
    _refuse_options(name, rest)
    if flags.config_name and not flags.config_dir:
        raise ConfigError("--config-name needs --config-dir=DIR, the folder in which it is")
    folder = Path(flags.config_dir) if flags.config_dir else None
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {folder}: no such folder")
    if folder is not None:
        _refuse_bombs(folder)
    with _files_named(rest):
        config = compose(flags.config_name or name, rest, folder, check)
        if flags.cfg == "job":
            print(show_config(config, flags.resolve), end="")
            return 0
        return start(config)


def _refuse_bombs(folder: Path) -> None:
    """Checks the size of what the files of a folder stand for, before Hydra writes out their aliases.

    Raises:
        ConfigError: naming the file.
    """
    from nas.config import ConfigError
    from search_space.utils.parsing import ParseError, TooLargeError, read_yaml_text

    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]):
        try:
            read_yaml_text(path)
        except TooLargeError as error:
            raise ConfigError(f"{path}: {error}") from None
        except (OSError, ParseError):  # If Hydra reads this file at all, it says what is wrong.
            continue


@contextmanager
def _files_named(words: Sequence[str]) -> Iterator[None]:
    """Adds the file and the line to a message about a key that is from a file of settings."""
    from nas.config import ConfigError, name_file

    try:
        yield
    except ValueError as error:
        raise ConfigError(name_file(str(error), words)) from None


def _parser(name: str) -> CommandParser:
    """The flags that are ours to answer, of those that Hydra has."""
    parser = CommandParser(prog=f"nas {name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-name", "-cn")
    return parser


def read_flags(name: str, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Divides the words of a command into the flags that are ours to answer, and the others.

    Raises:
        ConfigError: if there is an unknown option.
    """
    flags, rest = _parser(name).parse_known_args(list(words))
    _refuse_options(name, rest)
    return flags, rest


def _refuse_options(name: str, words: Sequence[str]) -> None:
    from nas.config import ConfigError

    wrong = next((word for word in words if word.startswith("-")), None)
    if wrong is not None:
        known = f"write it without dashes: {wrong.lstrip('-')}" if "=" in wrong else "options are KEY=VALUE"
        raise ConfigError(f"unknown option {wrong}; {known}, see nas {name} --help")


def show_config(config: DictConfig, resolve: bool) -> str:
    """Gives a configuration as YAML.

    Args:
        config: the configuration.
        resolve: whether values that follow other keys are put in their place.
    """
    from omegaconf import OmegaConf

    from nas.config import config_text

    return OmegaConf.to_yaml(config, resolve=True) if resolve else config_text(config)


def _run_hydra(name: str, words: Sequence[str], start: Callable[[DictConfig], int]) -> int:
    """Has Hydra answer its flags or sweep; every job is composed anew from its overrides."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from nas import config_folder
    from nas.config import ConfigError, as_hydra, check_sweep, compose, is_settings_file

    flags, rest = _parser(name).parse_known_args(list(words))
    folder = Path(flags.config_dir) if flags.config_dir else None
    files = [word for word in rest if is_settings_file(word)]
    fixed = next((word for word in rest if word.startswith("run_dir=") and not set("$,") & set(word)), None)
    if flags.multirun and fixed is not None:
        raise ConfigError(
            f"{fixed}: each job of a sweep needs a folder of its own, such as '{fixed}/${{seed}}'"
        )
    check_sweep([word for word in rest if "=" in word and word[0] != "-"], folder)
    statuses: list[int] = []

    def job(_: DictConfig) -> None:
        found = HydraConfig.get()
        try:
            chosen = [*files, *found.overrides.task]
            with _files_named(chosen):
                config = compose(found.job.config_name or name, chosen, folder)
                statuses.append(start(config))
        except (ValueError, OSError, FaultError) as error:  # Hydra would add a traceback.
            complain(str(error))
            statuses.append(1 if isinstance(error, FaultError) else 2)
        if statuses[-1] == INTERRUPTED:  # The next searches of a sweep are not begun.
            raise KeyboardInterrupt

    hydra_words = [
        as_hydra(word, folder) if "=" in word and word[0] != "-" else word
        for word in words
        if word not in files
    ]
    decorated = hydra.main(str(config_folder().resolve()), name, version_base="1.3")(job)
    with _state_kept([f"nas {name}", *hydra_words]):
        try:
            decorated()
        except SystemExit as error:
            return 2 if error.code else 0
        except KeyboardInterrupt:
            return INTERRUPTED
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
