"""What can be built: specs, the space of specs, their cost, and the backbone that a spec stands for.

| word | meaning |
| --- | --- |
| spec | one architecture, as data |
| scale | how a spec becomes a network: width, depth, activation |
| space | a set of specs, described as a sequence of masked categorical decisions |
| genotype | the tuple of ints that answers the decisions |
| key | the digest of a spec's canonical form; equal keys mean one function |

The names below are public; each is imported when it is first used, so that the command line starts quickly.
Only `search_space.backbone` needs torch.
"""

from typing import TYPE_CHECKING

from search_space.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from search_space.choices import ChoiceSpace
    from search_space.convention import Convention
    from search_space.cost import Cost, CostError, PartCost
    from search_space.decisions import Decision, Genotype, GenotypeError
    from search_space.families import (
        load_spec,
        load_spinenet_spec,
        register_family,
        require_spinenet,
        spec_from_dict,
    )
    from search_space.heads import (
        HEADS,
        AnchorConfig,
        ClassifierHead,
        FCOSHead,
        Head,
        HeadSite,
        MaskRCNNHead,
        NoHead,
        RetinaNetHead,
        RetinaNetLossConfig,
        RoIConfig,
    )
    from search_space.nas_fpn.space import MergingCellSpace
    from search_space.nas_fpn.spec import MergingCellsSpec
    from search_space.norm import NormConfig
    from search_space.published import PUBLISHED_SPECS, SPACES, published_space, published_spec
    from search_space.resnet_fpn.spec import R50FPNSpec
    from search_space.scale import SCALES, Scale, ScaleError, parse_scale
    from search_space.space import NotInSpaceError, Space
    from search_space.spec import (
        Description,
        Drawable,
        DrawingError,
        HasGraphFeatures,
        PublishedSpec,
        Spec,
        graph_features,
        spec_cost,
        spec_key,
    )
    from search_space.spec_file import SpecError
    from search_space.spinenet.key import canonical_form
    from search_space.spinenet.space import ScalePermutedSpace, SpaceError
    from search_space.spinenet.spec import Block, SpineNetSpec, StemBlock
    from search_space.spinenet.wiring import Wiring, dead_features, wire

__all__ = [
    "HEADS",
    "PUBLISHED_SPECS",
    "SCALES",
    "SPACES",
    "AnchorConfig",
    "Block",
    "ChoiceSpace",
    "ClassifierHead",
    "Convention",
    "Cost",
    "CostError",
    "Decision",
    "Description",
    "Drawable",
    "DrawingError",
    "FCOSHead",
    "Genotype",
    "GenotypeError",
    "HasGraphFeatures",
    "Head",
    "HeadSite",
    "MaskRCNNHead",
    "MergingCellSpace",
    "MergingCellsSpec",
    "NoHead",
    "NormConfig",
    "NotInSpaceError",
    "PartCost",
    "PublishedSpec",
    "R50FPNSpec",
    "RetinaNetHead",
    "RetinaNetLossConfig",
    "RoIConfig",
    "Scale",
    "ScaleError",
    "ScalePermutedSpace",
    "Space",
    "SpaceError",
    "Spec",
    "SpecError",
    "SpineNetSpec",
    "StemBlock",
    "Wiring",
    "canonical_form",
    "dead_features",
    "graph_features",
    "load_spec",
    "load_spinenet_spec",
    "parse_scale",
    "published_space",
    "published_spec",
    "register_family",
    "require_spinenet",
    "spec_cost",
    "spec_from_dict",
    "spec_key",
    "wire",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "HEADS": "search_space.heads",
        "PUBLISHED_SPECS": "search_space.published",
        "SCALES": "search_space.scale",
        "SPACES": "search_space.published",
        "AnchorConfig": "search_space.heads",
        "Block": "search_space.spinenet.spec",
        "ChoiceSpace": "search_space.choices",
        "ClassifierHead": "search_space.heads",
        "Convention": "search_space.convention",
        "Cost": "search_space.cost",
        "CostError": "search_space.cost",
        "Decision": "search_space.decisions",
        "Description": "search_space.spec",
        "Drawable": "search_space.spec",
        "DrawingError": "search_space.spec",
        "FCOSHead": "search_space.heads",
        "Genotype": "search_space.decisions",
        "GenotypeError": "search_space.decisions",
        "HasGraphFeatures": "search_space.spec",
        "Head": "search_space.heads",
        "HeadSite": "search_space.heads",
        "MaskRCNNHead": "search_space.heads",
        "MergingCellSpace": "search_space.nas_fpn.space",
        "MergingCellsSpec": "search_space.nas_fpn.spec",
        "NoHead": "search_space.heads",
        "NormConfig": "search_space.norm",
        "NotInSpaceError": "search_space.space",
        "PartCost": "search_space.cost",
        "PublishedSpec": "search_space.spec",
        "R50FPNSpec": "search_space.resnet_fpn.spec",
        "RetinaNetHead": "search_space.heads",
        "RetinaNetLossConfig": "search_space.heads",
        "RoIConfig": "search_space.heads",
        "Scale": "search_space.scale",
        "ScaleError": "search_space.scale",
        "ScalePermutedSpace": "search_space.spinenet.space",
        "Space": "search_space.space",
        "SpaceError": "search_space.spinenet.space",
        "Spec": "search_space.spec",
        "SpecError": "search_space.spec_file",
        "SpineNetSpec": "search_space.spinenet.spec",
        "StemBlock": "search_space.spinenet.spec",
        "Wiring": "search_space.spinenet.wiring",
        "canonical_form": "search_space.spinenet.key",
        "dead_features": "search_space.spinenet.wiring",
        "graph_features": "search_space.spec",
        "load_spec": "search_space.families",
        "load_spinenet_spec": "search_space.families",
        "parse_scale": "search_space.scale",
        "published_space": "search_space.published",
        "published_spec": "search_space.published",
        "register_family": "search_space.families",
        "require_spinenet": "search_space.families",
        "spec_cost": "search_space.spec",
        "spec_from_dict": "search_space.families",
        "spec_key": "search_space.spec",
        "wire": "search_space.spinenet.wiring",
    },
)
