"""Families of architectures: from a name, a file or JSON data to a spec of whatever family.

The "format" of a spec file names its family. A family of your own registers itself when its module is
imported:

    @register_family
    class MySpec: ...

or a package offers it as a Python entry point, which is read when a spec file has an unknown format:

    [project.entry-points."spinenas.families"]
    my-family = "my_package.my_module:MySpec"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeGuard, TypeVar, cast

from search_space.nas_fpn.spec import MergingCellsSpec
from search_space.published import PUBLISHED_SPECS
from search_space.resnet_fpn.spec import R50FPNSpec
from search_space.spec import Spec
from search_space.spec_file import SpecError, parse_spec, preview, read_spec_text
from search_space.spinenet.spec import SpineNetSpec
from search_space.utils.lookup import lookup
from search_space.utils.parsing import reading

GROUP = "spinenas.families"
"""Entry points of packages that bring families of their own."""

MEMBERS = ("format", "title", "separable_head", "to_json", "from_dict", "key", "cost", "build", "describe")
"""The members of `Spec`."""

F = TypeVar("F", bound=type[Spec])

FAMILIES: dict[str, type[Spec]] = {}
"""Every registered family by the "format" of its spec files."""


def register_family(family: F) -> F:
    """Makes a family's spec files readable. It may decorate the class.

    Args:
        family: a class with the members of `Spec`.

    Raises:
        SpecError: if a member is missing, or another family has the same format.
    """
    missing = [name for name in MEMBERS if not hasattr(family, name)]
    if missing:
        raise SpecError(f"{family.__name__} is no family of specs: it lacks {', '.join(missing)}")
    known = FAMILIES.get(family.format)
    if known is not None and _path(known) != _path(family):
        raise SpecError(
            f'{_path(family)} has the format "{family.format}", which {_path(known)} has already; '
            "give it another one"
        )
    FAMILIES[family.format] = family
    return family


def find_family(name: str) -> type[Spec]:
    """Returns the family whose spec files have this "format".

    Entry points are read until one brings the family.

    Raises:
        SpecError: if there is none; the message also names the entry points whose class cannot be used.
    """
    faults = [] if name in FAMILIES else _read_entry_points(name)
    if name not in FAMILIES:
        raise SpecError(
            "; ".join([f'not a spec: "format" must be {_formats()}, not {preview(name)}', *faults])
        )
    return FAMILIES[name]


def _read_entry_points(name: str) -> list[str]:
    """Registers families of other packages until one has this "format"; returns what went wrong before."""
    faults = []
    for entry in entry_points(group=GROUP):
        try:
            with reading(SpecError, f"entry point {entry.name} of {GROUP} cannot be loaded: "):
                register_family(entry.load())
        except SpecError as error:  # Another package's fault need not concern this family.
            faults.append(str(error))
        if name in FAMILIES:
            break
    return faults


def _formats() -> str:
    return "one of " + ", ".join(f'"{known}"' for known in sorted(FAMILIES))


def spec_from_dict(data: object) -> Spec:
    """Makes a spec of the parsed content of a spec file of any family.

    Raises:
        SpecError: if the content is no spec; the message names the key.
    """
    if not isinstance(data, Mapping):
        raise SpecError(f'not a spec: expected an object with a "format", found {preview(data)}')
    if "format" not in data:
        raise SpecError(f'not a spec: "format" is missing; it must be {_formats()}')
    name = data["format"]
    if not isinstance(name, str):
        raise SpecError(f'not a spec: "format" must be a text, not {preview(name)}')
    family = find_family(name)
    with reading(SpecError, f"not a spec of the family {family.title}: "):
        return family.from_dict(data)


def load_spec(source: str | Path) -> Spec:
    """Loads the published spec of that name, or the spec in that file. A file wins over a name.

    Raises:
        SpecError: if there is neither such a name nor such a file, or the file holds no spec.
    """
    if is_file_name(source):
        text = read_spec_text(source)
        try:
            return spec_from_dict(parse_spec(text))
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None
    scale = str(source).lower().removeprefix("spinenet-")
    if scale != "49" and scale in ("49s", "96", "143", "143l", "190"):
        raise SpecError(
            f"{source} is the spec spinenet-49 at the scale {scale.upper()}: give spec and scale separately"
        )
    return lookup(source, PUBLISHED_SPECS, "spec (neither a file nor a published name)", SpecError).spec


def load_spinenet_spec(source: str | Path) -> SpineNetSpec:
    """Loads a spec as `load_spec` does, where only a SpineNet makes sense.

    Raises:
        SpecError: as from `load_spec`, or if the spec is of another family.
    """
    return require_spinenet(load_spec(source), str(source))


def require_spinenet(spec: Spec, source: str) -> SpineNetSpec:
    """Returns the spec if it is a SpineNet.

    Args:
        spec: a spec of any family.
        source: where it comes from, for the message.

    Raises:
        SpecError: if it is of another family.
    """
    if spec.format != SpineNetSpec.format:
        raise SpecError(f"{source}: this needs a SpineNet, but the spec is of the family {spec.title}")
    return cast(SpineNetSpec, spec)


def is_file_name(source: object) -> TypeGuard[str | Path]:
    """Whether a source is meant as a file, and not as a published name."""
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source)
    return isinstance(source, Path) or _exists(path) or path.suffix == ".json" or len(path.parts) > 1


def _exists(path: Path) -> bool:
    try:
        return path.is_file() or (path.exists() and str(path) not in PUBLISHED_SPECS)
    except (OSError, ValueError):
        return False


def _path(family: type) -> str:
    return f"{family.__module__}.{family.__qualname__}"


for _family in (SpineNetSpec, MergingCellsSpec, R50FPNSpec):
    register_family(_family)
