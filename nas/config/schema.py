"""What a configuration may hold: the parameters of the class or function that each node names.

A node is a mapping with `_target_`, the import path of a class or function. `expand` completes a tree of
plain mappings, lists and values. Every parameter that has a default gets it, parameters that are dataclasses
become nodes of their own, parameters that need a value become "???", and paths become absolute.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from nas.config.errors import ConfigError, UnknownKeyError
from nas.plugins.import_path import PluginError, find_target
from search_space.utils.parsing import printable
from search_space.utils.paths import absolute_paths, alternatives, holds_paths

TARGET, PARTIAL, MISSING = "_target_", "_partial_", "???"
RESERVED = (TARGET, PARTIAL, "_convert_", "_recursive_")
"""Keys of a node that are no parameters; the last two are Hydra's and change nothing here."""

LAYOUT = 2
"""Version of the files in a run folder."""

_PUBLIC = ("search_space", "controllers", "proxy_tasks", "nas.executors", "nas")
_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a class or function.

    Args:
        name: of the parameter.
        annotation: its type, or Any if that is unknown.
        default: as a tree of plain values; "???" if it needs a value.
        known_default: whether the default can be written as a tree.
    """

    name: str
    annotation: Any
    default: Any
    known_default: bool

    @property
    def is_path(self) -> bool:
        """Whether values are paths of files or folders."""
        return holds_paths(self.annotation)

    @property
    def is_text(self) -> bool:
        """Whether values are texts or paths, and never numbers."""
        kinds = list(alternatives(self.annotation))
        return any(kind in (str, Path) for kind in kinds) and not any(k in (int, float, bool) for k in kinds)

    @property
    def is_number(self) -> bool:
        """Whether values are numbers, or true or false, and never texts or lists; null may be one too."""
        return all(kind in (int, float, bool, NoneType) for kind in alternatives(self.annotation))

    @property
    def is_optional(self) -> bool:
        """Whether the value may be None."""
        return self.annotation is Any or self.default is None or NoneType in get_args(self.annotation)

    @property
    def is_open(self) -> bool:
        """Whether the value is a node of any class, or several of them by name."""
        return Any in (self.annotation, *get_args(self.annotation))

    def node(self) -> dict[str, Any] | None:
        """The node that a mapping without `_target_` changes, if the parameter is a dataclass."""
        if isinstance(self.default, dict) and TARGET in self.default:
            return self.default
        for kind in alternatives(self.annotation):
            if isinstance(kind, type) and is_dataclass(kind):
                return {TARGET: public_name(kind)}
        return None


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The parameters of a class or function.

    Args:
        parameters: by name.
        takes_any: whether it takes any further names.
    """

    parameters: Mapping[str, Parameter]
    takes_any: bool


@lru_cache(maxsize=512)
def read_signature(target: Callable[..., Any]) -> Signature:
    """Reads the parameters of a class or function.

    Raises:
        ValueError: if Python cannot tell them.
    """
    hints = _hints(target)
    found: dict[str, Parameter] = {}
    takes_any = False
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            default = _default(target, parameter)
            known = default is not _NOTHING
            found[parameter.name] = Parameter(
                name=parameter.name,
                annotation=hints.get(parameter.name, _type_of(parameter.default)),
                default=default if known else None,
                known_default=known,
            )
    return Signature(parameters=found, takes_any=takes_any)


def expand(tree: Any, key: str = "") -> Any:
    """Completes a tree; see the module.

    Args:
        tree: mappings, lists and plain values; it is not changed. Interpolations such as "${seed}" stay.
        key: names of the nodes above it, joined with dots.

    Raises:
        ConfigError: if a key or an import path is unknown, or a mapping is wanted where a value stands.
    """
    if isinstance(tree, list):
        return [expand(item, f"{key}.{i}") for i, item in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    if TARGET not in tree:
        return {name: expand(value, join(key, name)) for name, value in tree.items()}
    signature = signature_of(tree[TARGET], key)
    known = signature.parameters
    found = {name: tree[name] for name in (TARGET, PARTIAL) if name in tree}
    for name in tree:
        if name not in RESERVED and name not in known:
            if not signature.takes_any:
                names = [n for n, p in known.items() if p.default != MISSING or not tree.get(PARTIAL)]
                raise UnknownKeyError(join(key, name), names)
            found[name] = expand(tree[name], join(key, name))
    for name, parameter in known.items():
        if name in tree:
            found[name] = expand(_complete(parameter, tree[name], join(key, name)), join(key, name))
        elif parameter.default == MISSING and tree.get(PARTIAL):
            continue  # What is made later is made from it.
        elif parameter.known_default:
            found[name] = expand(_complete(parameter, parameter.default, join(key, name)), join(key, name))
    return found


def _type_of(default: Any) -> Any:
    """The type of a parameter without an annotation: a default that is a path says that it is one."""
    return Path if isinstance(default, Path) else Any


def signature_of(path: str, key: str) -> Signature:
    """The parameters of what an import path names.

    Raises:
        ConfigError: naming the key, if there is no such class or function.
    """
    try:
        target = find_target(str(path))
    except PluginError as error:
        raise ConfigError(
            f"{key}: {printable(str(error), 600)}" if key else printable(str(error), 600)
        ) from None
    except RecursionError:
        raise ConfigError(f"{key}: {printable(str(path))} names no class") from None
    try:
        return read_signature(target)
    except (TypeError, ValueError):  # Some functions in C have no signature that Python can read.
        return Signature(parameters={}, takes_any=True)


def merge(below: Any, above: Any) -> Any:
    """A tree with changes: mappings are merged, everything else and every other node is replaced."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if above.get(TARGET, below.get(TARGET)) != below.get(TARGET):
        return above
    return {**below, **{name: merge(below.get(name), value) for name, value in above.items()}}


def to_tree(value: Any) -> Any:
    """A value as a tree; dataclasses become nodes.

    Raises:
        TypeError: if the value cannot be written so.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [to_tree(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): to_tree(item) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        settings = {field.name: to_tree(getattr(value, field.name)) for field in fields(value) if field.init}
        return {TARGET: public_name(type(value)), **settings}
    raise TypeError(f"a {type(value).__name__} cannot be written in a configuration")


def public_name(kind: type) -> str:
    """The import path by which users know a class: that of a package of ours where it is public there."""
    import importlib

    for package in _PUBLIC:
        module = importlib.import_module(package)
        if kind.__name__ in module.__all__ and getattr(module, kind.__name__) is kind:
            return f"{package}.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def join(key: str, name: object) -> str:
    """A key below another one."""
    return f"{key}.{name}" if key else str(name)


def is_interpolation(value: object) -> bool:
    """Whether a value is taken from another key, such as "${seed}"."""
    return isinstance(value, str) and "${" in value


def _complete(parameter: Parameter, given: Any, key: str) -> Any:
    """A parameter's value with the target that its type says, and with an absolute path."""
    given = absolute_paths(given, parameter.annotation, _stands_for_itself)
    base = parameter.node()
    if base is None or given == MISSING or is_interpolation(given):
        return given
    if given is None:
        if parameter.is_optional:
            return None
        raise ConfigError(f"{key} must be a mapping of settings, not null")
    if isinstance(given, dict):
        return given if TARGET in given else merge(base, given)
    if parameter.default is not None and parameter.default != MISSING:
        raise ConfigError(f"{key} must be a mapping of settings, not {given!r}")
    return given


def _stands_for_itself(text: str) -> bool:
    """Whether a text is a value, and not the mark of a missing one or a reference to another key."""
    return text != MISSING and not is_interpolation(text)


def _default(target: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """A parameter's default as a tree; "???" if there is none, `_NOTHING` if it cannot be written so."""
    if parameter.default is parameter.empty:
        return MISSING
    value = parameter.default
    field = getattr(target, "__dataclass_fields__", {}).get(parameter.name)
    if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS" and field is not None:
        value = field.default_factory()
    try:
        return to_tree(value)
    except TypeError:
        return _NOTHING


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of the parameters, as far as they can be evaluated."""
    found: dict[str, Any] = {}
    for holder in (getattr(target, "__init__", None) if isinstance(target, type) else target, target):
        try:
            found |= get_type_hints(holder, include_extras=True)
        except Exception:  # A user's annotation may name what is imported for type checkers alone.
            continue
    return found
