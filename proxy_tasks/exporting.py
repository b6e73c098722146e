"""Export: a trained detector as ONNX or torch.export program, with any number of images a batch.

Without post-processing the outputs are the network's own: logits, offsets and the anchors. With it they are
detections: for ONNX after non-maximum suppression, as rows (image, box, score, label) of all images; for
torch.export the decoded candidates of every image before it, as suppression gives a number of boxes that
depends on the image.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from proxy_tasks.anchors import decode
from proxy_tasks.batches import MEAN, STD
from proxy_tasks.classifier import Classifier
from proxy_tasks.models import Pyramid
from proxy_tasks.retinanet import RetinaNet
from search_space.backbone import folded
from search_space.whole_file import whole_file

CANDIDATES, DETECTIONS, LEAST_SCORE, OVERLAP = 1000, 100, 0.05, 0.5
"""Of `proxy_tasks.retinanet.detect`."""

Format = Literal["onnx", "torch"]


class ExportError(RuntimeError):
    """A model that cannot be exported: says why, and which package is missing if one is."""


def export_model(
    net: nn.Module,
    size: int,
    path: Path,
    form: Format,
    postprocess: bool,
    categories: Sequence[tuple[int, str]] = (),
) -> None:
    """Writes an exported network.

    Args:
        net: a RetinaNet, Classifier or Pyramid in evaluation mode, on the CPU; it is left as it is.
        size: side of the square input in pixels, fixed in the export; the batch is free.
        path: file to write.
        form: "onnx" or "torch".
        postprocess: whether detections come out; see this file's beginning.
        categories: (id, name) of each label. With what images must be prepared by they stand in the file: as
            ONNX's metadata, or as torch.export's extra file "about.json".

    Raises:
        ExportError: if a package is missing, or the network is of another kind.
        OSError: if the file cannot be written.
    """
    whole: _Logits
    if isinstance(net, Classifier):
        whole, suppress = _Logits(net), False
    elif isinstance(net, Pyramid):
        whole, suppress = _Levels(net), False
    elif isinstance(net, RetinaNet):
        whole, suppress = (_Candidates(net), True) if postprocess else (_Raw(net), False)
    else:
        raise ExportError(
            f"a {type(net).__name__} cannot be exported yet; RetinaNets, classifiers and backbones can"
        )
    about = {"size": size, "mean": MEAN, "std": STD, "categories": list(categories)}
    inference = folded(whole)
    images = torch.zeros(2, 3, size, size)
    shapes = {"images": {0: torch.export.Dim("batch", min=1, max=1024)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The exporter tells users of its own inner workings.
        program = torch.export.export(inference, (images,), dynamic_shapes=shapes)
        if form == "torch":
            torch.export.save(program, partial, extra_files={"about.json": json.dumps(about)})
        else:
            _write_onnx(program, partial, size, whole.outputs, suppress, about)


class _Logits(nn.Module):
    outputs: tuple[str, ...] = ("logits",)

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[N, 3, S, S] to logits [N, classes]."""
        logits: Tensor = self.net(images)
        return (logits,)


class _Raw(_Logits):
    outputs = ("logits", "offsets", "anchors")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[N, 3, S, S] to logits [N, A, classes], offsets [N, A, 4], anchors [A, 4]."""
        logits, offsets, anchors = self.net(images)
        return logits, offsets, anchors


class _Levels(_Logits):
    def __init__(self, net: Pyramid) -> None:
        super().__init__(net)
        self.outputs = tuple(f"P{level}" for level in net.backbone.levels)  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[N, 3, S, S] to the pyramid, finest first."""
        return tuple(self.net(images).values())


class _Candidates(_Logits):
    outputs = ("boxes", "scores", "labels")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[N, 3, S, S] to the best boxes [N, K, 4], scores [N, K] and labels [N, K], best first."""
        logits, offsets, anchors = self.net(images)
        flat = logits.flatten(1)
        top, at = flat.topk(min(CANDIDATES, flat.shape[1]), dim=1)
        places, labels = at // logits.shape[2], at % logits.shape[2]
        picked = offsets.gather(1, places[..., None].expand(-1, -1, 4))
        boxes = decode(picked, anchors[places]).clamp(0, images.shape[-1])
        return boxes, top.sigmoid(), labels


def _write_onnx(
    program: Any, path: Path, size: int, outputs: tuple[str, ...], suppress: bool, about: dict[str, Any]
) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"ONNX needs the package {error.name}: pip install 'spinenas[export]'") from None
    exported = torch.onnx.export(
        program, dynamo=True, input_names=["images"], output_names=list(outputs), verbose=False
    )
    assert exported is not None
    model = exported.model_proto
    if suppress:
        _add_suppression(model.graph, size)
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _add_suppression(graph: Any, size: int) -> None:
    """Turns boxes, scores and labels of candidates into detections by ONNX's own operator."""
    from onnx import TensorProto, helper

    def constant(name: str, kind: int, shape: list[int], values: list[Any]) -> str:
        graph.initializer.append(helper.make_tensor(name, kind, shape, values))
        return name

    integer, real = TensorProto.INT64, TensorProto.FLOAT
    most = constant("most", integer, [1], [DETECTIONS])
    overlap = constant("overlap", real, [1], [OVERLAP])
    least = constant("least", real, [1], [LEAST_SCORE])
    # Boxes of different labels are moved apart, so that only those of one label suppress each other.
    apart = constant("apart", real, [1], [2.0 * size])
    one, two = constant("one", integer, [1], [1]), constant("two", integer, [1], [2])
    columns, first = constant("columns", integer, [2], [0, 2]), constant("first", integer, [], [0])
    for name, inputs, output, more in (
        ("Cast", ["labels"], "labels_real", {"to": real}),
        ("Mul", ["labels_real", apart], "moves", {}),
        ("Unsqueeze", ["moves", two], "moves_of_boxes", {}),
        ("Add", ["boxes", "moves_of_boxes"], "moved", {}),
        ("Unsqueeze", ["scores", one], "scores_by_class", {}),
        ("NonMaxSuppression", ["moved", "scores_by_class", most, overlap, least], "kept", {}),
        ("Gather", ["kept", columns], "at", {"axis": 1}),
        ("Gather", ["kept", first], "detected_image", {"axis": 1}),
        ("GatherND", ["boxes", "at"], "detected_boxes", {}),
        ("GatherND", ["scores", "at"], "detected_scores", {}),
        ("GatherND", ["labels", "at"], "detected_labels", {}),
    ):
        graph.node.append(helper.make_node(name, inputs, [output], **more))
    del graph.output[:]
    outputs: list[tuple[str, int, list[str | int | None]]] = [
        ("detected_image", integer, ["detections"]),
        ("detected_boxes", real, ["detections", 4]),
        ("detected_scores", real, ["detections"]),
        ("detected_labels", integer, ["detections"]),
    ]
    for name, kind, shape in outputs:
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))
