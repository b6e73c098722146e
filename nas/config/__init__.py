"""Configurations: composed by Hydra, completed from signatures, and turned into objects.

YAML files hold only what differs from the defaults of the classes. `compose` fills in the rest, so that a
configuration that is printed or kept in a run folder is complete, and refuses keys that no class has.
"""

from nas.config.build import (
    build,
    build_controller,
    build_executor,
    build_space,
    build_task,
    check_whole,
    load_task,
)
from nas.config.composition import compose, config_text, merge_overrides, read_config
from nas.config.errors import ConfigError
from nas.config.schema import LAYOUT

__all__ = [
    "LAYOUT",
    "ConfigError",
    "build",
    "build_controller",
    "build_executor",
    "build_space",
    "build_task",
    "check_whole",
    "compose",
    "config_text",
    "load_task",
    "merge_overrides",
    "read_config",
]
