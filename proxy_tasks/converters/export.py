"""Export: a trained network as ONNX or torch.export program, with any number of images a batch.

Without post-processing the outputs are the network's own, such as logits, offsets and anchors. With it
those of a detector are detections: for ONNX after non-maximum suppression, as rows (image, box, score, label)
of all images; for torch.export the decoded candidates of every image before it, as suppression gives a number
of boxes that depends on the image.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from proxy_tasks.data.transforms import MEAN, STD
from proxy_tasks.models.detector import HasCandidates, HasOutputs
from proxy_tasks.models.postprocess import DETECTIONS, LEAST_SCORE, OVERLAP
from search_space.spinenet.backbone import fuse_conv_bn
from search_space.utils.atomic_file import atomic_write

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
        net: has raw outputs (`proxy_tasks.models.detector.HasOutputs`); in evaluation mode, on the CPU; it is
            left as it is.
        size: side of the square input in pixels, fixed in the export; the batch is free.
        path: file to write.
        form: "onnx" or "torch".
        postprocess: whether a network with candidates gives detections; see this file's beginning.
        categories: (id, name) of each label. With what images must be prepared by they stand in the file: as
            ONNX's metadata, or as torch.export's extra file "about.json".

    Raises:
        ExportError: if a package is missing, or the network has no raw outputs.
        OSError: if the file cannot be written.
    """
    if not isinstance(net, HasOutputs):
        raise ExportError(f"a {type(net).__name__} cannot be exported yet: it has no raw outputs")
    suppress = postprocess and isinstance(net, HasCandidates)
    whole = _Candidates(net) if suppress else _Outputs(net, size)
    about = {"size": size, "mean": MEAN, "std": STD, "categories": list(categories)}
    inference = fuse_conv_bn(whole)
    images = torch.zeros(2, 3, size, size)
    shapes = {"images": {0: torch.export.Dim("batch", min=1, max=1024)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The exporter tells users of its own inner workings.
        program = torch.export.export(inference, (images,), dynamic_shapes=shapes)
        if form == "torch":
            torch.export.save(program, partial, extra_files={"about.json": json.dumps(about)})
        else:
            _write_onnx(program, partial, size, whole.names, suppress, about)


class _Outputs(nn.Module):
    """Raw outputs as a tuple."""

    def __init__(self, net: nn.Module, size: int) -> None:
        super().__init__()
        self.net = net
        with torch.no_grad():
            self.names = tuple(net.outputs(torch.zeros(1, 3, size, size)))  # type: ignore[operator]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps [N, 3, S, S] to what the network computes."""
        outputs: dict[str, Tensor] = self.net.outputs(images)  # type: ignore[operator]
        return tuple(outputs.values())


class _Candidates(nn.Module):
    """The best boxes [N, K, 4], scores [N, K] and labels [N, K], best first."""

    names = ("boxes", "scores", "labels")

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps [N, 3, S, S] to candidates."""
        boxes, scores, labels = self.net.candidates(images)  # type: ignore[operator]
        return boxes, scores, labels


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
