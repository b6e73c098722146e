"""Presets: proxies as they were published, and one for a laptop.

| preset | what |
| --- | --- |
| paper | 512 px, quarter width, alpha 0.25, head of 64 filters, 5 epochs (section 5.1) |
| google | Google's released proxy: half width, 10 epochs of 64 images |
| cpu | small data on a few CPU cores in one to two minutes |

The paper does not tell batch size, learning rate and augmentation of its proxy; `paper` takes them from
Google's released configuration.
"""

from __future__ import annotations

from proxy_tasks.anchors import AnchorSpec
from proxy_tasks.batches import Augmentation
from proxy_tasks.detection import DetectionTask
from proxy_tasks.training import Plan
from search_space import SCALES, Scale

COCO_SEARCH_IMAGES = 110_895
"""COCO's train2017 without the 7,392 held-out images."""


def paper_preset(root: str, cache: str) -> DetectionTask:
    """The paper's proxy on COCO."""
    return _google_like(root, cache, SCALES["proxy"], epochs=5)


def google_preset(root: str, cache: str) -> DetectionTask:
    """Google's released proxy on COCO (vertex-ai-nas, TPU configuration)."""
    return _google_like(root, cache, Scale(0.5, 0.25, 64, head_filters=64), epochs=10)


def cpu_preset(root: str, cache: str, steps: int | None = None) -> DetectionTask:
    """A proxy for small data on one or two CPU cores: 128 px, an eighth of the width."""
    plan = Plan(
        steps=steps or 700,
        batch=8,
        canvas=128,
        learning_rate=0.01,
        warm_up=0.05,
        optimiser="adamw",
        weight_decay=0.05,
        clip=100.0,
        augmentation=Augmentation(0.8, 1.2),
    )
    scale = Scale(0.125, 0.5, 64, head_filters=64, head_convs=2)
    return DetectionTask(
        root, scale, plan, cache, anchors=AnchorSpec(2.0, (-0.5, 0.0, 0.5)), norm_momentum=0.1
    )


def _google_like(root: str, cache: str, scale: Scale, epochs: int) -> DetectionTask:
    batch = 64
    plan = Plan(
        steps=epochs * COCO_SEARCH_IMAGES // batch,
        batch=batch,
        canvas=512,
        learning_rate=0.08,
        warm_up=500 / (epochs * COCO_SEARCH_IMAGES / batch),
        schedule="step",
        drops=(0.8,),
        augmentation=Augmentation(0.5, 2.0),
        precision="bf16",
        checkpoint_every=1000,
    )
    return DetectionTask(root, scale, plan, cache, norm_momentum=0.003)
