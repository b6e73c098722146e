"""From the words of a command to its configuration, Hydra's own flags included: --help, --cfg, --multirun."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from nas.config import ConfigError, compose, opened, put_own
from nas.plugins import FaultError, own_targets

SHORT = ("-h", "-c", "-i", "-m", "-p", "-sc", "-cd", "-cn")
LONG = (
    "--help",
    "--hydra-help",
    "--cfg",
    "--info",
    "--multirun",
    "--resolve",
    "--package",
    "--shell-completion",
    "--config-dir",
    "--config-name",
)


def run_configured(name: str, words: Sequence[str], start: Callable[[Any], int]) -> int:
    """Calls `start` with the configuration that the words of a command make; returns its status.

    Args:
        name: of the command and of its configuration, such as "search".
        words: KEY=VALUE, or flags of Hydra's.
        start: may be called several times by --multirun.

    Raises:
        ConfigError: if a word is neither, or the configuration cannot be composed.
    """
    if any(word.split("=")[0] in (*SHORT, *LONG) for word in words):
        return _through_hydra(name, words, start)
    wrong = next((word for word in words if word.startswith("-")), None)
    if wrong is not None:
        raise ConfigError(f"unknown option {wrong}; nas {name} takes KEY=VALUE, see nas {name} --help")
    return start(compose(name, words))


def _through_hydra(name: str, words: Sequence[str], start: Callable[[Any], int]) -> int:
    import hydra

    from nas import config_folder

    statuses: list[int] = []
    # Values of a plug-in's own arguments are not swept over: Hydra does not know them.
    left, own = own_targets([opened(word) for word in words])

    def job(config: Any) -> None:
        put_own(config, own)
        try:
            statuses.append(start(config))
        except (ValueError, OSError, FaultError) as error:  # Hydra would add a traceback.
            print(f"nas: {' '.join(str(error).split())}", file=sys.stderr)
            statuses.append(1 if isinstance(error, FaultError) else 2)

    sys.argv = [f"nas {name}", *left]
    decorated = hydra.main(str(config_folder().resolve()), name, version_base="1.3")(job)
    try:
        decorated()
    except SystemExit as error:
        return 2 if error.code else 0
    return max(statuses, default=0)
