"""Evaluators: what a network is measured by on validation images, shared over the processes.

A head names its evaluator. Those of ours stand in `EVALUATORS`; one of your own is named by its import path,
such as "my_module:MY_EVALUATOR".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from proxy_tasks.data.batches import Batches
from proxy_tasks.data.dataset import DataError, DetectionDataset, Inspection, RunLengths, Split
from proxy_tasks.data.geometry import decompress
from proxy_tasks.data.reader import Reader, inspect_with
from proxy_tasks.data.readers import LABELED, find_reader
from proxy_tasks.distributed import all_gather, all_reduce_sum, own_batches
from proxy_tasks.engine.precision import Precision
from proxy_tasks.engine.train import autocast
from proxy_tasks.evaluation.coco_eval import METRICS, coco_metrics, mask_metrics
from proxy_tasks.models.detector import Prediction
from proxy_tasks.task import TaskFailureError
from search_space.utils.lookup import lookup


class Evaluator(Protocol):
    """What a network is measured by.

    Attributes:
        metrics: names of the metrics that `measure` gives.
        needs_masks: whether the data must have masks.
    """

    metrics: ClassVar[tuple[str, ...]]
    needs_masks: ClassVar[bool]

    def inspect(self, root: Path, split: Split, reader: Reader | None = None) -> Inspection:
        """Reads the "train" or "val" images of a data set, and says what is wrong with the others.

        Args:
            root: the data set.
            split: which part of it.
            reader: of its format; None for the one that recognizes the root.

        Raises:
            DataError: if the root holds no data of the right kind.
        """

    def check(self, dataset: DetectionDataset) -> None:
        """Raises DataError if a network cannot be measured on this data."""

    def measure(
        self, net: nn.Module, images: Batches, *, batch: int, precision: Precision = "fp32"
    ) -> dict[str, float]:
        """Computes the metrics of a network, which is left in evaluation mode.

        Those for which the images have no object, such as "APl" where all objects are small, are left out.

        Args:
            net: obeys `proxy_tasks.models.detector.Network`.
            images: validation images, on the device of the network.
            batch: images at a time.
            precision: of the forward pass.
        """


class BoxEvaluator:
    """COCO's twelve metrics of boxes."""

    metrics: ClassVar[tuple[str, ...]] = METRICS
    needs_masks: ClassVar[bool] = False

    def inspect(self, root: Path, split: Split, reader: Reader | None = None) -> Inspection:
        """Reads a detection data set."""
        return inspect_with(reader or find_reader(root), root, split)

    def check(self, dataset: DetectionDataset) -> None:
        """Accepts every data set."""

    def measure(
        self, net: nn.Module, images: Batches, *, batch: int, precision: Precision = "fp32"
    ) -> dict[str, float]:
        """Computes the metrics; see `Evaluator.measure`."""
        rows = []
        with torch.inference_mode():
            for i, to_image, prediction in predictions(net, images, batch, precision):
                boxes = to_image(prediction["boxes"].cpu().numpy())
                boxes = clip_to_image(boxes, *images.cache.split.sizes[i].tolist())
                scores = prediction["scores"].double().cpu().numpy()
                rows.append((i, boxes, scores, prediction["labels"].cpu().numpy()))
        return coco_metrics(images.cache.split, all_gather(rows))


class MaskEvaluator:
    """COCO's twelve metrics of boxes, and those of masks as "mask_AP" and so on."""

    metrics: ClassVar[tuple[str, ...]] = (*METRICS, *(f"mask_{name}" for name in METRICS))
    needs_masks: ClassVar[bool] = True

    def inspect(self, root: Path, split: Split, reader: Reader | None = None) -> Inspection:
        """Reads a detection data set with masks."""
        return inspect_with(reader or find_reader(root), root, split, masks=True)

    def check(self, dataset: DetectionDataset) -> None:
        """Refuses data without masks."""
        if not dataset.masks:
            raise DataError(
                f"{dataset.image_folder}: the data has no masks, which the network learns and is measured "
                "by; give data with segmentations"
            )

    def measure(
        self, net: nn.Module, images: Batches, *, batch: int, precision: Precision = "fp32"
    ) -> dict[str, float]:
        """Computes the metrics; see `Evaluator.measure`."""
        box_rows, mask_rows, split = [], [], images.cache.split
        with torch.inference_mode():
            for i, to_image, prediction in predictions(net, images, batch, precision):
                boxes = torch.from_numpy(to_image(prediction["boxes"].cpu().numpy())).float()
                scores = prediction["scores"].double().cpu().numpy()
                labels = prediction["labels"].cpu().numpy()
                height, width = (int(side) for side in split.sizes[i])
                masks = encode_masks(prediction["masks"].cpu(), boxes, height, width)
                clipped = clip_to_image(boxes.double().numpy(), height, width)
                box_rows.append((i, clipped, scores, labels))
                mask_rows.append((i, masks, scores, labels))
        of_boxes = coco_metrics(split, all_gather(box_rows))
        of_masks = mask_metrics(split, all_gather(mask_rows))
        return {**of_boxes, **{f"mask_{name}": value for name, value in of_masks.items()}}


class LabelEvaluator:
    """Shares of the images whose label is the best answer ("top1"), and among the best five ("top5")."""

    metrics: ClassVar[tuple[str, ...]] = ("top1", "top5")
    needs_masks: ClassVar[bool] = False

    def inspect(self, root: Path, split: Split, reader: Reader | None = None) -> Inspection:
        """Reads labeled images."""
        return inspect_with(reader or LABELED, root, split)

    def check(self, dataset: DetectionDataset) -> None:
        """Refuses images that have not exactly one label each."""
        whole = dataset.sizes[:, ::-1]
        if len(dataset.labels) != len(dataset) or not np.array_equal(dataset.boxes[:, 2:], whole):
            raise DataError(
                f"{dataset.image_folder}: a classifier needs images with one label each, not with boxes; "
                "see proxy_tasks.LabeledImages"
            )

    def measure(
        self, net: nn.Module, images: Batches, *, batch: int, precision: Precision = "fp32"
    ) -> dict[str, float]:
        """Computes the metrics; see `Evaluator.measure`."""
        labels = images.cache.split.labels.tolist()
        hits: list[tuple[bool, bool]] = []
        with torch.inference_mode():
            for i, _, prediction in predictions(net, images, batch, precision):
                scores = prediction["scores"]
                best = scores.topk(min(5, len(scores))).indices.tolist()
                hits.append((best[0] == labels[i], labels[i] in best))
        shares = np.array(all_gather(hits), dtype=np.float64).mean(0)
        return {"top1": float(shares[0]), "top5": float(shares[1])}


EVALUATORS: Mapping[str, Evaluator] = {
    "boxes": BoxEvaluator(),
    "masks": MaskEvaluator(),
    "labels": LabelEvaluator(),
}
"""All evaluators of ours by name."""


def find_evaluator(name: str) -> Evaluator:
    """Finds the evaluator that a head names.

    Raises:
        ValueError: if there is none, as for a backbone alone.
    """
    if not name:
        raise ValueError("a backbone alone learns and finds nothing; put a head on it")
    if ":" not in name:
        return lookup(name, EVALUATORS, "evaluator", ValueError)
    try:
        found: Evaluator = resolve_name(name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the evaluator {name!r}: {error}") from None
    return found


ToImage = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""Maps boxes [D, 4] of the network's input to pixels of the annotated image."""


def predictions(
    net: nn.Module, images: Batches, batch: int, precision: Precision
) -> Iterator[tuple[int, ToImage, Prediction]]:
    """Gives this process's share of the images: number, way back to the image, and prediction.

    Raises:
        TaskFailureError: after the last one, of the kind "diverged", if an output was not finite.
    """
    net.eval()
    finite = Finite(images.device)
    with finite.watching(net):
        for numbers in own_batches(len(images.cache), batch):
            inputs, letterboxes = images.evaluation(np.array(numbers))
            with autocast(precision, images.device):
                found = net(inputs)
            # All of a batch at once: each look costs a GPU some kernels.
            scores = [prediction["scores"] for prediction in found if "scores" in prediction]
            if scores:
                finite.look(torch.cat(scores))
            for place, (number, prediction) in enumerate(zip(numbers, found, strict=True)):
                yield number, partial(letterboxes.to_image, place), prediction
    finite.check()


class Finite:
    """Whether all that a network computes is finite, noted on the device, so that no batch is waited for.

    Suppression drops boxes whose score is no number: a network that has diverged would look as one that finds
    nothing. In fp16 a value is infinite from 65520 on, and only one that is no number tells of that.

    Args:
        device: of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._holds = torch.ones((), dtype=torch.bool, device=device)

    @contextmanager
    def watching(self, net: nn.Module) -> Iterator[None]:
        """Looks at every pyramid of the network's backbone, if it has one."""
        backbone = getattr(net, "backbone", None)
        if not isinstance(backbone, nn.Module):
            yield
            return
        with backbone.register_forward_hook(lambda _net, _inputs, pyramid: self.look(*pyramid.values())):
            yield

    def look(self, *values: Tensor) -> None:
        """Takes some values."""
        for some in values:
            self._holds &= (~some.isnan() if some.dtype == torch.float16 else some.isfinite()).all()

    def check(self) -> None:
        """Raises TaskFailureError, on all processes, if something was not finite on one of them."""
        if bool(all_reduce_sum((~self._holds).float())):  # The others would wait for its part of the rows.
            raise TaskFailureError("diverged", "the outputs of the network are not finite")


def clip_to_image(boxes: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Gives the parts of boxes [D, 4] that are inside an image; the input of a network may be padded."""
    return np.clip(boxes, 0.0, np.array([width, height, width, height], np.float64))


def encode_masks(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[RunLengths]:
    """Gives run-length codes of masks [D, 1, 28, 28] in their boxes [D, 4], for an image of that size.

    A box beyond the right or lower edge, where the network's input is padded, has an empty mask.
    """
    return [_encode_mask(mask, box, height, width) for mask, box in zip(masks, boxes, strict=True)]


def _encode_mask(mask: Tensor, box: Tensor, height: int, width: int) -> RunLengths:
    """The code of one mask. Whole images are large: it is pasted into the part around its box.

    Run lengths go down one column after the other, so that the columns beside the part lengthen the first
    and the last run.
    """
    left, top, right, bottom = _around(box, mask.shape[-1], height, width)
    runs = [height * width]
    if box[0] < width and box[1] < height:
        inside = (box - box.new_tensor([left, top, left, top]))[None]
        part = paste_masks_in_image(mask[None], inside, (bottom - top, right - left))[0, 0] >= 0.5
        columns = np.zeros((height, right - left), np.uint8, order="F")
        columns[top:bottom] = part.numpy()
        runs = decompress(coco_mask.encode(columns)["counts"])
        runs[0] += left * height
        after = (width - right) * height
        if len(runs) % 2:  # The last run is of places without the object.
            runs[-1] += after
        elif after:
            runs.append(after)
    found: RunLengths = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return found


def _around(box: Tensor, side: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of an image in which a mask of a box can lie.

    Args:
        box: [4].
        side: of the mask. torchvision enlarges mask and box by one place on each side.
        height, width: of the image.
    """
    x0, y0, x1, y1 = box.tolist()
    wider, higher = (x1 - x0) / side + 2, (y1 - y0) / side + 2
    left, top = max(0, int(x0 - wider)), max(0, int(y0 - higher))
    right, bottom = min(width, int(x1 + wider) + 1), min(height, int(y1 + higher) + 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)
