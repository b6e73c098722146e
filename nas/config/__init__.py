"""Configurations: composed by Hydra, completed from signatures, and turned into objects.

YAML files hold what differs from the defaults of the classes, and the settings that a user is most likely to
change. `compose` fills in the rest, so that a configuration that is printed or kept in a run folder is
complete, and refuses keys that no class has.
"""

from nas.config.build import (
    build,
    build_controller,
    build_executor,
    build_prior,
    build_root,
    build_scheduler,
    build_space,
    build_task,
    check_root,
    load_task,
)
from nas.config.composition import compose, config_text, merge_overrides, read_config
from nas.config.errors import ConfigError
from nas.config.overrides import as_hydra, name_file
from nas.config.presets import is_group
from nas.config.resuming import check_resume
from nas.config.schema import LAYOUT
from nas.config.words import check_sweep, is_settings_file

__all__ = [
    "LAYOUT",
    "ConfigError",
    "as_hydra",
    "build",
    "build_controller",
    "build_executor",
    "build_prior",
    "build_root",
    "build_scheduler",
    "build_space",
    "build_task",
    "check_resume",
    "check_root",
    "check_sweep",
    "compose",
    "config_text",
    "is_group",
    "is_settings_file",
    "load_task",
    "merge_overrides",
    "name_file",
    "read_config",
]
