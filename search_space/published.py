"""Published specs by name, and `load_spec` and `load_any_spec`, which take a name or a file.

Sources: SpineNet-49 and its mobile port are the specs of the authors' released code; R0-SP53 was read
off the paper's figure 4 by a third party and gives 0.4 % fewer multiply-adds than published, so an edge
may be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from search_space.merging_cells import FORMAT, NAS_FPN, MergingCellsSpec
from search_space.names import look_up
from search_space.spec import (
    Block,
    SpecError,
    SpineNetSpec,
    StemBlock,
    parse_spec,
    read_spec_file,
    read_spec_text,
)

NAS_FPN_NAME = "nas-fpn"


@dataclass(frozen=True, slots=True)
class PublishedSpec:
    """A spec with its origin.

    Args:
        spec: the architecture.
        source: where it was published.
        approximate: whether it may differ from what its authors trained.
    """

    spec: SpineNetSpec
    source: str
    approximate: bool = False


def published_spec(name: str) -> SpineNetSpec:
    """A published spec, such as published_spec("spinenet-49").

    Raises:
        SpecError: if there is none of that name.
    """
    return look_up(name, PUBLISHED_SPECS, "spec", SpecError).spec


def load_spec(source: str | Path) -> SpineNetSpec:
    """The spec of that published name or in that file. A file wins over a name.

    Raises:
        SpecError: if it is neither, or the file holds no spec.
    """
    path, name = Path(source), str(source)
    if is_file_name(source):
        return read_spec_file(path)
    scale = name.lower().removeprefix("spinenet-")
    if scale != "49" and scale in ("49s", "96", "143", "143l", "190"):
        raise SpecError(f"{name} is the spec spinenet-49 at the scale {scale.upper()}: name them apart")
    if name.lower() == NAS_FPN_NAME:
        raise SpecError(f"{name} is a spec of merging cells; one of SpineNet's kind is wanted here")
    known = {**PUBLISHED_SPECS, NAS_FPN_NAME: None}  # For what is told of wrong names.
    found = look_up(name, known, "spec (neither a file nor a published name)", SpecError)
    assert found is not None
    return found.spec


def load_any_spec(source: str | Path) -> SpineNetSpec | MergingCellsSpec:
    """As `load_spec`, merging cells included; "nas-fpn" is the published ones.

    Raises:
        SpecError: if it is neither a name nor a file, or the file holds no spec.
    """
    if not is_file_name(source):
        return NAS_FPN if str(source).lower() == NAS_FPN_NAME else load_spec(source)
    text = read_spec_text(source)
    try:
        data = parse_spec(text)
        cells = isinstance(data, dict) and data.get("format") == FORMAT
        return MergingCellsSpec.from_data(data) if cells else SpineNetSpec.from_dict(data)  # type: ignore[arg-type]
    except SpecError as error:
        raise SpecError(f"{source}: {error}") from None


def is_file_name(source: str | Path) -> bool:
    """Whether a source is meant as a file, and not as a published name."""
    path = Path(source)
    return isinstance(source, Path) or _is_there(path) or path.suffix == ".json" or len(path.parts) > 1


def _is_there(path: Path) -> bool:
    try:
        return path.is_file() or (path.exists() and str(path) not in PUBLISHED_SPECS)
    except (OSError, ValueError):
        return False


_b, _r, _m = "bottleneck", "residual", "mbconv"

_SPINENET_49 = SpineNetSpec(
    stem=(StemBlock(2), StemBlock(2)),
    blocks=(
        Block(2, _b, (0, 1)),
        Block(4, _r, (0, 1)),
        Block(3, _b, (2, 3)),
        Block(4, _b, (2, 4)),
        Block(6, _r, (3, 5)),
        Block(4, _b, (3, 5)),
        Block(5, _r, (6, 7)),
        Block(7, _r, (6, 8)),
        Block(5, _b, (8, 9)),
        Block(5, _b, (8, 10)),
        Block(4, _b, (5, 10), output=True),
        Block(3, _b, (4, 10), output=True),
        Block(5, _b, (7, 12), output=True),
        Block(7, _b, (5, 14), output=True),
        Block(6, _b, (12, 14), output=True),
    ),
)

_R0_SP53 = SpineNetSpec(
    stem=(StemBlock(2), StemBlock(2)),
    blocks=(
        Block(2, _b, (0, 1)),
        Block(3, _b, (0, 1)),
        Block(3, _b, (2, 3)),
        Block(4, _b, (2, 4)),
        Block(4, _b, (3, 5)),
        Block(3, _b, (5, 6)),
        Block(5, _b, (4, 7)),
        Block(4, _b, (4, 8)),
        Block(4, _b, (8, 9)),
        Block(4, _b, (8, 10)),
        Block(3, _b, (4, 10), output=True),
        Block(4, _b, (6, 7), output=True),
        Block(5, _b, (8, 13), output=True),
        Block(7, _b, (6, 9), output=True),
        Block(6, _b, (7, 9), output=True),
    ),
)

_MOBILE_SPINENET_49 = SpineNetSpec(
    stem=(StemBlock(1, _m), StemBlock(2, _m)),
    blocks=(
        Block(2, _m, (0, 1)),
        Block(2, _m, (1, 2)),
        Block(4, _m, (1, 2)),
        Block(3, _m, (3, 4)),
        Block(4, _m, (3, 5)),
        Block(6, _m, (4, 6)),
        Block(4, _m, (4, 6)),
        Block(5, _m, (7, 8)),
        Block(7, _m, (7, 9)),
        Block(5, _m, (9, 10)),
        Block(5, _m, (9, 11)),
        Block(4, _m, (6, 11), output=True),
        Block(3, _m, (5, 11), output=True),
        Block(5, _m, (8, 13), output=True),
        Block(7, _m, (6, 15), output=True),
        Block(6, _m, (13, 15), output=True),
    ),
)

PUBLISHED_SPECS = MappingProxyType(
    {
        "spinenet-49": PublishedSpec(_SPINENET_49, "Du et al., CVPR 2020, released code"),
        "r0-sp53": PublishedSpec(
            _R0_SP53, "Du et al., CVPR 2020, figure 4, as read by a third party", approximate=True
        ),
        "mobile-spinenet-49": PublishedSpec(
            _MOBILE_SPINENET_49, "Du et al., CVPR 2020, appendix A, released code"
        ),
    }
)
"""All published specs by name. SpineNet-49S, 96, 143 and 190 are scales of "spinenet-49"."""
