"""Settings of heads as JSON data and back. Reading runs no code that is not imported already."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

from proxy_tasks.models.model import ModelError
from search_space import HEADS, Head
from search_space.utils.lookup import lookup
from search_space.utils.parsing import shown


def head_to_dict(head: Head) -> dict[str, Any]:
    """Writes a head as its name, or its import path "module:class" if it is none of ours, and its fields.

    Raises:
        ModelError: if the head is no dataclass.
    """
    if not is_dataclass(head) or isinstance(head, type):
        raise ModelError(f"the head {head.name!r} is no dataclass, so a model file cannot hold its settings")
    kind = type(head)
    ours = HEADS.get(head.name) is kind
    which = {"name": head.name} if ours else {"class": f"{kind.__module__}:{kind.__qualname__}"}
    return {**which, "settings": asdict(head)}


def head_from_dict(data: Mapping[str, Any]) -> Head:
    """Reads what `head_to_dict` writes.

    Raises:
        ModelError: if a name or a field is unknown, a value is wrong, or the class of a user's own head is
            not imported yet.
    """
    if "class" in data:
        kind = _imported_head(str(data["class"]))
    else:
        kind = lookup(str(data["name"]), HEADS, "head", ModelError)
    if "network" in data["settings"]:  # It names code, which a file must not choose.
        raise ModelError(f"head {kind.name}: a model file cannot say which network the head has")
    head: Head = read_dataclass(kind, data["settings"], f"head {kind.name}")
    return head


def read_dataclass(kind: type, data: Any, where: str) -> Any:
    """Makes a dataclass of JSON data; fields that are dataclasses themselves are read alike.

    Args:
        kind: the class.
        data: values by field; fields that are left out have their defaults.
        where: names the data in messages.

    Raises:
        ModelError: if a field is unknown, or the class refuses a value.
    """
    if not isinstance(data, Mapping):
        raise ModelError(f"{where}: a mapping is needed, not {shown(data)}")
    known = [field.name for field in fields(kind) if field.init]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ModelError(f"{where}: unknown field {shown(unknown[0])}; known are {', '.join(known)}")
    types = get_type_hints(kind)
    values = {
        name: read_dataclass(types[name], value, f"{where}.{name}") if is_dataclass(types[name]) else value
        for name, value in data.items()
    }
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{where}: {error}") from None


def _imported_head(path: str) -> type[Head]:
    """The class of a head of a user's own, if the program has imported it; files never import code."""
    module_name, _, class_name = path.partition(":")
    kind: Any = sys.modules.get(module_name)
    for name in class_name.split("."):
        kind = getattr(kind, "__dict__", {}).get(name)  # getattr could import a module that is loaded lazily.
    members = ("name", "network", "evaluator", "reward", "cost")
    if isinstance(kind, type) and is_dataclass(kind) and all(hasattr(kind, name) for name in members):
        head: type[Any] = kind
        return head
    raise ModelError(
        f"the head {shown(path)} is not imported, and a model file never imports code; "
        f"import {shown(module_name)} first"
    )
