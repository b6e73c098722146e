"""Key of an R50-FPN spec: one name for all widths that give one network."""

from __future__ import annotations

from hashlib import blake2b

from search_space.resnet_fpn.spec import R50FPNSpec
from search_space.resnet_fpn.widths import stage_filters


def r50_fpn_key(spec: R50FPNSpec) -> str:
    """Returns 32 hexadecimal digits: the digest of the stages' filters."""
    return blake2b(repr(("r50-fpn", stage_filters(spec.width))).encode(), digest_size=16).hexdigest()
