"""R50-FPN's spec: the baseline that the paper compares with, at any width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from search_space.convention import Convention
from search_space.cost import Cost
from search_space.heads import Head
from search_space.norm import NormConfig
from search_space.resnet_fpn.widths import EXPANSION, stage_filters
from search_space.scale import Scale
from search_space.spec import Description
from search_space.spec_file import SpecError, check_header, check_keys
from search_space.utils.strict_json import to_json
from search_space.utils.validation import AtLeast, AtMost, validate

if TYPE_CHECKING:
    from search_space.resnet_fpn.backbone import R50FPN

FORMAT, VERSION = "r50-fpn-spec", 1

R50 = (3, 4, 6, 3)
"""Bottleneck blocks of ResNet-50 at levels 2 to 5."""

LEVELS = (3, 4, 5, 6, 7)
"""Levels of the pyramid."""


@dataclass(frozen=True)
class R50FPNSpec:
    """ResNet-50 with a feature pyramid.

    Args:
        width: multiplier of ResNet's widths, from 1/64, where one filter is left, to 1000; 1 is ResNet-50.

    Raises:
        SpecError: if the width is out of range.
    """

    width: Annotated[float, AtLeast(1 / 64), AtMost(1000)] = 1.0

    format: ClassVar[str] = FORMAT
    title: ClassVar[str] = "R50-FPN"
    separable_head: ClassVar[bool] = False

    def __post_init__(self) -> None:
        validate(self, SpecError)

    def to_json(self) -> str:
        """Returns the spec file's text, with a newline at the end."""
        return to_json({"format": FORMAT, "version": VERSION, "width": self.width}, indent=2) + "\n"

    @classmethod
    def from_dict(cls, data: object) -> R50FPNSpec:
        """Makes a spec of the parsed content of a spec file.

        Raises:
            SpecError: if the content is no R50-FPN; the message names the key.
        """
        data = check_header(data, FORMAT, VERSION)
        check_keys(data, required=("format", "version", "width"), optional=("about",))
        return cls(data["width"])  # type: ignore[arg-type]

    def key(self) -> str:
        """Returns one digest for all widths that give the same filters."""
        from search_space.resnet_fpn.key import r50_fpn_key

        return r50_fpn_key(self)

    def cost(
        self, scale: Scale, size: int | tuple[int, int] = 640, head: Head | str = "none", classes: int = 80
    ) -> Cost:
        """Computes the cost from arithmetic alone; see `search_space.spec_cost`.

        The scale gives the filters of pyramid and head; the width of the ResNet is the spec's own.
        """
        from search_space.resnet_fpn.cost import r50_fpn_cost

        return r50_fpn_cost(self, scale, size, head, classes)

    def build(self, scale: Scale, *, norm: NormConfig, convention: Convention = "torch") -> R50FPN:
        """Builds the network; there is one convention of padding only."""
        from search_space.resnet_fpn.backbone import R50FPN

        return R50FPN(self, scale, norm=norm)

    def describe(self) -> Description:
        """Describes the stages of the ResNet."""
        rows = [("stage", "level", "blocks", "filters")]
        for level, blocks in enumerate(R50, start=2):
            filters = EXPANSION * stage_filters(self.width)[level - 2]
            rows.append((str(level - 1), f"L{level}", str(blocks), str(filters)))
        outputs = ", ".join(f"P{level}" for level in LEVELS)
        return Description(
            table=tuple(rows),
            summary=f"ResNet-50 at width {self.width:g} with a feature pyramid, outputs {outputs}",
            facts={"width": self.width, "outputs": list(LEVELS)},
        )
