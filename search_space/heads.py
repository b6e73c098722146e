"""Heads: what is built on a backbone, as settings that know their cost.

A head says what it costs, which network it becomes, by which metrics it is judged, and which of them is the
reward. A head of your own is a frozen dataclass with the members of `Head`; see docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

from search_space.cost import CostError, PartCost, Size, Sums, Tally, area_at_level, check_classes, remember
from search_space.scale import Scale
from search_space.utils.lookup import lookup
from search_space.utils.parsing import shown
from search_space.utils.validation import Above, AtLeast, AtMost, validate

MASK_BOX_SIDE, MASK_SIDE = 7, 14
"""Sides of the regions of Mask R-CNN's box head and mask head."""
PROPOSALS, MASKS = 1000, 100
"""Regions that Mask R-CNN's box head and mask head see in one image, as the published figures count them."""


@dataclass(frozen=True, kw_only=True)
class HeadSite:
    """The backbone and input for which a head is costed.

    Args:
        scale: widths and depths of the network.
        size: height and width of the input in pixels.
        levels: of the pyramid, ascending.
        classes: outputs of the head, all foreground.
        separable: whether convolutions are depthwise and 1x1 ones, as in the mobile network.
        kept_levels: levels whose feature the backbone keeps for its own backward pass. A head whose
            convolutions keep the other ones adds them to its activation memory.
    """

    scale: Scale
    size: Size
    levels: tuple[int, ...]
    classes: int
    separable: bool = False
    kept_levels: tuple[int, ...] = ()


@runtime_checkable
class Head(Protocol):
    """The seam for heads.

    Attributes:
        name: by which a command line names it.
        network: import path of the network's class, such as "proxy_tasks.models.fcos.FCOS". Its keywords are
            backbone, classes, head, scale, norm and separable (see `proxy_tasks.models.detector`).
        evaluator: name of the metrics by which the network is measured, see
            `proxy_tasks.evaluation.evaluators`: "boxes", "masks" or "labels".
        reward: the metric that a search maximizes by default.
    """

    name: ClassVar[str]
    network: ClassVar[str]
    evaluator: ClassVar[str]
    reward: ClassVar[str]

    def cost(self, site: HeadSite) -> PartCost:
        """Parameters, multiply-adds and activation memory of the head alone, for one image."""


@dataclass(frozen=True, kw_only=True)
class AnchorConfig:
    """Anchors of one pyramid.

    Args:
        base: side of the smallest anchor of a level, in strides.
        octaves: scales within a level, as powers of two.
        ratios: height by width.

    Raises:
        ValueError: if a list is empty or a number is out of range.
    """

    base: Annotated[float, Above(0)] = 3.0
    octaves: tuple[float, ...] = (0.0, 1 / 3, 2 / 3)
    ratios: tuple[Annotated[float, Above(0)], ...] = (1.0, 2.0, 0.5)

    def __post_init__(self) -> None:
        validate(self)
        if not self.octaves or not self.ratios:
            raise ValueError("anchors need at least one octave and one ratio")

    @property
    def per_place(self) -> int:
        """Anchors at every place."""
        return len(self.octaves) * len(self.ratios)


@dataclass(frozen=True, kw_only=True)
class RetinaNetLossConfig:
    """Numbers of RetinaNet's losses; the defaults are those of the released code.

    Args:
        alpha, gamma: of the focal loss.
        delta: where the Huber loss turns from a parabola into a line.
        box_weight: of the box loss against the class loss.
        smooth_l1: whether the Huber loss is divided by delta, which makes it the smooth L1 loss.
    """

    alpha: Annotated[float, AtLeast(0), AtMost(1)] = 0.25
    gamma: Annotated[float, AtLeast(0)] = 1.5
    delta: Annotated[float, Above(0)] = 0.1
    box_weight: Annotated[float, AtLeast(0)] = 50.0
    smooth_l1: bool = False

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class RoIConfig:
    """Numbers of regions in Mask R-CNN, in torchvision's terms.

    Args:
        proposals_train, proposals_test: proposals kept of an image in training and in evaluation.
        batch_size_per_image: regions of an image in the losses of box head and mask head.
        detections_per_image: largest number of detections in an image.
        score_threshold: least score of a detection.
    """

    proposals_train: Annotated[int, AtLeast(1)] = 2000
    proposals_test: Annotated[int, AtLeast(1)] = 1000
    batch_size_per_image: Annotated[int, AtLeast(1)] = 512
    detections_per_image: Annotated[int, AtLeast(1)] = 100
    score_threshold: Annotated[float, AtLeast(0), AtMost(1)] = 0.05

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, kw_only=True)
class NoHead:
    """The backbone and its pyramid alone."""

    name: ClassVar[str] = "none"
    network: ClassVar[str] = "proxy_tasks.models.pyramid.Pyramid"
    evaluator: ClassVar[str] = ""
    reward: ClassVar[str] = ""

    def cost(self, site: HeadSite) -> PartCost:
        """Returns zero everywhere."""
        return PartCost("head", 0, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class RetinaNetHead:
    """Two towers shared over the levels, with batch norms of their own for every level (Lin et al. 2017).

    Args:
        anchors: shapes at every place.
        loss: numbers of the losses.
    """

    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    loss: RetinaNetLossConfig = field(default_factory=RetinaNetLossConfig)

    name: ClassVar[str] = "retinanet"
    network: ClassVar[str] = "proxy_tasks.models.retinanet.RetinaNet"
    evaluator: ClassVar[str] = "boxes"
    reward: ClassVar[str] = "AP"

    def __post_init__(self) -> None:
        validate(self)

    def cost(self, site: HeadSite) -> PartCost:
        """Computes the cost of two towers, which predict classes and four offsets for every anchor."""
        places = self.anchors.per_place
        return PartCost("head", *_towers(site, (site.classes * places, 4 * places)))


@dataclass(frozen=True, kw_only=True)
class FCOSHead:
    """Two towers without anchors: classes, four distances and centerness at every place (Tian et al. 2019).

    Args:
        reach: largest distance from a place to a side of its box that a level learns, in strides; the next
            level goes on from there. The finest level learns all shorter ones, the coarsest all longer ones.
        radius: how far from the center of a box places learn it, in strides.
        alpha, gamma: of the focal loss.
        box_weight: of the box loss against the other losses.
    """

    reach: Annotated[float, Above(0)] = 8.0
    radius: Annotated[float, Above(0)] = 1.5
    alpha: Annotated[float, AtLeast(0), AtMost(1)] = 0.25
    gamma: Annotated[float, AtLeast(0)] = 2.0
    box_weight: Annotated[float, AtLeast(0)] = 1.0

    name: ClassVar[str] = "fcos"
    network: ClassVar[str] = "proxy_tasks.models.fcos.FCOS"
    evaluator: ClassVar[str] = "boxes"
    reward: ClassVar[str] = "AP"

    def __post_init__(self) -> None:
        validate(self)

    def cost(self, site: HeadSite) -> PartCost:
        """Two towers, and one scale of the distances for every level."""
        params, *others = _towers(site, (site.classes, 4 + 1))
        return PartCost("head", params + len(site.levels), *others)


@dataclass(frozen=True, kw_only=True)
class MaskRCNNHead:
    """Region proposals, a box head and a mask head (He et al. 2017); three anchor shapes a level.

    Args:
        anchor_base: side of the anchor of a level, in strides.
        rois: numbers of regions.
    """

    anchor_base: Annotated[float, Above(0)] = 3.0
    rois: RoIConfig = field(default_factory=RoIConfig)

    name: ClassVar[str] = "mask-rcnn"
    network: ClassVar[str] = "proxy_tasks.models.mask_rcnn.MaskRCNN"
    evaluator: ClassVar[str] = "masks"
    reward: ClassVar[str] = "AP"

    def __post_init__(self) -> None:
        validate(self)

    def cost(self, site: HeadSite) -> PartCost:
        """Computes the cost with 1,000 boxes and 100 masks an image, as the published figures do."""
        return PartCost("head", *_mask_rcnn(site))


@dataclass(frozen=True, kw_only=True)
class ClassifierHead:
    """The pyramid averaged, pooled, and one linear layer (SpineNet paper section 5.6).

    Args:
        pooling: "pyramid" as in the paper, or "coarsest", the last level alone, as in the Model Garden.
        label_smoothing: share of the target that is spread over all classes.
    """

    pooling: Literal["pyramid", "coarsest"] = "pyramid"
    label_smoothing: Annotated[float, AtLeast(0), AtMost(1)] = 0.0

    name: ClassVar[str] = "classifier"
    network: ClassVar[str] = "proxy_tasks.models.classifier.Classifier"
    evaluator: ClassVar[str] = "labels"
    reward: ClassVar[str] = "top1"

    def __post_init__(self) -> None:
        validate(self)

    def cost(self, site: HeadSite) -> PartCost:
        """Computes the cost of one linear layer on the endpoints' filters."""
        return PartCost("head", *_classifier(site.scale, site.classes))


HEADS: Mapping[str, type[Head]] = {
    kind.name: kind for kind in (NoHead, RetinaNetHead, FCOSHead, MaskRCNNHead, ClassifierHead)
}
"""All heads of ours by name."""


def as_head(head: Head | str) -> Head:
    """Returns a head, or the head of that name with its default settings.

    Raises:
        CostError: if there is none of that name, or it is neither a head nor a name.
    """
    if isinstance(head, Head) and not isinstance(head, type):
        return head
    if isinstance(head, str):
        return lookup(head, HEADS, "head", CostError)()
    raise CostError(f"head must be settings of a head, or its name, not {shown(head)}")


def head_parts(
    head: Head | str,
    scale: Scale,
    size: Size,
    levels: tuple[int, ...],
    classes: int,
    separable: bool = False,
    kept_levels: tuple[int, ...] = (),
) -> tuple[PartCost, ...]:
    """Returns the cost of a head as the last part of a network's, or nothing for "none".

    Args:
        head: settings of a head, or its name.
        scale, size, levels, classes, separable, kept_levels: see `HeadSite`.

    Raises:
        CostError: if the number of classes is out of range, or there is no head of that name.
    """
    head = as_head(head)
    site = HeadSite(
        scale=scale,
        size=size,
        levels=levels,
        classes=check_classes(classes),
        separable=separable,
        kept_levels=kept_levels,
    )
    return () if head.name == NoHead.name else (head.cost(site),)


def mask_heads(scale: Scale) -> tuple[int, int, int]:
    """Returns filters and convolutions of Mask R-CNN's heads, and the width of the box head's hidden layer.

    They follow the RetinaNet head's and are the released ones at every published scale: 128, 4, 512 for
    49S; 256, 4, 1024 for 49, 96 and 143; 384, 7, 1024 for 190.
    """
    filters = min(scale.head_filters, 384)
    return filters, scale.head_convs, min(1024, 4 * filters)


def _towers(site: HeadSite, predictions: Sequence[int]) -> Sums:
    """Computes the cost of towers, one for each number of predictions at a place."""
    return _remembered_towers(replace(site, classes=1), tuple(predictions))


@remember
def _remembered_towers(site: HeadSite, predictions: tuple[int, ...]) -> Sums:
    """Computes the cost of towers, whatever the number of classes."""
    scale, norms = site.scale, len(site.levels)
    area = sum(area_at_level(site.size, level) for level in site.levels)
    tally = Tally(scale.activation)
    _keep_pyramid(tally, site)
    for outputs in predictions:
        channels = scale.endpoints
        if scale.head_convs:
            _head_conv(tally, channels, scale.head_filters, area, site.separable, norms)
            channels, again = scale.head_filters, Tally(scale.activation)
            _head_conv(again, channels, channels, area, site.separable, norms)
            tally.add(again.sums(), scale.head_convs - 1)
        _head_conv(tally, channels, outputs, area, site.separable, norms=0)
    return tally.sums()


def _keep_pyramid(tally: Tally, site: HeadSite) -> None:
    """Adds the features that the first convolutions of a head keep, and the backbone does not."""
    levels = [level for level in site.levels if level not in site.kept_levels]
    tally.keep(site.scale.endpoints * sum(area_at_level(site.size, level) for level in levels))


def _head_conv(tally: Tally, channels: int, out: int, area: int, separable: bool, norms: int) -> None:
    if separable:
        tally.conv(channels, channels, 3, area, groups=channels, norms=0, activated=False)
        tally.keep(channels * area)
    tally.conv(channels, out, 1 if separable else 3, area, bias=True, norms=norms, activated=norms > 0)


@remember
def _mask_rcnn(site: HeadSite) -> Sums:
    """Computes the cost of region proposals, box head and mask head; one more class is background.

    Their activation is ReLU at any scale.
    """
    scale, classes, tally = site.scale, site.classes, Tally()
    filters, convs, hidden = mask_heads(scale)
    area = sum(area_at_level(site.size, level) for level in site.levels)
    _keep_pyramid(tally, site)
    tally.conv(scale.endpoints, filters, 3, area, bias=True, norms=len(site.levels))
    tally.conv(filters, 3 * (1 + 4), 1, area, bias=True, norms=0, activated=False)
    for regions, side in ((PROPOSALS, MASK_BOX_SIDE), (MASKS, MASK_SIDE)):
        places = regions * side * side
        tally.keep(scale.endpoints * places)  # The regions cut out of the pyramid.
        if convs:
            again = Tally()
            again.conv(filters, filters, 3, places, bias=True)
            tally.conv(scale.endpoints, filters, 3, places, bias=True)
            tally.add(again.sums(), convs - 1)
        if side == MASK_BOX_SIDE:
            tally.conv(filters, hidden, side, regions, bias=True)
            tally.conv(hidden, 5 * (classes + 1), 1, regions, bias=True, norms=0, activated=False)
        else:
            # A transposed 2x2 convolution with stride 2: every output pixel is reached by one of the four.
            tally.params += 3 * filters * filters
            tally.conv(filters, filters, 1, 4 * places, bias=True)
            tally.conv(filters, classes + 1, 1, 4 * places, bias=True, norms=0, activated=False)
    return tally.sums()


@remember
def _classifier(scale: Scale, classes: int) -> Sums:
    tally = Tally(scale.activation)
    tally.conv(scale.endpoints, classes, 1, 1, bias=True, norms=0, activated=False)
    tally.keep(scale.endpoints)
    return tally.sums()
