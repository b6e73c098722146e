"""Export: a trained network as ONNX or torch.export program, with any number of images a batch.

Without post-processing the outputs are the network's own, such as logits, offsets and anchors. With it those
of a detector are detections:

| program | outputs of a detector |
| --- | --- |
| ONNX | rows, one for each detection in all images: "detected_image", "detected_boxes" and so on |
| torch.export | of every image the same number of candidates, before suppression: "boxes" and so on |
| torch.export of Mask R-CNN | of every image the same number of detections, with "masks" |

Suppression gives a number of boxes that depends on the images, which ONNX can express by its own operator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from proxy_tasks.data.batches import MEAN, STD
from proxy_tasks.models.detector import HasCandidates, HasFixedOutputs, HasOutputs
from proxy_tasks.models.postprocess import DETECTIONS, GROUPS_A_ROW, LEAST_SCORE, OVERLAP
from search_space.spinenet.backbone import fuse_conv_bn
from search_space.utils.atomic_file import atomic_write
from search_space.utils.extras import install_hint
from search_space.utils.strict_json import to_json

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
        net: has raw outputs or outputs of fixed sizes (`proxy_tasks.models.detector.HasOutputs`,
            `HasFixedOutputs`); in evaluation mode, on the CPU; it is left as it is.
        size: side of the square input in pixels, fixed in the export; the batch is free.
        path: file to write.
        form: "onnx" or "torch".
        postprocess: whether a network with candidates gives detections; see this file's beginning.
        categories: (id, name) of each label. With what images must be prepared by they stand in the file: as
            ONNX's metadata, or as torch.export's extra file "about.json".

    Raises:
        ExportError: if a package is missing, or the network cannot give what is asked for.
        OSError: if the file cannot be written.
    """
    if form == "onnx":
        _find_onnx()
    whole, rows = _inference(net, size, postprocess)
    about = {"size": size, "mean": MEAN, "std": STD, "categories": list(categories)}
    inference = fuse_conv_bn(whole)
    images = torch.zeros(2, 3, size, size)
    shapes = {"images": {0: torch.export.Dim("batch", min=1, max=1024)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The exporter tells users of its own inner workings.
        program = torch.export.export(inference, (images,), dynamic_shapes=shapes)
        if form == "torch":
            torch.export.save(program, partial, extra_files={"about.json": to_json(about)})
        else:
            _write_onnx(program, partial, whole.names, rows, about)


AddRows = Callable[[Any, int], None]
"""Turns the outputs of an ONNX graph, for images of that size, into rows of detections."""


def _inference(net: nn.Module, size: int, postprocess: bool) -> tuple[Any, AddRows | None]:
    """The module to export, with the names of its outputs, and how ONNX makes rows of them, if it does.

    Raises:
        ExportError: if the network cannot give what is asked for.
    """
    if postprocess and isinstance(net, HasCandidates):
        return _Candidates(net), _add_suppression
    if isinstance(net, HasOutputs):
        return _Outputs(net, size), None
    if not isinstance(net, HasFixedOutputs):
        raise ExportError(
            f"a {type(net).__name__} cannot be exported: it has neither a method outputs nor a method fixed"
        )
    if not postprocess:
        raise ExportError(
            f"a {type(net).__name__} has no raw outputs, as later layers work on what earlier ones found; "
            "export it without --raw"
        )
    return net.fixed(size), _add_selection


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


def _find_onnx() -> None:
    """Imports what ONNX needs, before a network is traced in vain.

    Raises:
        ExportError: if a package is missing; it names the package.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"ONNX needs the package {error.name}: {install_hint('export')}") from None


def _write_onnx(
    program: Any, path: Path, outputs: tuple[str, ...], add_rows: AddRows | None, about: dict[str, Any]
) -> None:
    import onnx

    exported = torch.onnx.export(
        program, dynamo=True, input_names=["images"], output_names=list(outputs), verbose=False
    )
    assert exported is not None
    model = exported.model_proto
    if add_rows is not None:
        add_rows(model.graph, about["size"])
    onnx.helper.set_model_props(model, {name: to_json(value) for name, value in about.items()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _add_suppression(graph: Any, size: int) -> None:
    """Turns boxes, scores and labels of candidates into detections by ONNX's own operator."""
    from onnx import TensorProto, helper

    integer, real = TensorProto.INT64, TensorProto.FLOAT
    most = _constant(graph, "most", integer, [1], [DETECTIONS])
    overlap = _constant(graph, "overlap", real, [1], [OVERLAP])
    least = _constant(graph, "least", real, [1], [LEAST_SCORE])
    # Boxes of different labels are moved apart, so that only those of one label suppress each other.
    apart = _constant(graph, "apart", real, [1], [size + 1.0])
    one, two = _constant(graph, "one", integer, [1], [1]), _constant(graph, "two", integer, [1], [2])
    row = _constant(graph, "row", integer, [1], [GROUPS_A_ROW])
    columns = _constant(graph, "columns", integer, [2], [0, 2])
    nodes: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Unsqueeze", ["labels", two], "labels_of_boxes", {}),
        ("Mod", ["labels_of_boxes", row], "label_x", {}),
        ("Div", ["labels_of_boxes", row], "label_y", {}),
        ("Concat", ["label_x", "label_y", "label_x", "label_y"], "label_places", {"axis": 2}),
        ("Cast", ["label_places"], "label_places_real", {"to": real}),
        ("Mul", ["label_places_real", apart], "moves", {}),
        ("Add", ["boxes", "moves"], "moved", {}),
        ("Unsqueeze", ["scores", one], "scores_by_class", {}),
        ("NonMaxSuppression", ["moved", "scores_by_class", most, overlap, least], "kept", {}),
        ("Gather", ["kept", columns], "at", {"axis": 1}),
    )
    for name, inputs, output, more in nodes:
        graph.node.append(helper.make_node(name, inputs, [output], **more))
    _gather_rows(graph)


def _add_selection(graph: Any, size: int) -> None:
    """Turns outputs of fixed sizes into rows: those whose score is above 0."""
    from onnx import TensorProto, helper

    zero = _constant(graph, "no_score", TensorProto.FLOAT, [], [0.0])
    nodes: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Greater", ["scores", zero], "found", {}),
        ("NonZero", ["found"], "found_at", {}),
        ("Transpose", ["found_at"], "at", {"perm": [1, 0]}),
    )
    for name, inputs, output, more in nodes:
        graph.node.append(helper.make_node(name, inputs, [output], **more))
    _gather_rows(graph)


def _gather_rows(graph: Any) -> None:
    """Makes rows [detections, ...] of the outputs [N, K, ...], by the places "at" [detections, 2]."""
    from onnx import TensorProto, helper

    first = _constant(graph, "first", TensorProto.INT64, [], [0])
    graph.node.append(helper.make_node("Gather", ["at", first], ["detected_image"], axis=1))
    rows = [helper.make_tensor_value_info("detected_image", TensorProto.INT64, ["detections"])]
    for output in graph.output:
        name, kind = output.name, output.type.tensor_type
        graph.node.append(helper.make_node("GatherND", [name, "at"], [f"detected_{name}"]))
        sides = [side.dim_value for side in kind.shape.dim][2:]
        rows.append(helper.make_tensor_value_info(f"detected_{name}", kind.elem_type, ["detections", *sides]))
    del graph.output[:]
    graph.output.extend(rows)


def _constant(graph: Any, name: str, kind: int, shape: list[int], values: list[Any]) -> str:
    from onnx import helper

    graph.initializer.append(helper.make_tensor(name, kind, shape, values))
    return name
