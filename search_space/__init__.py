"""What can be built: specs, the space of specs, their cost, and the backbone that a spec stands for.

| word | meaning |
| --- | --- |
| spec | one architecture, as data |
| scale | how a spec becomes a network: width, depth, activation |
| space | a set of specs, described as a sequence of masked categorical decisions |
| genotype | the tuple of ints that answers the decisions |
| key | the digest of a spec's canonical form; equal keys mean one function |

Only `search_space.backbone` needs torch; it is not imported here.
"""

from search_space.canonical import canonical_form, spec_key
from search_space.cost import Cost, CostError, PartCost, spec_cost
from search_space.decisions import Decision, Genotype, GenotypeError
from search_space.merging_cells import MergingCellSpace, MergingCellsSpec, merging_key
from search_space.published import PUBLISHED_SPECS, load_any_spec, load_spec, published_spec
from search_space.scale import SCALES, Scale, ScaleError, parse_scale
from search_space.scale_permuted import ScalePermutedSpace, SpaceError
from search_space.space import NotInSpaceError, Space
from search_space.spaces import SPACES, published_space
from search_space.spec import Block, SpecError, SpineNetSpec, StemBlock
from search_space.wiring import Wiring, dead_features, wire

__all__ = [
    "PUBLISHED_SPECS",
    "SCALES",
    "SPACES",
    "Block",
    "Cost",
    "CostError",
    "Decision",
    "Genotype",
    "GenotypeError",
    "MergingCellSpace",
    "MergingCellsSpec",
    "NotInSpaceError",
    "PartCost",
    "Scale",
    "ScaleError",
    "ScalePermutedSpace",
    "Space",
    "SpaceError",
    "SpecError",
    "SpineNetSpec",
    "StemBlock",
    "Wiring",
    "canonical_form",
    "dead_features",
    "load_any_spec",
    "load_spec",
    "merging_key",
    "parse_scale",
    "published_space",
    "published_spec",
    "spec_cost",
    "spec_key",
    "wire",
]
