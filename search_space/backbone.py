"""The backbone of the paper, `SpineNet`, by the import path that does not change."""

from search_space.convention import Convention
from search_space.spinenet.backbone import SpineNet, fuse_conv_bn

__all__ = ["Convention", "SpineNet", "fuse_conv_bn"]
