"""A trained model at work: figures on a data set, and objects in images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from proxy_tasks.batches import evaluation_batch
from proxy_tasks.classification import classification_figures
from proxy_tasks.coco import DataError, RunLengths, Split, category_difference, read_split
from proxy_tasks.detection import detection_figures
from proxy_tasks.images import open_rgb, upright_size
from proxy_tasks.instance_segmentation import instance_figures, mask_codes
from proxy_tasks.labelled_images import read_labelled
from proxy_tasks.models import Model, ModelError
from proxy_tasks.pack import open_pack, usable_pack
from proxy_tasks.retinanet import Detections, detect
from search_space.whole_file import whole_file

COLOURS = ("#2a6f97", "#c8553d", "#588157", "#e09f3e", "#7b5ea7", "#3d405b")


@dataclass(frozen=True)
class Prediction:
    """Objects in one image, best first.

    Args:
        width, height: of the image in pixels.
        boxes: [D, 4] x0, y0, x1, y1 in pixels of the image.
        scores: [D].
        categories: (id, name) of each.
        masks: run-length codes of each, from a model that finds masks.
    """

    width: int
    height: int
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    categories: tuple[tuple[int, str], ...]
    masks: tuple[RunLengths, ...] = ()


def evaluate_model(
    model: Model, net: nn.Module, root: Path, split: str, cache: Path, batch: int, device: torch.device
) -> dict[str, float]:
    """Figures of a trained model on a split of a COCO root.

    Raises:
        DataError: if the data cannot be used, or its categories are not the model's.
        ModelError: if the model is a backbone alone.
    """
    if model.kind == "backbone":
        raise ModelError("a backbone alone finds nothing; train a head on it: nas train weights=MODEL")
    if model.kind == "classifier":
        data = read_labelled(root, split)
    else:
        data = read_split(root, split, masks=model.kind == "mask-rcnn")
    other = category_difference(model.categories, data.categories, "the model", "the data")
    if other:
        raise DataError(f"{root}: its categories are not the model's: {other}")
    pack = usable_pack(data, model.canvas, cache / "packs", "evaluate on")
    if model.kind == "classifier":
        return classification_figures(net, pack, model.canvas, batch, device)
    if model.kind == "mask-rcnn":
        return instance_figures(net, pack, model.canvas, batch, device)
    return detection_figures(net, pack, model.canvas, batch, device)


def predict(
    model: Model, net: nn.Module, paths: Sequence[Path], score: float, device: torch.device
) -> Iterator[tuple[Path, Prediction | str]]:
    """Objects in image files, or why a file is no image; prepared just as validation images are.

    Args:
        model, net: of a model file.
        paths: of the images.
        score: least score of what is given back.
        device: of the network.

    Raises:
        ModelError: if the model is no detector.
    """
    if model.kind in ("classifier", "backbone"):
        raise ModelError(f"a {model.kind} finds no objects")
    net.eval()
    for path in paths:
        split = _one_image(path)
        if isinstance(split, str):
            yield path, split
            continue
        with TemporaryDirectory() as folder:
            pack = open_pack(split, model.canvas, folder)
            if len(pack) == 0:
                yield path, pack.skipped[0][1]
                continue
            with torch.inference_mode():
                inputs, (place,) = evaluation_batch(pack, [0], model.canvas, device)
                found, probabilities = _found(model, net, inputs, score)
                boxes = place.to_image(found.boxes).double().cpu().numpy()
        height, width = (int(side) for side in split.sizes[0])
        masks = []
        if probabilities is not None:
            masks = mask_codes(probabilities.cpu(), torch.from_numpy(boxes).float(), height, width)
        limits = np.array([width, height, width, height], np.float64)
        yield (
            path,
            Prediction(
                width,
                height,
                np.minimum(boxes.clip(0), limits),
                found.scores.double().cpu().numpy(),
                tuple(model.categories[label] for label in found.labels.tolist()),
                tuple(masks),
            ),
        )


def _found(model: Model, net: nn.Module, inputs: Tensor, score: float) -> tuple[Detections, Tensor | None]:
    """Detections in the only image, and the masks' chances [D, 1, 28, 28] if the model finds masks."""
    if model.kind == "retinanet":
        logits, offsets, anchors = net(inputs)
        return detect(logits, offsets, anchors, (model.canvas, model.canvas), score=score)[0], None
    (found,) = net(inputs)
    kept = found["scores"] >= score
    detections = Detections(found["boxes"][kept], found["scores"][kept], found["labels"][kept] - 1)
    return detections, found["masks"][kept]


def draw(path: Path, found: Prediction, out: Path) -> None:
    """The image with the boxes, their names and scores, as PNG."""
    from PIL import Image, ImageDraw

    image = open_rgb(path)
    for mask, (number, _) in zip(found.masks, found.categories, strict=False):
        half = Image.fromarray(coco_mask.decode(mask) * np.uint8(110))
        image.paste(Image.new("RGB", image.size, COLOURS[number % len(COLOURS)]), mask=half)
    pen = ImageDraw.Draw(image)
    thick = max(1, round(max(image.size) / 400))
    # The best last, on top of the others.
    for box, score, (number, name) in reversed(
        list(zip(found.boxes, found.scores, found.categories, strict=True))
    ):
        colour = COLOURS[number % len(COLOURS)]
        pen.rectangle(tuple(box.tolist()), outline=colour, width=thick)
        # The font has Latin letters only.
        text = f"{name if all(ord(c) < 0x250 for c in name) else number} {score:.2f}"
        x, y = float(box[0]), max(0.0, float(box[1]) - 11)
        pen.rectangle(pen.textbbox((x, y), text), fill=colour)
        pen.text((x, y), text, fill="white")
    with whole_file(out) as partial:
        image.save(partial)


def _one_image(path: Path) -> Split | str:
    """A split that holds one image without boxes."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            size = upright_size(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return getattr(error, "strerror", None) or str(error)
    return Split(
        image_folder=path.parent.resolve(),
        image_ids=np.zeros(1, np.int64),
        file_names=(path.name,),
        sizes=np.array([size], np.int64),
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        crowd=np.zeros(0, np.bool_),
        areas=np.zeros(0),
        owner=np.zeros(0, np.int64),
        category_ids=np.zeros(0, np.int64),
        category_names=(),
        annotation_digest="",
    )
