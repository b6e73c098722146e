"""A trained model at work: its metrics on a data set, and the objects that it finds in images."""

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

from proxy_tasks.data.dataset import DataError, DetectionDataset, RunLengths, Split, category_difference
from proxy_tasks.data.image_io import open_rgb, upright_size
from proxy_tasks.data.pixel_cache import open_cache, open_usable_cache, pixel_folder
from proxy_tasks.data.transforms import evaluation_batch
from proxy_tasks.evaluation.evaluators import encode_masks, find_evaluator
from proxy_tasks.models.detector import HasCandidates, Prediction
from proxy_tasks.models.model import Model, ModelError
from proxy_tasks.models.postprocess import suppress
from search_space.utils.atomic_file import atomic_write

COLORS = ("#2a6f97", "#c8553d", "#588157", "#e09f3e", "#7b5ea7", "#3d405b")


@dataclass(frozen=True)
class Objects:
    """Objects in one image, best first.

    Args:
        width, height: of the image in pixels.
        boxes: [D, 4] x0, y0, x1, y1 in pixels of the image.
        scores: [D].
        categories: (id, name) of each.
        masks: run-length codes of each, from a network that finds masks; else none.
    """

    width: int
    height: int
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    categories: tuple[tuple[int, str], ...]
    masks: tuple[RunLengths, ...] = ()


def evaluate_model(
    model: Model, net: nn.Module, root: Path, split: Split, cache: Path, batch: int, device: torch.device
) -> dict[str, float]:
    """Measures a trained model on a split of a data set.

    Args:
        model, net: of a model file.
        root: of the data set.
        split: "train" or "val".
        cache: folder for prepared images.
        batch: images at a time.
        device: of the network.

    Raises:
        DataError: if the data cannot be used, or its categories are not the model's.
        ModelError: if the model is a backbone alone.
    """
    try:
        evaluator = find_evaluator(model.head.evaluator)
    except ValueError as error:
        raise ModelError(f"{error}: nas train weights=MODEL") from None
    data = evaluator.read(root, split)
    evaluator.check(data)
    other = category_difference(model.categories, data.categories, "the model", "the data")
    if other:
        raise DataError(f"{root}: its categories are not the model's: {other}")
    images = open_usable_cache(data, model.image_size, pixel_folder(cache), "evaluate on")
    return evaluator.measure(net, images, image_size=model.image_size, batch=batch, device=device)


def predict(
    model: Model, net: nn.Module, paths: Sequence[Path], score: float, device: torch.device
) -> Iterator[tuple[Path, Objects | str]]:
    """Finds objects in image files, or says why a file is no image; prepares them as validation images are.

    Args:
        model, net: of a model file.
        paths: of the images.
        score: least score of what is given back.
        device: of the network.

    Raises:
        ModelError: if the network finds no objects.
    """
    net.eval()
    for path in paths:
        split = _one_image(path)
        if isinstance(split, str):
            yield path, split
            continue
        with TemporaryDirectory() as folder:
            images = open_cache(split, model.image_size, folder)
            if len(images) == 0:
                yield path, images.skipped[0][1]
                continue
            with torch.inference_mode():
                inputs, (letterbox,) = evaluation_batch(images, [0], model.image_size, device)
                prediction = _predict_one(model, net, inputs, score)
                boxes = letterbox.to_image(prediction["boxes"]).double().cpu().numpy()
        height, width = (int(side) for side in split.sizes[0])
        masks = []
        if "masks" in prediction:
            masks = encode_masks(prediction["masks"].cpu(), torch.from_numpy(boxes).float(), height, width)
        limits = np.array([width, height, width, height], np.float64)
        yield (
            path,
            Objects(
                width,
                height,
                np.minimum(boxes.clip(0), limits),
                prediction["scores"].double().cpu().numpy(),
                tuple(model.categories[label] for label in prediction["labels"].tolist()),
                tuple(masks),
            ),
        )


def _predict_one(model: Model, net: nn.Module, inputs: Tensor, score: float) -> Prediction:
    """The objects in the only image with at least this score."""
    prediction: Prediction
    if isinstance(net, HasCandidates):  # Its own threshold may be higher than what is asked for.
        (prediction,) = suppress(net.candidates(inputs), least_score=score)
        return prediction
    (prediction,) = net(inputs)
    if "boxes" not in prediction:
        raise ModelError(f"{model.name}: it finds no objects")
    kept = prediction["scores"] >= score
    return {name: values[kept] for name, values in prediction.items()}


def draw(path: Path, objects: Objects, out: Path) -> None:
    """Writes the image with the boxes, their names and scores, as PNG."""
    from PIL import Image, ImageDraw

    image = open_rgb(path)
    for mask, (number, _) in zip(objects.masks, objects.categories, strict=False):
        half = Image.fromarray(coco_mask.decode(mask) * np.uint8(110))
        image.paste(Image.new("RGB", image.size, COLORS[number % len(COLORS)]), mask=half)
    pen = ImageDraw.Draw(image)
    thick = max(1, round(max(image.size) / 400))
    # The best last, on top of the others.
    for box, score, (number, name) in reversed(
        list(zip(objects.boxes, objects.scores, objects.categories, strict=True))
    ):
        color = COLORS[number % len(COLORS)]
        pen.rectangle(tuple(box.tolist()), outline=color, width=thick)
        # The font has Latin letters only.
        text = f"{name if all(ord(c) < 0x250 for c in name) else number} {score:.2f}"
        x, y = float(box[0]), max(0.0, float(box[1]) - 11)
        pen.rectangle(pen.textbbox((x, y), text), fill=color)
        pen.text((x, y), text, fill="white")
    with atomic_write(out) as partial:
        image.save(partial)


def _one_image(path: Path) -> DetectionDataset | str:
    """A split that holds one image without boxes."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            size = upright_size(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return getattr(error, "strerror", None) or str(error)
    return DetectionDataset(
        image_folder=path.parent.resolve(),
        image_ids=np.zeros(1, np.int64),
        file_names=(path.name,),
        sizes=np.array([size], np.int64),
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        crowd=np.zeros(0, np.bool_),
        areas=np.zeros(0),
        image_index=np.zeros(0, np.int64),
        category_ids=np.zeros(0, np.int64),
        category_names=(),
        annotation_digest="",
    )
