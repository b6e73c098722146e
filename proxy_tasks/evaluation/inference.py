"""A trained model at work: its metrics on a data set, and the objects that it finds in images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from proxy_tasks.data.batches import Batches
from proxy_tasks.data.dataset import DataError, DetectionDataset, RunLengths, Split, category_difference
from proxy_tasks.data.image_io import MAX_PIXELS, ImageError, image_size, open_rgb
from proxy_tasks.data.limits import Limits, limit_pixels
from proxy_tasks.data.notices import advice
from proxy_tasks.data.pixel_cache import open_cache, pixel_folder
from proxy_tasks.data.reader import Reader
from proxy_tasks.data.split_survey import SplitSurvey
from proxy_tasks.evaluation.evaluators import ToImage, clip_to_image, encode_masks, find_evaluator
from proxy_tasks.models.detector import HasCandidates, HasThreshold, Prediction
from proxy_tasks.models.model import Model, ModelError
from proxy_tasks.models.postprocess import suppress
from proxy_tasks.task import TaskFailureError
from search_space.utils.atomic_file import atomic_write

if TYPE_CHECKING:
    from PIL import ImageFont

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
        highest: the highest score that the network gives anything in the image, found or not; None if it
            gives nothing a score.
    """

    width: int
    height: int
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    categories: tuple[tuple[int, str], ...]
    masks: tuple[RunLengths, ...] = ()
    highest: float | None = None


def evaluate_model(
    model: Model,
    net: nn.Module,
    root: Path,
    split: Split,
    cache: Path,
    batch: int,
    device: torch.device,
    limits: Limits | None = None,
    reader: Reader | None = None,
) -> dict[str, float | None]:
    """Measures a trained model on a split of a data set; a metric without an object to measure is None.

    One line about what is used and what is left out goes to the log `proxy_tasks.notices`.

    Args:
        model, net: of a model file.
        root: of the data set.
        split: "train" or "val".
        cache: folder for prepared images.
        batch: images at a time.
        device: of the network.
        limits: what is accepted of the data; None for those of a training.
        reader: of the data's format; None for the one that recognizes the root.

    Raises:
        DataError: if the data cannot be used, too much of them would be left out, or their categories are
            not the model's.
        ModelError: if the model is a backbone alone, or gives numbers that are not finite.
    """
    try:
        evaluator = find_evaluator(model.head.evaluator)
    except ValueError as error:
        raise ModelError(f"{error}: nas train weights=MODEL") from None
    limits = limits or Limits()
    found = limit_pixels(evaluator.inspect(root, split, reader), limits.max_pixels)
    used = SplitSurvey(root=root, name=split, found=found, limits=limits)
    if not len(found.dataset):
        raise DataError(f"{root}: no usable image in {split}; {advice(root, evaluator.needs_masks)}")
    evaluator.check(found.dataset)
    other = category_difference(model.categories, found.dataset.categories, "the model", "the data")
    if other:
        raise DataError(f"{root}: its categories are not the model's: {other}")
    _refuse(used.refuse(), used, evaluator.needs_masks)
    images = open_cache(found.dataset, model.image_size, pixel_folder(cache), max_pixels=limits.max_pixels)
    _refuse(used.refuse_skipped(images.skipped), used, evaluator.needs_masks)
    if not len(images):
        name, why = images.skipped[0]
        raise DataError(f"{root}: no image of {split} can be decoded; one is {name}: {why}")
    used.announce(images.skipped)
    try:
        metrics = evaluator.measure(net, Batches(images, model.image_size, device), batch=batch)
    except TaskFailureError as error:  # Its weights may be damaged, or those of a training that diverged.
        raise ModelError(f"{model.name}: {error}") from None
    return {name: metrics.get(name) for name in (*evaluator.metrics, *metrics)}


def _refuse(reason: str, used: SplitSurvey, masks: bool) -> None:
    """Raises DataError if there is a reason not to use a split."""
    if reason:
        raise DataError(f"{reason}; {advice(used.root, masks)}")


def predict(
    model: Model,
    net: nn.Module,
    paths: Sequence[Path],
    score: float,
    device: torch.device,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[tuple[Path, Objects | str]]:
    """Finds objects in image files, or says why a file is no image; prepares them as validation images are.

    Args:
        model, net: of a model file.
        paths: of the images.
        score: objects with a lower score are left out.
        device: of the network.
        max_pixels: larger images are not read.

    Raises:
        ModelError: if the network finds no objects.
    """
    net.eval()
    for path in paths:
        split = _one_image(path, max_pixels)
        if isinstance(split, str):
            yield path, split
            continue
        with TemporaryDirectory() as folder:
            images = open_cache(split, model.image_size, folder, max_pixels=max_pixels)
            if len(images) == 0:
                yield path, images.skipped[0][1]
                continue
            with torch.inference_mode():
                inputs, letterboxes = Batches(images, model.image_size, device).evaluation(
                    np.zeros(1, np.int64)
                )
                height, width = (int(side) for side in split.sizes[0])
                prediction, boxes, highest = _predict_one(
                    model, net, inputs, score, partial(letterboxes.to_image, 0), (height, width)
                )
        masks = []
        if "masks" in prediction:
            masks = encode_masks(prediction["masks"], torch.from_numpy(boxes).float(), height, width)
        yield (
            path,
            Objects(
                width,
                height,
                clip_to_image(boxes, height, width),
                prediction["scores"].double().numpy(),
                tuple(model.categories[label] for label in prediction["labels"].tolist()),
                tuple(masks),
                highest,
            ),
        )


def _predict_one(
    model: Model, net: nn.Module, inputs: Tensor, score: float, to_image: ToImage, size: tuple[int, int]
) -> tuple[Prediction, NDArray[np.float64], float | None]:
    """The objects in the only image with at least this score, their boxes in it, and the highest score.

    What lies where the input is padded is in no image, whatever its score.
    """

    def look(least: float) -> tuple[Prediction, NDArray[np.float64]]:
        (prediction,) = _detect(net, inputs, least)
        if "boxes" not in prediction:
            raise ModelError(f"{model.name}: it finds no objects")
        boxes = to_image(prediction["boxes"].cpu().numpy())
        clipped = clip_to_image(boxes, *size)
        inside = (clipped[:, 2:] > clipped[:, :2]).all(1) & (prediction["scores"].cpu().numpy() >= least)
        kept = torch.from_numpy(inside)
        return {name: values.cpu()[kept] for name, values in prediction.items()}, boxes[inside]

    found, boxes = look(score)
    scores = found["scores"]
    if not len(scores):  # To look among all costs time, so that it is done where nothing was found.
        scores = look(0.0)[0]["scores"]
    return found, boxes, float(scores.max()) if len(scores) else None


def _detect(net: nn.Module, inputs: Tensor, least_score: float) -> list[Prediction]:
    """Predictions by a threshold of one's own, from networks that let one choose it."""
    below = np.nextafter(np.float32(least_score), np.float32(-1))  # What has exactly this score is wanted.
    if isinstance(net, HasCandidates):
        return suppress(net.candidates(inputs), least_score=float(below))
    if isinstance(net, HasThreshold):
        return net.detect(inputs, float(below))
    predictions: list[Prediction] = net(inputs)
    return predictions


def draw(path: Path, objects: Objects, out: Path, max_pixels: int = MAX_PIXELS) -> None:
    """Writes the image with the boxes, their names and scores, as PNG."""
    from PIL import Image, ImageDraw

    image = open_rgb(path, max_pixels=max_pixels)
    for mask, (number, _) in zip(objects.masks, objects.categories, strict=False):
        half = Image.fromarray(coco_mask.decode(mask) * np.uint8(110))
        image.paste(Image.new("RGB", image.size, COLORS[number % len(COLORS)]), mask=half)
    pen = ImageDraw.Draw(image)
    thick, size = max(1, round(max(image.size) / 400)), max(9, round(max(image.size) / 50))
    font, glyphs = _font(size)
    # The best last, on top of the others.
    for box, score, (number, name) in reversed(
        list(zip(objects.boxes, objects.scores, objects.categories, strict=True))
    ):
        color = COLORS[number % len(COLORS)]
        pen.rectangle(tuple(box.tolist()), outline=color, width=thick)
        shown = " ".join(name.split())
        # What the font has no letters for is drawn as the category's number.
        text = f"{shown if shown and glyphs.issuperset(map(ord, shown)) else number} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        x = max(0.0, min(float(box[0]), image.width - right - 2))
        y = float(box[1]) - bottom - 3
        if y < 0:  # No room above the box: inside it.
            y = min(float(box[1]) + thick, image.height - bottom - 3)
        pen.rectangle((x + left - 1, y + top - 2, x + right + 1, y + bottom + 2), fill=color)
        pen.text((x, y), text, fill="white", font=font)
    with atomic_write(out) as partial:
        image.save(partial)


@cache
def _font(size: int) -> tuple[ImageFont.FreeTypeFont, frozenset[int]]:
    """The font of names in drawings, and the characters that it has: Latin, Greek, Cyrillic and others."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font
    from PIL import ImageFont

    path = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size), frozenset(FT2Font(str(path)).get_charmap())


def _one_image(path: Path, max_pixels: int) -> DetectionDataset | str:
    """A split that holds one image without boxes."""
    try:
        size = image_size(path, max_pixels)
    except ImageError as error:
        return str(error)
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
